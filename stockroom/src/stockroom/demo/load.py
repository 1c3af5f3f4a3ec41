"""Puts the demo into a server's database, before the server opens its doors.

Knows: that the engine takes in what others write into its tables. Must not know: how the demo was
made. The rows become versions, hashes and digests when the server takes them in. The engine's own
SQLite is used: a second library in the process that serves the file would break its locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from holdfast.sqlite import Connection, OpenOptions, driver
from stockroom.demo.rows import Demo

BITE_ROWS: Final = 2_000
"""How many rows are inserted between two looks at the progress."""


def is_empty(database: Path) -> bool:
    """Return whether no product is in a server's database yet. It must have its tables already."""
    with _opened(database) as db:
        return not db.execute("SELECT 1 FROM product LIMIT 1")


def load(demo: Demo, database: Path, told: Callable[[int], None] = lambda _count: None) -> int:
    """Insert all rows in one transaction; how many. The database must have its tables already.

    ``told`` hears how many there are so far. What is interrupted has never been.
    """
    done = 0
    with _opened(database) as db:
        db.execute("BEGIN IMMEDIATE")
        for table, rows in demo.rows.items():
            columns = demo.columns[table]
            marks = ", ".join("?" for _ in columns)
            insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
            rest = iter(rows)
            while bite := list(islice(rest, BITE_ROWS)):
                db.executemany(insert, bite)
                done += len(bite)
                told(done)
        db.execute("COMMIT")
    return done


@contextmanager
def _opened(database: Path) -> Iterator[Connection]:
    db = driver().connect(str(database), OpenOptions(create=False))
    try:
        yield db
    finally:
        db.close()
