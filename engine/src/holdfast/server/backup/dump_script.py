"""The script that a dump of PostgreSQL is, read as statements and rows.

Knows: the form in which ``pg_dump`` writes a script. Must not know: what is in the tables.
Statements come as they stand between two COPY blocks; the rows of a block come as they travel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_COPY = re.compile(rb"COPY (?P<table>.+?) \((?P<columns>.+)\) FROM stdin;\n\Z")
_END = b"\\.\n"
_LEFT_OUT = (b"\\restrict ", b"\\unrestrict ", b"SET transaction_timeout = ")
"""Commands to ``psql`` that newer programs write around a script; a setting that older servers do
not know."""
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


@dataclass(frozen=True, slots=True)
class ScriptStatements:
    """Statements, to be run as they are."""

    sql: str


@dataclass(frozen=True, slots=True)
class ScriptRows:
    """A COPY statement and the lines of its rows, which must be read before what follows."""

    sql: str
    table: str
    columns: tuple[str, ...]
    lines: Iterator[bytes]


def read_script(lines: Iterable[bytes]) -> Iterator[ScriptStatements | ScriptRows]:
    """A script, part by part, in order."""
    every = iter(lines)
    statements: list[bytes] = []
    for line in every:
        if line.startswith(_LEFT_OUT):
            continue
        begins = _COPY.match(line)
        if begins is None:
            statements.append(line)
            continue
        if statements:
            yield ScriptStatements(b"".join(statements).decode())
            statements = []
        rows = _rows(every)
        columns = tuple(_plain(name) for name in begins["columns"].decode().split(", "))
        table = _plain(begins["table"].decode().rpartition(".")[2])
        yield ScriptRows(line.decode().rstrip(";\n"), table, columns, rows)
        for _ in rows:
            """What was not asked for."""
    if statements:
        yield ScriptStatements(b"".join(statements).decode())


def _rows(lines: Iterator[bytes]) -> Iterator[bytes]:
    for line in lines:
        if line == _END:
            return
        yield line


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def records(rows: ScriptRows) -> Iterator[Mapping[str, str | None]]:
    """Rows by column, as text; None is NULL."""
    for line in rows.lines:
        values = line.rstrip(b"\n").split(b"\t")
        yield dict(zip(rows.columns, map(_value, values), strict=True))


def _value(text: bytes) -> str | None:
    if text == b"\\N":
        return None
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), text).decode()
