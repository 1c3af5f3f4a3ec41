"""Registry of the files this process has open, by which SQLite library, and what keeps them there.

Knows: files and names of libraries. Must not know: SQL.
Two SQLite libraries in one process that open one file break each other's POSIX locks (closing any
descriptor drops all locks of the process, https://sqlite.org/howtocorrupt.html): each takes itself
for the last that has the file open, and deletes the log under the other. So the second is refused,
whichever comes first: ours here, Python's own when it connects (an audit hook of the interpreter
hears of it). What cannot be refused is kept from deleting anything by a guard (``guard``).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from holdfast.core.errors import DatabaseError
from holdfast.sqlite.guard import FileGuard
from holdfast.sqlite.open_files import Execute, Identity, OpenFiles, identity_of

_ADVICE: Final = (
    "open it with driver_name='stdlib' (holdfast serve: --driver stdlib) when an ORM of this "
    "process uses the same file"
)


class OpenFile:
    """One file that this process has open through drivers of ours."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.users: Counter[str] = Counter()
        self.turn = threading.RLock()
        """Held while one connection opens or closes."""
        self.standing: OpenFiles | None = None
        """None: the library keeps no log beside the file that could be lost."""
        self.guard: FileGuard | None = None

    def watch(self, path: str, *, logged: bool, guarded: bool) -> None:
        """Watch what stands at the file's paths from now on; within ``turn``.

        ``path``: its real one. ``logged``: it has a write-ahead log, which the connection has
        opened. ``guarded``: nobody else is to take themselves for the last that has it open.
        """
        if self.standing is None:
            self.standing = OpenFiles(path, logged=logged)
        if not guarded:
            return
        if self.guard is None:
            self.guard = FileGuard.on(path)
        else:
            self.guard.hold()

    @property
    def lost(self) -> bool:
        """Return whether what is open is no longer what stands at the path."""
        return self.standing is not None and self.standing.lost is not None

    def check(self, execute: Execute, *, committed: bool) -> None:
        """Before and after a commit: raises ``DatabaseMoved`` when the files are not in their place
        any more, with nothing committed before. ``execute``: on the connection."""
        standing = self.standing
        if standing is None:
            return
        what = standing.after_commit() if committed else standing.before_commit()
        if what is None and standing.lost is None:
            return
        if not committed:
            with contextlib.suppress(DatabaseError):  # without a transaction there is none to undo
                execute("ROLLBACK", ())
        with self.turn:
            links = None if self.guard is None else self.guard.links()
            raise standing.lose(what or "", execute, links=links)

    def leave(self, library: str, close: Callable[[], None]) -> None:
        """Close one connection; the last one may tidy up the log, unless that is not its own."""
        with self.turn:
            if self.users.total() == 1 and self.guard is not None and not self.lost:
                self.guard.let_go()
            try:
                close()
            finally:
                _release(self, library)


_open: dict[Identity, OpenFile] = {}
_inherited: set[Identity] = set()
"""What the process that forked this one had open: its descriptors are here, and mean nothing."""
_lock = threading.Lock()
_listening = False


def _open_elsewhere(identity: Identity) -> bool:
    """Return whether this process has the file open although no driver of ours has (Linux only)."""
    try:
        descriptors = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return False
    return any(identity_of(str(descriptor)) == identity for descriptor in descriptors)


def is_open_here(path: str) -> bool:
    """Return whether this process has the file open, through a driver of ours or (Linux only)
    otherwise."""
    identity = identity_of(path)
    if identity is None:
        return False
    with _lock:
        return identity in _open or (identity not in _inherited and _open_elsewhere(identity))


def claim(path: str, library: str, *, create: bool = True) -> OpenFile | None:
    """Note that ``library`` opens ``path``; the answer is what it ``leave``s.

    A missing file is made when ``create`` says so, so that there is something to go by; None when
    there is no file. Raises ``DatabaseError`` (``mixed_sqlite_libraries``).
    """
    if path == ":memory:":
        return None
    _listen()
    with _lock:
        identity = identity_of(path)
        if identity is None and create:
            with contextlib.suppress(OSError):  # the library will report it in its own words
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            identity = identity_of(path)
        if identity is None:
            return None
        file = _open.get(identity)
        others = file is not None and any(
            count and name != library for name, count in file.users.items()
        )
        foreign = (
            library == "apsw"
            and file is None
            and identity not in _inherited
            and _open_elsewhere(identity)
        )
        if others or foreign:
            raise DatabaseError(
                f"{path} is open in this process through another SQLite library; {_ADVICE}",
                code="mixed_sqlite_libraries",
            )
        file = _open.setdefault(identity, file or OpenFile(identity))
        file.users[library] += 1
        return file


def _release(file: OpenFile, library: str) -> None:
    with _lock:
        file.users[library] -= 1
        if not file.users.total():
            if _open.get(file.identity) is file:
                del _open[file.identity]
            if file.guard is not None:
                file.guard.close()
                file.guard = None


def _listen() -> None:
    """Hear of it when Python's own library opens a file; once for the process's life."""
    global _listening  # noqa: PLW0603 - a hook of the interpreter cannot be taken back
    with _lock:
        if not _listening:
            _listening = True
            sys.addaudithook(_hear)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_forked)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "sqlite3.connect" or not _open:
        return
    path = _path_of(arguments[0])
    identity = identity_of(path) if path else None
    file = None if identity is None else _open.get(identity)
    if file is not None and file.users.total() > file.users["stdlib"]:
        raise _refusal(path)


def _path_of(database: object) -> str:
    """The path that a database's name for Python's library stands for; "" when it is none."""
    try:
        name = os.fsdecode(database)  # type: ignore[arg-type]
    except TypeError:
        return ""
    if not name.startswith("file:"):
        return name
    path = unquote(name[5:].partition("#")[0].partition("?")[0])
    if path.startswith("//"):
        path = "/" + path[2:].partition("/")[2]
    return path


def _refusal(path: str) -> Exception:
    import sqlite3  # it is what called

    class SecondLibrary(DatabaseError, sqlite3.OperationalError):
        """An error of ours that an ORM takes for one of its library's."""

    return SecondLibrary(
        f"{path} is open in this process through Holdfast's own SQLite library, and two would lose "
        f"each other's work; {_ADVICE}",
        code="mixed_sqlite_libraries",
    )


def _forked() -> None:
    """In a forked child: connections of the parent are not its own."""
    global _lock  # noqa: PLW0603 - whoever held it is not here
    _lock = threading.Lock()
    _inherited.update(_open)
    for file in _open.values():
        if file.guard is not None:
            file.guard.close()
    _open.clear()
