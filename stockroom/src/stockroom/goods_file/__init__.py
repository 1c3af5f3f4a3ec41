"""Goods in a file of lines and columns: read as other programs write it, and written again.

Enters: bytes of a CSV file. Leaves: products, codes and opening stock in the shop's tables, and for
each line what came of it, with a reason where nothing did. The same file twice changes nothing.
"""
