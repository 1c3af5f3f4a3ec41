"""The one exception tree of Holdfast; every error has a stable ``code``.

Knows: names and codes. Must not know: HTTP, SQL, or how an error is shown.
A code never changes its meaning; the list in ``protocol/SPEC.md`` is complete.
"""

from __future__ import annotations

from typing import Any


class HoldfastError(Exception):
    """Base of all errors raised by Holdfast. ``code`` is stable, ``detail`` is for machines."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, **detail: Any) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.detail: dict[str, Any] = detail

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class SchemaError(HoldfastError):
    """A schema that cannot be used, or a database that does not fit it."""

    code = "schema_invalid"


class BadValue(HoldfastError):
    """A value that does not fit its column: wrong type, out of range, not finite, not text."""

    code = "bad_value"


class DatabaseError(HoldfastError):
    """The local database could not do it; nothing was changed."""

    code = "database"


class ConstraintFailed(DatabaseError):
    """A constraint stopped the statement. ``kind``: unique, not_null, check, foreign_key,
    trigger."""

    code = "constraint"

    def __init__(self, message: str, *, kind: str, **detail: Any) -> None:
        super().__init__(message, code=kind, kind=kind, **detail)
        self.kind = kind


class DatabaseBusy(DatabaseError):
    """Another connection held the lock for longer than the busy time-out."""

    code = "database_busy"


class DatabaseFull(DatabaseError):
    """No space left for the database. The write failed whole; free space and try again."""

    code = "database_full"


class DatabaseReadOnly(DatabaseError):
    """The database file or its directory cannot be written."""

    code = "database_read_only"


class DatabaseMoved(DatabaseError):
    """The file, or its log, was moved, replaced or deleted while it was open. The message says
    where what had been committed stands; stop what uses the file, and open it again."""

    code = "database_moved"


class SchemaMoved(DatabaseError):
    """Another process has opened the database with another schema; this one has to be replaced."""

    code = "schema_moved"


class DatabaseCorrupt(DatabaseError):
    """The file is damaged or is not a database. Nothing was deleted."""

    code = "database_corrupt"


class ReplicaError(HoldfastError):
    """The replica cannot be opened or the request does not fit its state."""

    code = "replica"


class UsageError(HoldfastError):
    """The caller asked for something that does not exist or cannot be done now."""

    code = "usage"


class SyncError(HoldfastError):
    """An exchange did not succeed. Pending work is kept. ``retry_after_ms`` when the server said
    so."""

    code = "sync"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry_after_ms: int | None = None,
        **detail: Any,
    ) -> None:
        super().__init__(message, code=code, **detail)
        self.retry_after_ms = retry_after_ms


class Offline(SyncError):
    """The server could not be reached, or what answered was not our server. Retried with
    back-off."""

    code = "offline"


class ServerTrouble(SyncError):
    """The server answered with 5xx or 429. Retried with back-off, ``Retry-After`` is honoured."""

    code = "server_trouble"


class SignInNeeded(SyncError):
    """The token is unknown, expired or revoked. Local work goes on; the queue is kept."""

    code = "sign_in"


class UpgradeNeeded(SyncError):
    """Client and server do not speak the same protocol or schema. The queue is kept."""

    code = "upgrade"


class AttentionNeeded(SyncError):
    """Sync has stopped with a stable code (copied replica, other epoch, ...). The queue is kept."""

    code = "attention"


class FileGone(SyncError):
    """A file is offered no more under this path. The exchange is repeated, and tells another."""

    code = "file_gone"


class FileRefused(SyncError):
    """A file that was fetched cannot be what was offered; nothing of it was believed. The rows come
    in the answer instead."""

    code = "file_refused"


class ProtocolError(HoldfastError):
    """A request the server does not take, with the HTTP ``status`` it answers (4xx or 503)."""

    code = "bad_message"

    def __init__(
        self, message: str, *, code: str | None = None, status: int = 400, **detail: Any
    ) -> None:
        super().__init__(message, code=code, **detail)
        self.status = status


class Refuse(HoldfastError):
    """Raised by a rule, or by the engine, to refuse one transaction with a reason for a person."""

    code = "rule"

    def __init__(self, code: str, message: str, *, field: str | None = None, **detail: Any) -> None:
        super().__init__(message, code=code, **detail)
        self.field = field
