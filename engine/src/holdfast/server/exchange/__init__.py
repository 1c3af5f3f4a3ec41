"""An exchange and a verification on their way through the server, from checks to lines.

Enters: a decoded request of a principal. Leaves: the lines of its answer. Puts push, direct writes,
feed and files together; bounds how much work one request may cause.
"""
