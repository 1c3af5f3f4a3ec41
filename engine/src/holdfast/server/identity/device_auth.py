"""An authenticator for the server's own registry of people and devices.

Knows: device tokens, and what the registry says of them at each moment. Must not know: HTTP's wire,
scopes' meaning, or how a device came to its token.
The rights of a device are read from its user at each request, and again inside the transaction that
uses them. The first use of a refreshed token ends the one before it.

Upholds I26.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from holdfast.core.enrolment_codes import is_token, secret_hash
from holdfast.core.errors import ProtocolError
from holdfast.core.limits import CLOCK_LEEWAY_MS
from holdfast.server.identity.authenticator import Authenticator
from holdfast.server.identity.principal import Principal
from holdfast.server.identity.token_file import bearer_token, who
from holdfast.server.store.contract import Snapshot, Store, Writer
from holdfast.server.store.registry import TokenRecord, User


class RegistryAuthenticator:
    """An authenticator over the registry in a store.

    ``sign_in``: asked for whoever shows no device token of ours: an app's own sign-in. A principal
    of its own without a device may enrol one.
    """

    def __init__(
        self, store: Store, *, now_us: Callable[[], int], sign_in: Authenticator | None = None
    ) -> None:
        self._store = store
        self._now_us = now_us
        self._sign_in = sign_in

    def __call__(self, headers: Mapping[str, str]) -> Principal:
        text = bearer_token(headers)
        if not is_token(text):
            if self._sign_in is not None:
                return who(self._sign_in, headers)
            raise not_known()
        digest = secret_hash("token", text)
        with contextlib.closing(self._store.read()) as snapshot:
            found = snapshot.registry.bearer(digest)
        if found is None or is_over(found[0], self._now_us()):
            raise not_known()
        token, user = found
        if not token.used:
            self._first_use(token)
        return replace(_principal(token.device, user), until_us=token.ends, token=digest)

    def standing(self, reads: Snapshot, principals: Sequence[Principal]) -> list[Principal | None]:
        """The principals with their rights as of these reads; None for one that stands no more.

        In a write transaction it stays so until the commit. Those that the registry does not know
        are given back as they came.
        """
        devices = {p.device for p in principals if p.registered}
        users = reads.registry.standing(sorted(devices)) if devices else {}
        found: list[Principal | None] = []
        for principal in principals:
            user = users.get(principal.device)
            if not principal.registered:
                found.append(principal)
            elif user is None or user.name != principal.user:
                found.append(None)
            else:
                now = _principal(principal.device, user)
                found.append(replace(now, until_us=principal.until_us, token=principal.token))
        return found

    def open(self, reads: Snapshot, principals: Sequence[Principal]) -> list[Principal | None]:
        """As ``standing``, for who has been let in long ago: None also for one whose token has been
        forgotten since, by signing out, or by enrolling again."""
        tokens = reads.registry.tokens(sorted({p.token for p in principals if p.registered}))
        return [
            None if now is None or (now.registered and now.token not in tokens) else now
            for now in self.standing(reads, principals)
        ]

    def _first_use(self, token: TokenRecord) -> None:
        """The device has it: the token before it is not needed any more."""

        def work(writer: Writer) -> None:
            registry = writer.registry
            registry.registration(token.device)  # held, as refreshing and enrolling do
            found = registry.token(token.hash)
            if found is None:
                raise not_known()  # replaced meanwhile by another one
            registry.put_token(replace(found, used=True))
            registry.drop_tokens(token.device, below=found.generation)

        self._store.transact(work)


def is_over(token: TokenRecord, now_us: int) -> bool:
    """Return whether a token is too old; a server's clock may have been set a little."""
    return now_us > token.ends + CLOCK_LEEWAY_MS * 1000


def not_known() -> ProtocolError:
    """The same words whatever the reason."""
    return ProtocolError("unknown, expired or revoked token", code="sign_in", status=401)


def _principal(device: str, user: User) -> Principal:
    return Principal(user.name, device, user.read, user.write, user.roles, registered=True)
