"""An authenticator for a file of static tokens.

Knows: the token file and the Authorization header. Must not know: scopes' meaning, or the service.
Upholds I26: a token that was taken out of the file is refused from the next request on; a file that
cannot be read lets nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
import logging
import secrets
import threading
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import ProtocolError, UsageError
from holdfast.core.limits import (
    DEVICE_NAME_LENGTH_MAX,
    SCOPE_NAME_LENGTH_MAX,
    SCOPES_MAX,
    TOKEN_FILE_SETTLED_NS,
)
from holdfast.server.identity.authenticator import Authenticator
from holdfast.server.identity.principal import Principal

_FIELDS = frozenset({"user", "device", "read", "write", "roles"})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Result of a read, and the state of the file it is from; ``mark`` None: look again next
    time.
    """

    mark: tuple[int, int, int] | None
    tokens: tuple[tuple[bytes, Principal], ...]
    fault: str = ""


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token of the Authorization header; empty when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def plain(authenticate: Callable[..., object]) -> None:
    """Raise ``UsageError`` (``bad_authenticate``) for what cannot be called in a worker thread."""
    call = type(authenticate).__call__  # of an object that can be called
    if inspect.iscoroutinefunction(authenticate) or inspect.iscoroutinefunction(call):
        raise UsageError(
            "authenticate is called in a thread of its own: make it a plain function, not async",
            code="bad_authenticate",
        )


def who(authenticate: Authenticator, headers: Mapping[str, str]) -> Principal:
    """Return what an authenticator says. None, or a look-up that finds nothing, is nobody.

    Raises ``ProtocolError`` 401 (``sign_in``), ``TypeError`` for what is no principal.
    """
    try:
        found: object = authenticate(headers)
    except LookupError as error:
        log.info("authenticate raised %s: the request is not authenticated", type(error).__name__)
        found = None
    if found is None:
        raise ProtocolError("unknown, expired or revoked token", code="sign_in", status=401)
    if not isinstance(found, Principal):
        if inspect.iscoroutine(found):
            found.close()
        raise TypeError(f"authenticate gave a {type(found).__name__}, not a Principal")
    return found


class TokenFile:
    """An authenticator over a TOML file with one table per token at the top level.

    .. code-block:: toml

        [token-a]
        user = "ann"
        device = "till-1"
        read = ["catalog"]
        write = ["store/12"]

    ``roles`` is optional. The file is read again whenever it has changed. Raises ``UsageError``
    (``tokens_invalid``) at once when it is malformed; if it becomes so later, requests are answered
    with 503 until it is mended.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._loaded = self._load()
        if self._loaded.fault:
            raise UsageError(self._loaded.fault, code="tokens_invalid")

    def __call__(self, headers: Mapping[str, str]) -> Principal:
        token = bearer_token(headers)
        if not token:
            raise ProtocolError("a device token is needed", code="sign_in", status=401)
        loaded = self._current()
        if loaded.fault:
            raise ProtocolError(
                "the server cannot check tokens at the moment", code="tokens_invalid", status=503
            )
        presented = self._digest(token)
        found: Principal | None = None
        for digest, principal in loaded.tokens:  # all of them: time tells nothing
            if hmac.compare_digest(digest, presented):
                found = principal
        if found is None:
            raise ProtocolError("unknown, expired or revoked token", code="sign_in", status=401)
        return found

    def _digest(self, token: str) -> bytes:
        """Keyed with a secret of this process, so that nobody can aim at a digest."""
        raw = token.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(raw, key=self._key, digest_size=32).digest()

    def _current(self) -> _Loaded:
        with self._lock:
            if self._loaded.mark is None or self._loaded.mark != self._mark():
                before, self._loaded = self._loaded, self._load()
                if self._loaded.fault and self._loaded.fault != before.fault:
                    log.error("no device can be authenticated: %s", self._loaded.fault)
            return self._loaded

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _load(self) -> _Loaded:
        mark = self._mark()
        if mark is not None and abs(time.time_ns() - mark[0]) < TOKEN_FILE_SETTLED_NS:
            mark = None  # a change within the clock's grain would not show: read again
        try:
            tables = tomllib.loads(self._path.read_text(encoding="utf-8"))
            tokens = tuple(
                (self._digest(token), _principal(token, table)) for token, table in tables.items()
            )
        except OSError as error:
            return _Loaded(None, (), f"{self._path}: {error.strerror or error}")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
            return _Loaded(mark, (), f"{self._path}: {error}")
        return _Loaded(mark, tokens)


def _principal(token: str, table: Any) -> Principal:
    """One token's table as a principal. Faults are named without showing the token itself."""
    where = f"[{token[:3]}...]"
    if not isinstance(table, dict):
        raise ValueError(f"{where}: expected one table per token, got {type(table).__name__}")  # noqa: TRY004 - one error for whatever is wrong with the file
    if not token or token != token.strip():
        raise ValueError("a token is empty, or has blanks around it")
    unknown = set(table) - _FIELDS
    if unknown:
        raise ValueError(f"{where}: unknown field {min(unknown)!r}")
    return Principal(
        user=_name(where, table, "user"),
        device=_name(where, table, "device"),
        read=_names(where, table, "read"),
        write=_names(where, table, "write"),
        roles=_names(where, table, "roles"),
    )


def _name(where: str, table: dict[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= DEVICE_NAME_LENGTH_MAX:
        raise ValueError(f"{where}: {key} must be text of 1 to {DEVICE_NAME_LENGTH_MAX} characters")
    return value


def _names(where: str, table: dict[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or len(value) > SCOPES_MAX:
        raise ValueError(f"{where}: {key} must be a list of at most {SCOPES_MAX} names")
    for name in value:
        if not isinstance(name, str) or not 1 <= len(name) <= SCOPE_NAME_LENGTH_MAX:
            raise ValueError(f"{where}: {key} has something that is not a name")
    return tuple(value)
