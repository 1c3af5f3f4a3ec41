"""Merging on the server: a batch of rows in memory, what holds them, and what people settle.

Enters: decoded changes. Leaves: rows to be written, conflicts, journal entries. Knows permissions
by row and constraints; must not know numbers, outcomes or messages.
"""
