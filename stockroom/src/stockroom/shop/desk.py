"""The desk where a shop is looked after: its people and its tables, behind one door.

Knows: how a server's database is opened for a moment, or shared with a server that runs in this
process. Must not know: what is done there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import UsageError
from holdfast.server.assembly import Server, open_server
from holdfast.server.identity.people import People
from holdfast.server.open_store import is_postgres
from stockroom.rules import rules
from stockroom.schema import schema
from stockroom.server.people import grant_costs
from stockroom.shop import tables
from stockroom.shop.costs import move_costs
from stockroom.shop.roster import tell_roster
from stockroom.shop.tables import Tables


@dataclass(frozen=True, slots=True)
class Desk:
    """`people`: who may sign in; `now_us`: the server's clock."""

    database: str
    people: People
    now_us: Callable[[], int]
    _take_in: Callable[[], object]

    def transaction(self) -> AbstractContextManager[Tables]:
        """Write rows of the shop; devices hear of them at once."""
        return self._written()

    @contextmanager
    def _written(self) -> Iterator[Tables]:
        with tables.transaction(self.database) as opened:
            yield opened
        self._take_in()


def desk_of(server: Server, database: str) -> Desk:
    """The desk of a server that runs in this process; a shop of an older version follows first."""
    service = server.service
    desk = Desk(database, server.people, service.now_us, service.poll_foreign_writes)
    grant_costs(desk.people)
    with desk.transaction() as opened:
        move_costs(opened)
        tell_roster(opened, desk.people)
    return desk


@contextmanager
def open_desk(database: str, *, existing: bool = True) -> Iterator[Desk]:
    """Open a shop's database for a moment; a server may run on it all the while.

    `existing`: it must be there already; else `UsageError` (`no_shop`).
    """
    if existing and not is_postgres(database) and not Path(database).is_file():
        raise no_shop(database)
    with open_server(schema, database, rules=rules, maintain=False) as server:
        yield desk_of(server, database)


def no_shop(database: str) -> UsageError:
    return UsageError(
        f"there is no shop at {database}: make one with `stockroom setup`, or name another file "
        "(--database)",
        code="no_shop",
    )
