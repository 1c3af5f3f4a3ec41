"""Backups of a server's database, and what follows from them.

Enters: a database, and where its copy is to be or is. Leaves: a verified copy, the watermark that
tells devices what they need not keep any more, or the database as the copy has it.
"""
