"""Choice of the store that a database's name stands for.

Knows: the names of databases. Must not know: what is in them.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from holdfast.core.errors import DatabaseError, UsageError
from holdfast.schema.model import Schema
from holdfast.server.store.contract import Store
from holdfast.server.store.sqlite.store import SqliteStore
from holdfast.sqlite import driver

log = logging.getLogger("holdfast.server")

_POSTGRES = ("postgresql://", "postgres://")
_SQLITE = b"SQLite format 3\x00"
"""How a database of SQLite begins, once something is in it."""


def open_store(
    schema: Schema,
    database: str | Path,
    *,
    random_bytes: Callable[[int], bytes],
    driver_name: Literal["apsw", "stdlib"] = "apsw",
) -> Store:
    """Open or make a server's database: a file of SQLite, or ``postgresql://...``.

    ``driver_name``: the SQLite library; without meaning for PostgreSQL. Raises ``SchemaError``
    (``schema_mismatch``), ``DatabaseError``, or ``UsageError`` (``no_driver``) when what PostgreSQL
    needs is not installed.
    """
    name = str(database)
    if not is_postgres(name):
        _check_finished(Path(name))
        if not _is_of_others(Path(name)):
            _keep_private(Path(name))
        return SqliteStore.open(name, schema, random_bytes=random_bytes, sqlite=driver(driver_name))
    try:
        from holdfast.server.store.postgres.store import PostgresStore
    except ImportError as error:
        raise UsageError(
            f"PostgreSQL needs the extra holdfast-sync[postgres]: {error}", code="no_driver"
        ) from None
    return PostgresStore.open(name, schema, random_bytes=random_bytes)


def is_postgres(database: str | Path) -> bool:
    """Return whether a database's name stands for one of PostgreSQL."""
    return str(database).startswith(_POSTGRES)


def unfinished_restore(database: Path) -> Path:
    """Return the file that a restore of a database works on until it takes its place."""
    return database.with_name(f"{database.name}-restoring")


def _check_finished(database: Path) -> None:
    """Raises ``DatabaseError`` (``restore_unfinished``) rather than begin a new database."""
    if not database.exists() and unfinished_restore(database).exists():
        raise DatabaseError(
            f"a restore of {database} was interrupted: run `holdfast server restore` again",
            code="restore_unfinished",
        )


def _is_of_others(path: Path) -> bool:
    """Return whether there is a file that is no database: its mode is none of our business."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) not in (b"", _SQLITE)
    except OSError:
        return False


def _keep_private(path: Path) -> None:
    """Hashes of passwords and tokens are in it, and the secret that seals checkpoints: for its
    owner alone. SQLite gives the files beside it the same mode."""
    for name in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))):
        try:
            mode = name.stat().st_mode
            if not stat.S_ISREG(mode) or not mode & 0o077:
                continue
            name.chmod(stat.S_IMODE(mode) & 0o700)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("database_readable_by_others", extra={"file": str(name), "why": str(error)})
        else:
            log.warning(
                "database_made_private", extra={"file": str(name), "was": f"{mode & 0o777:o}"}
            )
