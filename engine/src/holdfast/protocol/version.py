"""The protocol's version and the package's. Any change of a message's shape decides whether the
protocol's number moves; the package's moves with each release."""

PROTOCOL = 1
RELEASE = "0.1.0"
"""That of ``pyproject.toml``: here too, so that nobody has to know what the package is called where
it was installed."""
CONTENT_TYPE = "application/x-ndjson"
ECHO_HEADER = "holdfast-echo"
