"""Capture in PostgreSQL: triggers that note every direct write of a synced table, whoever writes.

Knows: how a direct write becomes rows of ``holdfast_dirty``. Must not know: ingest or merging.
The triggers only note: table, key, whether the row was there, and its old values. They fire once a
statement, on its transition tables, so that bulk SQL stays set-based; TRUNCATE is noted before it
happens. The engine's own transactions set ``holdfast.applying``, and are passed over.

Notes are appended, never folded: several sessions may write at once and must not wait for each
other. The number of a note tells the order of writes of one row, because it is taken while the
writer holds the row's lock.

Whoever may write a synced table runs these functions with the rights of the server's role. So a
function finds nothing by a name that its caller could give to something else: tables are named
with their schema, everything else is looked up in ``pg_catalog``, and ``pg_temp``, which would come
first if it were left out, comes last. Nobody else may execute them, or they could be put on a
table whose column types bring casts of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.schema.model import Column, Table
from holdfast.sql.names import quote
from holdfast.sql.note_scopes import may_move, note_scopes
from holdfast.sql.postgres.tables import STORAGE, key_sql, literal, short_name

_QUIET = "current_setting('holdfast.applying', true) IS DISTINCT FROM 'on'"
# Whoever may write the table may note it. A writer's session may print bytes and floats in ways
# that cannot be read back exactly.
_EXACT = "SECURITY DEFINER SET bytea_output TO 'hex' SET extra_float_digits TO '1'"
_PATH = "SET search_path TO pg_catalog, pg_temp"


@dataclass(frozen=True, slots=True)
class Function:
    """A trigger function: its name, its body, and what makes and closes it."""

    name: str
    body: str
    definer: bool
    make: tuple[str, ...]


SETTINGS = {
    True: ("bytea_output=hex", "extra_float_digits=1", "search_path=pg_catalog, pg_temp"),
    False: ("search_path=pg_catalog, pg_temp",),
}
"""The settings of a function as ``pg_proc.proconfig`` has them, in order, by ``definer``."""


def note_function(table: Table) -> str:
    return short_name(f"holdfast_note_{table.name}")


def key_function(table: Table) -> str:
    return short_name(f"holdfast_key_{table.name}")


def functions(table: Table, fingerprint: str, namespace: str) -> list[Function]:
    """The trigger functions of a table. They carry the schema's fingerprint.

    ``namespace``: the schema of the database that the tables are in.
    """
    into = f"INSERT INTO {quote(namespace)}.holdfast_dirty (tbl, key, was, old, scope)"
    name = literal(table.name)
    place = f"{quote(namespace)}.{quote(table.name)}"
    old = f"SELECT {name}, {key_sql(table, 'o.')}, true, row_to_json(o)::text, s.scope FROM"
    new = f"SELECT {name}, {key_sql(table, 'n.')}, false, NULL, s.scope FROM new_rows AS n"
    befores, afters = (f"{_scopes(table, prefix)} AS s(scope)" for prefix in ("o.", "n."))
    same = " AND ".join(f"n.{quote(column)} = o.{quote(column)}" for column in table.key)
    moved = (
        f"{into} SELECT {name}, {key_sql(table, 'n.')}, true, NULL, s.scope FROM new_rows AS n "
        f"JOIN old_rows AS o ON {same}, {afters} WHERE NOT s.scope = ANY (ARRAY(SELECT scope "
        f"FROM {befores}));"
    )
    follow = f"  IF TG_OP = 'UPDATE' THEN {moved} END IF;\n" if may_move(table) else ""
    note = (
        f" -- holdfast {fingerprint}\n"
        "BEGIN\n"
        f"  IF TG_OP = 'INSERT' THEN {into} {new}, {afters};\n"
        f"  ELSIF TG_OP = 'TRUNCATE' THEN {into} {old} {place} AS o, {befores};\n"
        f"  ELSE {into} {old} old_rows AS o, {befores};\n"
        "  END IF;\n"
        f"{follow}"
        "  RETURN NULL;\n"
        "END "
    )
    fixed = (
        f" -- holdfast {fingerprint}\n"
        "BEGIN\n"
        f"  RAISE EXCEPTION 'holdfast: the key of {table.name} never changes' "
        "USING ERRCODE = 'integrity_constraint_violation';\n"
        "END "
    )
    return [
        _function(namespace, note_function(table), note, definer=True),
        _function(namespace, key_function(table), fixed, definer=False),
    ]


def _scopes(table: Table, prefix: str) -> str:
    """The scopes that a row concerns, each once."""

    def text(column: Column) -> str:
        value = f"{prefix}{quote(column.name)}"
        if STORAGE[column.type] == "bytea":
            return f"encode({value}, 'hex')"
        return value if STORAGE[column.type] == "text" else f"{value}::text"

    found = note_scopes(table, text, literal)
    if len(found) == 1:
        return f"(SELECT {found[0]})" if "." not in found[0] else f"LATERAL (SELECT {found[0]})"
    return f"LATERAL (SELECT DISTINCT * FROM unnest(ARRAY[{', '.join(found)}]::text[]))"


def _function(namespace: str, name: str, body: str, *, definer: bool) -> Function:
    place = f"{quote(namespace)}.{quote(name)}()"
    return Function(
        name,
        body,
        definer,
        (
            (
                f"CREATE OR REPLACE FUNCTION {place} RETURNS trigger LANGUAGE plpgsql "
                f"{_EXACT if definer else 'SECURITY INVOKER'} {_PATH} AS $holdfast${body}$holdfast$"
            ),
            # Asked for when a trigger is made, not when it fires.
            f"REVOKE ALL ON FUNCTION {place} FROM PUBLIC",
        ),
    )


TRANSITIONS = {
    "holdfast_after_insert": (None, "new_rows"),
    "holdfast_after_update": ("old_rows", "new_rows"),
    "holdfast_after_delete": ("old_rows", None),
}
"""What the triggers call the rows before and after; the others have none."""


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
        f"REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows {run}",
        "holdfast_after_delete": f"CREATE TRIGGER holdfast_after_delete AFTER DELETE {on} "
        f"REFERENCING OLD TABLE AS old_rows {run}",
        "holdfast_before_truncate": f"CREATE TRIGGER holdfast_before_truncate BEFORE TRUNCATE {on} "
        f"{run}",
        "holdfast_key": f"CREATE TRIGGER holdfast_key BEFORE UPDATE {on} FOR EACH ROW "
        f"WHEN ({changed}) EXECUTE FUNCTION {quote(key_function(table))}()",
    }
