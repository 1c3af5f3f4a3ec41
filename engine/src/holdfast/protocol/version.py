"""The protocol's version. Any change of a message's shape decides whether this number moves."""

PROTOCOL = 1
CONTENT_TYPE = "application/x-ndjson"
ECHO_HEADER = "holdfast-echo"
