"""A server put together: store, service, hub and app, with the machine's clock and randomness.

Knows: how the parts fit. Must not know: what is inside them.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from starlette.applications import Starlette

from holdfast.core.errors import HoldfastError
from holdfast.core.limits import FOREIGN_WRITE_POLL_MS
from holdfast.schema.model import Schema
from holdfast.server.api import Authenticator, StandingAuthenticator
from holdfast.server.asgi import asgi
from holdfast.server.enrolment import Enrolment
from holdfast.server.events import Hub
from holdfast.server.offers import FilePolicy
from holdfast.server.people import People
from holdfast.server.people_http import Door
from holdfast.server.principal import Principal
from holdfast.server.registry_auth import RegistryAuth
from holdfast.server.rights_watch import Judge, RightsWatch
from holdfast.server.rules import Rule
from holdfast.server.service import Service, Standing
from holdfast.server.store import Store
from holdfast.server.stores import open_store

log = logging.getLogger("holdfast.server")

_PRUNE_EVERY_S = 3600.0
_DEEP_CHECK_EVERY_S = 24 * 3600.0


def _now_us() -> int:
    return time.time_ns() // 1000


@dataclass(slots=True)
class Server:
    """A server on its database. ``app`` is the ASGI app; mount it anywhere, or ``run.serve`` it.

    While it is open, a thread looks for rows that others write straight into the database.
    """

    service: Service
    hub: Hub
    app: Starlette
    people: People
    _stop: threading.Event
    _watcher: threading.Thread
    _rights: RightsWatch | None

    def close(self) -> None:
        self._stop.set()
        self._watcher.join()
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
) -> Server:
    """Open or make the server's database and put an app over it.

    ``database``: a file of SQLite, or ``postgresql://user@host/name``. ``authenticate``: by default
    the registry in that database, with devices that enrol; then ``sign_in`` is asked for whoever
    shows no device token. ``proxies``: addresses of reverse proxies, whose word on where a request
    comes from is believed. ``files``: from when on rows come as files. Raises ``SchemaError``
    (``schema_mismatch``) or ``DatabaseError``.
    """
    hub = Hub()
    store = open_store(schema, database, random_bytes=secrets.token_bytes)
    if authenticate is None:
        authenticate = RegistryAuth(store, now_us=_now_us, sign_in=sign_in)
    standing = authenticate.standing if isinstance(authenticate, StandingAuthenticator) else None
    try:
        tell = store.relay(hub.publish)
        service = Service(
            schema,
            store,
            rules=rules,
            files=files,
            now_us=_now_us,
            random_bytes=secrets.token_bytes,
            on_commit=tell,
            standing=standing,
        )
    except BaseException:
        store.close()
        raise
    stop = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(service, stop), name="holdfast-watcher", daemon=True
    )
    watcher.start()
    people = People(store, now_us=_now_us, random_bytes=secrets.token_bytes, on_commit=tell)
    rights = None if standing is None else RightsWatch(hub, _judge(store, standing))
    door = None
    if isinstance(authenticate, RegistryAuth):
        enrolment = Enrolment(store, now_us=_now_us, random_bytes=secrets.token_bytes)
        door = Door(authenticate, enrolment, people, proxies)
    app = asgi(service, authenticate, hub=hub, door=door)
    return Server(service, hub, app, people, stop, watcher, rights)


def _judge(store: Store, standing: Standing) -> Judge:
    """What principals may do now, in one read."""

    def judge(principals: Sequence[Principal]) -> Sequence[Principal | None]:
        with contextlib.closing(store.read()) as snapshot:
            return standing(snapshot, principals)

    return judge


def _watch(service: Service, stop: threading.Event) -> None:
    """Until told to stop: take in what back-office SQL wrote, forget old decisions, and once a day
    recompute every row's hash, so that damage to the file does not pass unnoticed."""
    pruned = checked = time.monotonic()
    while not stop.wait(FOREIGN_WRITE_POLL_MS / 1000):
        try:
            service.poll_foreign_writes()
            if time.monotonic() - pruned > _PRUNE_EVERY_S:
                pruned = time.monotonic()
                service.purge()
                service.tidy_files()
            if time.monotonic() - checked > _DEEP_CHECK_EVERY_S:
                checked = time.monotonic()
                service.deep_check()
        except HoldfastError as error:
            log.warning("direct writes could not be taken in yet: %s", error)
        except Exception:
            log.exception("looking for direct writes failed")
