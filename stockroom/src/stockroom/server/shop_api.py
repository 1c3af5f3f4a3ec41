"""The shop's own calls on HTTP: first run, people, stores, and goods from a file.

Knows: routes, bodies, and which role may call what. Must not know: how any of it is done.
An owner sees to everybody; a manager to the employees of the stores where they work.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from holdfast.core.errors import DatabaseError, HoldfastError, ProtocolError, UsageError
from holdfast.server.http.enrolment import address_of
from holdfast.server.http.proxies import Proxies
from holdfast.server.http.responses import error_response, json_response
from holdfast.server.identity.authenticator import Authenticator
from holdfast.server.identity.principal import Principal
from stockroom.goods_file.allowed import EVERYTHING, Allowed
from stockroom.goods_file.bringing import bring, told
from stockroom.goods_file.reading import BYTES_MAX, read_sheet
from stockroom.server.first_run import FirstRun, is_local, set_up_already
from stockroom.server.people import ADMIN, COST, MANAGER, TILL, role_of, stores_of
from stockroom.server.shop_requests import (
    AddRequest,
    ChangeRequest,
    InviteRequest,
    PinRequest,
    RevokeRequest,
    SetUpRequest,
    StoreRequest,
    decoded,
)
from stockroom.shop.desk import Desk
from stockroom.shop.opening import Opening, Shop, local_time_zone, read_shop
from stockroom.shop.pins import forget_pin, set_pin
from stockroom.shop.roles import list_roles
from stockroom.shop.staff import (
    INVITATION_MINUTES,
    Member,
    add_member,
    change_member,
    find_member,
    list_devices,
    list_staff,
)
from stockroom.shop.stores import add_store, list_stores, rename_store
from stockroom.shop.tables import Tables

PREFIX: Final = "/v1/shop"
_SMALL_BODY_MAX: Final = 16 * 1024
_THREADS: Final = 2
_BELOW_MANAGERS: Final = ("employee", TILL)
"""Whom a manager looks after, at the stores where both work."""
_STATUS: Final = {"unknown_user": 404, "unknown_device": 404, "unknown_store": 404, "exists": 409}

T = TypeVar("T")
log = logging.getLogger("stockroom.server")


class ShopApi:
    """An ASGI app for what lies under `/v1/shop`."""

    def __init__(
        self, desk: Desk, first: FirstRun, authenticate: Authenticator, proxies: Proxies
    ) -> None:
        self._desk, self._first = desk, first
        self._authenticate, self._proxies = authenticate, proxies
        self._limiter = anyio.CapacityLimiter(_THREADS)
        self._calls: dict[tuple[str, str], Callable[[Request], Awaitable[dict[str, Any]]]] = {
            ("GET", ""): self._state,
            ("POST", "/setup"): self._set_up,
            ("GET", "/people"): self._people,
            ("POST", "/people"): self._add,
            ("POST", "/people/change"): self._change,
            ("POST", "/people/invite"): self._invite,
            ("POST", "/people/pin"): self._pin,
            ("POST", "/devices/revoke"): self._revoke,
            ("POST", "/stores"): self._store,
            ("POST", "/goods"): self._goods,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", "")).removeprefix(PREFIX)
        call = self._calls.get((request.method, path.rstrip("/")), _nothing)
        try:
            answer = json_response(msgspec.json.encode(await call(request)))
        except (UsageError, ProtocolError, DatabaseError) as error:
            answer = _refused(error)
        except Exception:
            log.exception("shop_call_failed")
            broken = ProtocolError("the server failed", code="internal", status=500)
            answer = error_response(broken, echo="")
        answer.headers["cache-control"] = "no-store"
        await answer(scope, receive, send)

    # The first run

    async def _state(self, request: Request) -> dict[str, Any]:
        """Return whether the shop is set up; if not, with all that a page needs to do so."""
        if await self._run(lambda: self._first.done):
            return {"set_up": True}
        asks = not self._is_local(request)
        return {"set_up": False, "code_needed": asks, "time_zone": local_time_zone()}

    async def _set_up(self, request: Request) -> dict[str, Any]:
        asked = decoded(await _body(request), SetUpRequest)
        if await self._run(lambda: self._first.done):
            raise set_up_already()
        wanted = Opening(
            shop=Shop(
                name=asked.shop, currency=asked.currency, language=asked.language,
                time_zone=asked.time_zone or local_time_zone(),
            ),
            store=asked.store,
            owner=asked.owner,
            password=asked.password,
        )  # fmt: skip
        address = address_of(request, self._proxies)
        local = self._is_local(request)
        opened = await self._run(
            partial(self._first.open, wanted, code=asked.code, address=address, local=local)
        )
        return {"owner": opened.owner, "store": opened.store_id}

    def _is_local(self, request: Request) -> bool:
        address = request.client.host if request.client is not None else ""
        return is_local(address, request.headers)

    # People and their devices

    async def _people(self, request: Request) -> dict[str, Any]:
        who = await self._managing(request)
        return await self._run(partial(self._listed, who))

    def _listed(self, who: Principal) -> dict[str, Any]:
        with self._desk.transaction() as tables:
            stores = [{"id": one.id, "name": one.shown} for one in list_stores(tables)]
            shop = read_shop(tables)
        people = [one for one in list_staff(self._desk) if _sees(who, one)]
        seen = {one.login for one in people}
        devices = [
            {
                "device": one.device, "user": one.user, "name": one.name, "client": one.client,
                "last_seen": one.last_seen, "waiting": one.waiting, "oldest_us": one.oldest_us,
                "offset_us": one.offset_us, "revoked": one.revoked > 0,
            }
            for one in list_devices(self._desk)
            if one.user in seen
        ]  # fmt: skip
        return {
            "shop": None if shop is None else dataclasses.asdict(shop),
            "stores": [one for one in stores if who.may_write(f"store/{one['id']}")],
            "people": [dataclasses.asdict(one) for one in people],
            "devices": devices,
            "now": self._desk.now_us(),
        }

    async def _add(self, request: Request) -> dict[str, Any]:
        who = await self._managing(request)
        asked = decoded(await _body(request), AddRequest)
        _check_gives(who, asked.role, asked.stores)
        added = partial(add_member, self._desk, asked.name, role=asked.role, stores=asked.stores)
        made, new = await self._run(added)
        return dataclasses.asdict(made) | {"new": new}

    async def _change(self, request: Request) -> dict[str, Any]:
        who = await self._managing(request)
        asked = decoded(await _body(request), ChangeRequest)
        return await self._run(partial(self._changed, who, asked))

    def _changed(self, who: Principal, asked: ChangeRequest) -> dict[str, Any]:
        self._check_may(who, asked.login)
        if asked.role is not None or asked.stores is not None:
            user = find_member(self._desk.people, asked.login)
            role = asked.role or role_of(user)
            stores = asked.stores if asked.stores is not None else stores_of(user)
            _check_gives(who, role, stores)
        if asked.password is not None:
            self._desk.people.set_password(asked.login, asked.password, keep=who.device)
        changed = change_member(
            self._desk, asked.login, role=asked.role, stores=asked.stores, disabled=asked.disabled
        )
        return dataclasses.asdict(changed)

    async def _invite(self, request: Request) -> dict[str, Any]:
        who = await self._managing(request)
        asked = decoded(await _body(request), InviteRequest)

        def work() -> dict[str, Any]:
            if asked.login != who.user:
                self._check_may(who, asked.login)
            made = self._desk.people.invite(asked.login, minutes=INVITATION_MINUTES)
            return {"login": made.user, "code": made.code, "expires_at": made.expires_at}

        return await self._run(work)

    async def _pin(self, request: Request) -> dict[str, Any]:
        """One's own PIN is set; anybody's, for whom one looks after, is forgotten."""
        who = await self._signed_in(request)
        asked = decoded(await _body(request), PinRequest)

        def work() -> dict[str, Any]:
            user = find_member(self._desk.people, asked.login or who.user)
            if user.name != who.user:
                if asked.pin:
                    raise _forbidden("whoever the PIN is of")
                if not {ADMIN, MANAGER}.intersection(who.roles):
                    raise _forbidden("a manager or an owner")
                self._check_may(who, user.name)
            if asked.pin:
                set_pin(self._desk, user, asked.pin)
            else:
                forget_pin(self._desk, user)
            return {"login": user.name, "has_pin": bool(asked.pin)}

        return await self._run(work)

    async def _revoke(self, request: Request) -> dict[str, Any]:
        who = await self._managing(request)
        asked = decoded(await _body(request), RevokeRequest)

        def work() -> dict[str, Any]:
            found = [one for one in self._desk.people.devices() if one.device == asked.device]
            if not found:
                raise UsageError("there is no such device", code="unknown_device")
            if found[0].user != who.user:
                self._check_may(who, found[0].user)
            self._desk.people.revoke(asked.device)
            return {"device": asked.device, "revoked": True}

        return await self._run(work)

    # Stores and goods

    async def _store(self, request: Request) -> dict[str, Any]:
        who = await self._managing(request)
        asked = decoded(await _body(request), StoreRequest)
        if ADMIN not in who.roles:
            raise _forbidden("an owner")
        rename = partial(rename_store, self._desk, asked.id, asked.name)
        add = partial(add_store, self._desk, asked.name)
        store, _new = await self._run(rename if asked.id else add)
        return {"id": store.id, "name": store.name}

    async def _goods(self, request: Request) -> dict[str, Any]:
        """A file of goods: what would come of it, or with `write=1` what came, as far as the shop
        allows it."""
        who = await self._signed_in(request)
        asked = request.query_params
        store = asked.get("store", "")
        if not who.may_write(f"store/{store}"):
            raise _forbidden("somebody who works at this store")
        data = await _body(request, BYTES_MAX, kind="")

        def work() -> dict[str, Any]:
            sheet = read_sheet(data)
            brought = bring(
                self._desk, sheet, store=store, dry_run=asked.get("write") != "1",
                person=who.user, document=asked.get("file", "")[:200],
                allowed=lambda tables: _allowed(who, tables),
            )  # fmt: skip
            read = {"delimiter": sheet.delimiter, "columns": sheet.columns}
            return {**told(brought), **read, "ignored": sheet.ignored}

        return await self._run(work)

    # Who may

    async def _signed_in(self, request: Request) -> Principal:
        """Whoever asks. Raises `ProtocolError`: `sign_in`."""
        who = await self._run(partial(self._authenticate, request.headers))
        if who is None:
            raise ProtocolError("sign in first", code="sign_in", status=401)
        return who

    async def _managing(self, request: Request) -> Principal:
        """Whoever asks, if they manage a store. Raises `ProtocolError`: `sign_in`, `forbidden`."""
        who = await self._signed_in(request)
        if not {ADMIN, "manager"}.intersection(who.roles):
            raise _forbidden("a manager or an owner")
        return who

    def _check_may(self, who: Principal, login: str) -> None:
        """Raise `ProtocolError` (`forbidden`) for somebody whom this one does not look after."""
        if ADMIN in who.roles:
            return
        user = find_member(self._desk.people, login)
        stores = stores_of(user)
        theirs = stores and all(who.may_write(f"store/{one}") for one in stores)
        if role_of(user) not in _BELOW_MANAGERS or not theirs:
            raise _forbidden("an owner")

    async def _run(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)


async def _nothing(_request: Request) -> dict[str, Any]:
    raise ProtocolError("there is nothing here", code="not_found", status=404)


def _sees(who: Principal, member: Member) -> bool:
    if ADMIN in who.roles or member.login == who.user:
        return True
    return member.role in _BELOW_MANAGERS and any(
        who.may_write(f"store/{store}") for store in member.stores
    )


def _check_gives(who: Principal, role: str, stores: list[str] | tuple[str, ...]) -> None:
    """Raise `ProtocolError` (`forbidden`): nobody gives more than they have themselves."""
    if ADMIN in who.roles:
        return
    if role not in _BELOW_MANAGERS or not stores:
        raise _forbidden("an owner")
    if not all(who.may_write(f"store/{store}") for store in stores):
        raise _forbidden("an owner")


def _allowed(who: Principal, tables: Tables) -> Allowed:
    """Return what of a file of goods somebody may bring in."""
    if ADMIN in who.roles:
        return EVERYTHING
    roles = list_roles(tables)[MANAGER if MANAGER in who.roles else "employee"]
    deeds = frozenset(deed for deed, is_allowed in roles.items() if is_allowed)
    return Allowed(deeds, who.may_write(COST))


def _forbidden(whom: str) -> ProtocolError:
    return ProtocolError(f"this needs {whom}", code="forbidden", status=403)


def _refused(error: HoldfastError) -> Response:
    if isinstance(error, ProtocolError):
        return error_response(error, echo="")
    if isinstance(error, DatabaseError):
        told_so = ProtocolError(error.message, code=error.code, status=503)
    else:
        status = _STATUS.get(error.code, 400)
        told_so = ProtocolError(error.message, code=error.code, status=status)
    return error_response(told_so, echo="")


async def _body(
    request: Request, bytes_max: int = _SMALL_BODY_MAX, kind: str = "application/json"
) -> bytes:
    """The whole body. A page of another site cannot send this kind without being asked first."""
    if kind and request.headers.get("content-type", "").partition(";")[0].strip() != kind:
        raise ProtocolError("send JSON", code="bad_encoding", status=415)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > bytes_max:
            raise ProtocolError("this is too large", code="too_large", status=413)
    return bytes(body)
