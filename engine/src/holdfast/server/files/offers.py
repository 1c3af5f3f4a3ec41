"""Offers of files: when rows come as files, and which.

Knows: how much a device lacks, and what files there are. Must not know: HTTP, or where files are.
A file is offered only for scopes that the device may read; that it reads them now is what counts. A
snapshot that still has rows which have since moved to where the device may not see them is not
for this device: a new one is made, and if they keep moving, the device gets a catch-up of its own.

Upholds I16 (a file is read in one snapshot), I23, I24, I31.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.digest import seal
from holdfast.core.errors import DatabaseFull
from holdfast.core.limits import (
    CATCHUP_BYTES_MIN,
    CATCHUP_ROWS_MIN,
    CATCHUP_SAMPLE_ROWS_MIN,
    FILE_RETRY_MS_MAX,
    FILE_RETRY_MS_MIN,
    FILE_ROWS_PER_MS,
    FILE_UNPACKED_BYTES_MAX,
    ROWS_PER_LINE,
    SNAPSHOT_OFFER_SHARE,
    SNAPSHOT_REFRESH_SHARE,
    SNAPSHOT_ROWS_MIN,
    SNAPSHOT_SECOND_LOOK_US,
    WIRE_INTEGER_MAX,
)
from holdfast.core.values import encode
from holdfast.protocol.codec import encode_line
from holdfast.protocol.compression import ENCODINGS, Encoding
from holdfast.protocol.messages import FileBuild, FileOffer, Files, Gone, Own, Position, Rows
from holdfast.server.feed.feed import scopes_of
from holdfast.server.feed.pull import lacking, news
from holdfast.server.files.builder import Builder, BuiltFile, FileTask
from holdfast.server.files.links import link
from holdfast.server.files.snapshot import SNAPSHOT_FORMAT, write_snapshot
from holdfast.server.generations.speaking import Generation
from holdfast.server.store.contract import Scope, Snapshot, Store
from holdfast.server.store.files import FileKind, ReachedVersion, StoredFile


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePolicy:
    """From when on rows come as files; ``core.limits`` says what each number means."""

    snapshot_rows_min: int = SNAPSHOT_ROWS_MIN
    catchup_rows_min: int = CATCHUP_ROWS_MIN
    catchup_bytes_min: int = CATCHUP_BYTES_MIN


@dataclass(frozen=True, slots=True)
class Missing:
    """Rows that a device lacks: all above the versions that it holds of its scopes, and those that
    it did not see in the generations that these come from."""

    scopes: Mapping[str, Scope]
    since: Mapping[str, int]
    origins: Mapping[str, int]
    speaks: Generation

    def news(self, snapshot: Snapshot) -> Generator[Rows | Own | Gone]:
        return news(snapshot, self.speaks.schema, self.since, origins=self.origins)

    def position(self, name: str) -> tuple[str, int, int]:
        """Return what a file that brings it is told apart by."""
        return name, self.since[name], self.origins.get(name, 0)


class Offers:
    """The files of one server. ``read`` opens a snapshot that has all direct writes in some
    scopes in it."""

    def __init__(
        self,
        store: Store,
        builder: Builder,
        *,
        policy: FilePolicy,
        now_us: Callable[[], int],
        read: Callable[[Sequence[str]], Snapshot],
    ) -> None:
        self._store = store
        self._builder = builder
        self._policy = policy
        self._now_us = now_us
        self._read = read

    def instead(
        self,
        snapshot: Snapshot,
        scopes: Mapping[str, Scope],
        since: Mapping[str, int],
        *,
        speaks: Generation,
        origins: Mapping[str, int],
        device: str,
        accepted: Sequence[str],
    ) -> Files | None:
        """The line that stands in place of rows; None when the rows themselves are to come.

        ``snapshot``: as the device's generation of the schema sees it. ``scopes``: all that the
        device may read; ``since``: the versions that it holds of them, and ``origins`` the older
        generations that some are of.
        """
        encoding = next((name for name in ENCODINGS if name in accepted), None)
        if encoding is None:
            return None
        found: list[FileOffer | FileBuild] = []
        for name in sorted(scopes):
            scope = scopes[name]
            if since[name] == 0 and scope.digest.count >= self._policy.snapshot_rows_min:
                found += self._snapshot_of(snapshot, scope, scopes, encoding, speaks)
        lack = Missing(scopes, since, origins, speaks)
        if not found and self._is_large(snapshot, lack):
            found += self._catchup(snapshot, lack, device, encoding)
        if not found:
            return None
        building = [item for item in found if isinstance(item, FileBuild)]
        left = max((item.total - item.rows for item in building), default=0)
        wait_ms = min(FILE_RETRY_MS_MAX, max(FILE_RETRY_MS_MIN, left // FILE_ROWS_PER_MS))
        return Files(
            offers=[item for item in found if isinstance(item, FileOffer)],
            building=building,
            retry_after_ms=wait_ms if building else 0,
        )

    # Snapshots

    def _snapshot_of(
        self,
        snapshot: Snapshot,
        scope: Scope,
        readable: Collection[str],
        encoding: Encoding,
        speaks: Generation,
    ) -> list[FileOffer | FileBuild]:
        task = self._snapshot_task(scope, encoding, speaks)
        file = self._usable(snapshot, task.newest)
        if file is not None:
            reached = file.scopes[scope.name]
            count = max(reached.count, scope.digest.count)
            most = count // SNAPSHOT_OFFER_SHARE
            moved = snapshot.moved_count({scope.name: reached.version}, most + 1)
            if moved <= most and self._betrays(
                snapshot, speaks, scope.name, reached.version, readable
            ):
                if self._now_us() - file.made < SNAPSHOT_SECOND_LOOK_US:
                    return []
            elif moved <= most:
                if moved > count // SNAPSHOT_REFRESH_SHARE:
                    self._builder.ask(task)  # for the next device
                return [self._offer(file)]
        return self._build(task, [scope.name])

    def _snapshot_task(self, scope: Scope, encoding: Encoding, speaks: Generation) -> FileTask:
        name = scope.name

        def write(path: Path, on_rows: Callable[[int], None]) -> BuiltFile:
            with contextlib.closing(speaks.seen(self._read([name]))) as snapshot:
                now = snapshot.scopes([name])[name]
                write_snapshot(
                    path, snapshot, speaks.schema, now,
                    epoch=self._store.epoch, secret=self._store.seal_secret, on_rows=on_rows,
                )  # fmt: skip
            return BuiltFile(now.digest.count, {name: _reached(now)})

        what = (SNAPSHOT_FORMAT, name)
        return self._task("snapshot", encoding, scope.digest.count, write, speaks, *what)

    @staticmethod
    def _betrays(
        snapshot: Snapshot, speaks: Generation, scope: str, since: int, readable: Collection[str]
    ) -> bool:
        """Return whether a row has left the scope since, for one that the device may not read."""
        left: dict[str, list[str]] = defaultdict(list)
        tables = speaks.schema.by_name
        for _, moved in snapshot.moved({scope: since}):
            if moved.removed and moved.table in tables:
                left[moved.table].append(moved.key)
        for name, keys in left.items():
            table = tables[name]
            for start in range(0, len(keys), ROWS_PER_LINE):
                for _, _, row in snapshot.rows(table, keys[start : start + ROWS_PER_LINE]):
                    if not any(other in readable for other in scopes_of(table, row)):
                        return True
        return False

    # Catch-up files

    def _is_large(self, snapshot: Snapshot, lack: Missing) -> bool:
        most = self._policy.catchup_rows_min
        count = self._lacking(snapshot, lack, most + 1)
        if count > most:
            return True
        if count < CATCHUP_SAMPLE_ROWS_MIN:
            return False
        with contextlib.closing(lack.news(snapshot)) as lines:
            for line in lines:
                if isinstance(line, Rows):
                    size = len(encode_line(line))
                    return size * count // len(line.rows) > self._policy.catchup_bytes_min
        return False

    @staticmethod
    def _lacking(snapshot: Snapshot, lack: Missing, limit: int) -> int:
        """Return how many rows and removals a device lacks of its scopes; from a limit on,
        about.
        """
        scopes, since = lack.scopes, lack.since
        # What is gone is not told to whom has nothing.
        count = sum(scope.digest.count for name, scope in scopes.items() if not since[name])
        behind = {name: since[name] for name in scopes if 0 < since[name] < scopes[name].head}
        if behind and count < limit:
            count += snapshot.moved_count(behind, limit - count)
        left = max(0, limit - count)
        rows = itertools.islice(lacking(snapshot, since, lack.origins), left)
        return count + sum(1 for _ in rows)

    def _catchup(
        self,
        snapshot: Snapshot,
        lack: Missing,
        device: str,
        encoding: Encoding,
    ) -> list[FileOffer | FileBuild]:
        names = sorted(lack.scopes)

        def write(path: Path, on_rows: Callable[[int], None]) -> BuiltFile:
            seen = lack.speaks.seen(self._read(names))
            with contextlib.closing(seen) as now, path.open("wb") as file:
                reached = {name: _reached(scope) for name, scope in now.scopes(names).items()}
                rows = 0
                for line in lack.news(now):
                    file.write(encode_line(line))
                    rows += len(line.rows if isinstance(line, Rows) else line.keys)
                    if file.tell() > FILE_UNPACKED_BYTES_MAX:
                        raise DatabaseFull("a catch-up file would be too large")
                    on_rows(rows)
            return BuiltFile(rows, reached)

        total = self._lacking(snapshot, lack, WIRE_INTEGER_MAX)
        held = [part for name in names for part in lack.position(name)]
        task = self._task("catchup", encoding, total, write, lack.speaks, device, *held)
        file = self._usable(snapshot, task.newest)
        return [self._offer(file)] if file is not None else self._build(task, names)

    # Files

    def _task(
        self,
        kind: FileKind,
        encoding: Encoding,
        total: int,
        write: Callable[[Path, Callable[[int], None]], BuiltFile],
        speaks: Generation,
        *what: str | int,
    ) -> FileTask:
        whole = (self._store.epoch, speaks.schema.fingerprint, kind, encoding, *what)
        key = hashlib.blake2s(encode(whole), digest_size=16).hexdigest()
        return FileTask(key, kind, encoding, total, self._store.files.find(key), write)

    def _usable(self, snapshot: Snapshot, file: StoredFile | None) -> StoredFile | None:
        """Return a file if its versions are (still) part of our history, and all that has left
        since is remembered."""
        if file is None or self._now_us() >= file.ends:
            return None
        known = snapshot.positions({name: at.version for name, at in file.scopes.items()})
        floors = snapshot.floors(file.scopes)
        for name, reached in file.scopes.items():
            if reached.version < floors.get(name, 0) or known.get(name) != reached.total:
                return None
        return file

    def _build(self, task: FileTask, names: list[str]) -> list[FileOffer | FileBuild]:
        progress = self._builder.ask(task)
        if progress is None:
            return []
        rows, total = progress
        return [FileBuild(task.kind, names, rows, total)]

    def _offer(self, file: StoredFile) -> FileOffer:
        secret, epoch = self._store.seal_secret, self._store.epoch
        path, until = link(secret, file.id, now_us=self._now_us())
        positions = {
            name: Position(
                at.version, at.count, at.digest,
                seal(secret, epoch=epoch, scope=name, version=at.version, digest=at.total),
            )
            for name, at in file.scopes.items()
        }  # fmt: skip
        return FileOffer(
            kind=file.kind,
            id=file.id,
            path=path,
            until=until,
            encoding=file.encoding,
            bytes=file.bytes,
            sha256=file.sha256,
            unpacked_bytes=file.unpacked_bytes,
            rows=file.rows,
            positions=positions,
        )


def _reached(scope: Scope) -> ReachedVersion:
    return ReachedVersion(scope.head, scope.digest.count, scope.digest.hex)
