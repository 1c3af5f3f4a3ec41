"""Enrolment, refreshed tokens, and the list of devices, on HTTP.

Knows: routes, headers and small bodies. Must not know: how a device is let in, or what is stored.
Enrolling needs no token, so it is counted before its body is read, its body is small, and it has
few threads of its own: whoever knocks never keeps a device from syncing (I31).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.core.errors import ProtocolError, UsageError
from holdfast.core.limits import (
    DEVICE_NAME_LENGTH_MAX,
    ENROL_BODY_BYTES_MAX,
    ENROL_NAME_TRIES_BURST,
    ENROL_NAME_TRY_EVERY_MS,
    ENROL_QUEUE_MAX,
    ENROL_THREADS,
    PEOPLE_PAGE_MAX,
    SMALL_BODY_DEADLINE_MS,
)
from holdfast.protocol.codec import SmallT, decode_small
from holdfast.protocol.enrolment import (
    Enrolled,
    EnrolRequest,
    InviteRequest,
    PasswordRequest,
    RefreshRequest,
    RevokeRequest,
    SignOutRequest,
)
from holdfast.server.http.proxies import Proxies
from holdfast.server.http.requests import Body, body_encoding
from holdfast.server.http.responses import json_response
from holdfast.server.identity.device_auth import RegistryAuthenticator, not_known
from holdfast.server.identity.enrolment import EnrolmentService
from holdfast.server.identity.people import People
from holdfast.server.identity.principal import Principal
from holdfast.server.identity.rate_limit import Rates
from holdfast.server.identity.token_file import bearer_token
from holdfast.server.store.contract import Snapshot

log = logging.getLogger("holdfast.server.sign_in")

T = TypeVar("T")
Endpoint = Callable[[Request, Body, str], Awaitable[Response]]
Answered = Callable[[Endpoint], Callable[[Request], Awaitable[Response]]]
ADMIN = "admin"
_NOT_FOUND = ("unknown_user", "unknown_device")


@dataclass(frozen=True, slots=True)
class EnrolmentEndpoints:
    """Dependencies of the endpoints. ``proxies``: addresses whose X-Forwarded-For is believed."""

    authenticate: RegistryAuthenticator
    enrolment: EnrolmentService
    people: People
    proxies: Collection[str] = ()

    def routes(self, answered: Answered) -> list[Route]:
        """The routes, each of which ``answered`` turns into one that always answers."""
        handlers = _Handlers(self)
        return [
            Route("/v1/enrol", answered(handlers.enrol), methods=["POST"]),
            Route("/v1/token", answered(handlers.refresh), methods=["POST"]),
            Route("/v1/sign-out", answered(handlers.sign_out), methods=["POST"]),
            Route("/v1/password", answered(handlers.password), methods=["POST"]),
            Route("/v1/enrolments", answered(handlers.invite), methods=["POST"]),
            Route("/v1/devices", answered(handlers.devices), methods=["GET"]),
            Route("/v1/devices/{device:path}/revoke", answered(handlers.revoke), methods=["POST"]),
        ]


class _Handlers:
    def __init__(self, endpoints: EnrolmentEndpoints) -> None:
        self._endpoints = endpoints
        self._limiter = anyio.CapacityLimiter(ENROL_THREADS)
        self._proxies = Proxies(endpoints.proxies)
        self._changes = Rates(burst=ENROL_NAME_TRIES_BURST, every_ms=ENROL_NAME_TRY_EVERY_MS)

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._limiter.statistics().tasks_waiting >= ENROL_QUEUE_MAX:
            raise ProtocolError("the server is busy", code="busy", status=503)
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._limiter)

    async def enrol(self, request: Request, body: Body, _echo: str) -> Response:
        enrolment = self._endpoints.enrolment
        address = address_of(request, self._proxies)
        enrolment.admit(address)
        asked = await _read(request, body, EnrolRequest)
        by_name = bool(asked.user or asked.password)
        if bool(asked.code) and by_name:
            raise ProtocolError("send either a code, or a user and password")
        try:
            if asked.code:
                done = await self._run(enrolment.with_code, asked, address)
            elif by_name:
                done = await self._run(enrolment.with_password, asked, address)
            else:
                done = await self._run(self._signed_in, request.headers, asked)
        except ProtocolError as error:
            _tell_refused(error, address, asked)
            raise
        return json_response(msgspec.json.encode(done))

    def _signed_in(self, headers: Mapping[str, str], asked: EnrolRequest) -> Enrolled:
        principal = self._endpoints.authenticate(headers)
        if principal.registered:
            raise ProtocolError("a device that has a token refreshes it", code="bad_message")
        return self._endpoints.enrolment.signed_in(principal, asked)

    async def refresh(self, request: Request, body: Body, _echo: str) -> Response:
        token = bearer_token(request.headers)
        if not token:
            raise not_known()
        await _read(request, body, RefreshRequest)
        done = await self._run(self._endpoints.enrolment.refresh, token)
        return json_response(msgspec.json.encode(done))

    async def sign_out(self, request: Request, body: Body, _echo: str) -> Response:
        token = bearer_token(request.headers)
        if not token:
            raise not_known()
        await _read(request, body, SignOutRequest)
        await self._run(self._endpoints.enrolment.sign_out, token)
        return _json({"signed_out": True})

    async def password(self, request: Request, body: Body, _echo: str) -> Response:
        """A person changes their own; all their other devices are signed out."""
        principal = await self._run(self._endpoints.authenticate, request.headers)
        if not principal.registered:
            raise ProtocolError("no device is enrolled here yet", code="enrol_first", status=403)
        asked = await _read(request, body, PasswordRequest)
        self._changes.take(principal.user)
        await self._run(
            partial(self._managed, self._endpoints.people.change_password, principal),
            asked.password, asked.new,
        )  # fmt: skip
        return _json({"changed": True})

    async def invite(self, request: Request, body: Body, _echo: str) -> Response:
        principal = await self._admin(request)
        asked = await _read(request, body, InviteRequest)
        made = await self._run(
            partial(
                self._managed, self._endpoints.people.invite, asked.user, device=asked.device,
                minutes=asked.minutes, check=partial(self._check, principal),
            )
        )  # fmt: skip
        return _json({"code": made.code, "user": made.user, "expires_at": made.expires_at})

    async def devices(self, request: Request, _body: Body, _echo: str) -> Response:
        """``user``: only this one's; ``after``: reads on behind a device; ``limit``."""
        principal = await self._admin(request)
        asked = request.query_params
        user, after = (
            asked.get(name, "")[: DEVICE_NAME_LENGTH_MAX + 1] for name in ("user", "after")
        )
        text = asked.get("limit", "100")
        limit = int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0
        if not 1 <= limit <= PEOPLE_PAGE_MAX:
            raise ProtocolError(f"limit is a whole number from 1 to {PEOPLE_PAGE_MAX}")
        found = await self._run(
            partial(
                self._endpoints.people.page, user=user, after=after, limit=limit,
                check=partial(self._check, principal),
            )
        )  # fmt: skip
        more = found[-1].device if len(found) == limit else None
        return _json({"devices": [asdict(item) for item in found], "next": more})

    async def revoke(self, request: Request, body: Body, _echo: str) -> Response:
        principal = await self._admin(request)
        await _read(request, body, RevokeRequest)
        device = request.path_params["device"][: DEVICE_NAME_LENGTH_MAX + 1]
        await self._run(
            partial(
                self._managed, self._endpoints.people.revoke, device,
                check=partial(self._check, principal),
            )
        )  # fmt: skip
        return _json({"device": device, "revoked": True})

    async def _admin(self, request: Request) -> Principal:
        principal = await self._run(self._endpoints.authenticate, request.headers)
        if ADMIN not in principal.roles:
            raise _not_admin()
        return principal

    def _check(self, principal: Principal, reads: Snapshot) -> None:
        """Check that it is an admin still, as of the transaction that does what was asked."""
        (now,) = self._endpoints.authenticate.standing(reads, [principal])
        if now is None:
            raise not_known()
        if ADMIN not in now.roles:
            raise _not_admin()

    @staticmethod
    def _managed(function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Return what an operator's call refuses, as an answer."""
        try:
            return function(*arguments, **options)
        except UsageError as error:
            status = 404 if error.code in _NOT_FOUND else 400
            raise ProtocolError(error.message, code=error.code, status=status) from None


def _not_admin() -> ProtocolError:
    return ProtocolError(f"this needs the role {ADMIN}", code="forbidden", status=403)


async def _read(request: Request, body: Body, kind: type[SmallT]) -> SmallT:
    """A small, plain body."""
    if body_encoding(request.headers) is not None:
        raise ProtocolError("this body must not be compressed", code="bad_encoding", status=415)
    pieces = await body.read(
        compressed=False, bytes_max=ENROL_BODY_BYTES_MAX, deadline_ms=SMALL_BODY_DEADLINE_MS
    )
    return decode_small(b"".join(pieces), kind)


def address_of(request: Request, proxies: Proxies) -> str:
    """Return who is asking: the nearest address that is no proxy of ours."""
    peer = request.client.host if request.client is not None else ""
    return proxies.origin(peer, request.headers.getlist("x-forwarded-for"))


def _tell_refused(error: ProtocolError, address: str, asked: EnrolRequest) -> None:
    """For whoever watches for guessing: who tried to be whom, from where. Never what was tried."""
    if error.status not in (401, 403, 429):
        return
    how = "code" if asked.code else "password" if asked.password else "sign_in"
    told = {
        "address": address,
        "user": asked.user[:DEVICE_NAME_LENGTH_MAX],
        "device": asked.device[:DEVICE_NAME_LENGTH_MAX],
        "how": how,
        "code": error.code,
    }
    level = logging.INFO if error.status == 429 else logging.WARNING
    log.log(level, "sign_in_refused", extra=told)


def _json(content: dict[str, Any]) -> Response:
    return json_response(msgspec.json.encode(content))
