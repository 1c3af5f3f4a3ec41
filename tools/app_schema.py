"""Write Stockroom's schema, and what else its two languages have to agree on, for the web app.

`--check` writes nothing, and ends with 1 when a file is not what would be written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator

import made

from holdfast.schema import Column, Table
from stockroom.catalogue import EDITABLE
from stockroom.currency_signs import COMMA_LANGUAGES, CURRENCY_SIGNS, POINT_LANGUAGES
from stockroom.ids import NAMESPACE
from stockroom.money import PRICE_MAX, unusual_digits
from stockroom.permissions import BY_EMPLOYEES, DEEDS
from stockroom.schema import KINDS, PACK_MAX, QUANTITY_MAX, schema

TARGET = made.ROOT / "stockroom/web/src/data"
WIDTH_MAX = 100
DIGITS_HEAD = """\
/** Made by `make protocol` from ISO 4217 and Stockroom's Python; do not edit. */

/** Digits after the point, where they are not two. */
export const UNUSUAL_DIGITS: Readonly<Record<string, number>> = {
"""
SCHEMA_HEAD = """\
/** Made by `make protocol` from Stockroom's Python; do not edit. */

"""
TABLES_HEAD = """\
/**
 * Every synced table: its key, its columns with their types, and those that name a row elsewhere.
 * `?`: the column may be NULL; `=`: it has a default.
 */
"""


def _list(before: str, values: Iterable[str], after: str) -> str:
    """Lay a list of texts out as the formatter of the web app does."""
    texts = [json.dumps(value) for value in values]
    line = f"{before}[{', '.join(texts)}]{after}"
    if len(line) <= WIDTH_MAX:
        return f"{line}\n"
    return "".join((f"{before}[\n", *(f"  {text},\n" for text in texts), f"]{after}\n"))


def _type(column: Column) -> str:
    mark = "?" if column.nullable else "=" if column.default_value() is not None else ""
    return json.dumps(column.type + mark)


def _table(table: Table) -> Iterator[str]:
    yield f"  {table.name}: {{\n"
    yield _list("    key: ", table.key, ",")
    yield "    columns: {\n"
    yield from (f"      {column.name}: {_type(column)},\n" for column in table.columns)
    yield "    },\n"
    named = [(key.columns[0], key.table) for key in table.foreign_keys if len(key.columns) == 1]
    if named:
        inner = ", ".join(f"{column}: {json.dumps(other)}" for column, other in named)
        yield f"    refers: {{ {inner} }},\n"
    else:
        yield "    refers: {},\n"
    yield "  },\n"


def _schema() -> Iterator[str]:
    yield SCHEMA_HEAD
    yield f"export const QUANTITY_MAX = {QUANTITY_MAX:_};\n"
    yield f"export const PACK_MAX = {PACK_MAX:_};\n"
    yield f"export const PRICE_MAX = {PRICE_MAX:_};\n"
    yield f"export const ID_NAMESPACE = {json.dumps(NAMESPACE.hex)};\n\n"
    yield "/** Why stock moved. */\n"
    yield _list("export const KINDS = ", KINDS, " as const;")
    yield "\n/** The columns of a product that a person edits. */\n"
    yield _list("export const EDITABLE = ", EDITABLE, " as const;")
    yield "\n/** What a shop decides about for each role; what employees may until it does. */\n"
    yield _list("export const DEEDS = ", DEEDS, " as const;")
    yield _list("export const DEEDS_OF_EMPLOYEES = ", BY_EMPLOYEES, " as const;")
    yield f"\n{TABLES_HEAD}export const TABLES = {{\n"
    for table in schema.tables:
        yield from _table(table)
    yield "} as const;\n"


def _digits() -> Iterator[str]:
    yield DIGITS_HEAD
    yield from (f"  {code}: {places},\n" for code, places in unusual_digits().items())
    yield "};\n"
    yield "\n/** By sign or short word: the currencies that it may stand for. */\n"
    yield "export const CURRENCY_SIGNS: Readonly<Record<string, string>> = {\n"
    for name, codes in CURRENCY_SIGNS.items():
        yield f"  {_named(name)}: {json.dumps(codes)},\n"
    yield "};\n"
    yield "\n/** Languages, and some in one country only, that put a point before a fraction. */\n"
    yield _list("export const POINT_LANGUAGES: readonly string[] = ", POINT_LANGUAGES, ";")
    yield "\n/** Countries that differ from their language. */\n"
    yield _list("export const COMMA_LANGUAGES: readonly string[] = ", COMMA_LANGUAGES, ";")


def _named(name: str) -> str:
    """A property's name, quoted where it has to be."""
    return name if name.replace("$", "_").isidentifier() else json.dumps(name, ensure_ascii=False)


def modules() -> dict[str, str]:
    """By file name, what the web app's `data/` should hold."""
    return {
        "schema.generated.ts": "".join(_schema()),
        "currencies.generated.ts": "".join(_digits()),
    }


if __name__ == "__main__":
    sys.exit(made.main(TARGET, modules()))
