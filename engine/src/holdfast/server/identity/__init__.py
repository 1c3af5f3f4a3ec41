"""Authentication and permissions: who is asking, and what they may read and write.

Enters: tokens, passwords, enrolment codes, an operator's orders. Leaves: principals, and their
permissions as of the snapshot that serves them. Rate limits of sign-in live here too.
"""
