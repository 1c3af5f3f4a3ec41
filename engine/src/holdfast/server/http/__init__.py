"""HTTP: requests, responses, limits of connections, cookies, downloads, enrolment.

Enters: bytes from strangers. Leaves: decoded requests for the service, and its answers as bytes.
Knows no database and no SQL.
"""
