"""History of a database under a restore: its epoch ends, and with it those that were lost.

Knows: epochs, in SQL that both stores run. Must not know: how a copy gets in its place.
The database that is set aside may have had epochs that the copy knows nothing of, as when the same
backup is put back twice. Devices come from these: they are told as past ones, so that their work is
offered again, and no revision of theirs is given again.

Upholds I5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from holdfast.server.store.epochs import READ_EPOCHS, Run, end_epoch

_CURRENT: Final = "SELECT epoch FROM holdfast_state"


def read_epochs(run: Run) -> list[str]:
    """The epochs of a database, oldest first; the current one is the last."""
    return [str(epoch) for sql in (READ_EPOCHS, _CURRENT) for (epoch,) in run(sql, ())]


def begin_epoch(
    run: Run, *, before: Sequence[str], new: str, at: int, mark: Callable[[int], str]
) -> None:
    """End the epoch of a copy that takes the place of a database. ``before``: the epochs of that
    database; those of another server are none of ours."""
    known = read_epochs(run)
    lost = [epoch for epoch in before if epoch not in known]
    if len(lost) == len(before):
        lost = []
    for epoch in (*lost, new):
        end_epoch(run, None, new=epoch, at=at, mark=mark)
