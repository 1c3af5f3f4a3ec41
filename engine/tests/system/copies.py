"""Worlds in which files are copied, put back to an older state and lost, and the server is, too.

Knows: how such a thing is done, by moving files about, and what each file has still heard of. Must
not know: what must hold afterwards (``exactly_once``), or how a replica finds out what it is.

Several files may be of one device. What each has committed is told by its slips (``purses``): who
is put back to an older state has only those of then, and who is lost has none. The ledger knows
transactions by their ids, for a number is used by every file of a device.
"""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acts import (
    deliver_late,
    direct_write,
    foreign_write,
    reopen_replica,
    reopen_server,
    resolve,
    sync,
    write,
)
from bazaar import Work, tokens
from device import PRINCIPALS, SECOND_US, Device, Line, Options, transaction_values
from purses import move
from servers import SqliteFile
from world import World

from holdfast.protocol.messages import ExchangeRequest

FILES_MAX = 5
_SUFFIXES = ("", "-wal", "-shm")


@dataclass(frozen=True)
class Older:
    """A state of a file, and what was committed in it."""

    path: Path
    made_slips: frozenset[str]
    foreign_orphans: frozenset[Any]


class CopiedLine(Line):
    """A line on which the file is copied now and then while an answer is on its way."""

    def _call(self, serve: Any, request: Any, echo: str, kind: Any) -> Any:
        file, world = self._device, self._world
        assert isinstance(file, File) and isinstance(world, Copies)
        if world.faults and world.fate.random() < 0.08:
            keep_older(file)
        answer = super()._call(serve, request, echo, kind)
        if world.faults and world.fate.random() < 0.08:
            keep_older(file)
        return answer


@dataclass
class File(Device):
    """One of the files of a device."""

    older: list[Older] = field(default_factory=list)

    def note_request(self, request: ExchangeRequest) -> list[int]:
        """Here all goes by ids, and these stay: no number is there to be forgotten."""
        world = self.world
        assert isinstance(world, Copies)
        for transaction in request.transactions:
            place = self.name, int(transaction.id, 16)
            known = world.ledger.sent.setdefault(place, transaction)
            same = (known.at, known.changes, known.void)
            found = (transaction.at, transaction.changes, transaction.void)
            assert same == found, f"I8: {known} was offered again as {transaction}"
            self.readable_tokens |= tokens([transaction_values(transaction)])
        return []


class Copies(World):
    """``server``: whether the server is put back to an older state, too."""

    def __init__(
        self, folder: Path, seed: int | str, options: Options | None = None, *, server: bool = False
    ) -> None:
        self.fate = random.Random(f"{seed}/fate")
        self.server = server
        self.backups: list[tuple[Path, Counter[int]]] = []
        self.files = 0
        options = options or Options(devices=2)
        options.line, options.revocations = CopiedLine, False
        super().__init__(folder, seed, options)

    def _device(self, number: int) -> File:
        return self.new_file(number)

    def new_file(self, number: int, like: File | None = None) -> File:
        self.files += 1
        principal = PRINCIPALS[number]
        (self.folder / f"{principal.device}-{self.files}").mkdir()
        file = File(
            world=self,
            name=principal.device,
            principal=principal,
            path=self.folder / f"{principal.device}-{self.files}" / "replica.db",
            library="apsw",
            skew_us=0,
            random=random.Random(f"{self.seed}/{self.files}/device"),
            work=Work(random.Random(f"{self.seed}/{self.files}/work"), self.numbers),
        )
        if like is not None:
            file.slips = like.slips  # those of a device are told apart, whoever makes them
        return file


def _put(source: Path, target: Path) -> None:
    """Copy a database that may be open: by another process, for who closes a file gives up the
    locks that its process has on it."""
    target.parent.mkdir(exist_ok=True)
    for suffix in _SUFFIXES:
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    for suffix in ("", "-wal"):
        one = source.with_name(source.name + suffix)
        if one.exists():
            subprocess.run(["cp", one, target.with_name(target.name + suffix)], check=True)


def keep_older(file: File) -> None:
    """Keep the state of a file as it is now."""
    path = file.world.folder / "older" / f"{file.path.parent.name}-{len(file.older)}.db"
    _put(file.path, path)
    file.older.append(Older(path, frozenset(file.made_slips), frozenset(file.foreign_orphans)))
    file.world.count["state kept"] += 1


def _has_now(file: File, state: Older | None) -> None:
    """A file is as it was then, or as new, and whoever looks at it begins anew."""
    file.made_slips = set(state.made_slips) if state else set()
    file.foreign_orphans = set(state.foreign_orphans) if state else set()
    file.seen_slips, file.seen_versions, file.old_answer = set(), {}, b""


def copy_file(file: File) -> None:
    """A second file of the same device lives on beside it."""
    world = file.world
    assert isinstance(world, Copies)
    if len(world.devices) >= FILES_MAX:
        return
    number = next(n for n, p in enumerate(PRINCIPALS) if p.device == file.name)
    other = world.new_file(number, like=file)
    if file.older and world.fate.random() < 0.5:
        state = world.fate.choice(file.older)
    else:
        keep_older(file)
        state = file.older[-1]
    _put(state.path, other.path)
    _has_now(other, state)
    other.readable_tokens |= file.readable_tokens
    other.readable_keys |= file.readable_keys
    other.open()
    world.devices.append(other)
    world.count["copied"] += 1


def restore_file(file: File) -> None:
    """A file is put back to what it was."""
    world = file.world
    assert isinstance(world, Copies)
    if not file.older:
        return
    state = world.fate.choice(file.older)
    file.close()
    _put(state.path, file.path)
    _has_now(file, state)
    file.open()
    world.count["put back"] += 1


def lose_file(file: File) -> None:
    """A file is lost; another begins in its place."""
    file.close()
    for one in file.path.parent.iterdir():
        one.unlink()
    _has_now(file, None)
    file.open()
    file.world.count["lost"] += 1


def back_up_server(file: File) -> None:
    """Keep the state of the server as it is now."""
    world = file.world
    assert isinstance(world, Copies) and isinstance(world.database, SqliteFile)
    path = world.folder / "backups" / f"{len(world.backups)}.db"
    _put(world.folder / "server.db", path)
    world.backups.append((path, Counter(world.ledger.direct)))
    world.count["server backed up"] += 1


def restore_server(file: File) -> None:
    """The server is put back to what it was, and goes on as if nothing had happened."""
    world = file.world
    assert isinstance(world, Copies)
    if not world.backups:
        return
    path, direct = world.fate.choice(world.backups)
    world.database.close()
    world.service.close()
    _put(path, world.folder / "server.db")
    world.database = SqliteFile(world.folder / "server.db")
    world._open_server()
    world.database.connect()
    for device in world.devices:
        device.line._service = world.service
    world.ledger.direct = Counter(direct)
    world.latest = world.dump_server()
    world.count["server put back"] += 1


def step(world: Copies) -> None:
    """Do one random thing."""
    world.now += world.plan.randrange(2, 30) * SECOND_US
    file = world.plan.choice(world.devices)
    steps: list[tuple[int, Any]] = [
        (18, write), (24, move), (34, sync), (6, foreign_write), (4, direct_write), (4, resolve),
        (2, reopen_server), (2, reopen_replica), (3, deliver_late),
        (6, keep_older), (4, copy_file), (8, restore_file), (3, lose_file),
    ]  # fmt: skip
    if world.server:
        steps += [(6, back_up_server), (4, restore_server)]
    ((_, act),) = world.plan.choices(steps, weights=[weight for weight, _ in steps])
    world.trace.append(f"{act.__name__} {file.path.parent.name}")
    act(file)
