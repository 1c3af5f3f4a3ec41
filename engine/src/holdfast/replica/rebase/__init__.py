"""Rebase: news are applied to server truth, and unsettled changes replayed on top.

Enters: a verified answer. Leaves: visible rows = the server's rows + the pending changes, in order.
"""
