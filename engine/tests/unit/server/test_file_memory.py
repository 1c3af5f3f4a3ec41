"""Making a file costs the same memory, however many rows are in it.

Checks I31.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from holdfast.schema.model import Column, Schema, Table
from holdfast.server.feed.feed import Touched, publish
from holdfast.server.open_store import open_store
from holdfast.server.store.contract import RowRecord

pytestmark = pytest.mark.slow

SMALL, LARGE = 20_000, 120_000
GROWTH_KIB_MAX = 16 * 1024
"""120,000 rows are some 24 MB as a file, and several times that as objects."""

ITEM = Table("item", ("id",), (Column("id"), Column("name"), Column("note")), scopes=("{note}",))
SCHEMA = Schema(name="memory", tables=(ITEM,))
CHILD = textwrap.dedent("""
    import json, resource, sys, threading, time
    from pathlib import Path
    from holdfast.schema.model import Schema
    from holdfast.server.files.offers import FilePolicy
    from holdfast.server.identity.principal import Principal
    from holdfast.server.service import Service
    from holdfast.server.open_store import open_store
    from holdfast.protocol.messages import ExchangeRequest, Files, Nonces

    database, schema = sys.argv[1], Schema.from_json(sys.argv[2])
    import random
    draw = random.Random(2).randbytes
    store = open_store(schema, database, random_bytes=draw)
    service = Service(
        schema, store, now_us=lambda: time.time_ns() // 1000, random_bytes=draw,
        files=FilePolicy(snapshot_rows_min=1000, catchup_rows_min=1000),
    ).begin()
    told = []
    for scope in ("small", "large"):
        principal = Principal("u", scope, read=(scope,))
        request = ExchangeRequest(
            protocol=1, schema=schema.fingerprint, now=1, nonce=Nonces("", "abcdefgh"),
            files=["gzip"],
        )
        ends = time.monotonic() + 200
        while time.monotonic() < ends:
            files = list(service.exchange(principal, request, echo=""))[1]
            assert isinstance(files, Files)
            if files.offers:
                break
            threading.Event().wait(0.05)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        told.append((files.offers[0].rows, files.offers[0].bytes, peak))
    service.close()
    print(json.dumps(told))
""")


def fill(database: str) -> None:
    draw = random.Random(1)
    store = open_store(SCHEMA, database, random_bytes=draw.randbytes)
    for scope, count in (("small", SMALL), ("large", LARGE)):
        for first in range(0, count, 20_000):

            def work(writer: Any, scope: str = scope, first: int = first) -> None:
                rows = [
                    (f"{scope}-{n:07}", draw.randbytes(60).hex(), scope)
                    for n in range(first, first + 20_000)
                ]
                writer.write(ITEM, first_gone=[], rows=rows)
                writer.put_records(ITEM, [RowRecord(r[0], 2**32 + 1, b"", None) for r in rows])
                publish(
                    writer, [Touched(ITEM, r[0], (), (scope,), r) for r in rows], draw.randbytes
                )

            store.transact(work)
    store.close()


def test_memory_does_not_grow_with_the_rows(make_server: Any, tmp_path: Path) -> None:
    database = str(make_server(schema=SCHEMA).path)
    fill(database)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, database, SCHEMA.to_json().decode()],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (small, _, before), (large, size, after) = json.loads(done.stdout)
    assert (small, large) == (SMALL, LARGE)
    assert size > 60 * LARGE
    assert after - before < GROWTH_KIB_MAX, f"{before} KiB, then {after} KiB"
