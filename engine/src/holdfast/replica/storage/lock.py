"""One process syncs a replica at a time; any may write (I35).

Knows: a lock file beside the replica. The lock is the operating system's, so it ends with its
process however that ends; a suspended process keeps it, and its nonce with it. The file also says
who has the lock, and when they last gave a sign of life; and, in a line of its own, which state of
the replica was the newest here (``storage.place``).

A child that is forked while the lock is held has it no more: what it inherits is closed in it, and
what the parent lets go of is free, whatever copies of it live on in others.
"""

from __future__ import annotations

import os
import time
import weakref
from contextlib import suppress
from pathlib import Path

from holdfast.core.limits import (
    LOCK_PAUSE_S,
    LOCK_TRIES_MAX,
    SYNC_LOCK_BYTES_MAX,
)
from holdfast.replica.storage.place import Note
from holdfast.sqlite.locks import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock


class SyncLock:
    """An exclusive lock on ``<replica>-synclock``. Not for use by two threads at once."""

    def __init__(self, path: str) -> None:
        self._path = f"{path}-synclock"
        self._descriptor: int | None = None
        _locks.add(self)

    def acquire(self) -> bool:
        """Take the lock if no other process (or replica object) has it; True when it is ours."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        for left in reversed(range(LOCK_TRIES_MAX)):
            try:
                flock(descriptor, LOCK_EX | LOCK_NB)
                break
            except OSError:
                if left:
                    time.sleep(LOCK_PAUSE_S)
        else:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        self._write(_second_line(os.pread(descriptor, SYNC_LOCK_BYTES_MAX, 0)))
        return True

    def _write(self, noted: str) -> None:
        assert self._descriptor is not None
        with suppress(OSError):  # a full disk: then nobody knows who it is
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n{noted}\n".encode(), 0)

    def note(self, note: Note) -> None:
        """Write down which state is the newest."""
        if self._descriptor is not None:
            self._write(" ".join(note))

    def noted(self) -> Note | None:
        """The newest state that was here, as far as anybody knows."""
        try:
            line = _second_line(Path(self._path).read_bytes()[:SYNC_LOCK_BYTES_MAX])
        except OSError:
            return None
        replica, _, nonce = line.rpartition(" ")
        return (replica, nonce) if replica else None

    def beat(self) -> None:
        """Give a sign of life. Takes no room on the disk."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.utime(self._descriptor)

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                flock(descriptor, LOCK_UN)  # also for copies that a child has
            os.close(descriptor)

    def forget(self) -> None:
        """In a forked child: the lock stays the parent's."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def held_elsewhere(self) -> bool:
        """Return whether another process syncs this replica now."""
        if self._descriptor is not None:
            return False
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except OSError:
            return False
        try:
            flock(descriptor, LOCK_SH | LOCK_NB)
            flock(descriptor, LOCK_UN)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def holder(self) -> tuple[int | None, int | None]:
        """The process that has the lock or had it last, and its last sign of life (µs since
        1970)."""
        try:
            file = Path(self._path)
            text, heard_ns = file.read_text(), file.stat().st_mtime_ns
        except (OSError, UnicodeError):
            return None, None
        text = text.partition("\n")[0].strip()
        return int(text) if text.isascii() and text.isdigit() else None, heard_ns // 1000


def _second_line(text: bytes) -> str:
    return text.decode(errors="replace").partition("\n")[2].strip()


_locks: weakref.WeakSet[SyncLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_locks):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
