"""The inbox: conflicts and refused transactions, and what a person decides about them.

Enters: conflict rows and refusals. Leaves: settlements, retries, discards, and what these free.
"""
