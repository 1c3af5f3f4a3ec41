"""Salvage: what a damaged file still holds is saved into a new one, and the damaged one is kept.

Enters: a file that SQLite cannot read, or not all of it. Leaves: a whole replica under its name,
with the work that was not settled, and a list of what could not be read.
"""
