"""The processes of a replay: started, listened to, killed on purpose, started again, always ended.

Knows: processes and their events. Must not know: what a device does, or whether it was right.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, Self

import msgspec

from stockroom.replay.plan import WorkerPlan

_END_TIMEOUT_S: Final = 10.0

Event = dict[str, Any]


class Worker:
    """One worker process, over all of its lives."""

    def __init__(self, number: int, plan: WorkerPlan, folder: Path, events: queue.Queue[Event]):
        """Prepare without starting; the plan is written into `folder`, the log too."""
        self.number = number
        self.plan = plan
        self.devices = tuple(device.number for device in plan.devices)
        self._events = events
        self._plan_path = folder / f"worker-{number}.json"
        self._log_path = folder / f"worker-{number}.log"
        self._plan_path.write_bytes(msgspec.json.encode(plan))
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start a life; its events arrive in the queue until it ends."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "stockroom.replay.worker", str(self._plan_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ctrl-C is ours to handle: it ends the crew in order.
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self._listener = threading.Thread(
            target=self._listen, args=(self._process.stdout,), daemon=True
        )
        self._listener.start()

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone and its last words are in the queue."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=_END_TIMEOUT_S)
            self._close_pipes()

    def finish(self) -> None:
        """Tell the worker that the network is whole again."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write("finish\n")
                self._process.stdin.flush()

    def wait(self, timeout_s: float) -> int:
        """The exit code; TimeoutError when it does not end in time."""
        if self._process is None:
            return 0
        try:
            code = self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"worker {self.number} did not end in {timeout_s:g} s") from None
        self._close_pipes()
        return code

    def log_tail(self) -> str:
        """The last 2 KiB that the worker wrote to stderr."""
        try:
            return self._log_path.read_bytes()[-2048:].decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _close_pipes(self) -> None:
        process, listener = self._process, self._listener
        if process is None:
            return
        if listener is not None:
            listener.join(timeout=_END_TIMEOUT_S)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _listen(self, stdout: IO[str]) -> None:
        for line in stdout:
            # A process killed while it wrote leaves half a line.
            with contextlib.suppress(msgspec.DecodeError):
                event: Event = msgspec.json.decode(line)
                self._events.put({**event, "worker": self.number})
        self._events.put({"event": "ended", "worker": self.number})


class Crew:
    """All workers of a replay; every process it started is gone when it is left."""

    def __init__(self, plans: list[WorkerPlan], folder: Path) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self.workers = [
            Worker(number, plan, folder, self.events) for number, plan in enumerate(plans)
        ]

    def __enter__(self) -> Self:
        try:
            for worker in self.workers:
                worker.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for worker in self.workers:
            if worker.running:
                worker.kill()

    def next_events(self, timeout_s: float) -> Iterator[Event]:
        """Wait for an event, then yield all there are; none when nothing came in time."""
        try:
            yield self.events.get(timeout=timeout_s)
            while True:
                yield self.events.get_nowait()
        except queue.Empty:
            return
