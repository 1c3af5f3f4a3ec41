"""A line on which rows come as files: snapshots old and new, catch-ups, gone and damaged ones.

Knows: how a server makes the lines and files of an answer. Must not know: what a replica does with
them. Files are made by the server's own writers, from its own snapshots of an earlier moment; which
ones are offered, and what happens to them on the way, is up to the world's dice. So there are far
more of them, and in stranger order, than a server with its thresholds would ever offer.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from acts import direct_write
from bazaar import SCHEMA
from device import Line
from world import World

from holdfast.core.errors import FileGone, Offline
from holdfast.protocol.codec import encode_line
from holdfast.protocol.compression import ENCODINGS, pack_bytes
from holdfast.protocol.messages import (
    Checkpoint,
    ExchangeRequest,
    FileBuild,
    FileOffer,
    Files,
    Head,
    Position,
)
from holdfast.replica.http.downloads import FileAnswer
from holdfast.replica.http.spool import receive
from holdfast.server.feed.pull import last_line, news
from holdfast.server.files.snapshot import write_snapshot
from holdfast.sqlite import OpenOptions, driver

KEPT_MAX = 3


@dataclass
class Kept:
    """A file of the server's, and the keys of the rows in it."""

    offer: FileOffer
    body: bytes
    keys: set[tuple[str, str]]


class Ship:
    """What the server has made: a few files of each scope, of different moments."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = random.Random(f"{world.seed}/ship")
        self.kept: dict[str, list[Kept]] = defaultdict(list)
        self.bodies: dict[str, bytes] = {}

    def snapshot(self, scope: str) -> Kept | None:
        """A snapshot of a scope, made now or before."""
        kept = self.kept[scope]
        if kept and self.dice.random() < 0.7:
            self.world.count["file of an earlier moment"] += 1
            return self.dice.choice(kept)
        with contextlib.closing(self.world.store.read()) as snapshot:
            found = snapshot.scopes([scope])
            if scope not in found or not found[scope].head:
                return None
            path = self.world.folder / "ship"
            path.unlink(missing_ok=True)
            write_snapshot(
                path, snapshot, SCHEMA, found[scope],
                epoch=self.world.store.epoch, secret=self.world.store.seal_secret,
            )  # fmt: skip
            positions = last_line(
                found, secret=self.world.store.seal_secret, epoch=self.world.store.epoch, lines=0
            ).scopes
        db = driver().connect(str(path), OpenOptions(read_only=True))
        with contextlib.closing(db):
            keys = {
                (table.name, str(key))
                for table in SCHEMA.all_tables
                for (key,) in db.execute(f'SELECT holdfast_key FROM "{table.name}"')
            }
        made = Kept(self._offer("snapshot", path.read_bytes(), len(keys), positions), b"", keys)
        kept[:] = [*kept, made][-KEPT_MAX:]
        return made

    def may_have(self, kept: Kept, device: Any) -> bool:
        """As the server does: nothing of a time when the device could not have seen it."""
        ((scope, position),) = kept.offer.positions.items()
        with contextlib.closing(self.world.store.read()) as snapshot:
            removed = {
                (moved.table, moved.key)
                for _, moved in snapshot.moved({scope: position.version})
                if moved.removed
            }
        return bool(kept.keys | removed <= device.readable_keys)

    def catchup(self, scopes: list[str], since: dict[str, int]) -> FileOffer | None:
        with contextlib.closing(self.world.store.read()) as snapshot:
            found = snapshot.scopes(scopes)
            body = b"".join(map(encode_line, news(snapshot, SCHEMA, since)))
            positions = last_line(
                found, secret=self.world.store.seal_secret, epoch=self.world.store.epoch, lines=0
            ).scopes
        return self._offer("catchup", body, 1, positions) if body else None

    def _offer(
        self, kind: Any, body: bytes, rows: int, positions: dict[str, Position]
    ) -> FileOffer:
        encoding = self.dice.choice(ENCODINGS)
        packed = pack_bytes(body, encoding)
        sha256 = hashlib.sha256(packed).hexdigest()
        self.bodies[sha256] = packed
        return FileOffer(
            kind=kind, id=sha256[:8], path=f"/v1/files/{sha256[:8]}", until=0, encoding=encoding,
            bytes=len(packed), sha256=sha256, unpacked_bytes=len(body), rows=rows,
            positions=positions,
        )  # fmt: skip


class ShippingLine(Line):
    """A line whose server offers files whenever it can."""

    def __init__(self, world: World, device: Any) -> None:
        super().__init__(world, device)
        if not hasattr(world, "ship"):
            world.ship = Ship(world)  # type: ignore[attr-defined]
        self._ship: Ship = world.ship  # type: ignore[attr-defined]

    def exchange(self, request: ExchangeRequest, echo: str) -> Any:
        answer = super().exchange(request, echo)
        if not request.files or self._ship.dice.random() < 0.1:
            return answer
        files = self._files(request, answer.head)
        if files is None:
            return answer
        answer.close()
        head, ship = answer.head, self._ship
        if ship.dice.random() < 0.3:  # it moves on meanwhile
            direct_write(self._device)
        lines = [encode_line(head), encode_line(files), encode_line(Checkpoint({}, 2))]
        return receive(lines, echo=echo, sent_us=answer.sent_us, received_us=answer.received_us)

    def _files(self, request: ExchangeRequest, head: Head) -> Files | None:
        ship, world = self._ship, self._world
        offers: list[FileOffer] = []
        for scope in sorted(head.scopes.keys() - request.checkpoint.keys()):
            kept = ship.snapshot(scope)
            if kept is not None and ship.may_have(kept, self._device):
                offers.append(kept.offer)
                world.count["snapshot offered"] += 1
        if not offers and ship.dice.random() < 0.25:
            since = {
                scope: request.checkpoint[scope].version if scope in request.checkpoint else 0
                for scope in head.scopes
            }
            if any(grant.reconcile for grant in head.scopes.values()):
                return None
            made = ship.catchup(sorted(since), since)
            if made is not None:
                offers.append(made)
                world.count["catch-up offered"] += 1
        if not offers:
            return None
        building = []
        if ship.dice.random() < 0.1:
            scopes = list(offers.pop().positions)
            building.append(FileBuild("snapshot", scopes, 1, 2))
            world.count["file still building"] += 1
        return Files(offers=offers, building=building, retry_after_ms=1 if building else 0)

    @contextlib.contextmanager
    def file(self, path: str, *, start: int, sha256: str) -> Iterator[FileAnswer]:
        ship, count = self._ship, self._world.count
        body = ship.bodies[sha256]
        assert path == f"/v1/files/{sha256[:8]}"
        roll = ship.dice.random() if self._world.faults else 1.0
        if roll < 0.08:
            count["file gone"] += 1
            raise FileGone("it is not there any more")
        if start and roll < 0.4:
            count["range not honoured"] += 1
            start = 0
        elif start:
            count["download resumed"] += 1
        rest = body[start:]
        if roll > 0.94 and self._world.faults:
            count["file damaged"] += 1
            at = ship.dice.randrange(len(rest))
            rest = rest[:at] + bytes([rest[at] ^ 1]) + rest[at + 1 :]
        cut = len(rest) if roll > 0.35 else ship.dice.randrange(len(rest))

        def pieces() -> Iterator[bytes]:
            for at in range(0, cut, 700):
                yield rest[at : min(cut, at + 700)]
            if cut < len(rest):
                count["download cut"] += 1
                raise Offline("cut", code="broken_answer")

        yield FileAnswer(start, pieces())
