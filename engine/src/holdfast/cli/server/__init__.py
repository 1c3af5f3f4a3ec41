"""``holdfast serve`` and ``holdfast server``: commands for who runs a server.

Enters: arguments of a shell. Leaves: a running server, or answers about its database.
"""
