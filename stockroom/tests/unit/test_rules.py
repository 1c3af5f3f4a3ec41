from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from holdfast.core.errors import Refuse
from holdfast.server.rules import RuleChange, RuleContext
from stockroom.rules import movements_are_only_added

MOVEMENT: dict[str, Any] = {
    "id": "m",
    "product_id": "p",
    "location_id": "l",
    "store_id": "1",
    "quantity": 3,
    "kind": "reversal",
    "reverses": "n",
    "person": "Ana",
    "occurred_at": 1,
}


@dataclass
class Context:
    """What the rule uses of a rule's context."""

    changes: tuple[RuleChange, ...]
    asked: list[str] = field(default_factory=list)

    def refuse(self, code: str, message: str, **detail: Any) -> None:
        raise Refuse(code, message, **detail)


def run(*changes: RuleChange) -> None:
    movements_are_only_added(cast("RuleContext", Context(changes)))


def test_movements_may_be_added() -> None:
    run(
        RuleChange("movement", "m", "insert", None, MOVEMENT),
        RuleChange("product", "p", "update", {"id": "p", "name": "a"}, {"id": "p", "name": "b"}),
        RuleChange("product", "q", "delete", {"id": "q"}, None),
    )


@pytest.mark.parametrize(
    "changed", [{"quantity": 4}, {"kind": "sale"}, {"store_id": "2"}, {"reverses": None}]
)
def test_what_a_movement_says_never_changes(changed: dict[str, Any]) -> None:
    with pytest.raises(Refuse) as caught:
        run(RuleChange("movement", "m", "update", MOVEMENT, {**MOVEMENT, **changed}))
    assert caught.value.code == "append_only"


def test_a_movement_is_never_removed() -> None:
    with pytest.raises(Refuse):
        run(RuleChange("movement", "m", "delete", MOVEMENT, None))


def test_the_same_reversal_from_two_devices_is_one() -> None:
    run(
        RuleChange(
            "movement", "m", "update", MOVEMENT, {**MOVEMENT, "person": "Ben", "occurred_at": 2}
        )
    )
