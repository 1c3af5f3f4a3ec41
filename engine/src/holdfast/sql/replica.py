"""Compiles a schema to a *replica program*: all the SQL a replica needs, as data.

Knows: the layout of a replica's database. Must not know: when a statement is run.
The program is a JSON document; the Python and the browser replica run the same one, and a test
holds its statements to what SQLite 3.40 accepts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import msgspec

from holdfast.core.values import STORAGE
from holdfast.schema.model import ForeignKey, Schema, Table
from holdfast.sql import dependence, log
from holdfast.sql.bookkeeping.gone import CREATE_GONE
from holdfast.sql.bookkeeping.identity import (
    CREATE_EVENT,
    CREATE_KEPT,
    CREATE_KEPT_INDEX,
    STATE_COLUMNS,
)
from holdfast.sql.bookkeeping.statements import STATEMENTS, Bookkeeping
from holdfast.sql.bookkeeping.transactions import DECIDED, UNSETTLED
from holdfast.sql.capture import LOG, triggers
from holdfast.sql.changes import (
    create_change_table,
    create_makers_index,
    mend_texts,
    new_names,
    odd_texts,
    old_names,
)
from holdfast.sql.load import LOAD_ABOUT, LOAD_BEGIN, LOAD_END, LoadProgram, load_program
from holdfast.sql.migration.program import CREATE_ADDED, MigrationProgram, migration_program
from holdfast.sql.names import (
    change_table,
    key_match,
    literal,
    marks,
    names,
    quote,
    shadow_names,
    shadow_table,
)
from holdfast.sql.tables import create_indexes, create_table
from holdfast.sql.unfit import odd_rows

PROGRAM_FORMAT = 7
"""How a replica's file is laid out. A file of a format before it is made into one of it
when it is opened (``sql.migration``); one of any other is refused (``replica_format``)."""

_SEEN_STATE = f"CASE WHEN x.aside > 0 AND x.state IN {UNSETTLED} THEN 'held' ELSE x.state END"
_GIVEN = "(SELECT value FROM json_each(?))"
_RANK = (
    "CASE state WHEN 'conflict' THEN 5 WHEN 'refused' THEN 4 WHEN 'held' THEN 3 "
    "WHEN 'pending' THEN 2 WHEN 'sent' THEN 1 ELSE 0 END"
)

# What every write reads or sets comes first in ``holdfast_state``, and its long texts last: SQLite
# walks a row's pages up to the column it needs. ``holdfast_tx`` has no index of what is pending or
# sent: what is settled leaves the table, so a scan finds the unsettled at once, and each local
# commit writes one page less. Its ``aside`` is 0 for what is shown; an unsettled transaction that
# is set aside has there the number that the next one had at that moment: those from it on do not
# build on what they could not see. Why it is set aside is in ``code``, ``message``, ``field`` and
# ``held_by``, until the server decides.
_TX_INDEXES = (
    f"CREATE INDEX holdfast_tx_decided ON holdfast_tx (number) WHERE {DECIDED}",
    "CREATE INDEX holdfast_tx_aside ON holdfast_tx (number) WHERE aside > 0",
)
"""What is found past all that waits; a statement has to say the same condition, word for word."""
_IDENTITY = ",\n  ".join(STATE_COLUMNS)
BOOKKEEPING = (
    f"""CREATE TABLE holdfast_state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  applying INTEGER NOT NULL DEFAULT 0,
  open_tx INTEGER NOT NULL DEFAULT 1,
  stamp_us INTEGER NOT NULL DEFAULT 0,
  format INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,
  device TEXT NOT NULL DEFAULT '',
  user TEXT NOT NULL DEFAULT '',
  epoch TEXT NOT NULL DEFAULT '',
  nonce TEXT NOT NULL DEFAULT '',
  next_nonce TEXT NOT NULL DEFAULT '',
  confirmed INTEGER NOT NULL DEFAULT 0,
  offset_us INTEGER,
  offset_error_us INTEGER,
  verified_us INTEGER,
  mismatches INTEGER NOT NULL DEFAULT 0,
  server TEXT NOT NULL DEFAULT '',
  token_file TEXT NOT NULL DEFAULT '',
  sync_request INTEGER NOT NULL DEFAULT 0,
  server_generation INTEGER,
  generation INTEGER NOT NULL DEFAULT 1,
  {_IDENTITY},
  session TEXT NOT NULL DEFAULT '{{}}',
  capture TEXT NOT NULL DEFAULT '',
  schema TEXT NOT NULL
) STRICT""",
    """CREATE TABLE holdfast_tx (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'acked', 'refused', 'held')),
  at INTEGER NOT NULL,
  after TEXT NOT NULL DEFAULT '[]',
  replaces INTEGER NOT NULL DEFAULT 0,
  void TEXT NOT NULL DEFAULT '',
  code TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  field TEXT NOT NULL DEFAULT '',
  held_by INTEGER NOT NULL DEFAULT 0,
  decided_us INTEGER,
  aside INTEGER NOT NULL DEFAULT 0,
  loose INTEGER NOT NULL DEFAULT 0,
  generation INTEGER NOT NULL DEFAULT 1,
  first TEXT NOT NULL DEFAULT ''
) STRICT""",
    *_TX_INDEXES,
    CREATE_KEPT,
    CREATE_KEPT_INDEX,
    CREATE_EVENT,
    "CREATE TABLE holdfast_noted (tbl TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    CREATE_ADDED,
    CREATE_GONE,
    """CREATE TABLE holdfast_row (
  tbl TEXT NOT NULL, key TEXT NOT NULL, rev INTEGER NOT NULL,
  PRIMARY KEY (tbl, key)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE holdfast_member (
  scope TEXT NOT NULL, tbl TEXT NOT NULL, key TEXT NOT NULL, hash BLOB NOT NULL,
  PRIMARY KEY (scope, tbl, key)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX holdfast_member_row ON holdfast_member (tbl, key)",
    """CREATE TABLE holdfast_scope (
  scope TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  seal TEXT NOT NULL,
  server_count INTEGER NOT NULL,
  server_digest TEXT NOT NULL,
  count INTEGER NOT NULL,
  digest TEXT NOT NULL,
  hash_key BLOB NOT NULL,
  writable INTEGER NOT NULL,
  told INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID""",
)


class Reference(msgspec.Struct, frozen=True):
    """A foreign key: ``columns`` refer to the key of ``table``."""

    columns: tuple[str, ...]
    table: str
    children: str
    """Keys of the rows that refer to a parent (parameters: the parent's key)."""


class TableProgram(msgspec.Struct, frozen=True):
    """The statements of one table. Rows are all columns in declared order; keys in key order."""

    name: str
    select_row: str
    select_rows: str
    """Rows by a JSON array of their keys' texts; empty for keys of several columns or of bytes."""
    upsert_row: str
    delete_row: str
    all_rows: str
    colliding: tuple[str, ...]
    """For each unique key: keys of other rows with the same values (parameters: values, then
    key)."""
    fold: str
    """Make the log's notes of this table into notes of the outbox."""
    log_weight: str
    """At most how many bytes the notes after a place in the log have as a message; and 1 where
    ``odd_rows`` has something for the host to look at."""
    odd_rows: str
    """Of the notes after a place in the log, those of which a value may not be fit to be sent
    (``sql.unfit``): 1 where not only bytes may be wrong, then texts as bytes, of the key first."""
    log_keys: str
    """Keys of the rows that the log has notes of."""
    odd_texts: str
    """Rowid, group and bytes of the texts of the groups from ? on that may not be UTF-8."""
    mend_texts: str
    """Keep texts that are not UTF-8 as bytes: another key or NULL, a flag for each, and the
    rowid."""
    groups: str
    """The groups from ? on that have changes of this table."""
    renumber: str
    """Give a group another number: the new one, the old one."""
    move: str
    """Move the note of a key to another group: the new number, the old one, the key."""
    chained: str
    """The noted changes of the groups from ? on, by key and in order, of rows that have earlier
    changes than those; the row's revision, then columns as in ``changes``."""
    earlier: str
    """The changes of a key before a group, the last one first, so many: columns as in
    ``chained``."""
    makers: str
    """The groups before a group that inserted or deleted the row of a key, the last one first."""
    made: tuple[str, ...]
    """For each foreign key: pairs of changes, of which one makes a reference to what the other
    inserts (``sql.dependence``)."""
    released: tuple[str, ...]
    """For each foreign key: pairs of changes, of which one deletes a row of the parent's table that
    the other no longer refers to."""
    freed: tuple[str, ...]
    """For each unique key: pairs of changes, of which one takes a value that the other gave up."""
    set_bases: str
    put_change: str
    """Put a change back that had left: columns as in ``changes``."""
    changes: str
    """Changes of groups from ? to ?: tx, key, was, now, base, bases, old values, new values."""
    counts: str
    """How many changes of the table each group from ? to ? has."""
    all_key_changes: str
    """All noted changes of one key, settled or not, in order; columns as in ``changes``."""
    key_changes: str
    """Unsettled changes of one key, in order; columns as in ``changes``."""
    touched_keys: str
    """Group and key of the changes of groups from ? to ?, in order."""
    unsettled_keys: str
    """Keys with unsettled changes."""
    unsettled_among: str
    """Those of some keys that have unsettled changes (parameter: a JSON array)."""
    deleted_keys: str
    """Keys that unsettled transactions, none of them set aside, delete."""
    aside_keys: str
    """Keys of unsettled transactions that are set aside."""
    unplain_keys: str
    """Keys of which some change is set aside, refused, or held: what the table shows is not the
    server's row with all noted changes."""
    references: tuple[Reference, ...]
    """The foreign keys that are enforced on a replica."""
    noted: str
    """Whether there are changes or shadows of the table."""
    count_changes: str
    """How many changes the groups from ? on have: all, which SQLite counts by pages, without those
    before, which are few."""
    row_state: str
    """How one row stands (parameter: its key); no row: nobody knows it."""
    delete_group: str
    delete_acked: str
    """Remove the changes of acknowledged groups from ? to ?."""
    select_shadow: str
    put_shadow: str
    delete_shadow: str
    shadow_keys: str
    """Keys with shadows."""
    shadows_among: str
    """Those of some keys that have shadows (parameter: a JSON array)."""
    load: LoadProgram
    """How a snapshot file is looked at and imported."""


class ReplicaProgram(msgspec.Struct, frozen=True):
    """Everything a host needs to run a replica of this schema."""

    format: int
    fingerprint: str
    schema: Schema
    """What the statements were compiled from: a host needs the types of columns too."""
    engine_tables: tuple[Table, ...]
    """The engine's own synced tables, which come after those of the schema."""
    create: tuple[str, ...]
    triggers: dict[str, str]
    views: dict[str, str]
    local: tuple[str, ...]
    mark: str
    """End the open group, if there is one: parameters are its time, and 1 when other programs wrote
    it; the log's length."""
    marks: str
    """Where groups end in the log, when, whether other programs wrote them, and the salt of each
    one's last note."""
    log_tables: str
    """The tables that the log has notes of."""
    log_tables_after: str
    """The same, after a place in it."""
    log_last: str
    """The log's last entry: its place, table ('': a mark) and salt."""
    empty_log: str
    noted_tables: str
    """The tables that may have changes or shadows: they had some at the last exchange, or since."""
    add_noted: str
    drop_noted: str
    open_groups: str
    """How many groups of the log have a net change."""
    first_logged: str
    """When the first group that ends in the log was written; NULL: none does."""
    count_logged: str
    """How many net changes the log holds."""
    load_begin: tuple[str, ...]
    """Before a table of a snapshot file is imported into one that is not empty."""
    load_end: tuple[str, ...]
    """And after it."""
    load_about: str
    """What a snapshot file says of itself."""
    bookkeeping: Bookkeeping
    """The statements on the engine's own tables."""
    migration: MigrationProgram
    """How a file of an older generation, or format, is made into one of this program."""
    tables: dict[str, TableProgram]


def enforced_on_replica(schema: Schema, table: Table, key: ForeignKey) -> bool:
    """A replica enforces a foreign key only where the parent's scopes cover the child's."""
    return set(table.scopes) <= set(schema.by_name[key.table].scopes)


def _shadow(table: Table) -> str:
    data = "".join(f", {quote(name)} ANY" for name in shadow_names(table))
    return (
        f"CREATE TABLE {shadow_table(table)} "
        f"(key TEXT PRIMARY KEY, present INTEGER NOT NULL{data}) STRICT, WITHOUT ROWID"
    )


def _change_columns(table: Table, prefix: str = "") -> str:
    fixed = ("tx", "key", "was", "now", "base", "bases")
    return names((*fixed, *old_names(table), *new_names(table)), prefix)


def _select_rows(table: Table) -> str:
    if len(table.key) > 1 or STORAGE[table.key_columns[0].type] == "BLOB":
        return ""
    return (
        f"SELECT {names(table.column_names, 't.')} FROM json_each(?) AS j "
        f"CROSS JOIN {quote(table.name)} AS t ON t.{quote(table.key[0])} = j.value"
    )


def _table_program(schema: Schema, table: Table) -> TableProgram:
    own, change, shadow = quote(table.name), change_table(table), shadow_table(table)
    shadowed = names(shadow_names(table))
    columns = names(table.column_names)
    data = [column.name for column in table.data_columns]
    comma = ", " if data else ""
    updates = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in data)
    insert = f"INSERT INTO {own} ({columns}) VALUES ({marks(len(table.columns))})"
    unsettled = f"JOIN holdfast_tx AS x ON x.number = c.tx AND x.state IN {UNSETTLED}"
    references = [(schema.by_name[key.table], table, key) for key in table.foreign_keys]
    freed = (dependence.freed(table, unique) for unique in table.unique)
    return TableProgram(
        name=table.name,
        select_row=f"SELECT {columns} FROM {own} WHERE {key_match(table)}",
        select_rows=_select_rows(table),
        upsert_row=f"{insert} ON CONFLICT ({names(table.key)}) DO "
        + (f"UPDATE SET {updates}" if data else "NOTHING"),
        delete_row=f"DELETE FROM {own} WHERE {key_match(table)}",
        all_rows=f"SELECT {columns} FROM {own}",
        colliding=tuple(
            f"SELECT {names(table.key)} FROM {own} WHERE "
            + " AND ".join(f"{quote(name)} = ?" for name in unique)
            + f" AND NOT ({key_match(table)})"
            for unique in table.unique
        ),
        fold=log.fold(table),
        log_weight=log.weight(table),
        odd_rows=odd_rows(table),
        log_keys=log.log_keys(table),
        odd_texts=odd_texts(table),
        mend_texts=mend_texts(table),
        groups=f"SELECT DISTINCT tx FROM {change} WHERE tx >= ?",
        renumber=f"UPDATE {change} SET tx = ? WHERE tx = ?",
        move=f"UPDATE {change} SET tx = ? WHERE tx = ? AND key = ?",
        chained="SELECT coalesce((SELECT rev FROM holdfast_row AS r "
        f"WHERE r.tbl = '{table.name}' AND r.key = c.key), 0), {_change_columns(table, 'c.')} "
        f"FROM {change} AS c WHERE c.tx >= ?1 AND c.key IN (SELECT n.key FROM {change} AS n "
        f"WHERE n.tx >= ?1 AND EXISTS (SELECT 1 FROM {change} AS p "
        "WHERE p.key = n.key AND p.tx < n.tx)) ORDER BY c.key, c.tx",
        earlier="SELECT coalesce((SELECT rev FROM holdfast_row AS r "
        f"WHERE r.tbl = '{table.name}' AND r.key = c.key), 0), {_change_columns(table, 'c.')} "
        f"FROM {change} AS c WHERE c.key = ? AND c.tx < ? ORDER BY c.tx DESC LIMIT ?",
        makers=f"SELECT tx FROM {change} WHERE key = ? AND was <> now AND tx < ? ORDER BY tx DESC",
        made=tuple(dependence.made(*one) for one in references),
        released=tuple(dependence.released(*one) for one in references),
        freed=tuple(sql for sql in freed if sql),
        set_bases=f"UPDATE {change} SET bases = ?, base = coalesce((SELECT rev FROM holdfast_row "
        f"WHERE tbl = '{table.name}' AND key = {change}.key), 0) WHERE tx = ? AND key = ?",
        put_change=f"INSERT INTO {change} ({_change_columns(table)}) "
        f"VALUES ({marks(6 + 2 * len(data))})",
        changes=f"SELECT {_change_columns(table)} FROM {change} WHERE tx BETWEEN ? AND ? "
        "ORDER BY tx, rowid",
        all_key_changes=f"SELECT {_change_columns(table)} FROM {change} WHERE key = ? ORDER BY tx",
        counts=f"SELECT tx, count(*) FROM {change} WHERE tx BETWEEN ? AND ? GROUP BY tx",
        key_changes=f"SELECT {_change_columns(table, 'c.')} FROM {change} AS c {unsettled} "
        "WHERE c.key = ? ORDER BY c.tx",
        touched_keys=f"SELECT tx, key FROM {change} WHERE tx BETWEEN ? AND ? ORDER BY tx",
        unsettled_keys=f"SELECT c.key FROM {change} AS c {unsettled}",
        unsettled_among=f"SELECT c.key FROM {change} AS c {unsettled} WHERE c.key IN {_GIVEN}",
        deleted_keys=f"SELECT DISTINCT c.key FROM {change} AS c {unsettled} AND x.aside = 0 "
        "WHERE c.now = 0",
        aside_keys=f"SELECT DISTINCT c.key FROM holdfast_tx AS x CROSS JOIN {change} AS c "
        f"ON c.tx = x.number WHERE x.aside > 0 AND x.state IN {UNSETTLED}",
        unplain_keys=f"SELECT c.key FROM holdfast_tx AS x CROSS JOIN {change} AS c "
        "ON c.tx = x.number WHERE x.aside > 0 UNION "
        f"SELECT c.key FROM holdfast_tx AS x CROSS JOIN {change} AS c ON c.tx = x.number "
        f"WHERE x.state IN ('refused', 'held') AND x.{DECIDED}",
        references=tuple(
            Reference(
                columns=foreign.columns,
                table=foreign.table,
                children=f"SELECT {names(table.key)} FROM {own} WHERE "
                + " AND ".join(f"{quote(name)} = ?" for name in foreign.columns),
            )
            for foreign in table.foreign_keys
            if enforced_on_replica(schema, table, foreign)
        ),
        noted=f"SELECT EXISTS (SELECT 1 FROM {change}) OR EXISTS (SELECT 1 FROM {shadow})",
        count_changes=f"SELECT (SELECT count(*) FROM {change}) - "
        f"(SELECT count(*) FROM {change} WHERE tx < ?)",
        row_state=_row_state(table),
        delete_group=f"DELETE FROM {change} WHERE tx = ?",
        delete_acked=f"DELETE FROM {change} WHERE tx IN "
        "(SELECT number FROM holdfast_tx WHERE state = 'acked' AND number BETWEEN ? AND ?)",
        select_shadow=f"SELECT present{comma}{shadowed} FROM {shadow} WHERE key = ?",
        put_shadow=f"INSERT OR REPLACE INTO {shadow} (key, present{comma}{shadowed}) "
        f"VALUES ({marks(2 + len(data))})",
        delete_shadow=f"DELETE FROM {shadow} WHERE key = ?",
        shadow_keys=f"SELECT key FROM {shadow}",
        shadows_among=f"SELECT key FROM {shadow} WHERE key IN {_GIVEN}",
        load=load_program(table),
    )


def _row_state(table: Table) -> str:
    """As the view ``holdfast_row_status`` says of one row, without looking at any other.

    The log is asked only when there is something in it: a view of it reads it from end to end.
    """
    own = literal(table.name)
    return (
        f"SELECT state FROM (SELECT {_SEEN_STATE} AS state FROM {change_table(table)} AS c "
        "CROSS JOIN holdfast_tx AS x ON x.number = c.tx WHERE c.key = ?1 "
        "UNION ALL SELECT 'conflict' FROM holdfast_conflict WHERE state = 'open' "
        f"AND table_name = {own} AND row_key = ?1 "
        f"UNION ALL SELECT 'synced' FROM holdfast_row WHERE tbl = {own} AND key = ?1 "
        f"UNION ALL SELECT 'pending' WHERE EXISTS (SELECT 1 FROM {LOG}) AND EXISTS "
        f"(SELECT 1 FROM {log.LOG_VIEW} WHERE tbl = {own} AND key = ?1)) "
        f"ORDER BY {_RANK} DESC LIMIT 1"
    )


def _views(schema: Schema) -> dict[str, str]:
    """Return what people and UIs ask: ``holdfast_pending``, ``holdfast_row_status``,
    ``holdfast_inbox``."""
    kind = (
        "CASE WHEN c.was = 1 AND c.now = 0 THEN 'delete' WHEN c.was = 1 THEN 'update' "
        "ELSE 'insert' END"
    )
    noted = " UNION ALL ".join(
        f"SELECT c.tx, {literal(table.name)} AS tbl, c.key, {kind} AS kind, "
        f"{_SEEN_STATE} AS state "
        f"FROM {change_table(table)} AS c JOIN holdfast_tx AS x ON x.number = c.tx"
        for table in schema.all_tables
    )
    noted += " UNION ALL SELECT number, tbl, key, 'update', 'refused' FROM holdfast_gone"
    logged = f"SELECT tx, tbl, key, {kind} AS kind, 'pending' FROM {log.LOG_VIEW} AS c"
    changes = f"{noted} UNION ALL {logged}"
    return {
        log.LOG_VIEW: log.create_log_view(schema),
        "holdfast_pending": "CREATE VIEW holdfast_pending AS "
        f"SELECT tx, tbl, key, kind, state FROM ({changes}) "
        "WHERE state IN ('pending', 'sent', 'held')",
        "holdfast_row_status": "CREATE VIEW holdfast_row_status AS "
        f"SELECT tbl, key, state FROM (SELECT tbl, key, state, max({_RANK}) FROM ("
        f"SELECT tbl, key, state FROM ({changes}) "
        "UNION ALL SELECT table_name, row_key, 'conflict' FROM holdfast_conflict "
        "WHERE state = 'open' "
        "UNION ALL SELECT tbl, key, 'synced' FROM holdfast_row) GROUP BY tbl, key)",
        "holdfast_inbox": "CREATE VIEW holdfast_inbox AS "
        "SELECT 'conflict' AS kind, id, table_name AS tbl, row_key AS key, column_name AS field, "
        "'' AS code, '' AS message, at FROM holdfast_conflict WHERE state = 'open' "
        f"UNION ALL SELECT {_SEEN_STATE}, CAST(x.number AS TEXT), c.tbl, c.key, x.field, x.code, "
        f"x.message, coalesce(x.decided_us, x.at) FROM holdfast_tx AS x LEFT JOIN ({noted}) AS c "
        "ON c.tx = x.number WHERE x.state IN ('refused', 'held') OR x.aside > 0",
    }


def _create(schema: Schema, table: Table) -> Iterator[str]:
    """Yield what makes all that belongs to a table, the table first."""

    def enforced(key: ForeignKey) -> bool:
        return enforced_on_replica(schema, table, key)

    yield create_table(table, enforced=enforced)
    yield from create_indexes(table)
    yield from create_change_table(table)
    yield create_makers_index(table)
    yield from dependence.create_freed_indexes(table)
    yield _shadow(table)


@functools.lru_cache(maxsize=32)
def _compile(schema_json: bytes) -> ReplicaProgram:
    schema = Schema.from_json(schema_json)
    create: list[str] = [*BOOKKEEPING, log.create_log(schema)]
    writes = log.notes(schema)
    parts = {table.name: tuple(_create(schema, table)) for table in schema.all_tables}
    for statements in parts.values():
        create += statements
    return ReplicaProgram(
        format=PROGRAM_FORMAT,
        fingerprint=schema.fingerprint,
        schema=schema,
        engine_tables=schema.all_tables[len(schema.tables) :],
        create=tuple(create),
        triggers={
            "holdfast_log_sealed": log.GUARD,
            **{
                name: sql
                for table in schema.all_tables
                for name, sql in triggers(table, schema.fingerprint, writes).items()
            },
        },
        views=_views(schema),
        local=schema.local,
        mark=log.MARK,
        marks=log.MARKS,
        log_tables=log.TABLES,
        log_tables_after=log.TABLES_AFTER,
        log_last=log.LAST,
        empty_log=log.EMPTY,
        noted_tables="SELECT tbl FROM holdfast_noted",
        add_noted="INSERT OR IGNORE INTO holdfast_noted (tbl) VALUES (?)",
        drop_noted="DELETE FROM holdfast_noted WHERE tbl = ?",
        open_groups=log.GROUPS,
        first_logged=log.FIRST,
        count_logged=log.COUNT,
        load_begin=LOAD_BEGIN,
        load_end=LOAD_END,
        load_about=LOAD_ABOUT,
        bookkeeping=STATEMENTS,
        migration=migration_program(
            schema, parts, lambda table, key: enforced_on_replica(schema, table, key)
        ),
        tables={table.name: _table_program(schema, table) for table in schema.all_tables},
    )


def compile_replica(schema: Schema) -> ReplicaProgram:
    """The replica program of a schema."""
    return _compile(schema.to_json())
