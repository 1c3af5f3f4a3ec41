"""Commands as processes of their own, made by a launcher that has their program in memory.

``run`` and ``start`` take the place of ``subprocess.run`` and ``subprocess.Popen`` for commands of
the form ``python -m`` and one of the packages that ``launching`` names; any other command, and any
outside of it, is started as ever. Linux only; elsewhere all of them are.

Knows: processes. Must not know: what a command does. See ``launcher``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Protocol

_OWN_PLACE: Final = 3
"""Words of ``python -m MODULE`` before its arguments."""


class Process(Protocol):
    """A process that was started: the part of ``subprocess.Popen`` that both ways have."""

    @property
    def pid(self) -> int:
        """The process id."""

    @property
    def returncode(self) -> int | Any:
        """The exit code, negative for a signal; None until the end was seen."""

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises ``subprocess.TimeoutExpired``."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""

    def terminate(self) -> None:
        """SIGTERM."""

    def kill(self) -> None:
        """SIGKILL."""


class _Forked:
    """A process that the launcher has made."""

    def __init__(self, command: Sequence[str], connection: socket.socket) -> None:
        self._command = command
        self._connection = connection
        self._turn = threading.Lock()
        self.pid = self._number(None)
        self.returncode: int | None = None

    def _number(self, timeout: float | None) -> int:
        """Wait for the launcher's next packet."""
        self._connection.settimeout(timeout)
        packet = self._connection.recv(32)
        if not packet:
            raise ChildProcessError(f"the launcher is gone; it had started {self._command}")
        return int(packet)

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        with self._turn:
            if self.returncode is None:
                try:
                    self.returncode = self._number(timeout)
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired(self._command, timeout or 0) from None
                self._connection.close()
            return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Launcher:
    """The launcher of this process, started when the first command is."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self._packages = packages
        self._folder = Path(tempfile.mkdtemp(prefix="holdfast-launcher-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()

    def knows(self, command: Sequence[str], env: Mapping[str, str]) -> bool:
        """Return whether a command is one of those that it has in memory, in a world like its."""
        return (
            tuple(command[:2]) == (sys.executable, "-m")
            and any(f"{command[2]}.".startswith(f"{package}.") for package in self._packages)
            and all(
                env.get(name) == os.environ.get(name)
                for name in {*env, *os.environ}
                if name.startswith(("PYTHON", "LC_", "LANG")) and name != "PYTHONUNBUFFERED"
            )
        )

    def start(
        self, command: Sequence[str], streams: Sequence[int], env: Mapping[str, str], cwd: Path
    ) -> _Forked:
        self._load()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(str(self._folder / "socket"))
            request = {
                "module": command[2], "arguments": list(command[_OWN_PLACE:]),
                "environment": dict(env), "folder": str(cwd), "umask": _umask(),
            }  # fmt: skip
            socket.send_fds(connection, [json.dumps(request).encode()], list(streams))
            return _Forked(command, connection)
        except BaseException:
            connection.close()
            raise

    def _load(self) -> None:
        with self._turn:
            if self._process is not None:
                return
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our own module
                [sys.executable, "-m", "holdfast.testing.launcher",
                 str(self._folder / "socket"), *self._packages],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            assert self._process.stdout is not None
            with self._process.stdout as said:
                if said.readline() != b"ready\n":
                    raise ChildProcessError("the launcher did not start; see stderr")

    def close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(60)
        shutil.rmtree(self._folder, ignore_errors=True)


def _umask() -> int:
    """The mask of this process, which can be asked for only where it is written down."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("\nUmask:")[2].split(maxsplit=1)[0], 8)


_launcher: _Launcher | None = None


@contextlib.contextmanager
def launching(*packages: str) -> Iterator[None]:
    """Within the block, commands of these packages are forks of a process that has them loaded."""
    global _launcher  # noqa: PLW0603 - one for the process, as its children are
    if _launcher is not None or not hasattr(os, "pidfd_open"):
        yield
        return
    _launcher = _Launcher(packages)
    try:
        yield
    finally:
        _launcher.close()
        _launcher = None


def start(
    command: Sequence[object],
    *,
    stdin: int | IO[Any] = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Process:
    """Start a command: as a fork of the launcher when it is one of its packages', else as ever.

    ``stdin``, ``stdout``, ``stderr``: files or descriptors, ``subprocess.DEVNULL``, or None for the
    own ones; ``stderr`` may be ``subprocess.STDOUT``; no pipes.
    """
    words = [os.fspath(w) if isinstance(w, os.PathLike) else str(w) for w in command]
    world = os.environ if env is None else env
    if _launcher is None or not _launcher.knows(words, world):
        return subprocess.Popen(  # noqa: S603 - the command is the test's own
            words, stdin=stdin, stdout=stdout, stderr=stderr, env=dict(world), cwd=cwd
        )
    with open(os.devnull, "r+b") as nowhere:  # noqa: PTH123 - not a path

        def descriptor(stream: int | IO[Any] | None, own: int) -> int:
            if stream is None:
                return own
            if stream == subprocess.DEVNULL:
                return nowhere.fileno()
            return stream if isinstance(stream, int) else stream.fileno()

        out = descriptor(stdout, 1)
        err = out if stderr == subprocess.STDOUT else descriptor(stderr, 2)
        return _launcher.start(words, (descriptor(stdin, 0), out, err), world, cwd or Path.cwd())


def run(
    command: Sequence[object],
    *,
    input: str = "",  # noqa: A002 - as subprocess.run has it
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 60,
    merged: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it has said; ``merged``: stderr is in stdout.

    Raises ``subprocess.TimeoutExpired``; the process is killed then.
    """
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(input.encode())
        given.seek(0)
        process = start(
            command, stdin=given, stdout=out, stderr=subprocess.STDOUT if merged else err,
            env=env, cwd=cwd,
        )  # fmt: skip
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait(60)
            raise
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess(list(map(str, command)), code, *said)
