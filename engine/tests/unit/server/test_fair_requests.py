"""The HTTP shell is fair: one device's requests wait for each other, not others for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import httpx2

from holdfast.server.exchange.budgets import Budgets
from holdfast.server.http.app import asgi
from holdfast.server.identity.principal import Principal
from holdfast.server.live.events import Hub
from holdfast.server.merging.journal import JournalPage


class Service:
    """Answers the journal; one device's answers wait for a gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun: list[str] = []

    def journal_page(self, principal: Principal, **_asked: Any) -> JournalPage:
        self.begun.append(principal.device)
        if principal.device == "greedy":
            assert self.gate.wait(30)
        return JournalPage([], 0)


def authenticate(headers: Mapping[str, str]) -> Principal:
    return Principal("u", headers["authorization"], read=("main",))


def test_one_device_takes_neither_all_threads_nor_the_queue() -> None:
    service = Service()
    app = asgi(
        service,  # type: ignore[arg-type]
        authenticate,
        hub=Hub(),
        threads=3,
        budgets=Budgets(threads_per_device_max=2, waiting_per_device_max=3),
    )

    async def work() -> None:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:

            def ask(device: str) -> asyncio.Future[httpx2.Response]:
                headers = {"authorization": device}
                return asyncio.ensure_future(client.get("/v1/journal", headers=headers))

            greedy = []
            for count in range(1, 6):
                greedy.append(ask("greedy"))
                while len(service.begun) + app.state.waiting() < count:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            refused = await ask("greedy")
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "too_many_requests"
            assert int(refused.headers["retry-after"]) >= 1
            for _ in range(20):  # and nobody else notices
                assert (await ask("other")).status_code == 200
            assert service.begun.count("greedy") == 2
            service.gate.set()
            assert [answer.status_code for answer in await asyncio.gather(*greedy)] == [200] * 5

    asyncio.run(asyncio.wait_for(work(), 60))
