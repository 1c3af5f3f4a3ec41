"""Maintenance: scheduled jobs, and retention of what is not data.

Enters: the clock. Leaves: purged outcomes, removals, journal entries and files, in bounded steps.
"""
