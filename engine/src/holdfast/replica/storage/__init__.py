"""Storage of a replica: tables of the engine, state, members, counts, locks.

Enters: a path and a replica program. Leaves: an open database, and what can be read of it at once.
"""
