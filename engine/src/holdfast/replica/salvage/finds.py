"""Work of a replica as it can be read in its damaged file, and what cannot be.

Knows: the engine's tables, and which of them say the same thing twice. Must not know: how a file is
read, or what becomes of the finds.

The outbox comes first: its list of transactions, and the changes of each. A transaction is a set
(I16): one of which a change is missing, or may be, is ``damaged``, and is for a person to decide.
The keys of changes stand in two indexes as well, so mostly it is known which are missing. What was
not sealed yet needs the rows as they are now, so those of the log's keys are looked for, too.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from holdfast.core.errors import BadValue, HoldfastError
from holdfast.core.keys import key_text, key_values, row_key
from holdfast.core.values import STORAGE, Value
from holdfast.replica.salvage.tables import RowValues, TableFinds, Tables
from holdfast.schema.model import Schema, Table
from holdfast.sql.replica import ReplicaProgram, compile_replica

_MAKES = re.compile(r'CREATE TABLE (?:IF NOT EXISTS )?"?(\w+)"?')
_STATES = ("pending", "sent", "acked", "refused", "held")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "TEXT": str, "INTEGER": int, "REAL": (float, int), "BLOB": bytes
}  # fmt: skip
"""What a column holds. SQLite keeps a whole number in a column of REAL as an integer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Something that could not be read: a change of a row, or a whole transaction. ``key``: empty
    when it is not known; ``number``: 0 when it has none yet; ``unsettled``: whether it may have had
    anything that was not settled."""

    table: str = ""
    key: str = ""
    number: int = 0
    unsettled: bool = True

    def __str__(self) -> str:
        what = f"{self.table} {self.key}".strip()
        return f"{what} (transaction {self.number})" if self.number else what


def in_words(losses: Iterable[Loss]) -> Iterator[str]:
    """Yield what is lost, each once; numbers that follow each other together."""
    numbers = sorted({loss.number for loss in losses if not loss.table})
    for _, run in itertools.groupby(enumerate(numbers), lambda one: one[1] - one[0]):
        found = [number for _, number in run]
        one = len(found) == 1
        yield f"transaction {found[0]}" if one else f"transactions {found[0]} to {found[-1]}"
    yield from dict.fromkeys(str(loss) for loss in losses if loss.table)


@dataclass(slots=True)
class Finds:
    """All that was found. ``damaged``: numbers of transactions that are not whole, and why."""

    schema: Schema
    state: RowValues
    transactions: dict[int, RowValues] = field(default_factory=dict)
    changes: dict[str, list[RowValues]] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)
    log: list[RowValues] = field(default_factory=list)
    log_damaged: bool = False
    """Whether notes of the log, or the rows that they need, are missing."""
    rows: dict[str, list[RowValues]] = field(default_factory=dict)
    """Rows as they are now, of the log's keys."""
    revisions: list[tuple[str, str, int]] = field(default_factory=list)
    kept: dict[str, TableFinds] = field(default_factory=dict)
    """Other tables that are carried over as they are, by name."""
    losses: list[Loss] = field(default_factory=list)


def read_finds(
    tables: Tables, schema: Schema | None, carried: Callable[[Schema], Iterable[str]]
) -> Finds | None:
    """All that can be read. ``schema``: for a file that does not say it any more; ``carried``: more
    tables to be read whole. None: no schema is known."""
    if schema is not None:
        tables.known = _known_tables(schema)
    found = tables.read("holdfast_state", _is_state)
    tables.settle_claims(lambda _name, _rows: True)
    states = [] if found is None else list(found.rows.values())
    state = states[0] if states else {}
    schema = _schema_of(state) or schema
    if schema is None:
        return None
    tables.known = _known_tables(schema)
    finds = Finds(schema=schema, state=state)
    reader = _Reader(tables, finds)
    reader.read()
    for name in carried(schema):
        table = tables.read(name, lambda _row: True, lost=False)
        if table is not None:
            finds.kept[name] = table
            if not table.whole:
                finds.losses.append(Loss(table=name, unsettled=False))
    return finds


def _schema_of(state: RowValues) -> Schema | None:
    text = state.get("schema")
    if not isinstance(text, str):
        return None
    try:
        schema = Schema.from_json(text)
    except HoldfastError:
        return None
    return schema if schema.fingerprint == state.get("fingerprint") else None


def _known_tables(schema: Schema) -> dict[str, str]:
    """Return the statements that make the tables of a replica, by name."""
    found = ((_MAKES.match(sql), sql) for sql in compile_replica(schema).create)
    return {match[1]: sql for match, sql in found if match is not None}


class _Reader:
    """Reads the tables of one replica into its finds."""

    def __init__(self, tables: Tables, finds: Finds) -> None:
        self._tables = tables
        self._finds = finds
        self._schema = finds.schema
        self._program: ReplicaProgram = compile_replica(finds.schema)

    def read(self) -> None:
        heads = self._tables.read("holdfast_tx", _is_head)
        changes = {table.name: self._changes(table) for table in self._schema.all_tables}
        log = self._log()
        self._tables.settle_claims(self._proves)
        for table in self._schema.all_tables:
            found = changes[table.name]
            if found is not None:
                rows = sorted(found.rows.items())
                self._finds.changes[table.name] = [row for _, row in rows]
        self._take_heads(heads)
        for table in self._schema.all_tables:
            found = changes[table.name]
            if found is not None and not found.whole:
                self._miss_changes(table, found)
        if log is not None:
            self._read_log(log)

    # --- transactions ---------------------------------------------------------------------------

    def _take_heads(self, heads: TableFinds | None) -> None:
        finds = self._finds
        if heads is not None:
            finds.transactions = {
                _int(row["number"]): row for row in heads.rows.values() if row["state"] != "acked"
            }
        acked = {
            _int(row["number"]) for row in (heads.rows.values() if heads else ())
            if row["state"] == "acked"
        }  # fmt: skip
        for rows in finds.changes.values():
            rows[:] = [row for row in rows if row["tx"] not in acked]
        noted = {_int(row["tx"]) for rows in finds.changes.values() for row in rows}
        for number in sorted(noted - finds.transactions.keys()):
            finds.damaged[number] = "what is known of it apart from its changes could not be read"
        if heads is not None and heads.whole:
            return
        if heads is None or "open_tx" not in finds.state:  # nobody knows how many there were
            finds.losses.append(Loss(table="holdfast_tx"))
            return
        confirmed = _int(finds.state.get("confirmed", 0))
        end = _int(finds.state.get("open_tx", 1))
        for before, behind in heads.holes:
            first = max(confirmed, before or 0) + 1
            for number in range(first, min(end, behind) if behind else end):
                if number not in finds.transactions and number not in noted and number not in acked:
                    finds.losses.append(Loss(number=number))

    def _changes(self, table: Table) -> TableFinds | None:
        kinds = [(_TYPES[STORAGE[column.type]], bytes) for column in table.data_columns]
        names = [column.name for column in table.data_columns]

        def fits(row: RowValues) -> bool:
            tx, key, was, now = (row.get(name) for name in ("tx", "key", "was", "now"))
            known = isinstance(tx, int) and tx > 0 and isinstance(key, str)
            if not known or was not in (0, 1) or now not in (0, 1):
                return False
            if not isinstance(row.get("base"), int) or not _is_bases(row.get("bases")):
                return False
            return _is_key(table, str(key)) and all(
                (value := row.get(f"{prefix}{name}")) is None or isinstance(value, kind)
                for prefix in ("o_", "n_")
                for name, kind in zip(names, kinds, strict=True)
            )

        return self._tables.read(f"holdfast_change_{table.name}", fits)

    def _proves(self, name: str, rows: dict[int, RowValues]) -> bool:
        """Return whether an index has the keys of rows that may be of several tables."""
        if not name.startswith("holdfast_change_"):
            return False
        keys = {
            rowid: (key, tx)
            for key, tx, rowid in self._keys(name.removeprefix("holdfast_change_"))[0]
        }
        return any(keys.get(rowid) == (row["key"], row["tx"]) for rowid, row in rows.items())

    def _keys(self, table: str) -> tuple[list[tuple[Value, Value, Value]], bool]:
        """Key, transaction and rowid of the changes, as an index has them."""
        found = self._tables.index(f"sqlite_autoindex_holdfast_change_{table}_1")
        if found is None:
            return [], False
        entries, whole = found
        return [(row[0], row[1], row[2]) for row in entries if len(row) == 3], whole

    def _miss_changes(self, table: Table, found: TableFinds) -> None:
        """Note which transactions lack changes of this table, or may."""
        finds = self._finds
        keys, whole = self._keys(table.name)
        by_tx = self._tables.index(f"holdfast_by_tx_{table.name}")
        missing: dict[int, tuple[int, str]] = {}
        for entry in by_tx[0] if by_tx is not None else ():
            if len(entry) == 2 and isinstance(entry[0], int) and isinstance(entry[1], int):
                missing[entry[1]] = (entry[0], "")
        for key, tx, rowid in keys:
            if isinstance(tx, int) and isinstance(rowid, int):
                missing[rowid] = (tx, str(key))
        for rowid, (number, key) in sorted(missing.items()):
            if rowid not in found.rows and (
                number in finds.transactions or number in finds.damaged
            ):
                finds.losses.append(Loss(table=table.name, key=key, number=number))
                what = f"its change of {table.name} {key}".strip()
                finds.damaged.setdefault(number, f"{what} could not be read")
        if whole or (by_tx is not None and by_tx[1]):
            return
        finds.losses.append(Loss(table=table.name))
        for before, behind in found.holes:
            first = _number_at(found, before, 0)
            last = _number_at(found, behind, 2**62)
            for number in finds.transactions:
                if first <= number <= last:
                    why = f"it may have had more changes of {table.name}, which could not be read"
                    finds.damaged.setdefault(number, why)

    # --- what is not sealed ---------------------------------------------------------------------

    def _log(self) -> TableFinds | None:
        by_name = self._schema.by_name

        def fits(row: RowValues) -> bool:
            return row.get("tbl") == "" or (row.get("tbl") in by_name and row.get("was") in (0, 1))

        return self._tables.read("holdfast_log", fits)

    def _read_log(self, found: TableFinds) -> None:
        finds, by_name = self._finds, self._schema.by_name
        finds.log = [row for _, row in sorted(found.rows.items())]
        finds.log_damaged = not found.whole
        if not found.whole:
            finds.losses.append(Loss(table="holdfast_log"))
        touched: dict[str, dict[str, list[RowValues]]] = {}
        for row in finds.log:
            if row["tbl"]:
                table = by_name[str(row["tbl"])]
                key = _log_key(table, row)
                touched.setdefault(table.name, {}).setdefault(key, []).append(row)
        if not touched:
            return
        for name, notes in touched.items():
            self._rows_now(by_name[name], notes)
        revisions = self._tables.read("holdfast_row", lambda row: isinstance(row.get("rev"), int))
        for row in revisions.rows.values() if revisions is not None else ():
            if str(row["key"]) in touched.get(str(row["tbl"]), {}):
                finds.revisions.append((str(row["tbl"]), str(row["key"]), _int(row["rev"])))

    def _rows_now(self, table: Table, notes: dict[str, list[RowValues]]) -> None:
        """The rows of the log's keys. Of one that cannot be read, the last group's change is lost:
        it counts as being what it was before that."""
        finds = self._finds
        kinds = [(column.name, _TYPES[STORAGE[column.type]]) for column in table.columns]

        def fits(row: RowValues) -> bool:
            return all(
                (value := row.get(name)) is None or isinstance(value, kind) for name, kind in kinds
            )

        found = self._tables.read(table.name, fits)
        self._tables.settle_claims(self._proves)
        rows: dict[str, RowValues] = {}
        for row in found.rows.values() if found is not None else ():
            values = tuple(row.get(name) for name in table.column_names)
            try:
                key = row_key(table, values)
            except (BadValue, ValueError, TypeError, AttributeError):
                continue
            if key in notes:
                rows[key] = dict(zip(table.column_names, values, strict=True))
        if found is None or not found.whole:
            present, whole = self._present(table)
            for key in notes.keys() - rows.keys():
                if whole and key not in present:
                    continue  # it is gone
                finds.log_damaged = True
                finds.losses.append(Loss(table=table.name, key=key))
                before = self._before_last_group(notes[key])
                if before["was"]:
                    places = [*table.key, *(column.name for column in table.data_columns)]
                    rows[key] = {name: before[f"c{n}"] for n, name in enumerate(places)}
        finds.rows[table.name] = list(rows.values())

    def _before_last_group(self, notes: list[RowValues]) -> RowValues:
        marks = [_int(row["seq"]) for row in self._finds.log if not row["tbl"]]
        last = _int(notes[-1]["seq"])
        begin = max((seq for seq in marks if seq < last), default=0)
        return next(note for note in notes if _int(note["seq"]) > begin)

    def _present(self, table: Table) -> tuple[set[str], bool]:
        """The keys of a table's rows, as the index of its key has them, and whether it is whole."""
        found = self._tables.index(f"sqlite_autoindex_{table.name}_1")
        if found is None:
            return set(), False
        keys = {key_text(table, entry[: len(table.key)]) for entry in found[0]}
        return keys, found[1]


def _is_state(row: RowValues) -> bool:
    numbers = all(isinstance(row.get(name), int) for name in ("format", "open_tx", "stamp_us"))
    return (
        numbers
        and row.get("applying") in (0, 1)
        and all(isinstance(row.get(name), str) for name in ("fingerprint", "device", "user"))
        and len(str(row["fingerprint"])) == 32
    )


def _is_head(row: RowValues) -> bool:
    try:
        after = json.loads(str(row.get("after")))
    except ValueError:
        return False
    return (
        row.get("state") in _STATES
        and isinstance(row.get("id"), str)
        and isinstance(row.get("at"), int)
        and isinstance(after, list)
        and all(isinstance(number, int) for number in after)
    )


def _is_bases(text: Value) -> bool:
    if text is None:
        return True
    try:
        return isinstance(text, str) and isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _is_key(table: Table, key: str) -> bool:
    try:
        return len(key_values(table, key)) == len(table.key)
    except (ValueError, BadValue):
        return "\\" in key  # one that was no text, as sealing spells it


def _log_key(table: Table, row: RowValues) -> str:
    return key_text(table, [row.get(f"c{place}") for place in range(len(table.key))])


def _number_at(found: TableFinds, rowid: int | None, else_: int) -> int:
    row = found.rows.get(rowid) if rowid is not None else None
    return else_ if row is None else _int(row["tx"])


def _int(value: Value) -> int:
    return value if isinstance(value, int) else 0
