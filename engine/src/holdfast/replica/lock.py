"""One process syncs a replica at a time; any may write (I35).

Knows: a lock file beside the replica. The lock is the operating system's, so it ends with its
process however that ends; a suspended process keeps it, and its nonce with it.
"""

from __future__ import annotations

import fcntl
import os


class SyncLock:
    """An exclusive lock on ``<replica>-synclock``. Not for use by two threads at once."""

    def __init__(self, path: str) -> None:
        self._path = f"{path}-synclock"
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock if no other process (or replica object) has it; True when it is ours."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def held_elsewhere(self) -> bool:
        """Whether another process syncs this replica now."""
        if self._descriptor is not None:
            return False
        if self.acquire():
            self.release()
            return False
        return True
