"""News reach every server process of one PostgreSQL, and so every device that listens (live)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from holdfast.protocol.messages import Change, ExchangeRequest, Nonces, Transaction
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.assembly import Server, open_server
from holdfast.server.identity.principal import Principal
from holdfast.testing import wait_until

SCHEMA = Schema(
    name="news",
    tables=(Table(name="item", key=("id",), columns=(Column("id"), Column("t", default="")),
                  scopes=("all",)),),
)  # fmt: skip
ANN = Principal("ann", "till-1", (), ("*",))
WITHIN_S = 20.0


@pytest.fixture
def servers(postgres_url: str) -> Iterator[list[Server]]:
    made = [open_server(SCHEMA, postgres_url, lambda _headers: ANN) for _ in range(2)]
    yield made
    for server in made:
        server.close()


def push(server: Server, number: int) -> None:
    request = ExchangeRequest(
        protocol=1, schema=SCHEMA.fingerprint, device="", epoch="", now=0, checkpoint={},
        nonce=Nonces(f"nonce-{number - 1:04}" if number > 1 else "", f"nonce-{number:04}"),
        transactions=[
            Transaction(
                number=number, id=f"{number:032x}", at=0,
                changes=[Change("item", [f"i{number}"], "insert", new={"t": "x"})],
            )
        ],
    )  # fmt: skip
    head, *_ = server.service.exchange(ANN, request, echo="e")
    assert [o.outcome for o in head.outcomes] == ["applied"]  # type: ignore[union-attr]


def heads_told(server: Server) -> dict[str, int]:
    """What a server process has heard of."""
    told: dict[str, int] = server.service._store._relay._heads  # type: ignore[attr-defined]
    return {"all": 0} | told


def news_of(servers: list[Server], act: Callable[[], None]) -> list[dict[str, int] | None]:
    """What streams on all servers are told by something."""

    async def listen() -> list[dict[str, int] | None]:
        streams = [server.hub.subscribe(ANN) for server in servers]
        try:
            waits = [asyncio.create_task(stream.next(WITHIN_S * 1000)) for stream in streams]
            await asyncio.to_thread(act)
            return list(await asyncio.gather(*waits))
        finally:
            for stream in streams:
                stream.close()

    return asyncio.run(listen())


def test_a_push_is_heard_on_all_servers_once(servers: list[Server]) -> None:
    push(servers[0], 1)
    wait_until(lambda: all(heads_told(s)["all"] == 1 for s in servers))
    for number in (2, 3):
        told = news_of(servers, lambda number=number: push(servers[0], number))  # type: ignore[misc]
        assert told == [{"all": number}] * 2


def test_a_direct_write_is_heard_on_all_servers(servers: list[Server], postgres_url: str) -> None:
    push(servers[1], 1)
    wait_until(lambda: all(heads_told(s)["all"] == 1 for s in servers))

    def write() -> None:
        with psycopg.connect(postgres_url) as db:
            db.execute("INSERT INTO item (id) SELECT generate_series(1, 1000)::text")

    assert news_of(servers, write) == [{"all": 2}] * 2


def test_a_lost_notification_is_made_up_for(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    push(servers[0], 1)
    heard: dict[str, int] = {}
    monkeypatch.setattr(servers[1].service._store._relay, "_publish", heard.update)  # type: ignore[attr-defined]
    monkeypatch.setattr("holdfast.server.store.postgres.events._payloads", lambda _news: ())
    push(servers[0], 2)
    wait_until(lambda: heard.get("all") == 2, what="the poll")


def test_many_scopes_fit_into_notifications() -> None:
    from holdfast.server.store.postgres.events import _payloads, _read

    news = {f"store/{'x' * 100}/{number}\u20ac": number for number in range(500)}
    pieces = list(_payloads(news))
    assert len(pieces) > 5
    assert all(len(piece.encode()) < 8000 for piece in pieces)
    found: dict[str, Any] = {}
    for piece in pieces:
        found.update(_read(piece))
    assert found == news
