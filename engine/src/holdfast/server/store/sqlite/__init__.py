"""The store on embedded SQLite: one writer, a pool of readers, one process per file.

Enters: operations of the store's contract. Leaves: statements on one SQLite file.
"""
