"""A rule of the shop, for tests: nothing sells at a price of 13."""

from __future__ import annotations

from holdfast.server.push.rules import RuleContext


def no_thirteen(context: RuleContext) -> None:
    for change in context.changes:
        if change.table == "stock" and change.new and change.new["price"] == 13:
            context.refuse("thirteen", "13 is no price", field="price")


RULES = [no_thirteen]
