"""A device that is live until its standard input ends: the other side of W3.

Knows: one replica. Must not know: what is measured.
"""

from __future__ import annotations

import sys

from holdfast import Replica
from holdfast.schema.load import load_schema
from holdfast.testing import wait_until


def main(path: str, schema: str, server: str, token: str) -> None:
    """Go live, say so, and stay."""
    with Replica.open(path, load_schema(schema), server=server, token=token) as replica:
        replica.sync()
        replica.start()
        wait_until(lambda: replica.status.state == "online", 10, "the live stream")
        sys.stdout.write("live\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
