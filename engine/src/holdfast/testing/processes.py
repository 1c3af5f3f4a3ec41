"""Servers as real processes: start one, know its address, kill it, bring it back on the same port.

Knows the one line a server prints when it is up, `ready URL`, and nothing else of what it runs.
Ends only what it started, by its process id.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from holdfast.testing import launching

_POLL_S: Final = 0.01
_TAIL_BYTES: Final = 4096

T = TypeVar("T")


class ServerStartError(RuntimeError):
    """The server did not become ready; the message carries the end of its stderr."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago; another process may still take it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    condition: Callable[[], T],
    timeout_s: float = 60.0,
    what: str = "the condition",
    *,
    poll_s: float = _POLL_S,
) -> T:
    """Call `condition` every `poll_s` seconds until its answer is true; return that answer.

    TimeoutError naming `what` after `timeout_s` seconds; exceptions of `condition` pass through.
    """
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(poll_s)
    return answer


class ServerProcess:
    """A server in a process of its own, for tests that kill and restart it.

    `command` may hold `{port}`: it stands for one free port (or `port`), the same at every restart.
    stderr goes to `log_path`, stdout beside it with the suffix `.out`; both grow over restarts.
    Without `log_path` they live in a temporary directory until `close`.

        command = [sys.executable, "-m", "holdfast.cli", "serve", "--port", "{port}"]
        with ServerProcess(command) as server:
            client = httpx2.Client(base_url=server.url)
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        port: int | None = None,
        log_path: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready_timeout_s: float = 60.0,
        stop_timeout_s: float = 30.0,
    ) -> None:
        """Prepare without starting; `env` is added to this process's environment."""
        chosen = str(port if port is not None else free_port())
        self._command = [word.replace("{port}", chosen) for word in command]
        # Python buffers stdout that is no terminal; the ready line would never arrive.
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self._cwd = cwd
        self._ready_timeout_s = ready_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._temporary = None if log_path else Path(tempfile.mkdtemp(prefix="holdfast-server-"))
        self.log_path: Path = log_path or Path(str(self._temporary), "server.log")
        self._stdout_path = self.log_path.with_suffix(".out")
        self._process: launching.Process | None = None
        self._url: str | None = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address from the ready line, still known while the server is down."""
        if self._url is None:
            raise RuntimeError("the server was never started")
        return self._url

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        if self._process is None:
            raise RuntimeError("the server was never started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """True while the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start and wait for the ready line; ServerStartError when it does not come in time."""
        if self.running:
            raise RuntimeError(f"the server runs already, as process {self.pid}")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._stdout_path.open("ab") as stdout, self.log_path.open("ab") as stderr:
            offset, self._log_offset = stdout.tell(), stderr.tell()
            self._process = launching.start(
                self._command, stdout=stdout, stderr=stderr, env=self._env, cwd=self._cwd
            )
        try:
            url = self._await_ready(offset)
        except BaseException:
            self.kill()
            raise
        if self._url not in (None, url):
            self.kill()
            raise ServerStartError(f"came back at {url}, was at {self._url}: use {{port}}")
        self._url = url
        return self

    def kill(self) -> None:
        """SIGKILL and wait for the end: what a power cut does to a process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=self._stop_timeout_s)

    def signal(self, number: int) -> None:
        """Send a signal to it."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end; the exit code. `subprocess.TimeoutExpired` when it does not come."""
        return None if self._process is None else self._process.wait(timeout_s)

    def terminate(self) -> int | None:
        """SIGTERM and wait, SIGKILL after `stop_timeout_s`; the exit code, None before a start."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            return self._process.wait(timeout=self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def restart(self) -> Self:
        """Terminate if it runs, then start again at the same address."""
        self.terminate()
        return self.start()

    def close(self) -> None:
        """End the process and remove temporary logs; harmless when repeated."""
        self.terminate()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def stderr_tail(self) -> str:
        """The last 4 KiB that the process wrote to stderr since its last start."""
        try:
            data = self.log_path.read_bytes()[self._log_offset :]
        except FileNotFoundError:
            return ""
        return data[-_TAIL_BYTES:].decode("utf-8", "replace")

    def _await_ready(self, offset: int) -> str:
        deadline = time.monotonic() + self._ready_timeout_s
        while True:
            running = self.running  # asked first, so that a last line is not missed
            for line in self._stdout_path.read_bytes()[offset:].splitlines(keepends=True):
                if line.startswith(b"ready ") and line.endswith(b"\n"):
                    return line[len(b"ready ") :].decode("ascii").strip().rstrip("/")
            if not running:
                code = self._process.returncode if self._process else None
                raise ServerStartError(self._explain(f"ended with exit code {code}"))
            if time.monotonic() >= deadline:
                raise ServerStartError(self._explain(f"not ready in {self._ready_timeout_s:g} s"))
            time.sleep(_POLL_S)

    def _explain(self, reason: str) -> str:
        return f"{' '.join(self._command)}: {reason}\n{self.stderr_tail()}".rstrip()
