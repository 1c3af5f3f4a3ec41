"""Acknowledged work that is kept for a restored server, in the words of a newer generation.

Knows: lineages of tables, and messages. Must not know: when a server was restored. What is kept is
a message; its tables and columns get their new names, and values are converted. What was done to a
table or column that is gone is left out: the server had it, and let it go itself. A transaction
keeps its number and id, and names the hash of its body as it was first sent.

Upholds I5 and I8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from holdfast.core.errors import BadValue
from holdfast.core.keys import key_text
from holdfast.core.merging.policies import policy_of
from holdfast.core.values import Value, check, to_wire
from holdfast.protocol.first_sent import first_hash
from holdfast.protocol.messages import Change, Transaction
from holdfast.replica.identity.kept import change_images, change_key
from holdfast.schema.lineage import Lineage, TableLineage
from holdfast.schema.model import GROUP_SEPARATOR, Column
from holdfast.sql.bookkeeping.statements import GONE, KEPT
from holdfast.sqlite import Connection, Row

Visible = Callable[[TableLineage, str], Row | None]
"""A row of an old table, by its key."""
Reshape = Callable[[TableLineage, str, Row], Sequence[Value]]
"""Data columns of a new table, from those of the old one."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Transaction).decode


def translate_kept(
    connection: Connection, way: Lineage, *, visible: Visible, reshape: Reshape
) -> None:
    """Write what is kept anew, as far as it is about tables that declared steps have changed."""
    for number, body in connection.execute(KEPT.bodies):
        one = _decode(str(body))
        made = [_change(way, change, visible, reshape) for change in one.changes]
        if made == one.changes:
            continue
        text = _encode(
            msgspec.structs.replace(
                one, changes=[change for change in made if change], first=first_hash(one).hex()
            )
        )
        connection.execute(GONE.set_kept, (text.decode(), number))
        connection.execute(KEPT.add_bytes, (len(text) - len(str(body).encode()),))


def _change(way: Lineage, change: Change, visible: Visible, reshape: Reshape) -> Change | None:
    table = way.follow(change.table)
    if table is None or not table.reshaped:
        return None if table is None else change
    renamed = table.renamed
    new = {renamed[name]: said for name, said in change.new.items() if name in renamed}
    old = {renamed[name]: said for name, said in change.old.items() if name in renamed}
    if change.op == "update" and change.new and not new:
        return None
    if table.converted & (new.keys() | old.keys()):
        key = key_text(table.old, change_key(table.old, change))
        images = change_images(table.old, change, visible(table, key))
        before, after = (reshape(table, key, tuple(image)) for image in images)
        for column, was, now in zip(table.new.data_columns, before, after, strict=True):
            if column.name in table.converted:
                _convert(column, change, was, now, new=new, old=old)
    return Change(
        table=table.new.name, key=change.key, op=change.op, base=change.base,
        bases=renamed_bases(table, change.bases), new=new, old=old,
    )  # fmt: skip


def _convert(
    column: Column,
    change: Change,
    was: Value,
    now: Value,
    *,
    new: dict[str, object],
    old: dict[str, object],
) -> None:
    """Say a converted value; one that does not fit is left out."""
    said = policy_of(column).difference(was, now) if change.op == "update" else now
    for words, value in ((new, said), (old, was)):
        if column.name not in words:
            continue
        try:
            words[column.name] = to_wire(column.type, check(column.type, value, scale=column.scale))
        except BadValue:
            del words[column.name]


def renamed_bases(table: TableLineage, bases: dict[str, int]) -> dict[str, int]:
    """Return the base revisions of columns under their new names."""
    renamed = table.renamed
    kept = {}
    for name, base in bases.items():
        cell, mark, part = name.partition(":")
        columns = cell.split(GROUP_SEPARATOR)
        if all(column in renamed for column in columns):
            kept[GROUP_SEPARATOR.join(renamed[one] for one in columns) + mark + part] = base
    return kept
