"""Snapshot files: when rows travel as files, how these are made, and their signed paths.

Enters: a scope that is large, or a path that was offered. Leaves: immutable files in the store.
"""
