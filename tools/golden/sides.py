"""Sides: whose side of a conflict is whose, and what each word for one means to who asks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from golden import Case, Family
from holdfast.core.errors import UsageError
from holdfast.core.sides import Party, chosen_side, yours

KEEPS = ("device", "server", "yours", "other", "mine", "theirs", "Mine", "")
DEVICE, SERVER = ("ada", "till-1"), ("ben", "till-2")


def _inputs() -> Iterator[Case]:
    people, devices = ("ada", "ben", "cleo", ""), ("till-1", "till-2", "till-3", "")
    for user, device in product(people, devices):
        asking = [user, device]
        yield (
            f"asked by {user or 'nobody'} on {device or 'nothing'}",
            {"device": list(DEVICE), "server": list(SERVER), "asking": asking},
        )
    for user, device in product(("ada", "ben"), ("till-1", "till-2", "till-3")):
        asking = [user, device]
        yield (
            f"both of ada, asked by {user} on {device}",
            {"device": ["ada", "till-1"], "server": ["ada", "till-2"], "asking": asking},
        )
        yield (
            f"both of one device, asked by {user} on {device}",
            {"device": ["ada", "till-1"], "server": ["ben", "till-1"], "asking": asking},
        )
        yield (
            f"server's own, asked by {user} on {device}",
            {"device": ["", "till-1"], "server": ["server", "server"], "asking": asking},
        )


def _answer(given: dict[str, Any]) -> dict[str, Any]:
    sides = Party(*given["device"]), Party(*given["server"]), Party(*given["asking"])
    return {"yours": yours(*sides), "keep": {keep: _kept(keep, sides) for keep in KEEPS}}


def _kept(keep: str, sides: tuple[Party, Party, Party]) -> str:
    try:
        return chosen_side(keep, *sides)
    except UsageError as error:
        return f"{error.code}: {error.message}"


SIDES = Family(
    name="sides",
    about="Whose side of a conflict is whose ([user, device] each), and what each word means.",
    inputs=_inputs,
    answer=_answer,
)
