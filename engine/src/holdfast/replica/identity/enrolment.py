"""Enrolment of a replica's device, and renewal of its token.

Knows: the credentials beside the replica, and the calls that give new ones. Must not know: when to
sync, or what a server stores.
Local work needs none of this. Enrolling again as the same device goes on with its queue; the
answer of another device or user is refused, and nothing is changed (I32).
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from holdfast.core.enrolment_codes import normal_code, secret_hash
from holdfast.core.errors import AttentionNeeded, HoldfastError, SignInNeeded, SyncError, UsageError
from holdfast.core.limits import (
    BUSY_TIMEOUT_MS,
    DEVICE_NAME_LENGTH_MAX,
    REFRESH_RETRY_MS,
    RESPONSE_MEMORY_BYTES_MAX,
)
from holdfast.protocol.enrolment import Enrolled, EnrolRequest, PasswordRequest, RefreshRequest
from holdfast.protocol.version import PROTOCOL
from holdfast.replica.failures import not_ours
from holdfast.replica.host import Host
from holdfast.replica.http.transport import HttpTransport, checked_url
from holdfast.replica.identity.authority import trusting
from holdfast.replica.identity.credentials import Credentials, CredentialsFile
from holdfast.replica.storage.database import LocalDatabase, transaction, write_state
from holdfast.replica.storage.making import is_free
from holdfast.schema.model import Schema
from holdfast.sqlite import driver

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Proof that a person shows: a one-time ``code``, or ``user`` and ``password``, or
    ``sign_in``, the headers of the app's own sign-in. Shows no secret when it is printed."""

    code: str = ""
    user: str = ""
    password: str = ""
    sign_in: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        ways = (bool(self.code), bool(self.user or self.password), self.sign_in is not None)
        if sum(ways) != 1 or bool(self.user) != bool(self.password):
            raise UsageError(
                "enrol with a code, or a user and password, or a sign-in", code="bad_choice"
            )
        if self.code:
            normal_code(self.code)

    def __repr__(self) -> str:
        return "Proof()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """Result of an enrolment: the device, and until when its token is good (µs since 1970, the
    server's).
    """

    device: str
    user: str
    expires_at: int


def enrol(
    path: str | Path,
    *,
    schema: Schema | None = None,
    server: str | None = None,
    code: str = "",
    user: str = "",
    password: str = "",
    sign_in: Mapping[str, str] | None = None,
    name: str = "",
    host: Host | None = None,
) -> Enrolment:
    """Let a replica's device in, and make the replica if there is none: of ``schema``, or of the
    server's. Uses the network.

    ``server`` may be left out for a replica that knows one. If the answer is lost, do the same once
    more. Raises ``BadValue`` (``bad_code``: mistyped), ``SignInNeeded`` (``enrol_refused``),
    ``AttentionNeeded`` (``wrong_device``: the replica is another device's or user's), the rest of
    the ``SyncError`` tree, ``UsageError`` or ``ReplicaError``; then the replica is unchanged.
    """
    proof = Proof(code=code, user=user, password=password, sign_in=sign_in)
    file = CredentialsFile(path)
    if not is_free(Path(path)):
        database = _opened(path, schema)
        try:
            return enrol_open(database, file, proof, server=server, name=name, host=host)
        finally:
            database.close()
    if server is None:
        raise UsageError("a new replica needs the server's address", code="no_server")
    url = checked_url(server)
    with file.alone(wait=True):
        credentials, found = _gone_on(file, url, proof)
        if credentials is None:
            attempt = _attempt(file, url, host or Host())
            given = _ask(file, url, proof, device="", name=name, attempt=attempt)
            credentials = msgspec.structs.replace(
                _credentials(url, given), attempt=attempt, shown=_shown(proof)
            )
            file.write(credentials)
        database = _opened(path, schema or found or _schema_of(file, url, credentials.token))
        try:
            _bind(database, credentials)
        finally:
            database.close()
        file.write(msgspec.structs.replace(credentials, attempt="", shown=""))
    return _told(credentials)


def _gone_on(
    file: CredentialsFile, url: str, proof: Proof
) -> tuple[Credentials | None, Schema | None]:
    """Return what an enrolment by the same proof has left that had its token, but came to no
    end. The token may have been used since; then the server gives no other one for it."""
    before = file.read()
    if before is None or before.server != url or not before.shown:
        return None, None
    if before.shown == _shown(proof):
        try:
            return before, _schema_of(file, url, before.token)
        except SignInNeeded:
            pass  # it is good no more
    file.write(Credentials(server=url))
    return None, None


def _shown(proof: Proof) -> str:
    """Return what tells a code, or a user who has shown a password; nothing for an app's own
    sign-in.
    """
    if proof.code:
        return secret_hash("shown code", normal_code(proof.code)).hex()
    return secret_hash("shown user", proof.user).hex() if proof.user else ""


def enrol_open(
    database: LocalDatabase,
    file: CredentialsFile,
    proof: Proof,
    *,
    server: str | None = None,
    name: str = "",
    host: Host | None = None,
) -> Enrolment:
    """Let the device of an open replica in. As ``enrol`` in all else."""
    known, device, user = (str(value) for value in database.state("server", "device", "user"))
    if not (server or known):
        raise UsageError("this replica knows no server yet", code="no_server")
    url = checked_url(server or known)
    with file.alone(wait=True):
        attempt = _attempt(file, url, host or Host())
        if user and proof.user not in ("", user):
            raise _wrong_device()  # a server that has lost the device cannot know
        given = _ask(file, url, proof, device=device, name=name, attempt=attempt)
        if (device and given.device != device) or (user and given.user != user):
            raise _wrong_device()
        credentials = _credentials(url, given)
        file.write(credentials)
        _bind(database, credentials)
    return _told(credentials)


def _wrong_device() -> AttentionNeeded:
    return AttentionNeeded(
        "this replica belongs to another device or user; nothing was changed", code="wrong_device"
    )


def _opened(path: str | Path, schema: Schema | None) -> LocalDatabase:
    return LocalDatabase.open(
        str(path), driver=driver("apsw"), schema=schema, busy_timeout_ms=BUSY_TIMEOUT_MS
    )


def _bind(database: LocalDatabase, credentials: Credentials) -> None:
    """The replica knows from now on who it is, and uses these credentials."""
    with transaction(database.app):
        write_state(
            database.app, server=credentials.server, token_file="", device=credentials.device,
            user=credentials.user,
        )  # fmt: skip


def _attempt(file: CredentialsFile, url: str, host: Host) -> str:
    """The attempt that is under way with this server, or a new one; on disk before it is sent."""
    before = file.read() or Credentials(server=url)
    if before.attempt and before.server == url and not before.shown:
        return before.attempt
    attempt = host.random_bytes(16).hex()
    if not before.token:
        before = Credentials(server=url)
    file.write(msgspec.structs.replace(before, attempt=attempt))
    return attempt


def _ask(
    file: CredentialsFile, url: str, proof: Proof, *, device: str, name: str, attempt: str
) -> Enrolled:
    request = EnrolRequest(
        protocol=PROTOCOL, code=proof.code, user=proof.user, password=proof.password,
        device=device, name=(name or platform.node())[:DEVICE_NAME_LENGTH_MAX], attempt=attempt,
    )  # fmt: skip
    transport = HttpTransport(url, str, ssl_context=trusting(file.replica))
    try:
        body = transport.ask("POST", "/v1/enrol", request, headers=proof.sign_in or {})
    finally:
        transport.close()
    return _enrolled(body)


def _enrolled(body: bytes) -> Enrolled:
    try:
        return msgspec.json.decode(body, type=Enrolled)
    except (msgspec.MsgspecError, UnicodeError):
        raise not_ours("its credentials cannot be decoded") from None


def _schema_of(file: CredentialsFile, url: str, token: str) -> Schema:
    transport = HttpTransport(url, str, ssl_context=trusting(file.replica))
    try:
        body = transport.ask(
            "GET", "/v1/schema", headers={"authorization": f"Bearer {token}"},
            bytes_max=RESPONSE_MEMORY_BYTES_MAX,
        )  # fmt: skip
    finally:
        transport.close()
    return Schema.from_json(body.decode())


def change_password(file: str | Path, *, password: str, new: str) -> None:
    """Change the password of the person whose device this is; their other devices are signed out.

    Raises ``SignInNeeded``, ``SyncError`` (``wrong_password``, ``bad_password``, ...), ``Offline``.
    """
    found = CredentialsFile(str(file)).read()
    if found is None or not found.token:
        raise SignInNeeded("this device is not enrolled; use: holdfast enrol", code="sign_in")
    transport = HttpTransport(found.server, lambda: found.token, ssl_context=trusting(file))
    try:
        transport.ask(
            "POST", "/v1/password",
            PasswordRequest(protocol=PROTOCOL, password=password, new=new),
            headers={"authorization": f"Bearer {found.token}"},
        )  # fmt: skip
    finally:
        transport.close()


def _credentials(url: str, given: Enrolled) -> Credentials:
    return Credentials(
        server=url, device=given.device, user=given.user, token=given.token,
        expires_at=given.expires_at, refresh_at=given.refresh_at,
    )  # fmt: skip


def _told(credentials: Credentials) -> Enrolment:
    return Enrolment(
        device=credentials.device, user=credentials.user, expires_at=credentials.expires_at
    )


class TokenKeeper:
    """A replica's token from its credentials, and a new one in time.

    ``device``: tells which device the replica is; the credentials of another one, as those left
    over from a deleted replica, are not used.
    """

    def __init__(self, file: CredentialsFile, server: str, device: Callable[[], str]) -> None:
        self._file = file
        self._server = server
        self._device = device
        self._known = ""
        self._not_before = 0.0

    def token(self) -> str:
        """Raises ``SignInNeeded`` (``sign_in``) when this replica has none for its server."""
        found = self._usable()
        if found is None:
            raise SignInNeeded("this device is not enrolled; use: holdfast enrol", code="sign_in")
        return found.token

    def _usable(self) -> Credentials | None:
        found = self._file.read()
        if found is None or not found.token or found.server != self._server:
            return None
        if found.device != self._known:
            self._known = self._device()
        return found if found.device == self._known else None

    def tend(self, transport: HttpTransport, now_us: int) -> None:
        """Fetch the next token when it is time; a failure is tried again later.

        ``now_us``: the corrected time. The new token is on disk before it is used.
        """
        found = self._usable()
        if found is None or now_us < found.refresh_at or time.monotonic() < self._not_before:
            return
        with self._file.alone(wait=False) as mine:
            found = self._usable()
            if not mine or found is None or now_us < found.refresh_at:
                return
            self._not_before = time.monotonic() + REFRESH_RETRY_MS / 1000
            headers = {"authorization": f"Bearer {found.token}"}
            try:
                request = RefreshRequest(protocol=PROTOCOL)
                given = _enrolled(transport.ask("POST", "/v1/token", request, headers=headers))
                if given.device != found.device:
                    raise SyncError("the token is for another device", code="wrong_device")
                self._file.write(_credentials(self._server, given))
            except HoldfastError as error:
                log.info("the device's token could not be renewed yet: %s", error)
