"""Changes of a product, as a device reads them: what was changed, by whom, when, on which device.

Knows: the history that the server writes (`rules.history`). Must not know: how it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from holdfast import Replica

SHOWN_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductChange:
    """A change of one field. `lost`: `dropped` when a later change stood, so that `new_value` never
    counted; `overridden` when whoever made it had not seen `old_value`."""

    field: str
    old_value: str
    new_value: str
    lost: str
    person: str
    device: str
    changed_at: int


def changes_of(replica: Replica, product_id: str, *, limit: int = SHOWN_MAX) -> list[ProductChange]:
    """Changes of a product that have reached this device, the newest first."""
    rows = replica.query(
        "SELECT field, old_value, new_value, lost, person, device, changed_at FROM product_change "
        "WHERE product_id = ? ORDER BY changed_at DESC, id LIMIT ?",
        (product_id, limit),
    )
    return [
        ProductChange(
            field=str(field),
            old_value=str(old),
            new_value=str(new),
            lost=str(lost),
            person=str(person),
            device=str(device),
            changed_at=int(str(at)),
        )
        for field, old, new, lost, person, device, at in rows
    ]
