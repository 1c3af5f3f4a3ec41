"""Metrics of a server for Prometheus: an observer that counts, and a listener of its own.

Knows: events and prometheus-client (the extra ``holdfast-sync[prometheus]``). Must not know: the
service, or HTTP of devices.
Labels have few values, known beforehand: routes as declared, outcomes, codes of this engine. No
name of a device, a user, a scope or a table is ever a label; codes of an app's rules are ``rule``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from holdfast.core.errors import HoldfastError, UsageError
from holdfast.server.process import observe

if TYPE_CHECKING:
    from holdfast.server.assembly import Server

REFUSALS = frozenset(
    {
        "unknown_table", "unknown_column", "bad_key", "bad_value", "not_null", "unique",
        "foreign_key", "check", "forbidden", "row_gone", "overflow", "duplicate_change",
        "too_many_changes", "rule_failed", "too_large",
    }
)  # fmt: skip
_DURATIONS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_JOB_S = (0.1, 1, 10, 60, 600, 3600)
_CODE = re.compile(r"[a-z_]{1,40}\Z")
FRESH_S = (60, 3600, 86_400, 7 * 86_400)
"""Devices are counted by when they were last seen."""


class Metrics:
    """An ``Observer``. Give it to ``open_server(observer=...)``, then ``watch`` the server."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._requests = self._counter("requests", "Requests by result.", "route", "status", "code")
        self._seconds = self._histogram(
            "request_seconds", "Time to a whole answer.", _DURATIONS_S, "route"
        )
        self._received = self._counter("received_bytes", "Bodies of requests, as they travelled.")
        self._sent = self._counter("sent_bytes", "Bodies of answers, as they travelled.")
        self._rows = self._counter("rows_sent", "Rows sent to devices.", "route")
        self._transactions = self._counter("transactions", "Decided transactions.", "outcome")
        self._refusals = self._counter("refusals", "Refused transactions.", "code")
        self._conflicts = self._counter("conflicts", "Conflicts opened for a person.")
        self._impossible = self._counter(
            "impossible_revisions", "Changes based on a revision that their row has not had."
        )
        self._missed = self._counter("scopes_missed", "Scopes of devices that were away for long.")
        self._compared = self._counter("scopes_compared", "Scopes that a device found to differ.")
        self._ingested = self._counter("ingested_rows", "Rows that others wrote directly.")
        self._retries = self._counter("database_retries", "Transactions begun again.", "reason")
        self._jobs = self._histogram(
            "maintenance_seconds", "Jobs of maintenance.", _JOB_S, "job", "ok"
        )
        self._files = self._histogram("file_build_seconds", "Files built.", _JOB_S, "kind", "ok")
        self._file_bytes = self._counter("file_build_bytes", "Size of files built.", "kind")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"holdfast_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"holdfast_{name}", text, labels, registry=self.registry, buckets=buckets)

    def __call__(self, event: observe.ObservedEvent) -> None:
        match event:
            case observe.Requested():
                self._request(event)
            case observe.PushObserved():
                for outcome, count in event.outcomes.items():
                    self._transactions.labels(outcome).inc(count)
                for code, count in event.refusals.items():
                    self._refusals.labels(refusal_label(code)).inc(count)
                self._conflicts.inc(event.conflicts)
                self._impossible.inc(event.impossible)
            case observe.Missed():
                self._missed.inc(event.scopes)
            case observe.Compared():
                self._compared.inc(event.scopes)
            case observe.Ingested():
                self._ingested.inc(event.rows)
            case observe.Retried():
                self._retries.labels(event.reason).inc()
            case observe.JobRan():
                self._jobs.labels(event.job, str(event.ok).lower()).observe(event.ms / 1000)
            case observe.FileBuilt():
                self._files.labels(event.kind, str(event.ok).lower()).observe(event.ms / 1000)
                self._file_bytes.labels(event.kind).inc(event.size_bytes)

    def _request(self, event: observe.Requested) -> None:
        code = event.code if _CODE.match(event.code) or not event.code else "other"
        self._requests.labels(event.route, str(event.status), code).inc()
        self._received.inc(event.received_bytes)
        self._sent.inc(event.sent_bytes)
        if event.route != "/v1/events":  # it lasts as long as the device likes
            self._seconds.labels(event.route).observe(event.ms / 1000)
        if event.rows:
            self._rows.labels(event.route).inc(event.rows)

    def watch(self, server: Server) -> None:
        """Show how a server is doing, asked whenever somebody looks."""
        self.registry.register(_Gauges(server))

    @contextmanager
    def served(self, host: str, port: int) -> Iterator[str]:
        """Serve ``/metrics`` in a thread of its own; gives the URL. Port 0 takes a free one.

        Raises ``UsageError`` (``cannot_listen``).
        """
        try:
            listener, thread = start_http_server(port, host, registry=self.registry)
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"cannot listen on {host} port {port}: {error}", code="cannot_listen"
            ) from None
        try:
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{listener.server_port}/metrics"
        finally:
            listener.shutdown()
            listener.server_close()
            thread.join()


def refusal_label(code: str) -> str:
    """One of few: a device may name a code of its own, and an app's rules have theirs."""
    if code.startswith("rule:"):
        return "rule"
    return code if code in REFUSALS else "other"


class _Gauges(Collector):
    """Values that are asked of the server at each look."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def describe(self) -> list[Metric]:
        """Nothing is asked of the database when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        streams, waiting = len(self._server.hub), self._server.app.state.waiting()
        yield GaugeMetricFamily("holdfast_open_streams", "Open event streams.", value=streams)
        yield GaugeMetricFamily(
            "holdfast_waiting_requests", "Requests that wait for their turn.", value=waiting
        )
        devices = GaugeMetricFamily(
            "holdfast_devices", "Devices seen within so many seconds.", labels=["within"]
        )
        try:
            counts = self._server.devices_seen(FRESH_S)
        except HoldfastError:
            return  # the database is away: the others are told all the same
        for label, count in zip([*map(str, FRESH_S), "+Inf"], counts, strict=True):
            devices.add_metric([label], count)
        yield devices
