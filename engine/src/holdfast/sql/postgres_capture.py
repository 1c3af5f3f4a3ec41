"""Capture in PostgreSQL: triggers that note every direct write of a synced table, whoever writes.

Knows: how a direct write becomes rows of ``holdfast_dirty``. Must not know: ingest or merging.
The triggers only note: table, key, whether the row was there, and its old values. They fire once a
statement, on its transition tables, so that bulk SQL stays set-based; TRUNCATE is noted before it
happens. The engine's own transactions set ``holdfast.applying``, and are passed over.

Notes are appended, never folded: several sessions may write at once and must not wait for each
other. The number of a note tells the order of writes of one row, because it is taken while the
writer holds the row's lock.
"""

from __future__ import annotations

from holdfast.schema.model import Table
from holdfast.sql.names import quote
from holdfast.sql.postgres_tables import key_sql, literal, short_name

_QUIET = "current_setting('holdfast.applying', true) IS DISTINCT FROM 'on'"
# Whoever may write the table may note it. A writer's session may print bytes and floats in ways
# that cannot be read back exactly.
_EXACT = (
    "SECURITY DEFINER "
    "SET bytea_output = 'hex' SET extra_float_digits = 1 SET search_path FROM CURRENT"
)


def note_function(table: Table) -> str:
    return short_name(f"holdfast_note_{table.name}")


def key_function(table: Table) -> str:
    return short_name(f"holdfast_key_{table.name}")


def functions(table: Table, fingerprint: str) -> list[str]:
    """The trigger functions of a table. They carry the schema's fingerprint."""
    into = "INSERT INTO holdfast_dirty (tbl, key, was, old)"
    name = literal(table.name)
    old = f"SELECT {name}, {key_sql(table, 'o.')}, true, row_to_json(o)::text"
    new = f"SELECT {name}, {key_sql(table, 'n.')}, false, NULL"
    note = (
        f"CREATE OR REPLACE FUNCTION {quote(note_function(table))}() RETURNS trigger "
        f"LANGUAGE plpgsql {_EXACT} AS $holdfast$ -- holdfast {fingerprint}\n"
        "BEGIN\n"
        f"  IF TG_OP = 'INSERT' THEN {into} {new} FROM new_rows AS n;\n"
        f"  ELSIF TG_OP = 'TRUNCATE' THEN {into} {old} FROM {quote(table.name)} AS o;\n"
        f"  ELSE {into} {old} FROM old_rows AS o;\n"
        "  END IF;\n"
        "  RETURN NULL;\n"
        "END $holdfast$"
    )
    fixed = (
        f"CREATE OR REPLACE FUNCTION {quote(key_function(table))}() RETURNS trigger "
        f"LANGUAGE plpgsql AS $holdfast$ -- holdfast {fingerprint}\n"
        "BEGIN\n"
        f"  RAISE EXCEPTION 'holdfast: the key of {table.name} never changes' "
        "USING ERRCODE = 'integrity_constraint_violation';\n"
        "END $holdfast$"
    )
    return [note, fixed]


def triggers(table: Table) -> dict[str, str]:
    """The capture triggers of a table: name to SQL."""
    on = f"ON {quote(table.name)}"
    run = f"FOR EACH STATEMENT WHEN ({_QUIET}) EXECUTE FUNCTION {quote(note_function(table))}()"
    changed = " OR ".join(
        f"OLD.{quote(name)} IS DISTINCT FROM NEW.{quote(name)}" for name in table.key
    )
    # The names tell what they do; the table they are on makes them unique.
    return {
        "holdfast_after_insert": f"CREATE TRIGGER holdfast_after_insert AFTER INSERT {on} "
        f"REFERENCING NEW TABLE AS new_rows {run}",
        "holdfast_after_update": f"CREATE TRIGGER holdfast_after_update AFTER UPDATE {on} "
        f"REFERENCING OLD TABLE AS old_rows {run}",
        "holdfast_after_delete": f"CREATE TRIGGER holdfast_after_delete AFTER DELETE {on} "
        f"REFERENCING OLD TABLE AS old_rows {run}",
        "holdfast_before_truncate": f"CREATE TRIGGER holdfast_before_truncate BEFORE TRUNCATE {on} "
        f"{run}",
        "holdfast_key": f"CREATE TRIGGER holdfast_key BEFORE UPDATE {on} FOR EACH ROW "
        f"WHEN ({changed}) EXECUTE FUNCTION {quote(key_function(table))}()",
    }
