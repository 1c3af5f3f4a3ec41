"""Feeds of scopes: commits become versions, hashes and digests, and are read back as news.

Enters: changed rows of a commit, or the position of a device. Leaves: versions, rows that a device
lacks, and digests of key ranges for verification.
"""
