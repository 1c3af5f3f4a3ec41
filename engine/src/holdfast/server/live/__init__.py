"""Live events inside one server process: which streams wait for which scopes.

Enters: scopes that moved, and permissions that changed. Leaves: heads for each open event stream.
"""
