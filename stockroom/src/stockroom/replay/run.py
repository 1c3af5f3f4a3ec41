"""A replay from start to end: server, faulty network, devices; kills; healing; the check.

Knows: the order of things. Must not know: what a device writes, or how the check is made.
Everything runs in processes of its own and on loopback; everything that was started is ended,
whatever happens, and a folder that nobody asked to keep is removed.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from holdfast.core.errors import HoldfastError, UsageError
from holdfast.testing import ServerStartError
from stockroom.replay.check import DeviceFile, Findings, check_files, settle_file
from stockroom.replay.crew import Crew, Event, Worker
from stockroom.replay.export import check_empty, export, is_postgres
from stockroom.replay.plan import DevicePlan, Plan, group, make_plan, store_of, write_work
from stockroom.replay.report import DeviceReport, Report
from stockroom.replay.servers import Servers
from stockroom.replay.source import read_lines
from stockroom.schema import schema

SERVER_KILLS: Final = 3
"""Of each server process."""
DEVICE_KILLS: Final = 3
STALL_S: Final = 180.0
"""Without any event for this long, the replay has hung and fails."""

DEVICES_MAX: Final = 64
STORES_MAX: Final = 64
SERVERS_MAX: Final = 8

Progress = Callable[[str, int, int], None]
"""Told the phase, how many invoices are written, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of a replay. `cut` is the probability, 0..1, that a request suffers a fault.

    `database` is an empty PostgreSQL database (`postgresql://...`); without it the server's is a
    SQLite file. `servers` processes serve it, several on PostgreSQL only.
    """

    file: Path
    devices: int = 6
    stores: int = 3
    lines: int | None = None
    cut: float = 0.3
    seed: int = 1
    keep: Path | None = None
    database: str | None = None
    servers: int | None = None

    @property
    def server_count(self) -> int:
        """As asked for; else one over SQLite and two over PostgreSQL."""
        return self.servers or (2 if self.database else 1)


class ReplayError(HoldfastError):
    """A process of the replay failed for another reason than a fault; nothing was checked."""

    code = "replay_failed"


def replay(options: Options, *, progress: Progress) -> tuple[Report, tuple[str, ...]]:
    """Run a replay; the report, and each difference found in words.

    Raises `UsageError` for what cannot be replayed, `ReplayError` when a process gave up.
    """
    _check_options(options)
    if options.database is not None:
        check_empty(options.database)
    started = time.monotonic()
    plan = make_plan(
        read_lines(options.file, limit=options.lines),
        devices=options.devices,
        stores=options.stores,
        seed=options.seed,
    )
    with ExitStack() as stack:
        folder = _folder(options.keep, stack)
        run = _Run(options=options, plan=plan, folder=folder, progress=progress)
        try:
            run.play(stack)
        except (ServerStartError, TimeoutError) as error:
            raise ReplayError(str(error)) from error
        progress("checking", plan.invoices, plan.invoices)
        findings = run.check()
    return _report(run, findings, seconds=time.monotonic() - started), findings.problems


def _check_options(options: Options) -> None:
    if not 1 <= options.devices <= DEVICES_MAX:
        raise UsageError(f"--devices is 1 to {DEVICES_MAX}", code="bad_option")
    if not 1 <= options.stores <= STORES_MAX:
        raise UsageError(f"--stores is 1 to {STORES_MAX}", code="bad_option")
    if options.database is not None and not is_postgres(options.database):
        raise UsageError("--database is a postgresql:// address", code="bad_option")
    servers_max = SERVERS_MAX if options.database else 1
    if not 1 <= options.server_count <= servers_max:
        raise UsageError(
            f"--servers is 1 to {SERVERS_MAX} on PostgreSQL, and 1 on SQLite", code="bad_option"
        )
    if options.lines is not None and options.lines < 1:
        raise UsageError("--lines is at least 1", code="bad_option")
    if not 0 <= options.cut <= 0.9:
        raise UsageError("--cut is a probability from 0 to 0.9", code="bad_option")
    if options.keep is not None and options.keep.exists():
        if not options.keep.is_dir():
            raise UsageError(f"{options.keep} is not a folder", code="bad_option")
        if any(options.keep.glob("*.db")):
            raise UsageError(
                f"{options.keep} holds databases already; name another folder", code="bad_option"
            )


def _folder(keep: Path | None, stack: ExitStack) -> Path:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        return keep
    folder = Path(tempfile.mkdtemp(prefix="stockroom-replay-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


class _Run:
    """The state of one replay: who is killed when, how far each device is."""

    def __init__(self, *, options: Options, plan: Plan, folder: Path, progress: Progress) -> None:
        self.options = options
        self.plan = plan
        self.folder = folder
        self.server_kills = 0
        self.device_kills = 0
        self.faults: dict[str, int] = {}
        self._progress = progress
        self._rng = random.Random(f"{options.seed}/kills")
        self._phase = "replaying"
        self._work_folder = folder / "work"
        self._done = [0] * options.devices
        self._worked: set[int] = set()
        self._finished: set[int] = set()
        self._moments = sorted(
            [
                *(
                    (self._rng.uniform(0.05, 0.9), "server")
                    for _ in range(SERVER_KILLS * options.server_count)
                ),
                *((self._rng.uniform(0.05, 0.95), "device") for _ in range(DEVICE_KILLS)),
            ]
        )

    @property
    def server_path(self) -> Path:
        return self.folder / "server.db"

    def device_path(self, number: int) -> Path:
        return self.folder / f"device-{number}.db"

    def scopes(self, number: int) -> tuple[str, ...]:
        return ("catalog", f"store/{store_of(number, self.plan.stores)}")

    def play(self, stack: ExitStack) -> None:
        """Everything up to the moment when only files are left."""
        self._work_folder.mkdir(exist_ok=True)
        devices = self._write_plans()
        with Servers(
            self.options.database or str(self.server_path),
            count=self.options.server_count,
            folder=self._work_folder,
            tokens=self._work_folder / "tokens.toml",
            cut=self.options.cut,
            seed=self.options.seed,
        ) as servers:
            plans = group(devices, urls=servers.urls, seed=self.options.seed)
            try:
                with Crew(plans, self._work_folder) as crew:
                    self._until_worked(crew, servers)
                    servers.heal()
                    self._until_finished(crew)
            except ReplayError as error:
                raise ReplayError(
                    f"{error.message}\nThe servers said:\n{servers.said()}"
                ) from error
            self.faults = servers.faults
            self.server_kills = servers.kills
        if self.options.database is not None:
            export(self.options.database, schema, self.server_path)
        for path in (self.server_path, *map(self.device_path, range(self.options.devices))):
            settle_file(path)
        stack.callback(shutil.rmtree, self._work_folder, ignore_errors=True)

    def check(self) -> Findings:
        """Let the files speak."""
        return check_files(
            self.options.file,
            lines=self.plan.lines,
            schema=schema,
            server=self.server_path,
            devices=[
                DeviceFile(path=self.device_path(number), scopes=self.scopes(number))
                for number in range(self.options.devices)
            ],
        )

    def _write_plans(self) -> tuple[DevicePlan, ...]:
        folder = self._work_folder
        products = folder / "products.json"
        products.write_bytes(msgspec.json.encode(self.plan.products))
        tokens, plans = [], []
        for number, work in enumerate(self.plan.work):
            name, token = f"device-{number}", f"replay-token-{number}"
            person = f"replay-{number}"
            scopes = msgspec.json.encode(self.scopes(number)).decode()
            tokens.append(
                f'[{token}]\nuser = "{person}"\ndevice = "{name}"\n'
                f"read = {scopes}\nwrite = {scopes}\n"
            )
            (folder / f"{name}.token").write_text(token + "\n")
            write_work(folder / f"{name}.work", work)
            plans.append(
                DevicePlan(
                    number=number,
                    name=name,
                    person=person,
                    store_id=store_of(number, self.plan.stores),
                    database=str(self.device_path(number)),
                    token_file=str(folder / f"{name}.token"),
                    work=str(folder / f"{name}.work"),
                    products=str(products),
                )
            )
        (folder / "tokens.toml").write_text("\n".join(tokens))
        return tuple(plans)

    def _until_worked(self, crew: Crew, servers: Servers) -> None:
        """Until every device has written and sent its share, and every kill has been done."""
        everybody = set(range(self.options.devices))
        while self._worked != everybody or self._moments:
            if self._worked != everybody:
                self._listen(crew)
            written = sum(self._done) / self.plan.invoices
            while self._moments and (self._moments[0][0] <= written or self._worked == everybody):
                _, victim = self._moments.pop(0)
                # Not always right after an invoice: in the midst of a request, too.
                time.sleep(self._rng.uniform(0.0, 0.05))
                if victim == "server":
                    servers.kill_next()
                else:
                    self._kill_device(crew)

    def _kill_device(self, crew: Crew) -> None:
        busy = [worker for worker in crew.workers if not self._worked.issuperset(worker.devices)]
        worker = self._rng.choice(busy or crew.workers)
        worker.kill()
        self._take(crew, timeout_s=0.0)  # its last words count for its last life
        self._worked.difference_update(worker.devices)
        worker.start()
        self.device_kills += 1

    def _until_finished(self, crew: Crew) -> None:
        self._phase = "healing"
        for worker in crew.workers:
            worker.finish()
        while len(self._finished) < self.options.devices:
            self._listen(crew)
        for worker in crew.workers:
            if worker.wait(STALL_S) != 0:
                raise ReplayError(f"worker {worker.number} failed:\n{worker.log_tail()}")

    def _listen(self, crew: Crew) -> None:
        if not self._take(crew, timeout_s=STALL_S):
            raise ReplayError(f"nothing happened for {STALL_S:g} s")
        self._progress(self._phase, sum(self._done), self.plan.invoices)

    def _take(self, crew: Crew, *, timeout_s: float) -> int:
        taken = 0
        for event in crew.next_events(timeout_s):
            self._note(event, crew.workers[event["worker"]])
            taken += 1
        return taken

    def _note(self, event: Event, worker: Worker) -> None:
        match event:
            case {"event": "progress", "device": device, "done": done}:
                self._done[device] = done
            case {"event": "worked", "device": device}:
                self._worked.add(device)
            case {"event": "finished", "device": device}:
                self._finished.add(device)
            case {"event": "failed", "message": message}:
                raise ReplayError(f"worker {worker.number}: {message}")
            case {"event": "ended"} if not worker.running and worker.exit_code not in (0, -9):
                raise ReplayError(f"worker {worker.number} ended:\n{worker.log_tail()}")


def _report(run: _Run, findings: Findings, *, seconds: float) -> Report:
    right = (
        not findings.problems
        and findings.replicas_equal
        and findings.expected_units == findings.server_units
        and findings.lost == findings.doubled == 0
        and findings.conflicts == findings.refused == 0
        and not any(findings.pending)
        and run.server_kills >= 2 * run.options.server_count
        and run.device_kills >= 2
    )
    return Report(
        database="postgresql" if run.options.database else "sqlite",
        servers=run.options.server_count,
        lines=run.plan.lines,
        transactions=findings.transactions,
        faults=run.faults,
        server_kills=run.server_kills,
        device_kills=run.device_kills,
        expected_units=findings.expected_units,
        server_units=findings.server_units,
        replicas_equal=findings.replicas_equal,
        lost=findings.lost,
        doubled=findings.doubled,
        conflicts=findings.conflicts,
        refused=findings.refused,
        devices=tuple(
            DeviceReport(
                db=str(run.device_path(number)),
                scopes=run.scopes(number),
                pending=findings.pending[number],
            )
            for number in range(run.options.devices)
        ),
        ok=right,
        seconds=round(seconds, 1),
    )
