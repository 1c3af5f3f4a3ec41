"""Salvage of a damaged replica: from what its pages still hold to a whole file in its place.

Knows: the order of the steps. Must not know: pages, SQL, or the network.

    alone         nobody else has the file open; the lock of who syncs
    put aside     it, and its log, have one more name, which they keep
    find          its outbox, its log, what it is; what cannot be read is listed
    draft         a new file: all of it in there, in one transaction
    take place    the draft gets the name

Killed at any point, it is done again from the beginning; nothing is done twice, as all that was
saved has its number and id.

Upholds I32 and I34.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import DatabaseCorrupt, DatabaseError, ReplicaError
from holdfast.core.limits import BUSY_TIMEOUT_MS, SALVAGE_PERIOD_US, SALVAGES_MAX
from holdfast.replica.host import Host
from holdfast.replica.identity.credentials import CredentialsFile
from holdfast.replica.salvage.finds import Finds, in_words, read_finds
from holdfast.replica.salvage.keeping import (
    alone,
    count_aside,
    drop_name,
    put_aside,
    suspicion,
    take_place,
)
from holdfast.replica.salvage.pages import Pages
from holdfast.replica.salvage.rebuild import SalvageResult, rebuild
from holdfast.replica.salvage.tables import Tables
from holdfast.replica.salvage.trees import StoredObject, Trees
from holdfast.replica.storage.database import LocalDatabase
from holdfast.replica.storage.lock import SyncLock
from holdfast.schema.model import Schema
from holdfast.sqlite import Driver, OpenOptions
from holdfast.sqlite.failpoints import failpoint

log = logging.getLogger("holdfast.salvage")

_Read = tuple[Finds, Mapping[str, StoredObject]]
"""What was found, and what the file listed."""
_OURS = ("holdfast_", "sqlite_")
_CARRIED = ("holdfast_kept", "holdfast_event", "holdfast_added")


@dataclass(frozen=True, slots=True, kw_only=True)
class SalvageReport:
    """``transactions`` with ``changes`` go on by themselves; ``to_inbox`` wait for a person, those
    that waited before included. ``lost``: what could not be read, in words. ``file``: where the
    damaged file lies now. ``ok``: nothing that was not settled is lost, or waits because of it."""

    file: str
    transactions: int
    changes: int
    to_inbox: int
    lost: tuple[str, ...]
    ok: bool

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return asdict(self) | {"lost": list(self.lost)}

    @property
    def text(self) -> str:
        """A sentence for a person."""
        saved = f"{self.transactions} unsent transaction{'s' * (self.transactions != 1)}"
        waits = f", {self.to_inbox} wait in the inbox" if self.to_inbox else ""
        lost = f"; not readable: {', '.join(self.lost[:5])}" if self.lost else ""
        return (
            f"This device's data was damaged. {saved} were saved from it{waits}, and the rest is "
            f"loaded again{lost}. The damaged file is kept as {Path(self.file).name}."
        )


def is_sound(path: Path, driver: Driver) -> bool:
    """Check a file from end to end. Raises ``DatabaseError`` when it cannot be told now."""
    try:
        options = OpenOptions(look_only=True, busy_timeout_ms=BUSY_TIMEOUT_MS)
        with closing(driver.connect(str(path), options)) as found:
            found.execute("PRAGMA ignore_check_constraints = ON")  # the server may have looser ones
            ((answer,),) = found.execute("PRAGMA integrity_check(1)")
            if answer != "ok":
                return False
            ours = found.execute("SELECT 1 FROM sqlite_schema WHERE name = 'holdfast_state'")
            return not ours or bool(found.execute("SELECT 1 FROM holdfast_state"))
    except DatabaseCorrupt:
        return False


def salvage(
    path: Path,
    schema: Schema | None,
    *,
    driver: Driver,
    host: Host,
    asked: bool = False,
) -> SalvageReport:
    """Put a whole replica in the place of a damaged one, with all work that can be read in it.

    ``schema``: for a file that does not say its own any more. ``asked``: by a person; by itself
    it is done a few times a day only. The file must not be open. Raises ``ReplicaError``
    (``replica_busy``, ``schema_needed``) or ``DatabaseError``; then the file is as it was.
    """
    if not asked and count_aside(path, since_us=host.now_us() - SALVAGE_PERIOD_US) >= SALVAGES_MAX:
        raise DatabaseCorrupt(
            f"{path} is damaged again, after {SALVAGES_MAX} times today: check the disk, then run "
            f"holdfast salvage {path}. Nothing was deleted"
        )
    with alone(path):
        _sweep(path)
        aside = put_aside(path, now_us=host.now_us())
        draft = path.with_name(f".{path.name}.{os.getpid()}.salvaged")
        try:
            finds, objects = _read(aside, schema, driver)
            if not (asked or _was_a_replica(path, finds, objects)):
                drop_name(aside)
                suspicion(path).unlink(missing_ok=True)
                raise DatabaseCorrupt(
                    f"{path} is no database, and nothing in it or beside it says that it was a "
                    "replica: name the right file, or run holdfast salvage on it with --schema if "
                    "it was one. Nothing was changed"
                )
            if finds is None:
                raise ReplicaError(
                    f"{path} is damaged, and its schema can no longer be read: open it with the "
                    f"app that made it, or run holdfast salvage {path} --schema S. Nothing was "
                    "changed",
                    code="schema_needed",
                )
            report = _make(draft, aside, (finds, objects), driver, host)
            failpoint("salvage.draft")
            take_place(draft, path)
        finally:
            for left in path.parent.glob(f"{draft.name}*"):
                left.unlink(missing_ok=True)
        suspicion(path).unlink(missing_ok=True)
    log.warning("%s", report.text)
    return report


def _read(
    aside: Path, schema: Schema | None, driver: Driver
) -> tuple[Finds | None, Mapping[str, StoredObject]]:
    """All that can be read, from the file as it was put aside; None: no schema is known."""
    with closing(Pages(aside)) as pages:
        trees = Trees(pages)
        finds = read_finds(
            Tables(trees, driver), schema, lambda own: (*_CARRIED, *_app_tables(trees.objects, own))
        )
        return finds, trees.objects


def _was_a_replica(path: Path, finds: Finds | None, objects: Mapping[str, StoredObject]) -> bool:
    """Return whether there is any trace of one: in the pages, or among the files beside it."""
    found = finds is not None and (
        finds.state or finds.transactions or finds.log or any(finds.changes.values())
    )
    return (
        bool(found)
        or any(name.startswith(_OURS[0]) for name in objects)
        or SyncLock(str(path)).noted() is not None
        or CredentialsFile(path).path.exists()
    )


def _make(draft: Path, aside: Path, read: _Read, driver: Driver, host: Host) -> SalvageReport:
    """Make the new file, under another name."""
    finds, objects = read
    lost = tuple(in_words(finds.losses))
    whole = not finds.damaged and not any(loss.unsettled for loss in finds.losses)
    database = LocalDatabase.open(
        str(draft), driver=driver, schema=finds.schema, busy_timeout_ms=BUSY_TIMEOUT_MS
    )
    try:
        _make_app_tables(database, finds.schema, objects)
        built = rebuild(
            database, finds, host, event=lambda built: _report(aside, built, lost, whole=whole).text
        )
        database.app.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        database.close()
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    return _report(aside, built, lost, whole=whole)


def _report(
    aside: Path, built: SalvageResult, lost: tuple[str, ...], *, whole: bool
) -> SalvageReport:
    return SalvageReport(
        file=str(aside),
        transactions=built.transactions,
        changes=built.changes,
        to_inbox=built.to_inbox,
        lost=lost,
        ok=whole and not built.stopped,
    )


def _app_tables(objects: Mapping[str, StoredObject], schema: Schema) -> list[str]:
    """The tables of the file that are the app's own."""
    virtual = [one.name for one in objects.values() if one.sql.upper().startswith("CREATE VIRTUAL")]
    not_own = (*_OURS, *(f"{name}_" for name in virtual))
    synced = {table.name for table in schema.all_tables}
    return [
        one.name
        for one in objects.values()
        if one.kind == "table"
        and not one.name.startswith(not_own)
        and one.name not in synced
        and one.name not in virtual
    ]


def _make_app_tables(
    database: LocalDatabase, schema: Schema, objects: Mapping[str, StoredObject]
) -> None:
    """Make the app's own tables, with what belongs to them, where the new file has them not yet."""
    app = _app_tables(objects, schema)
    there = {str(name) for (name,) in database.app.execute("SELECT name FROM sqlite_schema")}
    order = ("table", "index", "view", "trigger")
    for one in sorted(objects.values(), key=lambda one: order.index(one.kind)):
        if one.table in app and one.sql and one.name not in there:
            with suppress(DatabaseError):
                database.app.execute(one.sql)


def _sweep(path: Path) -> None:
    """Remove the drafts of those that were killed; who is at it now has the lock."""
    for left in path.parent.glob(f".{path.name}.*.salvaged*"):
        left.unlink(missing_ok=True)
