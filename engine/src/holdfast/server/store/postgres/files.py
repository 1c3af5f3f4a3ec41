"""Files in tables of PostgreSQL, so that server processes share nothing but the database.

Knows: two tables of pieces and one of progress, and an advisory lock for each build. Must not
know: what is in a file.
A reader holds a connection for one piece at a time. A file is taken in by one transaction: it is
there whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from holdfast.server.store.file_scratch import Scratch, own_folder, remove_abandoned
from holdfast.server.store.files import StoredFile, StoredFileGone, checksum, pieces_of
from holdfast.server.store.postgres.errors import translated
from holdfast.server.store.postgres.reads import PostgresConnection

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('holdfast file ' || $1 || $2, 0))"
_read = msgspec.json.Decoder(StoredFile).decode


class PostgresFiles:
    """``files.FileStore`` in a schema of PostgreSQL.

    ``borrow`` lends a connection of the pool; ``connect`` opens one that is the build's own.
    """

    def __init__(
        self,
        borrow: Callable[[], AbstractContextManager[PostgresConnection]],
        connect: Callable[[], PostgresConnection],
        *,
        epoch: str,
    ) -> None:
        self._borrow = borrow
        self._connect = connect
        self._epoch = epoch
        self._scratch = Path(tempfile.gettempdir()) / f"holdfast-{os.geteuid()}-{epoch}"

    def _run(self, sql: str, *params: object) -> list[tuple[Any, ...]]:
        with self._borrow() as db, translated():
            cursor = db.execute(sql, params, binary=True)
            return cursor.fetchall() if cursor.description else []

    def find(self, key: str) -> StoredFile | None:
        rows = self._run(
            "SELECT about FROM holdfast_file WHERE key = $1 ORDER BY made DESC LIMIT 1", key
        )
        return _read(rows[0][0]) if rows else None

    def get(self, file_id: str) -> StoredFile | None:
        rows = self._run("SELECT about FROM holdfast_file WHERE id = $1", file_id)
        return _read(rows[0][0]) if rows else None

    def listed(self) -> list[StoredFile]:
        return [_read(about) for (about,) in self._run("SELECT about FROM holdfast_file")]

    def piece(self, file: StoredFile, number: int) -> bytes:
        rows = self._run(
            "SELECT data, digest FROM holdfast_file_piece WHERE file = $1 AND number = $2",
            file.id, number,
        )  # fmt: skip
        if not rows or checksum(rows[0][0]) != rows[0][1]:
            self.remove(file.id)
            raise StoredFileGone("the file is no longer available, or was damaged")
        piece: bytes = rows[0][0]
        return piece

    def begin(self, key: str) -> _PostgresBuild | None:
        with contextlib.ExitStack() as stack:
            with translated():
                db = self._connect()
                stack.callback(db.close)
                if not db.execute(_LOCK, (self._epoch, key)).fetchall()[0][0]:
                    return None
            scratch = Scratch(own_folder(self._scratch))
            stack.pop_all()
            return _PostgresBuild(db, key, scratch)

    def progress(self, key: str) -> tuple[int, int]:
        rows = self._run('SELECT "rows", total FROM holdfast_file_build WHERE key = $1', key)
        return (rows[0][0], rows[0][1]) if rows else (0, 0)

    def remove(self, file_id: str) -> None:
        self._run("DELETE FROM holdfast_file WHERE id = $1", file_id)

    def tidy(self) -> None:
        """Do nothing: what processes on other machines have left goes when they tidy."""
        if self._scratch.is_dir():
            remove_abandoned(self._scratch)

    def close(self) -> None:
        """An empty folder is not left behind."""
        with contextlib.suppress(OSError):
            self._scratch.rmdir()


class _PostgresBuild:
    """Its connection has the lock; when it is lost, another process may begin, and no harm done."""

    def __init__(self, db: PostgresConnection, key: str, scratch: Scratch) -> None:
        self._db = db
        self._key = key
        self._scratch = scratch

    @property
    def directory(self) -> Path:
        return self._scratch.path

    def tell(self, rows: int, total: int) -> None:
        with translated():
            self._db.execute(
                "INSERT INTO holdfast_file_build VALUES ($1, $2, $3) ON CONFLICT (key) "
                'DO UPDATE SET "rows" = excluded."rows", total = excluded.total',
                (self._key, rows, total),
            )

    def keep(self, file: StoredFile, source: Path) -> None:
        with translated(), self._db.transaction():
            self._db.execute(
                "INSERT INTO holdfast_file (id, key, made, about) VALUES ($1, $2, $3, $4)",
                (file.id, file.key, file.made, msgspec.json.encode(file)),
            )
            for number, (digest, piece) in enumerate(pieces_of(source)):
                self._db.execute(
                    "INSERT INTO holdfast_file_piece VALUES ($1, $2, $3, $4)",
                    (file.id, number, digest, piece),
                )

    def close(self) -> None:
        self._scratch.close()
        with contextlib.suppress(psycopg.Error):
            if not self._db.closed:
                self._db.execute("DELETE FROM holdfast_file_build WHERE key = $1", (self._key,))
        self._db.close()
