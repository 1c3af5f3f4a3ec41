"""Stockroom of the version after this one, whose schema has a table and two columns more.

It is its server (arguments as of ``stockroom``), or prints its replica program (``program``).
"""

from __future__ import annotations

import sys

import msgspec

import stockroom.schema
from holdfast.schema import Column, Schema, Table
from holdfast.sql.replica import compile_replica


def grown(schema: Schema) -> Schema:
    """Return the schema of the next generation."""
    tables = tuple(
        msgspec.structs.replace(
            table,
            columns=(
                *table.columns,
                Column("vat", "integer", default="20"),
                Column("origin", nullable=True),
            ),
        )
        if table.name == "product"
        else table
        for table in schema.tables
    )
    label = Table(
        name="label",
        key=("id",),
        columns=(Column("id"), Column("text", default="")),
        scopes=("catalog",),
    )
    generation = schema.generation + 1
    return msgspec.structs.replace(schema, generation=generation, tables=(*tables, label))


def main() -> None:
    # Before anything that takes it from there is imported.
    stockroom.schema.schema = grown(stockroom.schema.schema)
    if sys.argv[1:] == ["program"]:
        sys.stdout.buffer.write(msgspec.json.encode(compile_replica(stockroom.schema.schema)))
        return
    from stockroom.cli import main as stockroom_main

    stockroom_main()


main()
