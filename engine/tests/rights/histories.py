"""Random histories: rows that move, rights that change, devices that ask for what is not theirs."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from canaries import Oracle
from stores import SCHEMA, Stores, canary

COLUMNS = ("id", "store_id", "note", "text", "number", "raw", "serial", "inside", "brand_id")
INSERT = f"INSERT INTO box ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"


class History:
    """One random history: the same seed does the same things."""

    def __init__(self, stores: Stores, seed: int) -> None:
        self.stores = stores
        self.oracle = Oracle(stores)
        self.rng = random.Random(seed)
        self.ids = [canary(self.rng) for _ in range(3)]
        self.kinds = [canary(self.rng) for _ in range(2)]
        self.room = canary(self.rng)
        self.positions: list[dict[str, Any]] = []
        """Sealed checkpoints that devices have had, by whatever scope."""
        one, two, three = (f"store/{name}" for name in self.ids)
        self._starts = {
            "boss": ((), ("*",)),
            "mover": (("catalog",), (one, two)),
            "first": (("catalog",), (one,)),
            "second": ((f"kind/{self.kinds[0]}",), (two,)),
            "looker": ((one,), ()),
            "prefix": ((f"store/{self.ids[2][:9]}*",), (three,)),
            "tasks": (("kind/*",), ()),
        }
        for name, (read, write) in self._starts.items():
            stores.grant(name, read=read, write=write)
        stores.rule = self._audit
        self._begin()

    def _audit(self, context: Any) -> None:
        """A rule that writes where no device but one may read, and one that refuses."""
        for change in context.changes:
            if change.table == "box" and change.new is not None and change.new["number"] % 2 == 0:
                note = f"{change.new['text']} seen"
                row = {"id": f"{change.key}-{context.number}", "room": self.room, "text": note}
                context.add("audit", row)
            if change.new is not None and "refuse" in str(change.new.get("text", "")):
                context.refuse("no", "The app does not want this.")

    def _begin(self) -> None:
        for store in self.ids:
            for _ in range(2):
                self._insert("boss", store)
            self._write(
                "boss", ("INSERT INTO task VALUES (?, ?, ?, ?)",
                         (self._new(), store, self.rng.choice(self.kinds), self._new())),
            )  # fmt: skip
        self._write("boss", ("INSERT INTO brand VALUES (?, ?)", (self._new(), self._new())))
        for name in self._starts:
            self.sync(name)

    def run(self, steps: int) -> list[str]:
        """Do so many random things; what then is found where it must not be."""
        deeds: list[tuple[int, Callable[[str], None]]] = [
            (6, self.insert), (8, self.edit), (6, self.move), (2, self.delete), (2, self.revive),
            (4, self.reach_out), (4, self.settle), (3, self.quarrel), (2, self.directly),
            (2, self.rights), (3, self.probe),
        ]  # fmt: skip
        weights, choices = zip(*deeds, strict=True)
        names = list(self._starts)
        for _ in range(steps):
            name = self.rng.choice(names)
            for deed in self.rng.choices(choices, weights, k=3):
                deed(name)
            self.sync(self.rng.choice((name, name, self.rng.choice(names))))
        for name in names:
            self.sync(name)
        return self.oracle.leaks()

    # Words

    def _new(self) -> str:
        return canary(self.rng)

    def _write(self, name: str, *statements: tuple[str, tuple[Any, ...]]) -> None:
        for _, params in statements:
            self.oracle.own(name, *params)
        self.stores.write(name, *statements)

    def _insert(self, name: str, store: str, **given: Any) -> None:
        row = {
            "id": self._new(), "store_id": store, "note": self._new(), "text": self._new(),
            "number": self.rng.randrange(10**12 + 1, 2**46), "raw": self.rng.randbytes(16),
            "serial": str(uuid.UUID(int=self.rng.getrandbits(128))), "inside": None,
            "brand_id": None, **given,
        }  # fmt: skip
        self._write(name, (INSERT, tuple(row[column] for column in COLUMNS)))

    def _mine(self, name: str) -> tuple[str, str] | None:
        """A box that the device holds: key and store."""
        rows = self.stores.device(name).query("SELECT id, store_id FROM box ORDER BY id")
        return None if not rows else self.rng.choice(rows)  # type: ignore[return-value]

    def _any(self, column: str = "id") -> Any:
        """A value of any box on the server, for a device that guesses well."""
        rows = self.stores.server_rows(f"SELECT {column} FROM box ORDER BY id")
        return self.rng.choice(rows)[0] if rows else "none"

    # Deeds

    def sync(self, name: str) -> None:
        self.oracle.look()  # what others have done since is readable from now on
        self.stores.sync(name)
        self.oracle.look()
        self.positions += [
            {"scope": scope, "version": version, "count": count, "digest": digest, "seal": seal}
            for scope, version, count, digest, seal in self.stores.device(name).query(
                "SELECT scope, version, server_count, server_digest, seal FROM holdfast_scope"
            )
        ]

    def insert(self, name: str) -> None:
        self._insert(name, self.rng.choice(self.ids))

    def edit(self, name: str) -> None:
        if (mine := self._mine(name)) is not None:
            column = self.rng.choice(("note", "note", "text"))
            words = self._new() + self.rng.choice(("", "", " refuse"))
            self._write(name, (f"UPDATE box SET {column} = ? WHERE id = ?", (words, mine[0])))

    def move(self, name: str) -> None:
        name = self.rng.choice((name, "boss", "mover"))
        if (mine := self._mine(name)) is not None:
            sql = "UPDATE box SET store_id = ?, text = ? WHERE id = ?"
            self._write(name, (sql, (self.rng.choice(self.ids), self._new(), mine[0])))

    def delete(self, name: str) -> None:
        if (mine := self._mine(name)) is not None:
            self._write(name, ("DELETE FROM box WHERE id = ?", (mine[0],)))

    def revive(self, name: str) -> None:
        """A delete that another device edits against: it comes back, or becomes a conflict."""
        if (mine := self._mine("boss")) is not None:
            self._write("boss", ("DELETE FROM box WHERE id = ?", (mine[0],)))
            self._write(name, ("UPDATE box SET text = ? WHERE id = ?", (self._new(), mine[0])))
            self.sync("boss")

    def reach_out(self, name: str) -> None:
        """Keys, unique values and parents that the device may not know; it has guessed them."""
        store = self.ids[("first", "second").index(name)] if name in ("first", "second") else None
        given: dict[str, Any] = self.rng.choice(
            [{"id": self._any()}, {"serial": self._any("serial")}, {"inside": self._any()}]
        )
        self._insert(name, store or self.rng.choice(self.ids), **given)

    def settle(self, name: str) -> None:
        replica = self.stores.device(name)
        if found := replica.conflicts():
            chosen = self.rng.choice(found)
            with self.stores._as(name):
                replica.resolve(chosen.id, keep=self.rng.choice(("mine", "theirs")))
            return
        if (mine := self._mine(name)) is not None:  # then make one
            for other in (name, "boss"):
                sql = "UPDATE box SET note = ? WHERE id = ?"
                self._write(other, (sql, (self._new(), mine[0])))
            self.sync("boss")

    def quarrel(self, _name: str) -> None:
        """Two devices write one row again and again, and it moves between the two stores."""
        rows = self.stores.device("mover").query("SELECT id, store_id FROM box ORDER BY id")
        if not rows:
            return
        key, store = self.rng.choice(rows)
        for _ in range(2):
            for name in ("boss", "mover"):
                sql = "UPDATE box SET note = ? WHERE id = ?"
                self._write(name, (sql, (self._new(), key)))
            self.sync("boss")
            self.sync("mover")
            store = self.ids[0] if store == self.ids[1] else self.ids[1]
            self._write("boss", ("UPDATE box SET store_id = ? WHERE id = ?", (store, key)))
            self.sync("boss")

    def directly(self, _name: str) -> None:
        """The back office moves and changes rows by SQL."""
        sql = "UPDATE box SET store_id = ?, text = ? WHERE id = ?"
        self.stores.write_directly(sql, self.rng.choice(self.ids), self._new(), self._any())
        self.oracle.look()

    def rights(self, name: str) -> None:
        if name == "boss":
            return
        read, write = self._starts[name]
        scopes = [f"store/{store}" for store in self.ids] + ["catalog", "kind/*"]
        match self.rng.randrange(4):
            case 0:
                read = (*read, self.rng.choice(scopes))
            case 1:
                write = (*write, self.rng.choice(scopes[:3]))
            case 2:
                read, write = (*read, *write), ()
            case _:
                read = read[1:]
        self.stores.grant(name, read=read, write=write)

    def probe(self, name: str) -> None:
        """Requests made by hand: for other scopes, other rows, with checkpoints of others."""
        replica = self.stores.device(name)
        ((epoch, device, nonce, proposed),) = replica.query(
            "SELECT epoch, device, nonce, next_nonce FROM holdfast_state"
        )
        position = dict(self.rng.choice(self.positions))
        own = position.pop("scope")
        scope = self.rng.choice(
            (own, f"store/{self.rng.choice(self.ids)}", f"audit/{self.kinds[1]}")
        )
        position["version"] += self.rng.choice((0, 0, 1, -1))
        key = self._any()
        self.oracle.own(name, scope, key, position["digest"])
        self.oracle.allowed[name].add(position["digest"].encode())
        body: dict[str, Any] = {
            "protocol": 1, "schema": SCHEMA.fingerprint, "device": device, "epoch": epoch,
            "now": 1, "checkpoint": self.rng.choice(({}, {scope: position})),
        }  # fmt: skip
        verify = {
            **body, "ranges": [{"scope": scope, "start": "", "end": None}],
            "rows": [{"table": "box", "key": key}, {"table": "holdfast_conflict", "key": key}],
        }  # fmt: skip
        self.oracle.look()
        self.stores.ask(name, "POST", "/v1/verify", verify)
        exchange = {**body, "nonce": {"since": nonce, "to": proposed or nonce}}
        self.stores.ask(name, "POST", "/v1/exchange", exchange)
        for query in ("", f"?table=box&key={quote(key)}", "?limit=1&before=99"):
            self.stores.ask(name, "GET", f"/v1/journal{query}")
        self.stores.ask(name, "GET", "/v1/session")
