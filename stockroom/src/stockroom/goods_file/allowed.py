"""Permissions of whoever brings a file: what of a line may be written.

Knows: which deed a line comes to. Must not know: who asks, or how it is written. A line that comes
to more than is allowed is not taken: half a line would be a product that nobody has described.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from stockroom.goods_file.lines import Reason
from stockroom.permissions import DEEDS, deed_of

_WORDS: Final = {
    "add": "add products, categories and codes",
    "price": "change prices and units",
    "word": "change what products are called",
    "code": "change how many a code counts",
    "receive": "receive goods",
}


@dataclass(frozen=True, slots=True)
class Allowed:
    """Deeds that are allowed. `costs`: whether they may see what goods cost."""

    deeds: frozenset[str]
    costs: bool

    def denied(self, deeds: Iterable[str]) -> Iterator[Reason]:
        """Give a reason for each of these that is not allowed."""
        for deed in dict.fromkeys(deeds):
            if deed not in self.deeds:
                yield Reason("not_allowed", None, {"deed": deed, "what": _WORDS[deed]})

    def denied_changes(self, columns: Iterable[str], *, says_cost: bool) -> Iterator[Reason]:
        """Give a reason for each deed among changes of a product that is not allowed.

        `says_cost`: the line has a cost. Whether that is the one which is there already would be
        told to whoever may not see it.
        """
        hidden = says_cost and not self.costs
        if hidden:
            yield Reason("cost_of_managers", "cost")
        yield from self.denied(deed_of(name) for name in columns if not (hidden and name == "cost"))


EVERYTHING: Final = Allowed(frozenset(DEEDS), True)
"""Permissions of whoever has the database itself."""
