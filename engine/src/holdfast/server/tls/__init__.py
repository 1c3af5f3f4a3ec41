"""TLS of a server process: its certificate, which may become another one while it serves, and the
listener that tells TLS from what comes in the clear. In: files and sockets. Out: connections.
"""
