"""Quotas: what would be too much is refused with the way out, and nothing else is.

Checks I31.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import msgspec
import pytest

from holdfast.core.errors import ProtocolError
from holdfast.core.keys import row_scopes
from holdfast.core.values import row_bytes
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.http.app import asgi
from holdfast.server.identity.principal import Principal
from holdfast.server.live.events import Hub
from holdfast.server.push.quotas import DailyVolumes, Quotas

FEW = Budgets(quotas=Quotas(scope_rows_max=5, row_bytes_max=100))
IN_BITES = Budgets(bite_changes=2, quotas=Quotas(scope_rows_max=5, row_bytes_max=100))


def outcomes(peer: Any) -> list[str]:
    return [o.code or o.outcome for o in peer.sync()]


@pytest.mark.parametrize("budgets", [FEW, IN_BITES])
def test_a_scope_holds_so_many_rows(make_server: Any, budgets: Budgets) -> None:
    server = make_server(budgets=budgets)
    one = server.peer()
    for number in range(7):
        one.insert("product", f"p{number}", sku=f"s{number}")
    one.update("product", "p0", name="still changes")
    assert outcomes(one) == ["applied"] * 5 + ["quota_rows"] * 2 + ["applied"]
    assert "5 rows" in one.outcomes[6].message
    one.insert("task", "t", store_id="1")  # another scope has its own
    one.insert("product", "too", sku="much")
    one.delete("product", "p0")
    one.insert("product", "again", sku="room")
    assert outcomes(one) == ["applied", "quota_rows", "applied", "applied"]
    server.check()


def test_a_transaction_counts_as_a_whole(make_server: Any) -> None:
    server = make_server(budgets=FEW)
    one = server.peer()
    for number in range(5):
        one.insert("product", f"p{number}", sku=f"s{number}")
    assert outcomes(one) == ["applied"] * 5
    swap = [
        one.change("delete", "product", "p0"),
        one.change("insert", "product", "new", {"sku": "new"}),
    ]
    more = [
        one.change("update", "product", "p1", {"name": "x"}),
        one.change("insert", "product", "more", {"sku": "more"}),
    ]
    one.commit(*swap)
    one.commit(*more)
    assert outcomes(one) == ["applied", "quota_rows"]
    assert one.row("product", "p1")["name"] == ""
    server.check()


def test_a_row_that_moves_counts_where_it_comes_to(make_server: Any) -> None:
    server = make_server(budgets=Budgets(quotas=Quotas(scope_rows_max=3)))
    one = server.peer()
    for number in range(3):
        one.insert("movement", number + 1, store_id="1", product_id="p", quantity=1)
    one.insert("product", "p", sku="p")
    for number in range(3):
        one.insert("movement", number + 11, store_id="2", product_id="p", quantity=1)
    one.sync()
    one.sync()
    for number in range(3):
        one.insert("movement", number + 21, store_id="1", product_id="p", quantity=1)
    one.sync()
    one.insert("movement", 31, store_id="2", product_id="p", quantity=1)
    one.sync()
    held = [row for row in one.rows if row[0] == "movement"]
    assert len(held) == 6
    one.update("movement", 11, store_id="1")
    one.delete("movement", 21)
    one.update("movement", 11, store_id="1")
    assert outcomes(one) == ["quota_rows", "applied", "applied"]
    server.check()


def test_a_row_has_so_many_bytes(make_server: Any) -> None:
    server = make_server(budgets=FEW)
    one = server.peer()
    one.insert("product", "p", sku="s", name="x" * 30)
    one.insert("product", "large", sku="t", name="\u00e9" * 50)
    assert outcomes(one) == ["applied", "quota_row_bytes"]
    one.update("product", "p", note="y" * 60)
    one.update("product", "p", note="y")
    assert outcomes(one) == ["quota_row_bytes", "applied"]
    server.check()


def test_what_failed_together_counts_once(make_server: Any) -> None:
    """A group that the database objects to is decided again: its rows are not counted twice."""
    server = make_server(budgets=FEW)
    other, one = server.peer("d9"), server.peer()
    other.insert("product", "first", sku="taken")
    other.sync()
    for number in range(3):
        one.insert("product", f"p{number}", sku=f"s{number}")
    one.insert("product", "bad", sku="taken")
    one.insert("product", "last", sku="last")
    one.insert("product", "over", sku="over")
    assert outcomes(one) == ["applied"] * 3 + ["unique", "applied", "quota_rows"]
    server.check()


def test_a_scope_above_its_quota_can_be_changed_and_emptied(make_server: Any) -> None:
    server = make_server()
    one = server.peer()
    for number in range(8):
        one.insert("product", f"p{number}", sku=f"s{number}")
    one.sync()
    server.budgets = FEW
    server.reopen()
    one.update("product", "p1", name="x")
    one.delete("product", "p2")
    one.insert("product", "new", sku="new")
    assert outcomes(one) == ["applied", "applied", "quota_rows"]
    server.check()


BYTES = Budgets(quotas=Quotas(scope_bytes_max=1000))


def held(server: Any) -> dict[str, int]:
    """Bytes of each scope, as the server counts them; they are those of its rows."""
    counted = dict(server.query("SELECT scope, bytes FROM holdfast_scope"))
    listed = dict(
        server.query("SELECT scope, CAST(sum(size) AS bigint) FROM holdfast_feed GROUP BY scope")
    )
    assert {name: size for name, size in counted.items() if name in listed} == listed
    found: dict[str, int] = dict.fromkeys(counted, 0)
    for table in server.schema.all_tables:
        names = ", ".join(f'"{name}"' for name in table.column_names)
        for row in server.query(f'SELECT {names} FROM "{table.name}"'):
            for scope in row_scopes(table, row):
                found[scope] += row_bytes(row)
    assert counted == found
    return counted


@pytest.mark.parametrize("budgets", [BYTES, Budgets(bite_changes=1, quotas=BYTES.quotas)])
def test_a_scope_holds_so_many_bytes(make_server: Any, budgets: Budgets) -> None:
    server = make_server(budgets=budgets)
    one = server.peer()
    for number in range(3):
        one.insert("product", f"p{number}", sku=f"s{number}", note="\u00e9" * 200)
    one.insert("product", "small", sku="small")
    one.update("product", "p0", note="x" * 600)
    assert outcomes(one) == ["applied", "applied", "quota_bytes", "applied", "quota_bytes"]
    used = held(server)["catalog"]
    assert f"catalog may hold 1000 bytes and has {used}; this" in one.outcomes[5].message
    one.insert("task", "t", store_id="1", text="x" * 500)  # another scope has its own
    one.update("product", "p1", note="")
    one.update("product", "p0", note="x" * 600)
    one.delete("product", "small")
    assert outcomes(one) == ["applied"] * 4
    held(server)
    server.check()


def test_bytes_follow_rows_whoever_writes_them(make_server: Any) -> None:
    server = make_server()
    one = server.peer()
    one.insert("product", "p", sku="s", note="note")
    one.insert("movement", 1, store_id="1", product_id="p", quantity=1)
    one.insert("shelf", ("1", b"\x00/"), label="top")
    one.sync()
    before = held(server)
    server.sql("UPDATE product SET note = 'a longer note'; DELETE FROM movement")
    server.sql_unseen("UPDATE shelf SET label = 'changed past everything'")
    one.sync()
    server.service.deep_check()
    after = held(server)
    assert after["catalog"] == before["catalog"] + len("a longer note") - len("note")
    assert after["store/1"] < before["store/1"]
    one.update("product", "p", note=None)
    one.sync()
    held(server)


class Clock:
    now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


def refusal(volumes: DailyVolumes, principal: Principal, size: int) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        volumes.take(principal, size)
    assert caught.value.status == 429
    return caught.value


def test_what_is_sent_within_a_day_has_its_measure() -> None:
    clock = Clock()
    quotas = Quotas(device_bytes_per_day_max=2400, user_bytes_per_day_max=3600)
    volumes = DailyVolumes(quotas, monotonic_ms=clock)
    one, two, other = Principal("u", "d1"), Principal("u", "d2"), Principal("v", "d3")
    volumes.take(one, 1200)
    volumes.take(one, 1201)  # what is begun within the quota is let through
    error = refusal(volumes, one, 1)
    assert error.code == "quota_device_bytes"
    assert error.detail == {"limit": 2400, "used": 2401, "retry_after_s": 72}
    assert "2400 bytes within a day and has sent 2401" in error.message
    volumes.take(two, 1200)
    assert refusal(volumes, two, 1).code == "quota_user_bytes"
    volumes.take(other, 2400)
    clock.now_ms += 3_600_000  # an hour: 100 of a device, 150 of a user
    volumes.take(two, 10)
    volumes.take(one, 10)
    clock.now_ms += 48 * 3_600_000
    volumes.take(one, 2400)
    for _ in range(3):  # a device's refusals do not count against its user
        assert refusal(volumes, one, 5000).code == "quota_device_bytes"
    volumes.take(two, 1200)


def test_who_has_sent_too_much_is_told_and_still_gets_what_is_new(make_server: Any) -> None:
    server = make_server()
    one, two = server.peer("d1"), server.peer("d2")
    app = asgi(
        server.service,
        lambda _headers: one.principal,
        hub=Hub(),
        budgets=Budgets(quotas=Quotas(device_bytes_per_day_max=1)),
    )

    async def exchange(client: httpx2.AsyncClient) -> httpx2.Response:
        request = one.request()
        answer = await client.post(
            "/v1/exchange",
            content=msgspec.json.encode(request),
            headers={"content-type": "application/json"},
        )
        if answer.status_code == 200:
            one.nonce, one.pending = request.nonce.to, []
        return answer

    async def work() -> None:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:
            one.insert("product", "p", sku="s")
            assert (await exchange(client)).status_code == 200
            one.insert("product", "q", sku="t")
            answer = await exchange(client)
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 0
            error = answer.json()["error"]
            assert (error["code"], error["detail"]["limit"]) == ("quota_device_bytes", 1)
            assert error["detail"]["used"] > 100
            one.pending = []
            two.insert("product", "news", sku="news")
            two.sync()
            answer = await exchange(client)
            assert answer.status_code == 200
            assert b"news" in answer.content

    asyncio.run(asyncio.wait_for(work(), 60))
    assert server.query("SELECT id FROM product ORDER BY sku DESC") == [("p",), ("news",)]
