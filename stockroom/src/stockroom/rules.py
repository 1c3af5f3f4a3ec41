"""What the server checks before it accepts a transaction.

Knows: what must never happen to Stockroom's data. Must not know: how changes are stored or merged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from holdfast.server.rules import RuleContext

_FACTS: Final = ("product_id", "location_id", "store_id", "quantity", "kind", "reverses")
"""What a movement says. Who wrote it, and when, may come from either of two devices that wrote the
same one: a movement that is undone on two devices is undone once."""


def movements_are_only_added(context: RuleContext) -> None:
    """The ledger is append-only: a movement is never changed or removed, only reversed."""
    for change in context.changes:
        if change.table != "movement" or change.op == "insert":
            continue
        old, new = change.old, change.new
        if old is None or new is None or any(old[name] != new[name] for name in _FACTS):
            context.refuse(
                "append_only",
                "A movement is never changed: undo it with a reversal.",
                row=change.key,
            )


rules: Final = (movements_are_only_added,)
"""All rules, in the order in which they run."""
