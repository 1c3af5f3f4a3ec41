"""Devices at a real server in this process, and the `sqlite3` shell beside them."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from holdfast.replica.memory import MemoryTransport
from holdfast.replica.replica import Replica, SyncReport
from holdfast.schema import Schema
from holdfast.server import Principal, open_server
from holdfast.server.exchange.budgets import Budgets
from holdfast.sqlite import OpenOptions, Row, driver


class Shop:
    """A server, and devices ``a`` and ``b`` that see all of it."""

    def __init__(self, folder: Path, schema: Schema, *, library: str = "apsw", rules: Any = (),
                 budgets: Budgets | None = None, database: str = ""):  # fmt: skip
        self.folder = folder
        self.schema = schema
        self.library = library
        given: dict[str, Any] = {} if budgets is None else {"budgets": budgets}
        self.server = open_server(
            schema, database or str(folder / "server.db"), lambda _headers: self.principal("a"),
            rules=rules, **given,
        )  # fmt: skip
        self.devices: dict[str, Replica] = {}
        self.transports: dict[str, MemoryTransport] = {}
        for name in "ab":
            self.open(name)

    def principal(self, name: str) -> Principal:
        return Principal(f"u{name}", name, write=("main",))

    def open(self, name: str) -> Replica:
        transport = MemoryTransport(self.server.service, self.principal(name))
        replica = Replica.open(
            self.folder / f"{name}.db", self.schema, transport=transport, synchronous="OFF",
            driver_name=self.library,  # type: ignore[arg-type]
        )  # fmt: skip
        self.devices[name], self.transports[name] = replica, transport
        return replica

    @property
    def a(self) -> Replica:
        return self.devices["a"]

    def write(self, name: str, *statements: str) -> None:
        with self.devices[name].transaction() as db:
            for sql in statements:
                db.execute(sql)

    def sync(self, *names: str) -> SyncReport:
        report = SyncReport()
        for name in names or ("a", "b"):
            report = self.devices[name].sync()
            assert report.verified
        return report

    def shell(self, name: str, *commits: str) -> None:
        """Each as a commit of its own, of another process."""
        subprocess.run(
            ["sqlite3", "-cmd", ".timeout 20000", str(self.folder / f"{name}.db")],
            input="".join(f"{sql};\n" for sql in commits), text=True, check=True,
        )  # fmt: skip

    def on_server(self, sql: str) -> list[Row]:
        options = OpenOptions(synchronous="OFF")
        with closing(driver().connect(str(self.folder / "server.db"), options)) as db:
            return db.execute(sql)

    def waiting(self, name: str = "a") -> dict[int, tuple[str, str]]:
        """What is in the inbox: number to state and code."""
        return {item.number: (item.state, item.code) for item in self.devices[name].refused()}

    def after(self, name: str = "a") -> dict[int, list[int]]:
        """What each pending transaction rests on."""
        replica = self.devices[name]
        replica.seal()
        rows = replica.query("SELECT number, after FROM holdfast_tx ORDER BY number")
        return {int(str(number)): json.loads(str(after)) for number, after in rows}

    def close(self) -> None:
        for replica in self.devices.values():
            replica.close()
        self.server.close()
