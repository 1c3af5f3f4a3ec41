"""Whole replicas: local SQL, exchanges, a person's decisions, and what the tables say after each.

The inputs are recorded from random work of two devices at a real server in this process (schema and
work are those of the system tests): each step of one of them, and the answers it got. How a replica
gets from a step to its tables is its own business; what is compared is what others can see.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from golden import ROOT, Case, Family, whole
from golden.values import tagged, untagged
from holdfast.core.errors import HoldfastError, Offline
from holdfast.core.values import encode
from holdfast.protocol.messages import ExchangeRequest, VerifyRequest
from holdfast.replica.host import Host
from holdfast.replica.http.downloads import FileAnswer, checked_path
from holdfast.replica.http.spool import SpooledAnswer, receive
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.replica import Replica
from holdfast.schema.model import Schema

START_US = 1_795_000_000_000_000
Step = dict[str, Any]


class Names:
    """Random names by the order in which they appear: which they are is nobody's business."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {"": 0}

    def of(self, name: str) -> int:
        return self._known.setdefault(name, len(self._known))


def plain(request: dict[str, Any], names: Names) -> dict[str, Any]:
    """A request as it is compared: without random names, and each transaction as the set it is."""
    kept = {
        key: value for key, value in request.items() if key not in ("report", "files", "replica")
    }
    kept["reports"] = request.get("report") is not None
    kept["nonce"] = [names.of(request["nonce"]["since"]), names.of(request["nonce"]["to"])]
    kept["transactions"] = [
        {
            **{key: value for key, value in transaction.items() if key != "id"},
            "changes": sorted(transaction["changes"], key=_place),
            **({"first": True} if transaction.get("first") else {}),  # it hangs on the id
        }
        for transaction in request.get("transactions", [])
    ]
    return kept


def _place(change: dict[str, Any]) -> str:
    name = [change["table"], change["key"]]
    return json.dumps(name, ensure_ascii=False, separators=(",", ":"))


def _nothing(_step: Step) -> None:
    return None


class Recorded:
    """A transport that answers with what was recorded, and keeps what it was asked.

    An exchange whose answers offer files has several rounds, and the step has the files.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.step: Step = {}
        self.meanwhile = _nothing
        self._names = Names()
        self._ids: dict[int, str] = {}

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        asked = plain(msgspec.to_builtins(request), self._names)
        rounds = self.step.get("rounds")
        given = self.step if rounds is None else rounds[len(self.asked)]
        self.asked.append(asked if rounds is None else asked | {"files": bool(request.files)})
        self._ids |= {transaction.number: transaction.id for transaction in request.transactions}
        self.meanwhile(self.step)
        if given.get("lost"):
            raise Offline("the answer was lost", code="timeout")
        head = json.loads(given["lines"][0]) | {"echo": echo}
        for outcome in head.get("outcomes", []):
            outcome["id"] = self._ids[outcome["number"]]
        lines = [json.dumps(head), *given["lines"][1:]]
        return receive(
            [f"{line}\n".encode() for line in lines], echo=echo,
            sent_us=given["sent"], received_us=given["received"],
        )  # fmt: skip

    @contextmanager
    def file(self, path: str, *, start: int, sha256: str) -> Iterator[FileAnswer]:
        assert checked_path(path).endswith(sha256)
        yield FileAnswer(start, iter([base64.b64decode(self.step["files"][sha256])[start:]]))

    def verify(self, request: VerifyRequest, echo: str) -> SpooledAnswer:
        raise AssertionError(f"nothing differs here: {request} {echo}")

    def close(self) -> None:
        """Nothing is open."""


class Actor:
    """One replica that takes steps, from a recording or for one."""

    def __init__(self, folder: str, schema: Schema, transport: Any) -> None:
        self.now_us = START_US
        self._path = Path(folder) / "replica.db"
        self.replica = self._open(schema, transport)

    def _open(self, schema: Schema, transport: Any) -> Replica:
        host = Host(now_us=lambda: self.now_us)
        transport.meanwhile = self._write_meanwhile
        return Replica.open(self._path, schema, transport=transport, host=host, synchronous="OFF")

    def migrate(self, schema: Schema, transport: Any) -> None:
        """Open the file again, with a later generation of its schema."""
        self.replica.close()
        self.replica = self._open(schema, transport)

    def _write_meanwhile(self, step: Step) -> None:
        """What a person does while an exchange is under way; it may fail."""
        with suppress(HoldfastError):
            self._write(step.get("meanwhile", []))

    def _write(self, statements: list[Any]) -> None:
        with self.replica.transaction() as tx:
            for sql, params in statements:
                tx.execute(sql, [untagged(param) for param in params])

    def take(self, step: Step) -> str | None:
        """Do one step; the code of the error it ended with."""
        self.now_us = step["now"]
        replica = self.replica
        try:
            match step["do"]:
                case "write":
                    self._write(step["statements"])
                case "exchange":
                    replica._syncing.exchanger().exchange()
                case "resolve":
                    for conflict in replica.conflicts()[:1]:
                        replica.resolve(conflict.id, keep=step.get("keep"), value=step.get("value"))
                case "retry":
                    for item in replica.refused()[:1]:
                        replica.retry(item.id)
                case "discard":
                    for item in replica.refused()[:1]:
                        replica.discard(item.id)
                case unknown:
                    raise ValueError(f"no step is called {unknown}")
        except HoldfastError as error:
            return error.code
        return None

    def seen(self) -> str:
        """A hash of all rows, of every row's state, and of what waits for a person."""
        lines: list[str] = []
        for table in self.replica.schema.all_tables:
            columns = ", ".join(f'"{name}"' for name in table.column_names)
            rows = self.replica.query(f"SELECT {columns} FROM {table.name}")
            lines += [f"{table.name} {encode(row).hex()}" for row in rows]
        states = self.replica.query("SELECT tbl, key, state FROM holdfast_row_status")
        lines += [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in states]
        lines += [
            f"{item.number} {item.state} {item.code} {item.field} {item.held_by}"
            for item in self.replica.refused()
        ]
        text = "\n".join(sorted(lines))
        return hashlib.blake2s(text.encode(), digest_size=16).hexdigest()


def _kept(replica: Replica) -> list[Any]:
    """What is kept of acknowledged transactions, but for ids and times."""
    found = replica.query("SELECT number, body FROM holdfast_kept ORDER BY number")
    return [
        [number, sorted(json.loads(str(body))["changes"], key=_place)] for number, body in found
    ]


def answer_steps(given: dict[str, Any], *, kept: bool = False) -> Any:
    """``kept``: tell what is kept in the end, too."""
    schema = Schema.from_json(json.dumps(given["schema"]))
    transport = Recorded()
    out = []
    with tempfile.TemporaryDirectory() as folder:
        actor = Actor(folder, schema, transport)
        with closing(actor.replica):
            for step in given["steps"]:
                transport.step, transport.asked = step, []
                error = None
                if step["do"] == "migrate":
                    actor.now_us = step["now"]
                    later = json.dumps(given["later"][step["to"]])
                    actor.migrate(Schema.from_json(later), transport)
                else:
                    error = actor.take(step)
                result: dict[str, Any] = {"seen": actor.seen()}
                if "rounds" in step:
                    result["requests"] = transport.asked
                elif step["do"] == "exchange":
                    result["request"] = transport.asked[0]
                if error is not None:
                    result["error"] = error
                out.append(result)
            scopes = actor.replica.query(
                "SELECT scope, version, count, digest FROM holdfast_scope ORDER BY scope"
            )
            left = {"kept": _kept(actor.replica)} if kept else {}
    return {"steps": out, "scopes": [[tagged(value) for value in row] for row in scopes], **left}


# --- recording ----------------------------------------------------------------------------------


class Wire(MemoryTransport):
    """The line of the device that is recorded."""

    step: Step
    meanwhile = staticmethod(_nothing)

    def _call(self, serve: Any, request: Any, echo: str, kind: Any) -> SpooledAnswer:
        answer = super()._call(serve, request, echo, kind)
        self.meanwhile(self.step)
        if self.step.get("lost"):
            raise Offline("the answer was lost", code="timeout")
        spool = answer._spool
        body = spool._part(0, spool._size).decode()
        self.step["lines"] = body.splitlines()
        self.step |= {"sent": answer.sent_us, "received": answer.received_us}
        return answer


class Stage:
    """A server and two devices; the first one is recorded."""

    def __init__(self, folder: str, schema: Schema, rules: Any, random_bytes: Any) -> None:
        self.now = START_US
        self._folder, self._rules, self._random_bytes = folder, rules, random_bytes
        self._serve(schema)
        self.taken: list[Step] = []
        self.actors: list[tuple[Actor, Wire]] = []
        for name in ("one", "two"):
            wire = self._wire(name)
            (Path(folder) / name).mkdir()
            self.actors.append((Actor(f"{folder}/{name}", schema, wire), wire))

    def _serve(self, schema: Schema) -> None:
        from holdfast.server.service import Service
        from holdfast.server.store.sqlite.store import SqliteStore

        self._schema = schema
        path = f"{self._folder}/server.db"
        self._store = SqliteStore.open(path, schema, random_bytes=self._random_bytes)
        self._service = Service(
            schema, self._store, rules=self._rules, now_us=lambda: self.now,
            random_bytes=self._random_bytes,
        ).begin()  # fmt: skip

    def _wire(self, name: str) -> Wire:
        from holdfast.server.identity.principal import Principal

        scopes = ("catalog", "store/1", "store/2", "tasks")
        principal = Principal(device=name, user=name, read=scopes, write=scopes)
        return Wire(self._service, principal, now_us=self.device_now)

    def grow(self, schema: Schema) -> None:
        """Serve a later generation; devices follow with `migrate`."""
        self._store.close()
        self._serve(schema)

    def device_now(self) -> int:
        return self.now + 250_000

    def take(self, number: int, step: Step) -> None:
        actor, wire = self.actors[number]
        if step["do"] == "migrate":
            wire = self._wire(("one", "two")[number])
            actor.now_us = step["now"]
            actor.migrate(self._schema, wire)
            self.actors[number] = (actor, wire)
            if number == 0:
                self.taken.append(step)
            return
        wire.step = step
        error = actor.take(step)
        if error is not None and step["do"] == "exchange" and "lines" not in step:
            step["lost"] = True
        if number == 0:
            self.taken.append(step)

    def close(self) -> None:
        for actor, _ in self.actors:
            actor.replica.close()
        self._store.close()


def _record(seed: int, steps: int) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT / "engine" / "tests" / "system"))
    import bazaar

    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(folder, bazaar.SCHEMA, bazaar.RULES, dice.randbytes)
        numbers = itertools.count(1)
        works = [bazaar.Work(random.Random(f"{seed}{name}"), numbers) for name in ("one", "two")]
        while len(stage.taken) < steps:
            number = int(dice.random() < 0.4)
            stage.now += dice.randint(1_000, 5_000_000)
            actor, _ = stage.actors[number]
            stage.take(number, some_step(dice, actor, works[number], stage.device_now()))
        stage.close()
    return {"schema": json.loads(bazaar.SCHEMA.to_json()), "steps": stage.taken}


def _tell(story: list[tuple[int, str, whole.Written]], seed: int) -> dict[str, Any]:
    import bazaar

    steps = []
    for number, do, statements in story:
        step: Step = {"do": do}
        if statements:
            step["meanwhile" if do == "exchange" else "statements"] = statements
        steps.append((number, step))
    return tell(bazaar.SCHEMA, steps, seed)


def tell(schema: Schema, story: list[tuple[int, Step]], seed: int) -> dict[str, Any]:
    """Record a story: who takes which step, in order."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(folder, schema, (), dice.randbytes)
        for number, step in story:
            stage.now += 1_000_000
            stage.take(number, step | {"now": stage.device_now()})
        stage.close()
    return {"schema": json.loads(schema.to_json()), "steps": stage.taken}


def some_step(dice: random.Random, actor: Actor, work: Any, now: int) -> Step:
    import bazaar

    kind = dice.random()
    seen = bazaar.dump(actor.replica.query)
    statements = [
        [sql, [*map(tagged, params)]]
        for sql, params in work.transaction(seen, ("1", "2"), now)
    ]  # fmt: skip
    if kind < 0.5:
        return {"do": "write", "now": now, "statements": statements}
    if kind < 0.57:
        return {"do": "resolve", "now": now, "keep": dice.choice(("mine", "theirs"))}
    if kind < 0.62:
        return {"do": dice.choice(("retry", "discard")), "now": now}
    step: Step = {"do": "exchange", "now": now}
    if dice.random() < 0.15:
        step["lost"] = True
    if dice.random() < 0.5:
        step["meanwhile"] = statements
    return step


def _inputs() -> Iterator[Case]:
    for seed in range(10):
        yield f"bazaar {seed}", _record(seed, 60)
    for seed, story in enumerate(whole.stories()):
        yield f"whole {seed}", _tell(story, seed)


REPLICA = Family(
    name="replica",
    about="Steps of a replica: SQL in a local transaction, an exchange with the answer it got (or "
    "lost) and what was written `meanwhile`, decisions of a person; after each the request that "
    "was sent, and a hash of all rows and their states. Nonces count by appearance; outcomes of an "
    "answer get the ids that were sent with their numbers.",
    inputs=_inputs,
    answer=answer_steps,
    recorded=True,
)
