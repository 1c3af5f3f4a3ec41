"""Enrolment: a device comes to its token, and to the next one.

Knows: codes, passwords, tokens, and the registry. Must not know: HTTP's wire, or command lines.
Whatever was wrong (a code that never was, is used or over; a user that is unknown, disabled or
without a password; a wrong password), the answer is the same after the same work. Failures are
counted (``sign_in_attempts``); nothing that is tried here touches a token that somebody holds.

An answer may be lost: whoever tries again with the same attempt, or refreshes again with the same
token, gets a new token in place of the one that was never used.

Upholds I26 and I31.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

from holdfast.core.enrolment_codes import new_token, normal_code, secret_hash
from holdfast.core.errors import BadValue, ProtocolError, UsageError
from holdfast.core.ids import uuid7
from holdfast.core.limits import (
    CODE_MINUTES,
    DEVICE_NAME_LENGTH_MAX,
    DEVICES_PER_USER_MAX,
    REFRESH_TRIES_BURST,
    REFRESH_TRY_EVERY_MS,
    TOKEN_DAYS,
    TOKEN_GRACE_DAYS,
    TOKEN_REFRESH_DAYS,
)
from holdfast.core.values import is_uuid
from holdfast.protocol.enrolment import Enrolled, EnrolRequest
from holdfast.server.identity import passwords
from holdfast.server.identity.device_auth import is_over, not_known
from holdfast.server.identity.people import checked_user, is_name
from holdfast.server.identity.principal import Principal
from holdfast.server.identity.rate_limit import Rates, monotonic_ms
from holdfast.server.identity.sign_in_attempts import Attempts
from holdfast.server.store.contract import OnCommit, Store, T, Writer
from holdfast.server.store.registry import (
    RIGHTS,
    Code,
    Registration,
    RegistryWrites,
    TokenRecord,
    User,
)

_DAY_US = 86_400 * 1_000_000
_MINUTE_US = 60_000_000


class EnrolmentService:
    """Lets devices in. Methods may be called from any thread."""

    def __init__(
        self,
        store: Store,
        *,
        now_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        on_commit: OnCommit = lambda _moved: None,
        devices_max: int = DEVICES_PER_USER_MAX,
        monotonic_ms: Callable[[], int] = monotonic_ms,
    ) -> None:
        """``devices_max``: of one user. ``on_commit``: told the new generation of rights when a
        token that may be in use is forgotten, so that streams it has opened end.
        ``monotonic_ms``: the clock by which tries are counted."""
        self._store = store
        self._on_commit = on_commit
        self._devices_max = devices_max
        self._now_us = now_us
        self._random_bytes = random_bytes
        passwords.prepare()
        self._attempts = Attempts(monotonic_ms=monotonic_ms)
        self._by_device = Rates(
            burst=REFRESH_TRIES_BURST, every_ms=REFRESH_TRY_EVERY_MS, monotonic_ms=monotonic_ms
        )

    def admit(self, address: str) -> None:
        """Count a request to enrol, before anything is read. Raises ``ProtocolError`` 429."""
        self._attempts.knock(address)

    # Enrolling

    def with_code(self, request: EnrolRequest, address: str = "") -> Enrolled:
        """Enrol with a one-time code. Raises ``ProtocolError``: 401 ``enrol_refused``, 403
        ``wrong_device``, ``device_revoked``, ``too_many_devices``, 429."""
        try:
            digest = secret_hash("code", normal_code(request.code))
        except BadValue:
            digest = secret_hash("no code", request.code)
        with self._attempts.of_code(digest, address):
            return self._with_code(request, digest)

    def _with_code(self, request: EnrolRequest, digest: bytes) -> Enrolled:
        text = new_token(self._random_bytes)
        fresh = uuid7(self._now_us(), self._random_bytes)
        attempt = secret_hash("attempt", request.attempt or fresh)

        def work(writer: Writer) -> Enrolled:
            registry, now_us = writer.registry, self._now_us()
            code = registry.code(digest)
            if code is None or now_us >= code.expires:
                raise _refused()
            user = _standing(registry, code.user)
            if code.attempt:
                return self._again(
                    registry, code, attempt=attempt, device=request.device, user=user, text=text
                )
            if code.device and request.device != code.device:
                raise _wrong_device()
            device = self._register(writer, user, request, fresh, lifts=code.device != "")
            registry.put_code(replace(code, device=device, attempt=attempt))
            return self._issue(registry, device, user, text)

        return self._changed(work)

    def with_password(self, request: EnrolRequest, address: str = "") -> Enrolled:
        """Enrol as a user. Raises as ``with_code``."""
        with contextlib.closing(self._store.read()) as snapshot:
            found = snapshot.registry.user(request.user)
            own = {}
            if found is not None and request.device and "\0" not in request.device:
                own = snapshot.registry.standing([request.device])
        known = request.device if own.get(request.device) == found else ""
        with self._attempts.of_name(request.user, address, device=known):
            return self._with_password(request, found)

    def _with_password(self, request: EnrolRequest, found: User | None) -> Enrolled:
        stored = None if found is None or found.disabled else found.password
        if not passwords.is_right(stored, request.password):
            raise _refused()

        def user_of(registry: RegistryWrites) -> User:
            user = _standing(registry, request.user)
            if user.password != stored:
                raise _refused()
            return user

        return self._signed_in(request, request.user, user_of)

    def signed_in(self, principal: Principal, request: EnrolRequest) -> Enrolled:
        """Enrol as whom the app's own sign-in knows. A user whom the registry does not know yet is
        added with the rights that the principal has. Raises as ``with_code``, and 400 ``bad_name``
        for one that cannot be added."""
        if principal.device and request.device != principal.device:
            raise _wrong_device()
        first = User(
            principal.user, principal.read, principal.write, principal.roles,
            created=self._now_us(),
        )  # fmt: skip

        def user_of(registry: RegistryWrites) -> User:
            if registry.user(principal.user) is None:
                try:
                    registry.put_user(checked_user(first))
                except UsageError as error:
                    raise ProtocolError(error.message, code=error.code) from None
            return _standing(registry, principal.user)

        return self._signed_in(request, principal.user, user_of)

    def _signed_in(
        self, request: EnrolRequest, name: str, user_of: Callable[[RegistryWrites], User]
    ) -> Enrolled:
        text = new_token(self._random_bytes)
        fresh = uuid7(self._now_us(), self._random_bytes)
        attempt = secret_hash("attempt", f"{name} {request.attempt or fresh}")

        def work(writer: Writer) -> Enrolled:
            registry, now_us = writer.registry, self._now_us()
            user = user_of(registry)
            before = registry.code(attempt)
            if before is not None and now_us < before.expires and before.user == name:
                return self._again(
                    registry, before, attempt=attempt, device=request.device, user=user, text=text
                )
            device = self._register(writer, user, request, fresh)
            registry.drop_codes(expired=now_us)
            expires = now_us + CODE_MINUTES * _MINUTE_US
            registry.put_code(Code(attempt, name, expires, device, attempt))
            return self._issue(registry, device, user, text)

        return self._changed(work)

    def _again(
        self, registry: RegistryWrites, code: Code, *, attempt: bytes, device: str, user: User,
        text: str,
    ) -> Enrolled:  # fmt: skip
        """The same attempt once more: its answer was lost, if the token was never used."""
        found = registry.registration(code.device)
        newest = registry.newest_token(code.device)
        if (
            code.attempt != attempt
            or device not in ("", code.device)
            or found is None
            or found.revoked
            or newest is None
            or newest.used
        ):
            raise _refused()
        return self._issue(registry, code.device, user, text)

    def _register(
        self,
        writer: Writer,
        user: User,
        request: EnrolRequest,
        fresh: str,
        *,
        lifts: bool = False,
    ) -> str:
        """The device that the replica is, or a new one. ``lifts``: it may stand again although it
        was revoked; somebody who may say so has made a code for it."""
        registry = writer.registry
        name = request.name if is_name(request.name, DEVICE_NAME_LENGTH_MAX) else ""
        if not request.device:
            self._check_room(registry, user)
            registry.put_registration(Registration(fresh, user.name, name, self._now_us()))
            return fresh
        found = registry.registration(request.device)
        if found is None:
            owner = None if "\0" in request.device else writer.owner(request.device)
            if owner is None and is_uuid(request.device):
                # This server has lost it, or has not met it yet: it was put back to before the
                # device came, or takes the place of another. Only who has been it knows its id.
                owner = user.name
            if owner != user.name:
                raise _wrong_device()  # not to be told from another user's
            self._check_room(registry, user)
            found = Registration(request.device, user.name, name, self._now_us())
        if found.user != user.name:
            raise _wrong_device()
        if found.revoked and not lifts:
            raise ProtocolError(
                "this device was revoked; an administrator lets it in again with a code that is "
                "made for it",
                code="device_revoked",
                status=403,
            )
        registry.put_registration(replace(found, name=name or found.name, revoked=0))
        return found.device

    def _check_room(self, registry: RegistryWrites, user: User) -> None:
        if registry.count_devices(user.name) >= self._devices_max:
            raise ProtocolError(
                f"{user.name!r} has {self._devices_max} devices; revoke one that is not used",
                code="too_many_devices",
                status=403,
            )

    def _issue(self, registry: RegistryWrites, device: str, user: User, text: str) -> Enrolled:
        """The only token of a device from now on."""
        newest = registry.newest_token(device)
        registry.drop_tokens(device)
        done = self._put(
            registry, device, user, text, 1 if newest is None else newest.generation + 1
        )
        if newest is not None:
            registry.move_generation()
        return done

    def _put(
        self, registry: RegistryWrites, device: str, user: User, text: str, generation: int
    ) -> Enrolled:
        now_us = self._now_us()
        ends = now_us + TOKEN_DAYS * _DAY_US
        registry.put_token(TokenRecord(secret_hash("token", text), device, generation, ends))
        return Enrolled(
            device=device, user=user.name, token=text, expires_at=ends,
            refresh_at=now_us + TOKEN_REFRESH_DAYS * _DAY_US, time=now_us,
        )  # fmt: skip

    # Leaving

    def sign_out(self, token: str) -> None:
        """Forget a device's tokens; it may enrol again. Raises ``ProtocolError`` (``sign_in``)."""
        digest = secret_hash("token", token)
        with contextlib.closing(self._store.read()) as snapshot:  # whoever knocks writes nothing
            found = snapshot.registry.token(digest)
        if found is None:
            raise not_known()
        device = found.device

        def work(writer: Writer) -> None:
            writer.registry.registration(device)  # held, as by everybody who changes its tokens
            if writer.registry.token(digest) is None:
                raise not_known()
            writer.registry.drop_tokens(device)
            writer.registry.move_generation()

        self._changed(work)

    def _changed(self, work: Callable[[Writer], T]) -> T:
        """A commit after which a token that may be in use is perhaps forgotten."""

        def whole(writer: Writer) -> tuple[T, int, int]:
            before = writer.registry.generation()
            return work(writer), before, writer.registry.generation()

        result, before, generation = self._store.transact(whole)
        if generation != before:
            self._on_commit({RIGHTS: generation})
        return result

    # Refreshing

    def refresh(self, token: str) -> Enrolled:
        """A new token in place of one. The old one is taken until the new one is first used, or
        for the time of grace; a new one that was never used is replaced.

        Raises ``ProtocolError``: 401 ``sign_in``, 429 ``too_many_tries``.
        """
        digest = secret_hash("token", token)
        with contextlib.closing(self._store.read()) as snapshot:
            bearer = snapshot.registry.bearer(digest)
        if bearer is None or is_over(bearer[0], self._now_us()):
            raise not_known()
        device, name = bearer[0].device, bearer[1].name
        self._by_device.take(device)
        text = new_token(self._random_bytes)

        def work(writer: Writer) -> Enrolled:
            registry, now_us = writer.registry, self._now_us()
            registry.user(name)  # held before its device, as by everybody who needs both
            registry.registration(device)  # held, as by everybody who changes its tokens
            user = registry.standing([device]).get(device)
            presented, newest = registry.token(digest), registry.newest_token(device)
            if user is None or presented is None or newest is None or is_over(presented, now_us):
                raise not_known()
            registry.drop_tokens(device, below=presented.generation)
            if newest.generation > presented.generation:
                registry.drop_token(newest.hash)
            grace_ends = now_us + TOKEN_GRACE_DAYS * _DAY_US
            registry.put_token(replace(presented, ends=min(presented.ends, grace_ends), used=True))
            return self._put(registry, device, user, text, presented.generation + 1)

        return self._store.transact(work)


def _standing(registry: RegistryWrites, name: str) -> User:
    user = registry.user(name)
    if user is None or user.disabled:
        raise _refused()
    return user


def _refused() -> ProtocolError:
    """The same words whatever the reason."""
    return ProtocolError(
        "the code, or the name or password, is wrong", code="enrol_refused", status=401
    )


def _wrong_device() -> ProtocolError:
    return ProtocolError(
        "this replica belongs to another device or user", code="wrong_device", status=403
    )
