"""Which server a replica talks to, and the credentials that let its device in.

Enters: an address, an enrolment code or a token. Leaves: a transport that is authenticated.
"""
