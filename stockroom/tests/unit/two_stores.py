"""A server of two stores, with the people whom several tests need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from holdfast import Replica
from holdfast.replica.memory import MemoryTransport
from holdfast.server import Principal, open_server
from holdfast.server.assembly import Server
from stockroom.rules import rules
from stockroom.schema import schema
from stockroom.server.people import Person, add
from stockroom.shop.desk import Desk, desk_of
from stockroom.shop.staff import add_member
from stockroom.shop.stores import add_store

ADA = Principal("Ada", "office", write=("catalog", "store/*", "staff", "cost"), roles=("admin",))


class TwoStores:
    """Pier and Mill. Ada owns them; Dilan works at the pier, and Mara manages both."""

    def __init__(self, folder: Path, database: str, stack: ExitStack) -> None:
        def nobody(_headers: Mapping[str, str]) -> Principal:
            raise AssertionError

        self._folder, self._stack = folder, stack
        self.server: Server = stack.enter_context(
            open_server(schema, database, nobody, rules=rules)
        )
        # As an older version has left it: people, and no rows that tell of them.
        add(self.server.people, Person(name="Ada", role="admin", stores=("*",)))
        self.desk: Desk = desk_of(self.server, database)
        for name in ("Pier", "Mill"):
            add_store(self.desk, name)
        add_member(self.desk, "Dilan", role="employee", stores=["pier"])
        add_member(self.desk, "Mara", role="manager", stores=["pier", "mill"])

    def device(self, principal: Principal) -> Replica:
        transport = MemoryTransport(self.server.service, principal)
        path = self._folder / f"{principal.device}.db"
        replica = self._stack.enter_context(Replica.open(path, schema, transport=transport))
        replica.sync()
        return replica

    def let_in(self, device: str, user: str, name: str) -> None:
        """A device as it is in the rows that all devices have."""
        with self.desk.transaction() as tables:
            tables.execute(
                "INSERT INTO device (id, name, login) VALUES (?, ?, ?)", (device, name, user)
            )


def refused(device: Replica) -> Sequence[str]:
    """Sync, and tell the codes of what was refused; it is discarded."""
    device.sync()
    waiting = device.refused()
    for item in waiting:
        device.discard(item.id)
    device.sync()
    return [item.code.removeprefix("rule:") for item in waiting]
