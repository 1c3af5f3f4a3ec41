"""The steps of a growth that touch what PostgreSQL holds already: fills, checks, other shapes.

Knows: tables of a database, within the transaction that makes it grow. Must not know: which steps a
schema takes. Tables are locked by then: nobody writes a row that a fill would overwrite. A table
of another shape is altered where it stands, so that what others have granted and made on it stays.
Fills and conversions are worked out by SQLite, as everywhere. When a step raises, the transaction
is undone: nothing was changed.

Upholds I12: the digests of scopes lose what a table that goes had in them; what has another hash is
hashed page by page after this, as after any growth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec
import psycopg

from holdfast.core.digest import Digest
from holdfast.core.errors import BadValue, SchemaError
from holdfast.core.keys import row_key
from holdfast.core.limits import CHECK_BITE_ROWS
from holdfast.core.values import Value, check
from holdfast.schema.lineage import Lineage, TableLineage
from holdfast.schema.model import CONFLICT_TABLE, Check, Column, Schema, Table
from holdfast.server.store.filling import (
    Fills,
    bad_fill,
    fills_of,
    reshaped_image,
    reshaped_row,
    reshaped_stamps,
)
from holdfast.server.store.growth import changed_checks
from holdfast.server.store.postgres.reads import PostgresConnection
from holdfast.sql.migration.conflicts import concerns, conflict_of
from holdfast.sql.migration.in_the_way import ConstraintSql, rows_in_the_way, stopped_by
from holdfast.sql.names import names, quote
from holdfast.sql.postgres.capture import key_function, note_function, triggers
from holdfast.sql.postgres.statements import column_array
from holdfast.sql.postgres.tables import (
    STORAGE,
    added_column_sql,
    check_name,
    check_sql,
    column_condition,
    create_keys,
    declared_check,
    key_size,
    key_sql,
    literal,
    unique_name,
)
from holdfast.sqlite.failpoints import failpoint

DIALECT = ConstraintSql(declared_check, key_sql, None)
_OF_TABLES = (
    "holdfast_row", "holdfast_feed", "holdfast_journal", "holdfast_journal_scope", "holdfast_dirty",
)  # fmt: skip
_OURS = (
    "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(quote_ident(current_schema()) "
    "|| '.' || quote_ident($1)) AND (conname LIKE 'holdfast%' OR contype = 'c')"
)


def lock(db: PostgresConnection, way: Lineage) -> None:
    """Have the tables that get another shape to oneself, before anything is written that a push
    needs which has them: it ends first, then."""
    tables = {table.name for table in (*way.gone, *(one.old for one in way.reshaped))}
    tables |= {
        one.old.name
        for one in way.tables.values()
        if one.added or any(changed_checks(one.old, one.new))
    }
    if tables:
        db.execute(f"LOCK TABLE {names(sorted(tables))} IN ACCESS EXCLUSIVE MODE")


def note_growth(db: PostgresConnection, old: Schema, new: Schema) -> None:
    """Keep what the older generation sees at the heads of scopes."""
    number = str(old.generation)
    db.execute(
        "UPDATE holdfast_scope SET older = (older::jsonb || "
        "jsonb_build_object($1::text, jsonb_build_array(count, digest)))::text",
        (number,),
    )
    db.execute(
        "UPDATE holdfast_commit AS c SET generation = $2, older = (c.older::jsonb || "
        "jsonb_build_object($1::text, jsonb_build_array(c.count, c.digest)))::text "
        "FROM holdfast_scope AS s WHERE c.scope = s.scope AND c.version = s.head",
        (number, new.generation),
    )


def keep_generation(db: PostgresConnection, schema: Schema) -> None:
    """Remember a generation of the schema that this database has."""
    db.execute(
        "INSERT INTO holdfast_generation (generation, fingerprint, schema) VALUES ($1, $2, $3) "
        "ON CONFLICT DO NOTHING",
        (schema.generation, schema.fingerprint, schema.to_json().decode()),
    )


def kept_generations(db: PostgresConnection, schema: Schema) -> list[Schema]:
    """Return the generations that came before, oldest first."""
    rows = db.execute(
        "SELECT schema FROM holdfast_generation WHERE kept AND generation < $1 ORDER BY generation",
        (schema.generation,),
    ).fetchall()
    return [Schema.from_json(old) for (old,) in rows]


def set_checks(
    db: PostgresConnection, table: Table, gone: Sequence[Check], come: Sequence[Check]
) -> None:
    """Take away checks of a table, and give it looser ones."""
    steps = [f"DROP CONSTRAINT {quote(check_name(table, check))}" for check in gone]
    steps += [f"ADD {check_sql(table, check)}" for check in come]
    if steps:
        db.execute(f"ALTER TABLE {quote(table.name)} {', '.join(steps)}")


def fill(db: PostgresConnection, table: Table, added: Sequence[Column]) -> None:
    """Give all rows of a table their fills, page by page; the columns have their defaults. Raises
    ``SchemaError`` (``bad_fill``) that names the row."""
    fills = fills_of(table, added)
    if not fills.columns:
        return
    order, values = names(table.key), names(table.column_names)
    after: list[Value] = []
    marks = ", ".join(f"${number}" for number in range(1, len(table.key) + 1))
    while True:
        where = f"WHERE ({order}) > ({marks})" if after else ""
        page = db.execute(
            f"SELECT {values} FROM {quote(table.name)} {where} ORDER BY {order} "
            f"LIMIT {CHECK_BITE_ROWS}",
            after,
        ).fetchall()
        if page:
            _put_fills(db, fills, page)
            after = [page[-1][place] for place in table.key_positions]
        if len(page) < CHECK_BITE_ROWS:
            db.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
            return  # nothing is left that would be in the way of another step


def _put_fills(db: PostgresConnection, fills: Fills, page: Sequence[tuple[Value, ...]]) -> None:
    table = fills.table
    rows = []
    for row in page:
        try:
            rows.append(fills.of(row))
        except BadValue as error:
            why = f"row {row_key(table, row)!r}: {error.message}"
            raise bad_fill(table, str(error.detail["column"]), why) from None
    columns = [*table.key_columns, *fills.columns]
    arrays = ", ".join(f"${n}::{STORAGE[c.type]}[]" for n, c in enumerate(columns, start=1))
    label = names(f"c{number}" for number in range(len(columns)))
    keys = len(table.key)
    on = " AND ".join(f't.{quote(name)} = j."c{n}"' for n, name in enumerate(table.key))
    sets = ", ".join(
        f'{quote(column.name)} = j."c{n}"' for n, column in enumerate(fills.columns, start=keys)
    )
    source = f"unnest({arrays}) AS j({label})"
    db.execute(
        f"UPDATE {quote(table.name)} AS t SET {sets} FROM {source} WHERE {on}",
        [column_array(c, [row[table.positions[c.name]] for row in rows]) for c in columns],
    )


# Declared steps


def reshape(db: PostgresConnection, way: Lineage) -> list[str]:
    """Take the declared steps; the tables whose rows are to be hashed anew. Raises ``SchemaError``
    (``rows_in_the_way``, ``schema_mismatch``), and then nothing may be committed."""
    if not way.declared:
        return []
    changed = _conflicts(db, way)
    for old in (*way.gone, *(one.old for one in way.reshaped)):
        _strip(db, old)
    for table in way.gone:
        _forget(db, table)
        db.execute(f"DROP TABLE {quote(table.name)}")
    _rename_books(db, way)
    moved = [one for one in way.reshaped if one.old.name != one.new.name]
    for number, one in enumerate(moved):
        db.execute(f"ALTER TABLE {quote(one.old.name)} RENAME TO holdfast_made_{number}")
    for number, one in enumerate(moved):
        db.execute(f"ALTER TABLE holdfast_made_{number} RENAME TO {quote(one.new.name)}")
    for one in way.reshaped:
        _columns(db, one)
    failpoint("grow.reshaped")

    def run(sql: str) -> list[tuple[Value, ...]]:
        return db.execute(sql).fetchall()

    stopped = stopped_by("the database", rows_in_the_way(run, DIALECT, way, taken=True))
    if stopped is not None:
        raise stopped
    for one in way.reshaped:
        _constraints(db, one)
    return [*changed, *(one.new.name for one in way.reshaped)]


def put_keys(db: PostgresConnection, way: Lineage) -> None:
    """Give the reshaped tables their foreign keys, when all tables are there."""
    for one in way.reshaped:
        for sql in create_keys(one.new):
            db.execute(sql)


def _strip(db: PostgresConnection, table: Table) -> None:
    """Take away our own constraints, triggers and functions: they are made anew."""
    for name in triggers(table):
        db.execute(f"DROP TRIGGER IF EXISTS {name} ON {quote(table.name)}")
    for function in (note_function(table), key_function(table)):
        db.execute(f"DROP FUNCTION IF EXISTS {quote(function)}()")
    ours = [str(name) for (name,) in db.execute(_OURS, (table.name,)).fetchall()]
    for name in sorted(ours, key=lambda name: not name.startswith("holdfast_fk")):
        try:
            with db.transaction():
                db.execute(
                    f"ALTER TABLE {quote(table.name)} DROP CONSTRAINT IF EXISTS {quote(name)}"
                )
        except psycopg.Error as error:
            raise _clings(table.name, error) from None
    for (name,) in db.execute(
        "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = $1 "
        "AND indexname LIKE 'holdfast_fk_%'",
        (table.name,),
    ).fetchall():
        db.execute(f"DROP INDEX {quote(name)}")


def _clings(table: str, error: psycopg.Error) -> SchemaError:
    return SchemaError(
        f"the database: something of somebody else needs what goes from {table}: "
        f"{error.diag.message_primary or error}. Drop it, start again, and create it "
        "afterwards; nothing was changed",
        code="schema_mismatch",
    )


# Columns


def _columns(db: PostgresConnection, table: TableLineage) -> None:
    """Give the table its columns: converted, renamed, added, or gone."""
    new, name = table.new, quote(table.new.name)
    try:
        with db.transaction():
            if table.converted:
                _convert(db, table)
            for column in table.gone:
                db.execute(f"ALTER TABLE {name} DROP COLUMN {quote(column.name)}")
            moved = [
                (old, now)
                for now, old in table.columns.items()
                if old != now and now not in table.converted
            ]
            for number, (old, _) in enumerate(moved):
                db.execute(
                    f"ALTER TABLE {name} RENAME COLUMN {quote(old)} TO holdfast_moved_{number}"
                )
            for number, (_, now) in enumerate(moved):
                db.execute(
                    f"ALTER TABLE {name} RENAME COLUMN holdfast_moved_{number} TO {quote(now)}"
                )
            for number, made in enumerate(_converted(table)):
                db.execute(f"ALTER TABLE {name} DROP COLUMN {quote(table.columns[made.name])}")
                db.execute(
                    f"ALTER TABLE {name} RENAME COLUMN holdfast_new_{number} TO {quote(made.name)}"
                )
            for column in table.added:
                db.execute(f"ALTER TABLE {name} ADD COLUMN {added_column_sql(new, column)}")
    except psycopg.Error as error:
        raise _clings(new.name, error) from None


def _converted(table: TableLineage) -> list[Column]:
    return [column for column in table.new.columns if column.name in table.converted]


def _convert(db: PostgresConnection, table: TableLineage) -> None:
    """Work out the converted columns, page by page, under names of their own."""
    old, name = table.old, quote(table.new.name)
    made = _converted(table)
    for number, column in enumerate(made):
        kind = STORAGE[column.type] + (' COLLATE "C"' if STORAGE[column.type] == "text" else "")
        db.execute(f"ALTER TABLE {name} ADD COLUMN holdfast_new_{number} {kind}")
    order, values = names(old.key), names(old.column_names)
    marks = ", ".join(f"${number}" for number in range(1, len(old.key) + 1))
    after: list[Value] = []
    while True:
        where = f"WHERE ({order}) > ({marks})" if after else ""
        page = db.execute(
            f"SELECT {values} FROM {name} {where} ORDER BY {order} LIMIT {CHECK_BITE_ROWS}", after
        ).fetchall()
        if page:
            _put(db, table, made, page, name)
            after = [page[-1][place] for place in old.key_positions]
        if len(page) < CHECK_BITE_ROWS:
            break


def _put(
    db: PostgresConnection,
    table: TableLineage,
    made: Sequence[Column],
    page: Sequence[tuple[Value, ...]],
    name: str,
) -> None:
    rows, bad = [], []
    for row in page:
        now = reshaped_row(table, row)
        try:
            for column in made:
                value = now[table.new.positions[column.name]]
                if value is not None or not column.nullable:
                    check(column.type, value, scale=column.scale)
        except BadValue as error:
            bad.append(f"{row_key(table.old, row)} ({error.message})")
        rows.append(now)
    if bad:
        raise SchemaError(
            f"the database: {len(bad)} rows of {table.old.name} cannot be converted: "
            f"{', '.join(bad[:5])}. Change these rows with the schema that there is, and start "
            "again; nothing was changed",
            code="rows_in_the_way",
        )
    columns = [*table.old.key_columns, *made]
    arrays = ", ".join(f"${n}::{STORAGE[c.type]}[]" for n, c in enumerate(columns, start=1))
    label = names(f"c{number}" for number in range(len(columns)))
    keys = len(table.old.key)
    on = " AND ".join(f't.{quote(one)} = j."c{n}"' for n, one in enumerate(table.old.key))
    sets = ", ".join(f'holdfast_new_{n} = j."c{keys + n}"' for n in range(len(made)))
    values = [
        *(column_array(c, [row[table.old.positions[c.name]] for row in page])
          for c in table.old.key_columns),
        *(column_array(c, [row[table.new.positions[c.name]] for row in rows]) for c in made),
    ]  # fmt: skip
    db.execute(
        f"UPDATE {name} AS t SET {sets} FROM unnest({arrays}) AS j({label}) WHERE {on}", values
    )


# Constraints


def _constraints(db: PostgresConnection, table: TableLineage) -> None:
    """Ask of the columns that were there what the new table asks."""
    new = table.new
    steps: list[str] = []
    if any(column.type in ("text", "bytes") for column in new.key_columns):
        steps.append(f"ADD CHECK ({key_size(new)})")
    for column in new.columns:
        if column.name not in table.columns:
            continue
        name = quote(column.name)
        default = column.default_value()
        steps += [
            f"ALTER COLUMN {name} {'DROP' if column.nullable else 'SET'} NOT NULL",
            f"ALTER COLUMN {name} DROP DEFAULT"
            if default is None
            else f"ALTER COLUMN {name} SET DEFAULT {literal(default)}",
        ]
        condition = column_condition(new, column)
        if condition:
            steps.append(f"ADD CHECK ({condition})")
    steps += [
        f"ADD CONSTRAINT {quote(unique_name(new, number))} UNIQUE ({names(unique)})"
        for number, unique in enumerate(new.unique)
    ]
    steps += [f"ADD {check_sql(new, one)}" for one in new.checks if one.column in table.columns]
    try:
        with db.transaction():
            db.execute(f"ALTER TABLE {quote(new.name)} {', '.join(steps)}")
    except psycopg.Error as error:
        raise SchemaError(
            f"the database: the rows of {new.name} do not fit its new form: "
            f"{error.diag.message_primary or error}; nothing was changed",
            code="rows_in_the_way",
        ) from None


# What is kept about rows


def _forget(db: PostgresConnection, table: Table) -> None:
    """Forget a table that goes: its rows leave the digests of their scopes."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for scope, hashed, size in db.execute(
        "SELECT scope, hash, size FROM holdfast_feed WHERE tbl = $1 AND NOT removed", (table.name,)
    ):
        found = sums[scope]
        found[0] += 1
        found[1] += int.from_bytes(hashed, "big")
        found[2] += size
    for scope, (count, total, size) in sums.items():
        ((rows, digest, head),) = db.execute(
            "SELECT count, digest, head FROM holdfast_scope WHERE scope = $1", (scope,)
        ).fetchall()
        now = Digest.of(rows, digest).with_sum(-count, -total)
        db.execute(
            "UPDATE holdfast_scope SET count = $1, digest = $2, bytes = bytes - $3 "
            "WHERE scope = $4",
            (now.count, now.hex, size, scope),
        )
        db.execute(
            "UPDATE holdfast_commit SET count = $1, digest = $2 WHERE scope = $3 AND version = $4",
            (now.count, now.hex, scope, head),
        )
    for name in _OF_TABLES:
        db.execute(f"DELETE FROM {name} WHERE tbl = $1", (table.name,))


def _rename_books(db: PostgresConnection, way: Lineage) -> None:
    """Give all that is kept by the names of tables and columns the new ones."""
    moved = [one for one in way.reshaped if one.old.name != one.new.name]
    for one in moved:  # by way of names that nobody has: two may have changed theirs
        for name in _OF_TABLES:
            db.execute(
                f"UPDATE {name} SET tbl = $1 WHERE tbl = $2", (f":{one.new.name}", one.old.name)
            )
    for one in moved:
        for name in _OF_TABLES:
            db.execute(
                f"UPDATE {name} SET tbl = $1 WHERE tbl = $2", (one.new.name, f":{one.new.name}")
            )
    for one in way.reshaped:
        if one.names_differ or one.converted:
            _rename_columns(db, one)


def _rename_columns(db: PostgresConnection, table: TableLineage) -> None:
    name, after = table.new.name, ""
    while True:
        page = db.execute(
            "SELECT key, stamps, image FROM holdfast_row WHERE tbl = $1 AND key > $2 ORDER BY key "
            f"LIMIT {CHECK_BITE_ROWS}",
            (name, after),
        ).fetchall()
        changed = []
        for key, stamps, image in page:
            now = reshaped_stamps(table, stamps)
            last = None if image is None else reshaped_image(table, image)
            if (now, last) != (stamps, image):
                changed.append((key, now, last))
        if changed:
            db.execute(
                "UPDATE holdfast_row AS r SET stamps = n.stamps, image = n.image FROM "
                "unnest($2::text[], $3::bytea[], $4::bytea[]) AS n(key, stamps, image) "
                "WHERE r.tbl = $1 AND r.key = n.key",
                (name, *(list(one) for one in zip(*changed, strict=True))),
            )
        if len(page) < CHECK_BITE_ROWS:
            break
        after = page[-1][0]
    for number, old in db.execute(
        "SELECT number, old FROM holdfast_dirty WHERE tbl = $1 AND old IS NOT NULL", (name,)
    ).fetchall():
        values = msgspec.json.decode(old)
        kept = {now: values[was] for now, was in table.columns.items() if was in values}
        for made in table.converted:
            kept.pop(made, None)
        db.execute(
            "UPDATE holdfast_dirty SET old = $1 WHERE number = $2",
            (msgspec.json.encode(kept).decode(), number),
        )
    olds, news = list(table.columns.values()), list(table.columns)
    db.execute(
        "UPDATE holdfast_journal AS j SET col = n.now FROM unnest($2::text[], $3::text[]) "
        "AS n(was, now) WHERE j.tbl = $1 AND j.col = n.was AND n.was <> n.now",
        (name, olds, news),
    )


def _conflicts(db: PostgresConnection, way: Lineage) -> list[str]:
    """Make of conflicts what they are now; the name of their table, when there are any."""
    columns = CONFLICT_TABLE.column_names
    rows = db.execute(
        f"SELECT {names(columns)} FROM holdfast_conflict WHERE table_name = ANY ($1::text[])",
        (list(concerns(way)),),
    ).fetchall()
    sets = ", ".join(f"{quote(name)} = ${n}" for n, name in enumerate(columns[1:], start=2))
    for row in rows:
        db.execute(f"UPDATE holdfast_conflict SET {sets} WHERE id = $1", conflict_of(way, row))
    return [CONFLICT_TABLE.name] if rows else []
