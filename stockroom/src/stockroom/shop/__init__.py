"""The shop as its owner keeps it: opened once, with stores, people and goods from a file.

Enters: what an owner says, on a command line or on a page, and a server's database. Leaves: rows of
the shop, and people who may sign in. Roles and stores are the words here; what they mean in scopes
is known to `staff` alone.
"""
