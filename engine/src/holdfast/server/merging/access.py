"""Rights: which rows a principal may change, and what the others look like to them.

Knows: principals, scopes, rows before and after. Must not know: merging or storage.
Absent and forbidden give the same answer: a row that may not be read is treated as one that never
was, and what collides with it is refused.

Upholds I23, I26.
"""

from __future__ import annotations

from holdfast.core.errors import BadValue, Refuse
from holdfast.core.keys import row_scopes
from holdfast.core.merging.rows import ServerRow
from holdfast.core.values import Row
from holdfast.schema.model import Table, template_columns
from holdfast.server.feed.feed import scopes_of
from holdfast.server.identity.principal import Principal


class Access:
    """The rights of a principal, remembered for the scopes of one batch."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal
        self._readable: dict[str, bool] = {}
        self._writable: dict[str, bool] = {}

    def may_read(self, scope: str) -> bool:
        """Return whether the principal may read a scope, remembered."""
        known = self._readable.get(scope)
        if known is None:
            known = self._readable[scope] = self._principal.may_read(scope)
        return known

    def _may_write(self, scope: str) -> bool:
        known = self._writable.get(scope)
        if known is None:
            known = self._writable[scope] = self._principal.may_write(scope)
        return known

    def check_before(self, table: Table, op: str, row: ServerRow) -> tuple[str, ...]:
        """Check the row that stands, or its last image; its scopes. Raises ``Refuse``.

        A row that may not be read is ``row_gone`` for an update or a delete, and ``forbidden`` for
        an insert that collides with it.
        """
        image = row.image if row.values is None else row.values
        if image is None:
            if op != "insert" and row.rev == 0:
                raise _row_gone(table)
            return ()
        scopes = scopes_of(table, image)
        if not self.sees(table, image):
            if op == "insert":
                raise forbidden(table)
            raise _row_gone(table)
        if not all(self._may_write(scope) for scope in scopes):
            raise forbidden(table)
        return scopes

    def check_about(self, table: Table, row: ServerRow) -> None:
        """Check the row that a conflict is about, while it is there. Raises ``Refuse``.

        A conflict that was left behind by its row must not tell what the row has become.
        """
        if row.values is not None and not self.sees(table, row.values):
            raise _row_gone(table)

    def check_after(self, table: Table, row: Row | None) -> tuple[str, ...]:
        """Check what the row has become; its scopes. Raises ``Refuse``."""
        if row is None:
            return ()
        try:
            scopes = row_scopes(table, row)
        except BadValue as error:
            raise Refuse("bad_value", f"{error.message}.", table=table.name) from None
        if not scopes or not all(self._may_write(scope) for scope in scopes):
            raise forbidden(table)
        return scopes

    def sees(self, table: Table, row: Row) -> bool:
        """Return whether the principal may read a row."""
        return any(self.may_read(scope) for scope in scopes_of(table, row))

    def sees_all(self, table: Table) -> bool:
        """Return whether the principal may read every row of a table, whatever is in it."""
        return any(
            not template_columns(template) and self.may_read(template) for template in table.scopes
        )


def _row_gone(table: Table) -> Refuse:
    return Refuse("row_gone", "This row no longer exists.", table=table.name)


def forbidden(table: Table) -> Refuse:
    """The same words whatever the reason."""
    return Refuse("forbidden", f"You may not change this row of {table.name}.", table=table.name)
