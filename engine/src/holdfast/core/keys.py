"""Row keys: their canonical text, and the scopes a row belongs to.

Knows: schema and values. Must not know: SQL or messages.
A key's text is compared as UTF-8 bytes, everywhere. One column: the value as it is (numbers in
decimal, bytes in lower-case hex). Several: each with ``%`` and ``/`` escaped, joined by ``/``.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence

from holdfast.core.errors import BadValue
from holdfast.core.limits import (
    KEY_BYTES_MAX,
    KEYS_REMEMBERED_LENGTH_MAX,
    KEYS_REMEMBERED_MAX,
    SCOPE_NAME_LENGTH_MAX,
    SCOPES_MAX,
)
from holdfast.core.values import Value, check
from holdfast.schema.model import Column, Table

RowPlace = tuple[str, str]
"""A row: its table's name and its key's text."""


def _part(value: Value) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str) else str(value)


def key_text(table: Table, key: Sequence[Value]) -> str:
    """The canonical text of a key given as storage values in key order. Raises ``BadValue``."""
    if len(key) != len(table.key):
        raise BadValue(f"the key of {table.name} has {len(table.key)} columns", code="bad_key")
    if len(key) == 1:
        text = _part(key[0])
    else:
        text = "/".join(_part(v).replace("%", "%25").replace("/", "%2F") for v in key)
    if len(text) * 4 > KEY_BYTES_MAX and len(text.encode()) > KEY_BYTES_MAX:
        raise BadValue(f"a key has at most {KEY_BYTES_MAX} bytes", code="bad_key")
    return text


def _unpart(column: Column, text: str) -> Value:
    if column.type in ("integer", "timestamp"):
        return int(text)
    return bytes.fromhex(text) if column.type == "bytes" else text


def key_values(table: Table, text: str) -> tuple[Value, ...]:
    """The storage values of a key's text; the inverse of ``key_text``."""
    if len(table.key) == 1:
        return (_unpart(table.key_columns[0], text),)
    parts = text.split("/")
    return tuple(
        _unpart(column, part.replace("%2F", "/").replace("%25", "%"))
        for column, part in zip(table.key_columns, parts, strict=True)
    )


def row_key(table: Table, row: Sequence[Value]) -> str:
    """The key text of a whole row in column order."""
    return key_text(table, [row[position] for position in table.key_positions])


def check_key(table: Table, key: Sequence[Value]) -> tuple[Value, ...]:
    """Storage values of a key, each checked against its column. Raises ``BadValue``
    (``bad_key``)."""
    try:
        checked = tuple(
            check(column.type, value) for column, value in zip(table.key_columns, key, strict=True)
        )
    except (BadValue, ValueError) as error:
        raise BadValue(f"key of {table.name}: {error}", code="bad_key") from None
    if any(value is None for value in checked):
        raise BadValue(f"key of {table.name} must not be null", code="bad_key")
    return checked


@functools.lru_cache(maxsize=1024)
def template_pieces(template: str) -> tuple[tuple[str, str], ...]:
    """A scope template as pairs of literal text and the column that follows it ('': none)."""
    split = re.split(r"\{([a-z0-9_]+)\}", template)
    return tuple(zip(split[::2], [*split[1::2], ""], strict=True))


def row_scopes(table: Table, row: Sequence[Value]) -> tuple[str, ...]:
    """The scopes a row belongs to, sorted and without repeats. Raises ``BadValue``."""
    values = tuple([row[position] for position in table.scope_positions])
    known = table.known_scopes
    # Only text is looked up by value: 1 and 1.0 are one key, and two names.
    plain = not values or set(map(type, values)) == _TEXT
    found = known.get(values) if plain else None
    if found is not None:
        return found
    names = _scopes(table.name, table.scopes, values)
    if plain and sum(map(len, values)) <= KEYS_REMEMBERED_LENGTH_MAX:  # type: ignore[arg-type]
        if len(known) >= KEYS_REMEMBERED_MAX:
            known.clear()
        known[values] = names
    return names


def _scopes(table: str, templates: tuple[str, ...], values: tuple[Value, ...]) -> tuple[str, ...]:
    """``values``: of the columns that the templates name, in order."""
    names: set[str] = set()
    left = iter(values)
    for template in templates:
        if template.startswith("*"):
            names.update(_array(next(left)))
            continue
        parts: list[str] = []
        for literal, column in template_pieces(template):
            parts.append(literal)
            if column:
                value = next(left)
                if value is None or value in ("", b""):
                    raise BadValue(f"{table}.{column} names a scope and must not be empty")
                parts.append(_part(value))
        names.add("".join(parts))
    if any(len(name) > SCOPE_NAME_LENGTH_MAX for name in names):
        raise BadValue(f"a scope's name has at most {SCOPE_NAME_LENGTH_MAX} letters")
    return tuple(sorted(names))


_TEXT = {str}


def _array(value: Value) -> list[str]:
    try:
        names = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        names = None
    if not isinstance(names, list) or len(names) > SCOPES_MAX:
        raise BadValue("scopes must be a JSON array of names")
    if not all(isinstance(name, str) and name for name in names):
        raise BadValue("scopes must be a JSON array of names")
    return names


def is_key(table: Table, text: str) -> bool:
    """Return whether a text is the canonical text of a key that a row of the table can have."""
    try:
        return key_text(table, check_key(table, key_values(table, text))) == text
    except (BadValue, ValueError):
        return False
