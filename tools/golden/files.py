"""Whole replicas that take files: what snapshots and catch-ups make of them, work of theirs on top.

The inputs are recorded like those of `replica`. Here the answers that the server gives are
redirected to files that its own writers have made, of this moment or an earlier one, whole or
damaged; and the scopes that the device may read come and go, so that files meet rows that are there
already.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from golden import ROOT, Case, Family
from golden.replicas import START_US, Actor, Step, answer_steps, some_step
from holdfast.core.errors import HoldfastError, Offline
from holdfast.protocol.codec import encode_line
from holdfast.protocol.compression import pack_bytes
from holdfast.protocol.messages import Checkpoint, ExchangeRequest, FileOffer, Files, Head
from holdfast.replica.http.downloads import FileAnswer
from holdfast.replica.http.spool import SpooledAnswer, receive
from holdfast.replica.memory import MemoryTransport
from holdfast.server.feed.pull import last_line, news
from holdfast.server.files.snapshot import write_snapshot
from holdfast.server.identity.principal import Principal
from holdfast.server.service import Service
from holdfast.server.store.sqlite.store import SqliteStore

SCOPES = ("catalog", "tasks", "store/1", "store/2")
_STEPS = 30
_EARLIER = 60
"""Steps of the other device before: so that there is something to fetch."""


def _nothing(_step: Step) -> None:
    return None


class Depot:
    """Files of a server, and their bodies by SHA-256."""

    def __init__(self, store: SqliteStore, schema: Any, folder: Path, dice: random.Random) -> None:
        self._store = store
        self._schema = schema
        self._path = folder / "snapshot"
        self._dice = dice
        self._kept: dict[str, list[FileOffer]] = defaultdict(list)
        self.bodies: dict[str, bytes] = {}

    def snapshot(self, scope: str) -> FileOffer:
        """A snapshot of a scope, made now or before."""
        kept = self._kept[scope]
        if kept and self._dice.random() < 0.6:
            return self._dice.choice(kept)
        with contextlib.closing(self._store.read()) as snapshot:
            found = snapshot.scopes([scope])
            self._path.unlink(missing_ok=True)
            write_snapshot(
                self._path, snapshot, self._schema, found[scope],
                epoch=self._store.epoch, secret=self._store.seal_secret,
            )  # fmt: skip
            made = self._offer("snapshot", self._path.read_bytes(), found)
        kept.append(made)
        return made

    def catchup(self, since: dict[str, int]) -> FileOffer | None:
        """All that has changed in these scopes."""
        with contextlib.closing(self._store.read()) as snapshot:
            found = snapshot.scopes(sorted(since))
            body = b"".join(map(encode_line, news(snapshot, self._schema, since)))
            return self._offer("catchup", body, found) if body else None

    def _offer(self, kind: Any, body: bytes, scopes: Any) -> FileOffer:
        packed = pack_bytes(body, "gzip")
        sha256 = hashlib.sha256(packed).hexdigest()
        self.bodies[sha256] = packed
        final = last_line(scopes, secret=self._store.seal_secret, epoch=self._store.epoch, lines=0)
        return FileOffer(
            kind=kind, id=sha256[:8], path=f"/v1/files/{sha256}", until=0, encoding="gzip",
            bytes=len(packed), sha256=sha256, unpacked_bytes=len(body),
            rows=sum(scope.digest.count for scope in scopes.values()), positions=final.scopes,
        )  # fmt: skip


class Redirecting(MemoryTransport):
    """The line of a device, which sends it to the depot whenever there is something to fetch."""

    step: Step
    meanwhile = staticmethod(_nothing)
    redirects = False
    dice: random.Random
    depot: Depot

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        answer = super().exchange(request, echo)
        rounds = self.step.setdefault("rounds", [])
        body = [encode_line(answer.head), *map(encode_line, answer.lines())]
        body.append(encode_line(answer.checkpoint))
        files = self._files(request, answer.head) if self.redirects and request.files else None
        if files is not None:
            body = [encode_line(answer.head), encode_line(files), encode_line(Checkpoint({}, 2))]
        answer.close()
        if self.dice.random() < 0.1:
            rounds.append({"lost": True})
            raise Offline("the answer was lost", code="timeout")
        rounds.append({
            "lines": [line.decode().rstrip("\n") for line in body],
            "sent": answer.sent_us, "received": answer.received_us,
        })  # fmt: skip
        return receive(body, echo=echo, sent_us=answer.sent_us, received_us=answer.received_us)

    def _files(self, request: ExchangeRequest, head: Head) -> Files | None:
        new = sorted(head.scopes.keys() - request.checkpoint.keys())
        offers = [self.depot.snapshot(scope) for scope in new if self.dice.random() < 0.9]
        if not self.step["rounds"]:
            # As to a device that was away for longer than removals are remembered.
            held = sorted(head.scopes.keys() & request.checkpoint.keys())
            offers += [self.depot.snapshot(scope) for scope in held if self.dice.random() < 0.12]
        reconciles = any(grant.reconcile for grant in head.scopes.values())
        if not offers and not reconciles and self.dice.random() < 0.3:
            known = request.checkpoint
            since = {name: known[name].version if name in known else 0 for name in head.scopes}
            made = self.depot.catchup(since)
            offers = [] if made is None else [made]
        return Files(offers=offers) if offers else None

    @contextlib.contextmanager
    def file(self, path: str, *, start: int, sha256: str) -> Iterator[FileAnswer]:  # noqa: ARG002
        files = self.step.setdefault("files", {})
        if sha256 not in files:
            body = bytearray(self.depot.bodies[sha256])
            if self.dice.random() < 0.1:
                body[self.dice.randrange(len(body))] ^= 1
            files[sha256] = base64.b64encode(body).decode()
        yield FileAnswer(start, iter([base64.b64decode(files[sha256])[start:]]))


def _record(seed: int) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT / "engine" / "tests" / "system"))
    import bazaar

    dice = random.Random(f"files {seed}")
    with tempfile.TemporaryDirectory() as folder:
        now = [START_US]
        store = SqliteStore.open(f"{folder}/server.db", bazaar.SCHEMA, random_bytes=dice.randbytes)
        service = Service(
            bazaar.SCHEMA, store, rules=bazaar.RULES, now_us=lambda: now[0],
            random_bytes=dice.randbytes,
        ).begin()  # fmt: skip
        depot = Depot(store, bazaar.SCHEMA, Path(folder), dice)
        numbers = itertools.count(1)
        actors: list[tuple[Actor, Redirecting, Any]] = []
        for name in ("one", "two"):
            principal = Principal(device=name, user=name, read=SCOPES, write=SCOPES)
            wire = Redirecting(service, principal, now_us=lambda: now[0] + 250_000)
            wire.dice, wire.depot, wire.redirects = dice, depot, name == "one"
            (Path(folder) / name).mkdir()
            actor = Actor(f"{folder}/{name}", bazaar.SCHEMA, wire)
            actors.append((actor, wire, bazaar.Work(random.Random(f"{seed}{name}"), numbers)))
        taken: list[Step] = []
        (_, recorded, _), other = actors
        begun = 0
        while len(taken) < _STEPS:
            begun += 1
            actor, wire, work = actors[begun <= _EARLIER or dice.random() < 0.5]
            now[0] += dice.randint(1_000, 5_000_000)
            if wire is recorded and dice.random() < 0.3:
                read = tuple(scope for scope in SCOPES if dice.random() < 0.6) or ("catalog",)
                # Who may write a scope may read it.
                wire._principal = replace(wire._principal, read=read, write=read)
            step = some_step(dice, actor, work, now[0] + 250_000)
            if step["do"] == "exchange":
                step = {"do": "exchange", "now": step["now"]}
            wire.step = step
            actor.take(step)
            if wire is recorded:
                taken.append(step)
        for actor, _, _ in (actors[0], other):
            with suppress(HoldfastError):
                actor.replica.close()
        store.close()
    return {"schema": json.loads(bazaar.SCHEMA.to_json()), "steps": taken}


def _inputs() -> Iterator[Case]:
    for seed in range(24):
        yield f"bazaar {seed}", _record(seed)


FILES = Family(
    name="files",
    about="As `replica`, but an exchange has `rounds`: an answer may have a line `files` in place "
    "of rows, whose bodies (base64, by SHA-256; some are damaged) the step has; then the exchange "
    "is made again. `requests`: what was sent in each round, `files` whether it asked for any.",
    inputs=_inputs,
    answer=answer_steps,
    recorded=True,
)
