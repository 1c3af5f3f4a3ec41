"""The registry of a server's database for the ``holdfast server`` commands; apart, for it brings
the server.

Knows: stores and their service. Must not know: command lines.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from holdfast.core.errors import UsageError
from holdfast.schema.model import Schema
from holdfast.server.identity.people import People
from holdfast.server.open_store import open_store
from holdfast.server.service import Service


@contextlib.contextmanager
def people(schema: Schema, database: str, *, existing: bool = False) -> Iterator[People]:
    """The people of a database; servers that run on it hear at once of what is changed.

    ``existing``: it must be there already; else ``UsageError`` (``no_database``).
    """
    if existing and "://" not in database and not Path(database).is_file():
        raise UsageError(f"there is no database at {database}", code="no_database")
    store = open_store(schema, database, random_bytes=secrets.token_bytes)
    try:
        tell = store.relay(_nothing)
        # Opening is what notices that direct writes went unseen; the service takes them in.
        Service(
            schema, store, now_us=_now_us, random_bytes=secrets.token_bytes, on_commit=tell
        ).begin()
        yield People(store, now_us=_now_us, random_bytes=secrets.token_bytes, on_commit=tell)
    finally:
        store.close()


def _now_us() -> int:
    return time.time_ns() // 1000


def _nothing(_moved: Mapping[str, int]) -> None:
    """Nobody listens in this process."""
