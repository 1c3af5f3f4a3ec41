"""Older generations of a schema at a server of a newer one: their devices go on.

Enters: a row, a snapshot or a change of the generation of one side. Leaves: the same as the other
side has it: rows projected down, changes lifted up, digests of what a generation sees, and what a
device lacks that has come from an older generation to a newer one.
"""
