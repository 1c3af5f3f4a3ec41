"""A table's definition, written anew in place: its looser checks.

Knows: how SQLite keeps a table's definition. Must not know: what a definition says, or which side's
table it is. SQLite keeps it as text, and no row is written for another one that all rows satisfy:
https://sqlite.org/lang_altertable.html names the way, in its last section. Indexes, triggers and
foreign keys of others stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from holdfast.core.errors import SchemaError
from holdfast.sqlite.driver import Connection


def redefine(
    db: Connection,
    where: str,
    table: str,
    *,
    known: Container[str],
    text: Callable[[Sequence[str]], str],
) -> None:
    """Write down another definition of a table, inside a write transaction.

    ``text``: the ``CREATE TABLE`` statement, for the columns that it has in their order; ``known``:
    columns of which it can say something. Raises ``SchemaError`` for a table with
    any other column, before anything is changed; ``where``: the file, for its message.
    """
    there = [
        str(name) for (name,) in db.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))
    ]
    strange = [name for name in there if name not in known]
    if strange:
        raise SchemaError(
            f"{where}: table {table} has a column of somebody else, {strange[0]}, which would be "
            "lost with a looser check: move it to a table of its own; nothing was changed",
            code="schema_mismatch",
        )
    definition = text(there)
    ((version,),) = db.execute("PRAGMA schema_version")
    db.execute("PRAGMA writable_schema = ON")
    try:
        db.execute(
            "UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?",
            (definition, table),
        )
        db.execute(f"PRAGMA schema_version = {int(str(version)) + 1}")
    finally:
        db.execute("PRAGMA writable_schema = RESET")
