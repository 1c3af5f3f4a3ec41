"""The merge: rows with revisions and stamps, one change at a time, policy by policy.

Enters: a row, a change and its author. Leaves: the merged row, journal decisions and conflicts.
"""
