"""The inbox: conflicts and refused transactions, where they wait for a person.

Knows: the conflict table and refused transactions. Must not know: the network; all of it works
offline. Upholds I28 (a refusal is never silent) and the local half of I4: a refused transaction
leaves only by retry (a new one that names it) or by discard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from holdfast.core.errors import BadValue, ConstraintFailed, UsageError
from holdfast.core.keys import key_values
from holdfast.core.merging.policies import policy_of
from holdfast.core.sides import Party, Side, SideChoice, chosen_side, yours
from holdfast.core.values import Value, to_wire
from holdfast.replica.changes.outbox import change_message
from holdfast.replica.inbox.choices import choice_text, given, kept, shown
from holdfast.replica.rebase.overlay import CapturedChange, Overlay, assemble, data_of, fold
from holdfast.replica.storage.database import LocalDatabase, read_state, reading, savepoint
from holdfast.schema.model import Column, Schema, Table
from holdfast.sql.bookkeeping.statements import CONFLICTS, GONE, TRANSACTIONS
from holdfast.sql.names import key_match, quote
from holdfast.sqlite import Connection, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """An open conflict. ``device_value``: what ``user`` on ``device`` wants, which did not go in;
    ``server_value``: what stands on the server, by ``their_user`` on ``their_device``; ``yours``:
    which of them belongs to this device, or else to its user, if one does. ``base``: what both
    started from. ``at``: microseconds since 1970. About a group (columns that are one decision)
    ``column`` is their names joined by commas, and each value is a dict of theirs."""

    id: str
    table: str
    key: str
    column: str
    kind: str
    base: Any
    device_value: Any
    server_value: Any
    yours: Side | None
    user: str
    device: str
    at: int
    their_user: str
    their_device: str
    their_at: int | None

    @property
    def mine(self) -> Any:
        """An older name of ``device_value``, whoever asks."""
        return self.device_value

    @property
    def theirs(self) -> Any:
        """An older name of ``server_value``, whoever asks."""
        return self.server_value

    @property
    def parties(self) -> tuple[Party, Party]:
        """Return whose ``device_value`` is, and whose ``server_value``."""
        return Party(self.user, self.device), Party(self.their_user, self.their_device)

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON, under the older names too."""
        return asdict(self) | {"mine": self.mine, "theirs": self.theirs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A refused or held transaction that waits for a person. ``held_by``: what it waits for.
    ``set_aside``: this device cannot show it on what the server has; it is sent all the same, and
    the server decides; ``code``, ``message`` and ``field`` say what was in the way.

    ``column`` is the one the reason names, or the first; ``base``, ``mine`` and ``theirs`` are its
    value before, the one that was refused (a counter: the difference), and the one that stands.
    """

    id: str
    number: int
    state: str
    code: str
    message: str
    field: str
    held_by: int
    at: int
    table: str
    key: str
    column: str
    base: Any
    mine: Any
    theirs: Any
    user: str
    device: str
    changes: tuple[dict[str, Any], ...]
    set_aside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StillHeld:
    """A held transaction that cannot go on: ``code`` is ``held`` (something else that it rests on
    still waits: ``held_by``), ``no_row`` (a row that it changes or refers to is not there) or
    ``constraint``."""

    number: int
    code: str
    message: str
    held_by: int = 0


def _plain(table: Table, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a change says of columns, as people read it in JSON."""
    columns = {name: table.by_name[name] for name in said}
    return {name: policy_of(columns[name]).show(columns[name], wire) for name, wire in said.items()}


def _shown(column: Column, value: Value) -> Any:
    """A stored value as people read it in JSON."""
    return policy_of(column).show(column, to_wire(column.type, value))


class Inbox:
    """Conflicts and refusals of one replica. Writing calls run inside ``write()``, the replica's
    own local transaction."""

    def __init__(self, database: LocalDatabase, connection: Connection | None = None) -> None:
        """``connection``: where it works; the app's own when none is given."""
        self._database = database
        self._connection = connection

    @property
    def connection(self) -> Connection:
        return self._connection or self._database.app

    @property
    def schema(self) -> Schema:
        return self._database.schema

    _db = connection

    def conflicts(self) -> list[Conflict]:
        """Open conflicts of all rows this replica may see, oldest first."""
        asking = self._asking()
        return [self._conflict(row, asking) for row in self._db.execute(CONFLICTS.open)]

    def _asking(self) -> Party:
        """Return who asks: the user and the device of this replica."""
        device, user = read_state(self._db, "device", "user")
        return Party(str(user or ""), str(device or ""))

    def _conflict(self, row: Row, asking: Party) -> Conflict:
        table = self._database.schema.by_name.get(str(row[1]))
        base, mine, theirs = (shown(table, str(row[3]), text) for text in row[5:8])
        user, device, their_user, their_device = (str(row[at]) for at in (8, 9, 11, 12))
        return Conflict(
            id=str(row[0]), table=str(row[1]), key=str(row[2]), column=str(row[3]),
            kind=str(row[4]), base=base, device_value=mine, server_value=theirs,
            yours=yours(Party(user, device), Party(their_user, their_device), asking),
            user=user, device=device, at=int(str(row[10])), their_user=their_user,
            their_device=their_device, their_at=row[13] if isinstance(row[13], int) else None,
        )  # fmt: skip

    def settle(
        self,
        conflict_id: str,
        *,
        keep: SideChoice | None,
        value: Any,
        now_us: int,
    ) -> None:
        """Settle a conflict: write the value and close the conflict row, in this transaction."""
        asking = self._asking()
        found = self._db.execute(CONFLICTS.open_item, (conflict_id,))
        if not found:
            raise UsageError(f"no open conflict has the id {conflict_id}", code="no_conflict")
        conflict = self._conflict(found[0], asking)
        side = None if keep is None else chosen_side(keep, *conflict.parties, asking)
        table = self._database.schema.by_name[conflict.table]
        if conflict.kind == "delete":
            if side is None:
                raise UsageError(
                    "this is about a whole row: keep a side of it (device or server); there is no "
                    "other value to set", code="bad_choice",
                )  # fmt: skip
            chosen = found[0][6 if side == "device" else 7]
        else:
            if side is None:
                new = given(table, conflict.column, value)
            else:
                wanted = conflict.device_value if side == "device" else conflict.server_value
                new = kept(table, conflict.column, wanted)
            chosen = choice_text(table, conflict.column, new)
            sets = ", ".join(f"{quote(name)} = ?" for name in new)
            self._db.execute(
                f"UPDATE {quote(table.name)} SET {sets} WHERE {key_match(table)}",
                (*new.values(), *key_values(table, conflict.key)),
            )
        self._db.execute(
            CONFLICTS.settle, (chosen, asking.user or asking.device, now_us, conflict_id)
        )

    # --- refused transactions -----------------------------------------------------------------

    def refused(self) -> list[Refused]:
        """Refused, held and set aside transactions, in order."""
        with reading(self._db):
            return self._refused()

    def _refused(self) -> list[Refused]:
        device, user = read_state(self._db, "device", "user")
        result = []
        for number, state, aside, code, message, field, held_by, at in self._db.execute(
            TRANSACTIONS.inbox
        ):
            changes = self._gone(int(str(number))) or [
                self._describe(table, row) for table, row in self.notes(int(str(number)))
            ]
            first: dict[str, Any] = changes[0] if changes else {"table": "", "key": ""}
            new = first.get("new", {})
            column = str(field) if field in new else next(iter(new), "")
            result.append(
                Refused(
                    id=str(number), number=int(str(number)),
                    state="held" if aside else str(state), set_aside=bool(aside), code=str(code),
                    message=str(message), field=str(field), held_by=int(str(held_by)),
                    at=int(str(at)), table=first["table"], key=first["key"], column=column,
                    base=first.get("old", {}).get(column), mine=new.get(column),
                    theirs=first.get("current", {}).get(column), user=str(user),
                    device=str(device), changes=tuple(changes),
                )
            )  # fmt: skip
        return result

    def _gone(self, number: int) -> list[dict[str, Any]]:
        """Return what was written into a column or table that is gone: numbers below 0."""
        if number >= 0:
            return []
        return [
            {"table": str(table), "key": str(key), "op": "gone", "current": {}, "old": {},
             "new": {str(name): json.loads(str(value))}}
            for table, key, name, value in self._db.execute(GONE.item, (number,))
        ]  # fmt: skip

    def notes(self, number: int) -> list[tuple[Table, Row]]:
        """The noted changes of a transaction, with their tables."""
        return [
            (self._database.schema.by_name[name], row)
            for name, statements in self._database.program.tables.items()
            for row in self._db.execute(statements.changes, (number, number))
        ]

    def _describe(self, table: Table, row: Row) -> dict[str, Any]:
        try:
            message = change_message(table, row)
        except BadValue as error:
            return {"table": table.name, "key": str(row[1]), "op": "", "error": error.message}
        current = self.overlay(table).visible(str(row[1]))
        return {
            "table": table.name,
            "key": str(row[1]),
            "op": message.op,
            "current": {}
            if current is None
            else {n: _shown(table.by_name[n], current[table.positions[n]]) for n in message.new},
            "new": _plain(table, message.new),
            "old": _plain(table, message.old),
        }

    def waiting(self, item: str) -> int:
        """The number of a refused or held transaction by its id. Raises ``UsageError``."""
        found = self._db.execute(TRANSACTIONS.inbox_item, (item,))
        if not found:
            raise UsageError(f"no refused change has the id {item}", code="no_refused")
        if found[0][1]:
            raise UsageError(
                f"change {item} is set aside until the server has decided about it: sync first",
                code="undecided",
            )
        return int(str(found[0][0]))

    def numbers(self) -> set[int]:
        """Return what is refused or held."""
        found = self._db.execute(TRANSACTIONS.stopped)
        return {int(str(number)) for (number,) in found}

    def held(self) -> list[tuple[int, list[int], str]]:
        """Held transactions, in order: number, what they rest on, and the code they wait with."""
        return [
            (int(str(number)), json.loads(str(after)), str(code))
            for number, after, code in self._db.execute(TRANSACTIONS.held)
        ]

    def note_held(self, kept: StillHeld) -> None:
        """Say why a held transaction stays; what it was held by is named until another is."""
        self._db.execute(
            TRANSACTIONS.set_held, (kept.code, kept.message, kept.held_by, kept.number)
        )

    def overlay(self, table: Table) -> Overlay:
        return Overlay(self._db, table, self._database.program.tables[table.name])

    def write_again(self, number: int) -> None:
        """Make the changes of a refused transaction once more, on the rows as they are now.

        Raises ``UsageError`` (``no_row``) for an update of a row that is not there: made as an
        insert, it would bring back columns that nobody chose, and count a counter twice where only
        this device does not have the row.
        """
        if number < 0:
            raise UsageError(
                f"change {number} was made to a column or table that is gone: write its value to "
                "where it belongs now, and discard it",
                code="gone",
            )
        rows: list[tuple[Overlay, str, Row | None]] = []
        for table, found in self.notes(number):
            note = CapturedChange.of(table, found)
            overlay = self.overlay(table)
            row = overlay.visible(note.key)
            if row is None and note.was and note.now:
                raise UsageError(
                    f"change {number} updates a row of {table.name} that is no longer on this "
                    f"device ({note.key}): discard it, or insert the row again",
                    code="no_row",
                )
            data = fold(table, data_of(table, row) if row else None, note)
            rows.append(
                (overlay, note.key, None if data is None else assemble(table, note.key, data))
            )
        try:
            with savepoint(self._db, "holdfast_again"):
                for overlay, key, again in rows:
                    overlay.write(key, again)
        except ConstraintFailed:
            # Unique values may change hands within the transaction; foreign keys wait for its end.
            for overlay, key, _ in rows:
                overlay.write(key, None)
            for overlay, key, again in rows:
                overlay.write(key, again)

    def forget(self, number: int) -> None:
        """Remove a refused or held transaction from the inbox."""
        for statements in self._database.program.tables.values():
            self._db.execute(statements.delete_group, (number,))
        self._db.execute(TRANSACTIONS.remove, (number,))
        if number < 0:
            self._db.execute(GONE.remove, (number,))
