"""Translation of PostgreSQL's errors into the engine's.

Knows: SQLSTATE codes. Must not know: what was being done.
A conflict with another transaction, a deadlock or a lost connection is tried again; a constraint
costs the transaction that broke it; a full or read-only database is told as such (503).

Upholds I3 (what is not known to be committed is never acknowledged), I22, I27.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from holdfast.core.errors import (
    ConstraintFailed,
    DatabaseBusy,
    DatabaseCorrupt,
    DatabaseError,
    DatabaseFull,
    DatabaseReadOnly,
)
from holdfast.server.store.contract import TryAgain
from holdfast.sql.postgres.statements import PostgresProgram

_LOCKED = "55P03"
_AGAIN = frozenset({_LOCKED, "23503", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04"})
"""Lock time-out, a parent that has just gone, shutdown, idle and transaction time-outs. Class 40
(serialization, deadlock) and class 08 (the connection) besides."""
_BUSY = frozenset({"53200", "53300", "53400", "57014"})
_CHECKS = frozenset({"23514", "54000"})
"""A CHECK; a value too large for an index."""


@contextmanager
def translated(program: PostgresProgram | None = None) -> Iterator[None]:
    """Raise PostgreSQL's errors as the engine's."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, program) from error


def translate(error: psycopg.Error, program: PostgresProgram | None) -> DatabaseError:
    """The engine's error for one of PostgreSQL's."""
    state = error.sqlstate or ""
    words = str(error).strip() or type(error).__name__
    if state in _AGAIN or state.startswith(("08", "40")):
        return TryAgain(words, locked=state == _LOCKED)
    if not state:  # the connection, or the pool
        if isinstance(error, psycopg.OperationalError):
            return TryAgain(words)
        return _refused(words) if isinstance(error, psycopg.DataError) else DatabaseError(words)
    if state in _BUSY:
        return DatabaseBusy(words)
    if state == "53100":
        return DatabaseFull(words)
    if state == "25006":
        return DatabaseReadOnly(words)
    if state in ("XX001", "XX002"):
        return DatabaseCorrupt(words)
    return _constraint(error, state, words, program)


def _refused(words: str) -> ConstraintFailed:
    return ConstraintFailed(f"CHECK constraint failed: {words}", kind="check")


def _constraint(
    error: psycopg.Error, state: str, words: str, program: PostgresProgram | None
) -> DatabaseError:
    table, column = error.diag.table_name or "", error.diag.column_name or ""
    if state == "23505":
        name = error.diag.constraint_name or ""
        if program is None or name not in program.unique:
            return TryAgain(words)  # the engine's own: another process was here first
        owner, columns = program.unique[name]
        places = ", ".join(f"{owner.name}.{column}" for column in columns)
        return ConstraintFailed(f"UNIQUE constraint failed: {places}", kind="unique")
    if state == "23502":
        return ConstraintFailed(f"NOT NULL constraint failed: {table}.{column}", kind="not_null")
    if state in _CHECKS or state.startswith("22"):
        return _refused(error.diag.message_primary or words)
    if state.startswith(("23", "P0")):
        # Without the error's detail, which tells values of other rows.
        return ConstraintFailed(error.diag.message_primary or words, kind="trigger")
    return DatabaseError(words)
