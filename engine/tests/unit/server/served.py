"""A server in a thread, on a free port of this machine."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.schema.model import Column, Schema, Table
from holdfast.server.assembly import open_server
from holdfast.server.run import Stopper, serve

SCHEMA = Schema(name="n", tables=(Table("t", ("id",), (Column("id"),), scopes=("main",)),))


@contextlib.contextmanager
def served(folder: Path, *, host: str = "127.0.0.1", **options: Any) -> Iterator[str]:
    """Serve a small schema with these options of ``serve``; the URL. It has ended afterwards."""
    stopper, ready, urls = Stopper(), threading.Event(), list[str]()

    def on_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    with open_server(SCHEMA, folder / "server.db") as server:
        thread = threading.Thread(
            target=serve,
            args=(server.app, host, 0, on_ready),
            kwargs={"stopper": stopper, **options},
        )
        thread.start()
        try:
            assert ready.wait(60)
            yield urls[0]
        finally:
            stopper.stop()
            thread.join(60)
        assert not thread.is_alive()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])
