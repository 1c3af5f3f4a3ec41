"""First loads and large catch-ups: snapshot files fetched, checked and imported.

Enters: offers of the server. Leaves: rows in the replica's tables, within one transaction.
"""
