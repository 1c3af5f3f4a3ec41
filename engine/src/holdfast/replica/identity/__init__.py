"""Identity of a device: its server, and the credentials that let it in.

Enters: an address, an enrolment code or a token. Leaves: a transport that is authenticated.
"""
