"""Epochs: which history a database is of, and which ones of its own have ended.

Knows: how an epoch ends, in SQL that both stores run. Must not know: how it is found out that one
has to, or what devices are told.
An epoch ends when what devices have seen of it was lost, as after a restore from a backup. The
heads that scopes had then are kept, for histories have parted at or below them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from holdfast.core.limits import EPOCH_REVISIONS
from holdfast.core.merging.rows import COUNTER_MAX
from holdfast.sqlite.failpoints import failpoint

READ_EPOCHS: Final = "SELECT epoch FROM holdfast_epoch ORDER BY number"
READ_HEADS: Final = "SELECT scope, head FROM holdfast_epoch_head WHERE number = {number}"
_HOLD: Final = "SELECT epoch FROM holdfast_state{locked}"
_END: Final = (
    "INSERT INTO holdfast_epoch (number, epoch, ended_at) VALUES "
    "(coalesce((SELECT max(number) FROM holdfast_epoch), 0) + 1, {epoch}, {at})"
)
_KEEP_HEADS: Final = (
    "INSERT INTO holdfast_epoch_head (number, scope, head) "
    "SELECT (SELECT max(number) FROM holdfast_epoch), scope, head FROM holdfast_scope"
)
_BEGIN: Final = "UPDATE holdfast_state SET epoch = {epoch}"

Run = Callable[[str, Sequence[Any]], Sequence[Sequence[Any]]]
"""Runs one statement in an open transaction; its rows."""


@dataclass(frozen=True, slots=True)
class Epochs:
    """The epoch of a database, and those of its own that have ended, oldest first."""

    current: str
    ended: tuple[str, ...] = ()

    @property
    def first(self) -> str:
        """Return what the database is known by, whatever was lost since."""
        return self.ended[0] if self.ended else self.current

    @property
    def counts_from(self) -> int:
        """Return the least place in a row's count that a revision of this epoch has: a revision
        that was lost is never given again."""
        return min(len(self.ended) * EPOCH_REVISIONS, COUNTER_MAX - EPOCH_REVISIONS)

    def newest_first(self) -> Sequence[tuple[int, str]]:
        """Return all with their numbers; that of the current one is one above the last."""
        return [*enumerate((*self.ended, self.current), start=1)][::-1]


def end_epoch(
    run: Run,
    epoch: str | None,
    *,
    new: str,
    at: int,
    lost: str = "",
    mark: Callable[[int], str],
    locked: str = "",
) -> bool:
    """End the epoch of a database, if it is this one (None: whichever it is).

    ``new``: the next epoch. ``lost``: a later one of which nothing is left, as when the same backup
    was restored a second time; it has ended, too. ``mark``: the dialect's place of a parameter, by
    its number.
    """
    ((current,),) = run(_HOLD.format(locked=locked), ())
    if epoch not in (None, current):
        return False  # somebody else has found it out
    for ended in (current, lost) if lost else (current,):
        run(_END.format(epoch=mark(1), at=mark(2)), (ended, at))
        run(_KEEP_HEADS, ())
    run(_BEGIN.format(epoch=mark(1)), (new,))
    failpoint("epoch.before_commit")
    return True
