"""The contract between the server and its database; no SQL above it.

Enters: named operations of the packages above. Leaves: rows, versions, marks, people, files.
``sqlite`` and ``postgres`` implement it; the shipped conformance suite holds both to it.
"""
