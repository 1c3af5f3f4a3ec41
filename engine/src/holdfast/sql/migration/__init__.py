"""Migration: the statements that bring files of older generations and formats up to date.

Enters: a schema. Leaves: pieces for each of its tables and columns, and fills.
"""
