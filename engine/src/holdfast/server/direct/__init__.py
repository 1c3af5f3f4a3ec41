"""Direct writes: what other programs write into the server's tables becomes revisions.

Enters: notes of triggers, and stored rows. Leaves: the same commits and versions that a push makes;
the deep check that compares stored rows with their feeds.
"""
