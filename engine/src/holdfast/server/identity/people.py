"""People and their devices as an operator manages them: users, rights, codes, revocation.

Knows: a store's registry, the generation of rights. Must not know: HTTP, command lines, or how a
device shows who it is. Whatever changes what somebody may do moves the generation of rights in the
same commit and tells it, so that open streams of all server processes hear of it.

Upholds I26.
"""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from holdfast.core.enrolment_codes import new_code, normal_code, secret_hash
from holdfast.core.errors import ProtocolError, UsageError
from holdfast.core.limits import (
    CODE_MINUTES,
    CODE_MINUTES_MAX,
    CODES_PER_USER_MAX,
    DEVICE_NAME_LENGTH_MAX,
    PEOPLE_PAGE_MAX,
    ROLES_MAX,
    SCOPE_NAME_LENGTH_MAX,
    SCOPES_MAX,
)
from holdfast.server.identity import passwords
from holdfast.server.identity.principal import Principal
from holdfast.server.store.contract import OnCommit, Snapshot, Store, T, Writer
from holdfast.server.store.registry import RIGHTS, Code, DeviceReport, User

_MINUTE_US = 60_000_000
PermissionCheck = Callable[[Snapshot], None]
"""Looks inside the transaction whether the one who asks may; raises what refuses it."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """A new enrolment code. It is shown once, and never stored."""

    user: str
    expires_at: int
    code: str = field(repr=False)


class People:
    """Manages users and devices. Methods may be called from any thread; each is one commit."""

    def __init__(
        self,
        store: Store,
        *,
        now_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        on_commit: OnCommit,
    ) -> None:
        """``on_commit``: told the new generation of rights, under the name ``RIGHTS``."""
        self._store = store
        self._now_us = now_us
        self._random_bytes = random_bytes
        self._on_commit = on_commit

    # Users

    def add_user(
        self,
        name: str,
        *,
        read: Iterable[str] = (),
        write: Iterable[str] = (),
        roles: Iterable[str] = (),
        password: str | None = None,
    ) -> User:
        """Add a user. Raises ``UsageError``: ``exists``, ``bad_name``, ``bad_password``."""
        hashed = None if password is None else passwords.hashed(password, name=name)
        user = checked_user(
            User(name, tuple(read), tuple(write), tuple(roles), hashed, created=self._now_us())
        )

        def work(writer: Writer) -> User:
            if writer.registry.user(name) is not None:
                raise UsageError(f"there is a user {name!r} already", code="exists")
            writer.registry.put_user(user)
            return user

        return self._changed(work)

    def set_user(
        self,
        name: str,
        *,
        read: Iterable[str] | None = None,
        write: Iterable[str] | None = None,
        roles: Iterable[str] | None = None,
        disabled: bool | None = None,
    ) -> User:
        """Change what is given. Takes effect at once, for all of the user's devices.

        Raises ``UsageError``: ``unknown_user``, ``bad_name``.
        """

        def work(writer: Writer) -> User:
            user = _known(writer, name)
            user = checked_user(
                replace(
                    user,
                    read=user.read if read is None else tuple(read),
                    write=user.write if write is None else tuple(write),
                    roles=user.roles if roles is None else tuple(roles),
                    disabled=user.disabled if disabled is None else disabled,
                )
            )
            writer.registry.put_user(user)
            return user

        return self._changed(work)

    def set_password(
        self, name: str, password: str | None, *, keep_devices: bool = False, keep: str = ""
    ) -> None:
        """Set a password, or take it away. The user's devices are signed out, for one of them may
        be why; ``keep_devices``: none is, ``keep``: this one is not. What waits on them stays.

        Raises ``UsageError``: ``unknown_user``, ``bad_password``.
        """
        hashed = None if password is None else passwords.hashed(password, name=name)

        def work(writer: Writer) -> None:
            writer.registry.put_user(replace(_known(writer, name), password=hashed))
            if not keep_devices:
                self._sign_out(writer, name, keep)

        self._changed(work)

    def change_password(self, principal: Principal, password: str, fresh: str) -> None:
        """A person's own change, from a device that stays signed in; the others are signed out.

        ``password``: the one until now. Raises ``UsageError`` (``bad_password``),
        ``ProtocolError``: 403 ``wrong_password``, 401 ``sign_in``, 429 ``too_many_tries``.
        """
        hashed = passwords.hashed(fresh, name=principal.user)
        with contextlib.closing(self._store.read()) as snapshot:
            user = snapshot.registry.user(principal.user)
        stored = None if user is None or user.disabled else user.password
        if not passwords.is_right(stored, password):
            raise ProtocolError("wrong password", code="wrong_password", status=403)

        def work(writer: Writer) -> None:
            found = _known(writer, principal.user)
            if found.password != stored or principal.device not in writer.registry.standing(
                [principal.device]
            ):
                raise ProtocolError("sign in again", code="sign_in", status=401)
            writer.registry.put_user(replace(found, password=hashed))
            self._sign_out(writer, principal.user, principal.device)

        self._changed(work)

    @staticmethod
    def _sign_out(writer: Writer, name: str, keep: str) -> None:
        """All devices of a user but one, and codes that would let one in."""
        after = ""
        while True:
            page = writer.registry.devices(user=name, after=after, limit=PEOPLE_PAGE_MAX)
            for found in page:
                if found.registered and found.device != keep:
                    writer.registry.registration(found.device)  # held, as by all who change tokens
                    writer.registry.drop_tokens(found.device)
            if len(page) < PEOPLE_PAGE_MAX:
                return
            after = page[-1].device

    def users(self) -> Iterator[User]:
        """All users in order of their names, read page by page."""
        after = ""
        while True:
            with contextlib.closing(self._store.read()) as snapshot:
                page = snapshot.registry.users(after=after, limit=PEOPLE_PAGE_MAX)
            yield from page
            if len(page) < PEOPLE_PAGE_MAX:
                return
            after = page[-1].name

    # Enrolment codes

    def invite(
        self,
        user: str,
        *,
        device: str = "",
        minutes: int = CODE_MINUTES,
        check: PermissionCheck | None = None,
    ) -> Invitation:
        """Make a one-time code with which a device enrols for a user.

        ``device``: only this device of the user may use it. Raises ``UsageError``:
        ``unknown_user``, ``unknown_device``, ``bad_choice``, ``too_many_codes``.
        """
        if not 1 <= minutes <= CODE_MINUTES_MAX:
            raise UsageError(f"a code lives 1 to {CODE_MINUTES_MAX} minutes", code="bad_choice")
        now_us = self._now_us()
        code = new_code(self._random_bytes)
        made = Code(
            secret_hash("code", normal_code(code)), user, now_us + minutes * _MINUTE_US, device
        )

        def work(writer: Writer) -> None:
            if check is not None:
                check(writer)
            registry = writer.registry
            registry.drop_codes(expired=now_us)
            if _known(writer, user).disabled:
                raise UsageError(f"the user {user!r} is disabled", code="bad_choice")
            if registry.count_codes(user) >= CODES_PER_USER_MAX:
                raise UsageError(
                    f"{CODES_PER_USER_MAX} codes of {user!r} wait already", code="too_many_codes"
                )
            if device:
                found = registry.registration(device)
                if found is None or found.user != user:
                    raise UsageError(f"{user!r} has no such device", code="unknown_device")
            registry.put_code(made)

        self._store.transact(work)
        return Invitation(user, made.expires, code)

    # Devices

    def devices(self, *, user: str = "") -> Iterator[DeviceReport]:
        """All devices, or a user's, in order of their ids, read page by page."""
        after = ""
        while True:
            page = self.page(user=user, after=after)
            yield from page
            if len(page) < PEOPLE_PAGE_MAX:
                return
            after = page[-1].device

    def page(
        self,
        *,
        user: str = "",
        after: str = "",
        limit: int = PEOPLE_PAGE_MAX,
        check: PermissionCheck | None = None,
    ) -> list[DeviceReport]:
        """One page of the devices."""
        with contextlib.closing(self._store.read()) as snapshot:
            if check is not None:
                check(snapshot)
            return snapshot.registry.devices(user=user, after=after, limit=limit)

    def revoke(self, device: str, *, check: PermissionCheck | None = None) -> None:
        """Let a device in no more, from this moment on. Raises ``UsageError``
        (``unknown_device``)."""

        def work(writer: Writer) -> None:
            if check is not None:
                check(writer)
            self._revoke(writer, device)

        self._changed(work)

    def revoke_user(self, user: str) -> list[str]:
        """Revoke all devices that a user has now; their ids. Raises ``UsageError``."""
        with contextlib.closing(self._store.read()) as snapshot:
            if snapshot.registry.user(user) is None:
                raise _unknown_user(user)
        standing = [d.device for d in self.devices(user=user) if d.registered and not d.revoked]
        for start in range(0, len(standing), PEOPLE_PAGE_MAX):
            piece = standing[start : start + PEOPLE_PAGE_MAX]

            def work(writer: Writer, piece: list[str] = piece) -> None:
                for device in piece:
                    self._revoke(writer, device)

            self._changed(work)
        return standing

    def _revoke(self, writer: Writer, device: str) -> None:
        writer.registry.drop_codes_for(device)  # or one that waits would let it in again
        found = writer.registry.registration(device)
        if found is None:
            raise UsageError(f"there is no enrolled device {device!r}", code="unknown_device")
        writer.registry.drop_tokens(device)
        if not found.revoked:
            writer.registry.put_registration(replace(found, revoked=self._now_us()))

    def _changed(self, work: Callable[[Writer], T]) -> T:
        """A commit that changes what somebody may do."""

        def whole(writer: Writer) -> tuple[T, int]:
            return work(writer), writer.registry.move_generation()

        result, generation = self._store.transact(whole)
        self._on_commit({RIGHTS: generation})
        return result


def _known(writer: Writer, name: str) -> User:
    user = writer.registry.user(name)
    if user is None:
        raise _unknown_user(name)
    return user


def _unknown_user(name: str) -> UsageError:
    return UsageError(f"there is no user {name!r}", code="unknown_user")


def checked_user(user: User) -> User:
    """The user, its name and grants within their limits. Raises ``UsageError`` (``bad_name``)."""
    if not is_name(user.name, DEVICE_NAME_LENGTH_MAX):
        raise UsageError(
            f"a user's name has 1 to {DEVICE_NAME_LENGTH_MAX} characters, none of them a control "
            "character, and no blank around it",
            code="bad_name",
        )
    for what, names, most in (
        ("scopes to read", user.read, SCOPES_MAX),
        ("scopes to write", user.write, SCOPES_MAX),
        ("roles", user.roles, ROLES_MAX),
    ):
        if len(names) > most or not all(is_name(n, SCOPE_NAME_LENGTH_MAX) for n in names):
            raise UsageError(f"these cannot be {what}: at most {most} names", code="bad_name")
    return user


def is_name(text: str, length_max: int) -> bool:
    """Return whether a text can be a name: visible, bounded, and valid Unicode."""
    return (
        1 <= len(text) <= length_max
        and text == text.strip()
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
    )
