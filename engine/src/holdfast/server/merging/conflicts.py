"""Conflicts as rows: opened, and kept right while they are open.

Knows: what a conflict row says; about a group it names the group, and its sides are objects of wire
values by column. Must not know: who may write, or how a conflict is settled.
A conflict is in the scopes of the row it concerns, follows it when it moves, and always shows what
stands on the server. When the row is deleted, it is closed, and the side that waited is journalled;
only the question whether the row should be there at all stays open while it is not.

Upholds I18 (no side is lost) and I23.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from holdfast.core.ids import RandomBytes, uuid7
from holdfast.core.merging import groups
from holdfast.core.merging.merge import Author, Decision, OpenConflict
from holdfast.core.merging.policies import policy_of
from holdfast.core.merging.rows import ServerRow, stamp_of
from holdfast.core.values import Row, Value
from holdfast.schema.model import CONFLICT_TABLE, Schema, Table
from holdfast.server.feed.feed import scopes_of
from holdfast.server.merging.batch import SERVER, Batch, has_manual


def wire_text(table: Table, cell: str, value: Value) -> str:
    """A value of a column or a group as JSON text of its wire form."""
    return msgspec.json.encode(groups.wire_of(table, cell, value)).decode()


def stored_side(table: Table, cell: str, text: Value) -> Value:
    """The inverse of ``wire_text``."""
    return groups.stored_of(table, cell, None if text is None else msgspec.json.decode(str(text)))


def about_row(schema: Schema, conflict: Row) -> tuple[Table, str] | None:
    """The table and key of the row that a conflict is about; None when there is no such table."""
    name, key = (conflict[CONFLICT_TABLE.positions[name]] for name in ("table_name", "row_key"))
    table = schema.by_name.get(str(name))
    return None if table is None else (table, str(key))


def is_its_side(conflict: ServerRow, author: Author) -> bool:
    """Return whether the side that waits in an open conflict is the author's own: by the stamp of
    what it says, for several replicas have the name of one device."""
    stamp = stamp_of(conflict, "mine")
    if stamp.replica == SERVER and conflict.values is not None:  # opened before there were replicas
        return _cell(conflict.values, "device") == author.device
    return author.wrote(stamp)


def _cell(row: Row, name: str) -> Value:
    return row[CONFLICT_TABLE.positions[name]]


def open_conflict(
    batch: Batch, conflict: OpenConflict, *, now_us: int, random_bytes: RandomBytes
) -> Decision | None:
    """Make the row of a conflict, or bring this replica's open one about the same up to date.

    A later edit of the same chain replaces the replica's side, or adds its columns to an edited row
    that was deleted. One that was not made on that side replaces it too, and is returned: for the
    journal, so that no side is lost.
    """
    table = batch.schema.by_name[conflict.table]
    column = groups.column_of(table, conflict.column)
    mine, theirs, base = (
        _side(table, conflict.column, value)
        for value in (conflict.mine, conflict.theirs, conflict.base)
    )
    author = conflict.mine_author
    writer = replace(author, user=SERVER, at=now_us)  # whose side it is stays on its stamp
    for key, row in batch.open_conflicts(table, conflict.key):
        found = dict(zip(CONFLICT_TABLE.column_names, row, strict=True))
        if found["column_name"] == conflict.column and is_its_side(
            batch.get(CONFLICT_TABLE, key), author
        ):
            if found["kind"] == conflict.kind == "delete":
                base = _joined(base, found["base"])
                mine = _made_one(table, found["mine"], mine)
            chained = column is None or found["mine"] in (mine, base)
            new: dict[str, Value] = {"mine": mine, "at": author.at, "kind": conflict.kind}
            new["base"] = found["base"] if column is not None and chained else base
            new |= {"user": author.user, "theirs": theirs, "their_at": conflict.their_at}
            new |= {"their_user": conflict.their_user, "their_device": conflict.their_device}
            batch.put(CONFLICT_TABLE, key, new, writer)
            return None if column is None or chained else _replaced(conflict, table, found)
    row_now = batch.get(table, conflict.key)
    scopes = scopes_of(table, row_now.image if row_now.values is None else row_now.values)
    batch.put(
        CONFLICT_TABLE,
        uuid7(now_us, random_bytes),
        {
            "scopes": msgspec.json.encode(scopes).decode(),
            "table_name": table.name,
            "row_key": conflict.key,
            "column_name": conflict.column,
            "kind": conflict.kind,
            "base": base,
            "mine": mine,
            "theirs": theirs,
            "user": author.user,
            "device": author.device,
            "at": author.at,
            "their_user": conflict.their_user,
            "their_device": conflict.their_device,
            "their_at": conflict.their_at,
            "state": "open",
            "chosen": None,
            "settled_by": None,
            "settled_at": None,
        },
        writer,
    )
    return None


def _joined(first: Value, second: Value) -> str | None:
    """Two JSON objects of columns as one; the second's values count."""
    if first is None or second is None:
        return None if second is None else str(second)
    whole = {**msgspec.json.decode(str(first)), **msgspec.json.decode(str(second))}
    return msgspec.json.encode(whole).decode()


def _made_one(table: Table, first: Value, second: Value) -> str | None:
    """Two edits of a row by one device, one after the other: differences of a column become one."""
    joined = _joined(first, second)
    if first is None or second is None or joined is None:
        return joined
    edits = [msgspec.json.decode(str(edit)) for edit in (first, second)]
    whole = msgspec.json.decode(joined)
    for name in edits[0].keys() & edits[1].keys():
        column = table.by_name[name]
        one, other = (groups.stored_of(table, name, edit[name]) for edit in edits)
        whole[name] = groups.wire_of(table, name, policy_of(column).join(one, other))
    return msgspec.json.encode(whole).decode()


def _replaced(conflict: OpenConflict, table: Table, found: Mapping[str, Value]) -> Decision:
    """A side of an open conflict that its own device has replaced without building on it."""
    author, at = conflict.mine_author, found["at"]
    return Decision(
        table=conflict.table, key=conflict.key, column=conflict.column, kind="latest",
        kept=conflict.mine, kept_device=author.device, kept_user=author.user, kept_at=author.at,
        lost=stored_side(table, conflict.column, found["mine"]),
        lost_device=str(found["device"]), lost_user=str(found["user"]),
        lost_at=at if isinstance(at, int) else 0,
    )  # fmt: skip


def _side(table: Table, cell: str, value: Value) -> str | None:
    """A side of a conflict as JSON text; about a whole row it is JSON text already, or None."""
    if not cell:
        return None if value is None else str(value)
    return wire_text(table, cell, value)


def follow(batch: Batch, *, now_us: int) -> list[Decision]:
    """Keep the open conflicts of the rows just changed right: their scopes, and what stands.

    Returns the sides that were given up with a row that is gone.
    """
    if not batch.manual:
        return []
    server = Author(SERVER, SERVER, now_us, 0)
    lost: list[Decision] = []
    for table, key, before, now in list(batch.touched()):
        if before.values == now.values or not has_manual(table):
            continue
        for conflict_key, row in batch.open_conflicts(table, key):
            conflict = dict(zip(CONFLICT_TABLE.column_names, row, strict=True))
            if now.values is None:
                lost += _close(batch, table, now, conflict_key, now_us=now_us)
                continue
            new = _moved(table, now, conflict)
            if new:
                batch.put(CONFLICT_TABLE, conflict_key, new, server)
    return lost


def _moved(table: Table, now: ServerRow, conflict: Mapping[str, Value]) -> dict[str, Value]:
    """Return what an open conflict has to say anew about a row that lives."""
    assert now.values is not None, "the row lives"
    new: dict[str, Value] = {}
    scopes = msgspec.json.encode(scopes_of(table, now.values)).decode()
    if conflict["scopes"] != scopes:
        new["scopes"] = scopes
    column = groups.column_of(table, str(conflict["column_name"]))
    if column is not None:
        theirs = wire_text(table, column.name, groups.value_of(table, column.name, now.values))
        if theirs != conflict["theirs"]:
            stamp = groups.stamp_in(now, column.name)
            new |= {"theirs": theirs, "their_at": stamp.at}
            new |= {"their_user": stamp.user, "their_device": stamp.device}
    return new


def _close(
    batch: Batch,
    table: Table,
    now: ServerRow,
    conflict_key: str,
    *,
    now_us: int,
) -> list[Decision]:
    """Close a conflict about a row that is gone; what its side loses by that."""
    row, deleted = batch.get(CONFLICT_TABLE, conflict_key).values, now.deleted
    assert row is not None, "a conflict that is open is there"
    conflict = dict(zip(CONFLICT_TABLE.column_names, row, strict=True))
    assert deleted is not None, "a row that has just gone is deleted"
    column = groups.column_of(table, str(conflict["column_name"]))
    if column is None and conflict["mine"] is not None:
        return []  # it asks whether the row should come back
    batch.put(
        CONFLICT_TABLE,
        conflict_key,
        {"state": "settled", "chosen": None, "settled_by": deleted.user, "settled_at": deleted.at},
        Author(SERVER, SERVER, now_us, 0),
    )
    if column is None:
        return []
    at = conflict["at"]
    return [
        Decision(
            table=table.name, key=str(conflict["row_key"]), column=column.name, kind="edit",
            kept=None, kept_device=deleted.device, kept_user=deleted.user, kept_at=deleted.at,
            lost=stored_side(table, column.name, conflict["mine"]),
            lost_device=str(conflict["device"]), lost_user=str(conflict["user"]),
            lost_at=at if isinstance(at, int) else 0,
        )
    ]  # fmt: skip
