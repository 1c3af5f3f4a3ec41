"""Old generations of the schema: served no longer when no device speaks them, and then forgotten.

Knows: which generations a database serves, and what is kept for each. Must not know: clocks, SQL,
or what a device of such a generation is told.

What is kept for a generation goes one run after it was dropped. In between every process on the
database has asked which generations are served, and keeps the books of no other. Digests at the
positions of scopes stay until the positions are forgotten: a device of that generation may follow
later, and what it has seen is still told from what was never ours.

Upholds I12 (what a generation sees is kept for as long as it is served) and I31.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.core.limits import RETENTION_BITE_ROWS
from holdfast.schema.model import Schema
from holdfast.server.store.contract import Store, Writer
from holdfast.server.store.upkeep import FeedPlace


def forget_generations(
    store: Store, schema: Schema, *, now_us: int, before: int, pause: Callable[[], None]
) -> int:
    """Forget what is kept for dropped generations, and drop those that nobody has spoken since
    ``before``; of how many nothing is left now. ``pause``: called between two bites."""
    dropped = store.transact(lambda writer: writer.upkeep.dropped())
    for number in dropped:
        _forget(store, schema, number, pause)
    pause()

    def drop(writer: Writer) -> None:
        writer.upkeep.cease(schema.generation, now_us)
        writer.upkeep.drop_generations(schema.generation, before)

    store.transact(drop)
    return len(dropped)


def _forget(store: Store, schema: Schema, number: int, pause: Callable[[], None]) -> None:
    count = RETENTION_BITE_ROWS
    while count >= RETENTION_BITE_ROWS:
        pause()
        count = store.transact(lambda w: w.upkeep.forget_digests(number, RETENTION_BITE_ROWS))
    oldest = min([one.generation for one in store.renew_older()], default=schema.generation)
    place: FeedPlace | None = ("", "", "")
    while place is not None:
        pause()

        def bite(writer: Writer, after: FeedPlace = place) -> FeedPlace | None:
            return writer.upkeep.forget_hashes(number, oldest, after, RETENTION_BITE_ROWS)

        place = store.transact(bite)
    store.transact(lambda writer: writer.upkeep.forgotten(number))
