"""Detection of values in a commit that may not be fit to travel, as far as SQL can tell, cheaply.

Knows: the log, and what each type's values look like. Must not know: messages, or what is done with
what is found. The tables' own checks stop most of what cannot be sent, whoever writes. Left is what
SQLite's built-ins cannot see (text that is not UTF-8), or what no check of one row can say (how far
a counter leaps). A statement over the notes after a place in the log finds what a host has to look
at: nothing at all for most commits.
"""

from __future__ import annotations

from holdfast.core.keys import template_pieces
from holdfast.core.limits import JSON_NESTING_MAX, ROW_BYTES_MAX, SCOPE_NAME_LENGTH_MAX
from holdfast.core.values import STORAGE
from holdfast.schema.model import Column, Table
from holdfast.sql.capture import LOG
from holdfast.sql.changes import NOT_ASCII
from holdfast.sql.names import literal, quote
from holdfast.sql.policies import POLICIES

_ANY_TEXT = ("text", "json")
"""Types whose values may be any text; of the others only ASCII gets past the checks."""


def _at(table: Table) -> dict[str, str]:
    """The column of the log for each column of the table."""
    order = (*table.key, *(column.name for column in table.data_columns))
    return {name: f"o.c{number}" for number, name in enumerate(order)}


def _key_texts(table: Table) -> list[str]:
    at = _at(table)
    return [at[column.name] for column in table.key_columns if column.type in _ANY_TEXT]


def _texts(table: Table) -> list[Column]:
    return [column for column in table.data_columns if column.type in _ANY_TEXT]


def _leaps(table: Table) -> list[str]:
    """Differences that cannot be said."""
    at = _at(table)
    found = (
        POLICIES[column.merge].unfit(at[column.name], f"t.{quote(column.name)}")
        for column in table.data_columns
    )
    return [condition for condition in found if condition]


def _nests(table: Table) -> list[str]:
    """JSON that may be nested too deeply: it has so many brackets."""
    found = []
    for column in table.data_columns:
        if column.type == "json":
            value = f"t.{quote(column.name)}"
            without = f"replace(replace({value}, '[', ''), '{{', '')"
            found.append(f"length({value}) - length({without}) > {JSON_NESTING_MAX}")
    return found


def _scopes(table: Table) -> list[str]:
    """Names of scopes that are too long, or lack a part."""
    found = []
    for template in table.scopes:
        if template.startswith("*"):
            continue
        length, parts = 0, []
        for text, name in template_pieces(template):
            length += len(text)
            if name:
                twice = "2 * " if STORAGE[table.by_name[name].type] == "BLOB" else ""
                parts.append(f"{twice}length(t.{quote(name)})")
        if parts:
            found += [f"coalesce({part}, 0) = 0" for part in parts]
            found.append(f"{length} + {' + '.join(parts)} > {SCOPE_NAME_LENGTH_MAX}")
    return found


def _size(table: Table) -> list[str]:
    """Rows that may be too large: a letter has up to four bytes."""
    lengths = [
        f"coalesce(length(t.{quote(column.name)}), 0)"
        for column in table.columns
        if column.type in (*_ANY_TEXT, "bytes")
    ]
    return [f"4 * ({' + '.join(lengths)}) > {ROW_BYTES_MAX}"] if len(lengths) > 1 else []


def _suspect(table: Table) -> str:
    """Return whether something other than the bytes of a text may be wrong with the row as it is
    now.
    """
    row = [*_leaps(table), *_nests(table), *_scopes(table), *_size(table)]
    return f"(t.{quote(table.key[0])} IS NOT NULL AND ({' OR '.join(row)}))" if row else "0"


def is_odd(table: Table) -> str:
    """A condition on a note ``o`` of the log and its row ``t``: a host has to look at it."""
    at = _at(table)
    changed = [
        f"(t.{quote(c.name)} GLOB {NOT_ASCII} AND t.{quote(c.name)} IS NOT {at[c.name]})"
        for c in _texts(table)
    ]
    keys = [f"{name} GLOB {NOT_ASCII}" for name in _key_texts(table)]
    return " OR ".join([_suspect(table), *keys, *changed])


def odd_rows(table: Table) -> str:
    """Return what a host has to look at after a place in the log (parameter): 1 where something
    may be wrong that is not about bytes; then, as bytes, the key's texts, and the texts that
    have changed."""
    at = _at(table)
    row = " AND ".join(f"t.{quote(name)} = {at[name]}" for name in table.key)
    parts = [f"CAST({name} AS BLOB)" for name in _key_texts(table)]
    for column in _texts(table):
        value = f"t.{quote(column.name)}"
        parts.append(f"CASE WHEN {value} IS NOT {at[column.name]} THEN CAST({value} AS BLOB) END")
    listed = "".join(f", {part}" for part in parts)
    return (
        f"SELECT coalesce({_suspect(table)}, 0){listed} FROM {LOG} AS o "
        f"LEFT JOIN {quote(table.name)} AS t ON {row} "
        f"WHERE o.seq > ? AND o.tbl = {literal(table.name)} AND ({is_odd(table)})"
    )
