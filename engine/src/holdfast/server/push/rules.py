"""Rules: an app's Python functions that see a transaction before it commits.

Knows: what a rule is given, and what it may do. Must not know: how rows are stored.
A rule may refuse the transaction or add rows to it. It must depend on nothing but what it is given:
when a batch is decided in smaller parts, a rule runs again. What a rule's query sees is the
database before this transaction, with all earlier ones of its batch.

Upholds I13 (added rows belong to the transaction), I27 and I28 (a rule that fails says so).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from holdfast.core import values
from holdfast.core.errors import ConstraintFailed, DatabaseBusy, DatabaseFull, Refuse
from holdfast.core.keys import check_key, key_text, row_scopes
from holdfast.core.merging.merge import Author, Decision
from holdfast.core.values import Value
from holdfast.schema.model import CONFLICT_TABLE
from holdfast.server.identity.principal import Principal
from holdfast.server.merging.batch import SERVER, Batch, NotTakenIn

logger = logging.getLogger(__name__)

RULE_PREFIX = "rule:"
"""All codes of rules travel with it, so that they never mean one of the engine's."""


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A row that the transaction changes: its values before and after, in storage form."""

    table: str
    key: str
    op: Literal["insert", "update", "delete"]
    old: Mapping[str, Value] | None
    new: Mapping[str, Value] | None


class RuleContext:
    """Input of a rule: one transaction, merged but not committed."""

    def __init__(
        self,
        batch: Batch,
        principal: Principal,
        number: int,
        now_us: int,
        *,
        at_us: int | None = None,
        decisions: Sequence[Decision] = (),
    ) -> None:
        self._batch = batch
        self.principal = principal
        self.number = number
        """The transaction's number on its device."""
        self.now_us = now_us
        self.at_us = now_us if at_us is None else at_us
        """When it was made on its device, corrected; never after it came in."""
        self.changes = _changes(batch)
        self.decisions = tuple(decisions)
        """What merging has dropped or overridden; what was dropped is not in `changes`."""

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[dict[str, Value]]:
        """Read-only SQL on the server's tables as they were before this transaction."""
        self._batch.write_accepted()
        return self._batch.writer.query(sql, params)

    def row(self, table: str, *key: Value) -> dict[str, Value] | None:
        """One row by its key, as it stands with this transaction; None where there is none. It
        costs less than a query: what a batch has read once it has."""
        target = self._batch.schema.by_name[table]
        values = self._batch.get(target, key_text(target, key)).values
        return None if values is None else dict(zip(target.column_names, values, strict=True))

    def refuse(
        self, code: str, message: str, *, field: str | None = None, **detail: Any
    ) -> NoReturn:
        """Refuse the transaction with a reason for a person."""
        raise Refuse(code, message, field=field, **detail)

    def add(self, table: str, row: Mapping[str, object]) -> None:
        """Add a row in the same transaction, or write columns of one that is there. Columns that
        are left out have their default in a new row, and stay as they are in the other.

        Raises ``ValueError`` or ``BadValue`` when the row does not fit its table.
        """
        target = self._batch.schema.by_name.get(table)
        if target is None or target is CONFLICT_TABLE:
            raise ValueError(f"no table {table!r}")
        unknown = set(row) - set(target.column_names)
        if unknown or any(name not in row for name in target.key):
            raise ValueError(f"{table}: wrong columns, or no key")
        key_values = check_key(
            target, [values.check(c.type, row[c.name]) for c in target.key_columns]
        )
        key = key_text(target, key_values)
        standing = self._batch.get(target, key).values
        new: dict[str, Value] = {}
        for column in target.data_columns:
            value = column.default_value()
            if standing is not None:
                value = standing[target.positions[column.name]]
            if column.name in row:
                value = values.check(column.type, row[column.name], scale=column.scale)
            if value is None and not column.nullable:
                raise ValueError(f"{table}.{column.name} must have a value")
            new[column.name] = value
        whole = {**dict(zip(target.key, key_values, strict=True)), **new}
        row_scopes(target, [whole[name] for name in target.column_names])
        author = Author(SERVER, SERVER, self.now_us, 0)
        self._batch.put(target, key, new, author)


Rule = Callable[[RuleContext], None]
"""A rule: returns, or raises ``Refuse``. Anything else it raises refuses with ``rule_failed``."""


def _changes(batch: Batch) -> tuple[RuleChange, ...]:
    found = []
    for table, key, before, now in batch.touched():
        if before.values == now.values or table is CONFLICT_TABLE:
            continue
        names = table.column_names
        old = None if before.values is None else dict(zip(names, before.values, strict=True))
        new = None if now.values is None else dict(zip(names, now.values, strict=True))
        op: Literal["insert", "update", "delete"] = (
            "insert" if old is None else "delete" if new is None else "update"
        )
        found.append(RuleChange(table.name, key, op, old, new))
    return tuple(found)


def run_rules(
    rules: Sequence[Rule],
    batch: Batch,
    principal: Principal,
    *,
    number: int,
    now_us: int,
    at_us: int | None = None,
    decisions: Sequence[Decision] = (),
) -> None:
    """Run all rules on the transaction that is open in ``batch``. Raises ``Refuse``."""
    if not rules:
        return
    context = RuleContext(batch, principal, number, now_us, at_us=at_us, decisions=decisions)
    for rule in rules:
        try:
            rule(context)
        except Refuse as refusal:
            code = RULE_PREFIX + refusal.code.removeprefix(RULE_PREFIX)
            raise Refuse(code, refusal.message, field=refusal.field, **refusal.detail) from None
        except (ConstraintFailed, DatabaseBusy, DatabaseFull, NotTakenIn):
            raise  # decided in smaller parts, or run again; not the rule's fault
        except Exception as error:  # whatever a rule raises
            logger.exception("rule %s failed", getattr(rule, "__name__", rule))
            raise Refuse(
                "rule_failed", "A rule of this app failed on the server; the work is kept."
            ) from error
