"""What a server tells about itself, and that it goes on when nobody can listen."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import generate_latest

from holdfast.integrations.prometheus import Metrics, refusal_label
from holdfast.server.process import observe
from holdfast.server.service import Service


def observed(server: Any, observer: observe.Observer) -> None:
    """Put another service on the server's store."""
    server.service = Service(
        server.schema, server.store, now_us=server.tick, random_bytes=server.random,
        observer=observer,
    ).begin()  # fmt: skip


def test_a_push_is_told_once_and_not_when_it_is_repeated(server: Any) -> None:
    seen: list[observe.ObservedEvent] = []
    observed(server, seen.append)
    one, two = server.peer("one"), server.peer("two")
    one.insert("product", "p", sku="s", price="1.00")
    one.insert("product", "q", sku="s")
    request = one.request()
    for _ in range(2):
        list(server.service.exchange(one.principal, request, echo="e"))
    (pushed,) = [event for event in seen if isinstance(event, observe.PushObserved)]
    assert pushed.outcomes == {"applied": 1, "refused": 1}
    assert (pushed.refusals, pushed.conflicts) == ({"unique": 1}, 0)
    two.sync()
    one.apply(list(server.service.exchange(one.principal, request, echo="e")))
    one.pending, one.nonce = [], request.nonce.to
    for peer, price in ((one, "2.00"), (two, "3.00")):
        peer.update("product", "p", price=price)
        peer.sync()
    assert [e.conflicts for e in seen if isinstance(e, observe.PushObserved)] == [0, 0, 1]
    server.sql("UPDATE product SET name = 'x'")
    one.sync()
    assert [e.rows for e in seen if isinstance(e, observe.Ingested)] == [1]


def test_an_observer_that_fails_disturbs_nothing(server: Any, caplog: Any) -> None:
    def fails(_event: observe.ObservedEvent) -> None:
        raise ValueError("broken")

    observed(server, fails)
    peer = server.peer()
    peer.insert("product", "p", sku="s")
    assert [outcome.outcome for outcome in peer.sync()] == ["applied"]
    assert "an observer failed" in caplog.text


@pytest.mark.parametrize(
    ("code", "label"),
    [("unique", "unique"), ("rule:no_such_luck", "rule"), ("made_up_by_a_device", "other")],
)
def test_labels_are_few(code: str, label: str) -> None:
    assert refusal_label(code) == label


def test_every_event_is_counted() -> None:
    metrics = Metrics()
    for event in (
        observe.Requested(
            id="i", method="GET", route="/v1/x", status=200, ms=3, device="secret", user="secret",
            rows=4, received_bytes=5, sent_bytes=6,
        ),
        observe.PushObserved(outcomes={"applied": 2}, refusals={"unique": 1}, conflicts=3),
        observe.Missed(scopes=1),
        observe.Compared(scopes=2),
        observe.Ingested(rows=7),
        observe.Retried(reason="lost"),
        observe.JobRan(job="retention", ms=10, ok=True),
        observe.FileBuilt(kind="snapshot", ms=10, size_bytes=99, ok=True),
    ):  # fmt: skip
        metrics(event)
    text = generate_latest(metrics.registry).decode()
    for line in (
        'holdfast_requests_total{code="",route="/v1/x",status="200"} 1.0',
        'holdfast_rows_sent_total{route="/v1/x"} 4.0',
        'holdfast_transactions_total{outcome="applied"} 2.0',
        'holdfast_refusals_total{code="unique"} 1.0',
        "holdfast_conflicts_total 3.0",
        "holdfast_scopes_missed_total 1.0",
        "holdfast_scopes_compared_total 2.0",
        "holdfast_ingested_rows_total 7.0",
        'holdfast_database_retries_total{reason="lost"} 1.0',
        'holdfast_maintenance_seconds_count{job="retention",ok="true"} 1.0',
        'holdfast_file_build_seconds_count{kind="snapshot",ok="true"} 1.0',
        'holdfast_file_build_bytes_total{kind="snapshot"} 99.0',
    ):
        assert line in text, line
    assert "secret" not in text
