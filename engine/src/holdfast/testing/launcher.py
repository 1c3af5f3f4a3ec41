"""A process that has the commands in memory, and forks one for each that is to run.

Run as ``python -m holdfast.testing.launcher SOCKET PACKAGE...`` by ``launching``; ends with its
standard input. Each connection is one command, in packets: JSON, with the descriptors of its own
standard streams, answered by its process id at once, and by its exit code when it has ended.

Knows: processes and descriptors. Must not know: what a command does. To import a command's program
costs many times what its work does; a fork has it already, and is a process of its own in all that
can be killed, paused or waited for. The launcher has no thread, no database and no connection but
those to its callers, so that there is nothing a fork could share.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from holdfast.sqlite import failpoints

_REQUEST_BYTES_MAX: Final = 1 << 20
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DESCRIPTORS_MAX: Final = 1024
_NOT_LOADED: Final = frozenset({"testing", "integrations", "__main__"})
"""Parts of a package that no command is made of."""


@dataclass(frozen=True, slots=True)
class Request:
    """A command: a module with its arguments, and the world that it starts in."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    umask: int


def load(package: str) -> None:
    """Import a package with all modules that its commands may need."""
    found = importlib.import_module(package)
    for module in pkgutil.iter_modules(found.__path__, f"{package}."):
        if module.name.rpartition(".")[2] in _NOT_LOADED:
            continue
        with contextlib.suppress(ImportError):  # an extra that is not installed
            if module.ispkg:
                load(module.name)
            else:
                importlib.import_module(module.name)


class _Forked(BaseException):
    """Leaves the loop in a process that is a command's."""

    def __init__(self, request: Request, streams: list[int]) -> None:
        super().__init__(request.module)
        self.request = request
        self.streams = streams


def become(request: Request, streams: list[int]) -> None:
    """Be the command's process from now on: its streams, environment, folder and arguments."""
    for own, stream in enumerate(streams):
        os.dup2(stream, own)
    os.closerange(3, _DESCRIPTORS_MAX)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    os.umask(request.umask)
    os.chdir(request.folder)
    random.seed()
    importlib.reload(failpoints)  # reads the environment
    if request.environment.get("PYTHONUNBUFFERED"):
        for text in (sys.stdout, sys.stderr):
            text.reconfigure(write_through=True)  # type: ignore[union-attr]
    sys.argv = [request.module, *request.arguments]


def serve(listener: socket.socket) -> None:
    """Fork until standard input ends. Raises ``_Forked`` in each process that is made."""
    waiting: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == sys.stdin.fileno():
                    return
                if key.fileobj is listener:
                    _begin(listener, selector, waiting)
                else:
                    _end(key.fd, selector, waiting)


def _begin(
    listener: socket.socket,
    selector: selectors.BaseSelector,
    waiting: dict[int, tuple[int, socket.socket]],
) -> None:
    caller, _ = listener.accept()
    message, streams, _, _ = socket.recv_fds(caller, _REQUEST_BYTES_MAX, 3)
    pid = os.fork()
    if pid == 0:
        raise _Forked(Request(**json.loads(message)), streams)
    for stream in streams:
        os.close(stream)
    caller.send(f"{pid}".encode())
    ended = os.pidfd_open(pid)
    waiting[ended] = (pid, caller)
    selector.register(ended, selectors.EVENT_READ)


def _end(
    ended: int, selector: selectors.BaseSelector, waiting: dict[int, tuple[int, socket.socket]]
) -> None:
    pid, caller = waiting.pop(ended)
    selector.unregister(ended)
    os.close(ended)
    _, status = os.waitpid(pid, 0)
    with caller, contextlib.suppress(OSError):  # nobody may ask any more
        caller.send(f"{os.waitstatus_to_exitcode(status)}".encode())


def main(arguments: Iterable[str]) -> Any:
    """Load the packages, listen, and be whatever is asked for."""
    path, *packages = arguments
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # its callers end it by the end of its input
    for package in packages:
        load(package)
    gc.collect()
    gc.freeze()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(path)
            listener.listen(64)
            os.write(sys.stdout.fileno(), b"ready\n")
            serve(listener)
        return
    except _Forked as forked:
        request, streams = forked.request, forked.streams
    become(request, streams)
    gc.unfreeze()
    runpy.run_module(request.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
