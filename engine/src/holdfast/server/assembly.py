"""A server put together: store, service, hub and app, with the machine's clock and randomness.

Knows: how the parts fit. Must not know: what is inside them.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from starlette.applications import Starlette

from holdfast.core.limits import DEEP_CHECK_EVERY_MS, RETENTION_EVERY_MS
from holdfast.schema.model import Schema
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.files.offers import FilePolicy
from holdfast.server.http.app import asgi
from holdfast.server.http.enrolment import EnrolmentEndpoints
from holdfast.server.http.proxies import Proxies
from holdfast.server.identity.authenticator import Authenticator, Reauthenticator
from holdfast.server.identity.device_auth import RegistryAuthenticator
from holdfast.server.identity.enrolment import EnrolmentService
from holdfast.server.identity.people import People
from holdfast.server.identity.principal import Principal
from holdfast.server.identity.token_file import plain
from holdfast.server.live.events import Hub
from holdfast.server.live.rights_watch import Judge, RightsWatch
from holdfast.server.maintenance.jobs import Job, Maintenance, Proceed
from holdfast.server.maintenance.retention import Retention
from holdfast.server.open_store import open_store
from holdfast.server.process.observe import Observer, guarded, nobody
from holdfast.server.push.rules import Rule
from holdfast.server.service import CurrentPrincipals, Service
from holdfast.server.store.contract import Store

log = logging.getLogger("holdfast.server")


def _now_us() -> int:
    return time.time_ns() // 1000


@dataclass(slots=True)
class Server:
    """A server on its database. ``app`` is the ASGI app; mount it anywhere, or ``run.serve`` it.

    While it is open, threads look for rows that others write straight into the database, forget
    what has been kept for long enough, and check the stored rows once a day.
    """

    service: Service
    hub: Hub
    app: Starlette
    people: People
    authenticate: Authenticator
    _store: Store
    _maintenance: Maintenance
    _rights: RightsWatch | None

    def devices_seen(self, within_s: Sequence[float]) -> list[int]:
        """Return how many devices have been here within so many seconds, for each; the last is
        all.
        """
        now_us = _now_us()
        since = [now_us - int(seconds * 1_000_000) for seconds in within_s]
        with contextlib.closing(self._store.read()) as snapshot:
            return snapshot.devices_since([*since, 0])

    def close(self) -> None:
        self._maintenance.close()
        if self._rights is not None:
            self._rights.close()
        self.hub.close()
        self.service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_server(
    schema: Schema,
    database: str | Path,
    authenticate: Authenticator | None = None,
    *,
    sign_in: Authenticator | None = None,
    rules: Sequence[Rule] = (),
    proxies: Collection[str] = (),
    files: FilePolicy | None = None,
    retention: Retention | None = None,
    budgets: Budgets | None = None,
    observer: Observer = nobody,
    maintain: bool = True,
    driver_name: Literal["apsw", "stdlib"] = "apsw",
) -> Server:
    """Open or make the server's database and put an app over it.

    ``database``: a file of SQLite, or ``postgresql://user@host/name``. ``authenticate``: by default
    the registry in that database, with devices that enrol; then ``sign_in`` is asked for whoever
    shows no device token. ``proxies``: addresses of reverse proxies, whose word on where a request
    comes from is believed. ``files``: from when on rows come as files. ``retention``: for how long
    what is not data is kept. ``budgets``: how much one request, and one device, may ask for at
    once. ``observer`` hears what happens. ``maintain``: False for a look at the database that
    leaves its upkeep to others. ``driver_name``: the SQLite library; ``stdlib`` when this process
    opens the same file through Python's own, as ORMs do. Raises ``SchemaError``
    (``schema_mismatch``) or ``DatabaseError``.
    """
    for given in (authenticate, sign_in):
        if given is not None:
            plain(given)
    Proxies(proxies)  # nothing is opened for options that make no sense
    hub = Hub()
    observer = guarded(observer)
    store = open_store(schema, database, random_bytes=secrets.token_bytes, driver_name=driver_name)
    store.observe(observer)
    if authenticate is None:
        authenticate = RegistryAuthenticator(store, now_us=_now_us, sign_in=sign_in)
    standing = authenticate.standing if isinstance(authenticate, Reauthenticator) else None
    try:
        if maintain:
            store.serve()
        tell = store.relay(hub.publish)
        service = Service(
            schema,
            store,
            rules=rules,
            files=files,
            budgets=budgets,
            now_us=_now_us,
            random_bytes=secrets.token_bytes,
            on_commit=tell,
            standing=standing,
            observer=observer,
        ).begin()
    except BaseException:
        store.close()
        raise
    maintenance = Maintenance(
        store,
        poll=service.poll_foreign_writes,
        look=service.renew_generations,
        jobs=_jobs(service, retention or Retention()),
        now_us=_now_us,
        observer=observer,
    )
    if maintain:
        maintenance.start()
    people = People(store, now_us=_now_us, random_bytes=secrets.token_bytes, on_commit=tell)
    judged, endpoints = standing, None
    if isinstance(authenticate, RegistryAuthenticator):
        judged = authenticate.open
        enrolment = EnrolmentService(
            store, now_us=_now_us, random_bytes=secrets.token_bytes, on_commit=tell
        )
        endpoints = EnrolmentEndpoints(authenticate, enrolment, people, proxies)
    rights = None if judged is None else RightsWatch(hub, _judge(store, judged))
    app = asgi(
        service, authenticate, hub=hub, budgets=budgets, endpoints=endpoints, observer=observer
    )
    return Server(service, hub, app, people, authenticate, store, maintenance, rights)


def _jobs(service: Service, retention: Retention) -> list[Job]:
    def forget(proceed: Proceed) -> None:
        done = service.purge(retention, proceed=lambda _done: proceed())
        log.info("retention", extra={"forgotten": asdict(done)})

    def check(proceed: Proceed) -> None:
        differing = service.deep_check(proceed=proceed)
        log.log(
            logging.WARNING if differing else logging.INFO,
            "deep_check", extra={"differing": differing},
        )  # fmt: skip

    def tidy(_proceed: Proceed) -> None:
        service.tidy_files()

    return [
        Job(name="files", every_ms=RETENTION_EVERY_MS, run=tidy),
        Job(name="retention", every_ms=RETENTION_EVERY_MS, run=forget),
        Job(name="deep_check", every_ms=DEEP_CHECK_EVERY_MS, run=check),
    ]


def _judge(store: Store, standing: CurrentPrincipals) -> Judge:
    """Return what principals may do now, in one read."""

    def judge(principals: Sequence[Principal]) -> Sequence[Principal | None]:
        with contextlib.closing(store.read()) as snapshot:
            return standing(snapshot, principals)

    return judge
