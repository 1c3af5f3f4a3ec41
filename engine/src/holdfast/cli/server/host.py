"""Work of ``holdfast serve`` and ``holdfast check``; apart, for it imports the whole server.

Knows: the server's parts and structured logs. Must not know: command lines.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import structlog

from holdfast.cli.output import read_by_others
from holdfast.core.errors import ProtocolError, UsageError
from holdfast.extras import extra_missing
from holdfast.schema.model import Schema
from holdfast.server.assembly import open_server
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.http.connections import Limits
from holdfast.server.http.front import FrontOptions
from holdfast.server.identity.principal import Principal
from holdfast.server.identity.token_file import TokenFile
from holdfast.server.maintenance.retention import Forgotten, Retention
from holdfast.server.open_store import open_store
from holdfast.server.process.observe import nobody
from holdfast.server.push.rules import Rule
from holdfast.server.run import Tls, collect_rarely, serve
from holdfast.server.store.contract import Stats
from holdfast.server.tls.certificates import Certificates

if TYPE_CHECKING:
    from holdfast.integrations.prometheus import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """Place and manner in which a server runs. ``keep_days``: removals, numbers, journal."""

    host: str
    port: int
    rules: str | None
    front: FrontOptions
    limits: Limits
    budgets: Budgets
    metrics: str | None
    drain_s: float
    keep_days: tuple[int, int, int]
    driver: Literal["apsw", "stdlib"] = "apsw"
    certificates: Certificates | None = None


def run(schema: Schema, database: str, tokens: Path | None, options: HostOptions) -> None:
    """Serve until SIGTERM or SIGINT; prints ``ready URL`` when it listens, after ``metrics URL``
    if there is one. Without a file of tokens, the people and devices in the database are let in."""
    authenticate = None if tokens is None else TokenFile(tokens)
    removals, numbers, journal = options.keep_days
    retention = Retention(removals_days=removals, numbers_days=numbers, journal_days=journal)
    metrics = None if options.metrics is None else _metrics()
    certificates = options.certificates
    with open_server(
        schema,
        database,
        authenticate,
        rules=_rules(options.rules),
        proxies=options.front.proxies,
        retention=retention,
        budgets=options.budgets,
        observer=metrics or nobody,
        driver_name=options.driver,
    ) as server:
        collect_rarely()
        with contextlib.ExitStack() as stack:
            if metrics is not None and options.metrics is not None:
                metrics.watch(server)
                url = stack.enter_context(metrics.served(*_address(options.metrics)))
                _say(f"metrics {url}")
            serve(
                server.app,
                options.host,
                options.port,
                _ready,
                drain_s=options.drain_s,
                front=options.front,
                limits=options.limits,
                end_process=True,
                tls=None if certificates is None else Tls(certificates=certificates),
            )


def _metrics() -> Metrics:
    try:
        from holdfast.integrations.prometheus import Metrics
    except ImportError as error:
        raise extra_missing(error) or error from None
    return Metrics()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{text!r} is not HOST:PORT", code="bad_choice")
    return host.strip("[]"), int(port)


def deep_check(schema: Schema, database: str) -> int:
    """Return how many rows of a server's database differ from what their hashes say."""
    with open_server(schema, database, _nobody, maintain=False) as server:
        return server.service.deep_check()


def purge(
    schema: Schema, database: str, retention: Retention, progress: Callable[[Forgotten], bool]
) -> Forgotten:
    """Forget now what is to be forgotten; ``progress`` is called between bites."""
    with open_server(schema, database, _nobody, maintain=False) as server:
        return server.service.purge(retention, proceed=progress)


def stats(schema: Schema, database: str) -> Stats:
    """Return what a server's database holds."""
    with (
        contextlib.closing(open_store(schema, database, random_bytes=secrets.token_bytes)) as store,
        contextlib.closing(store.read()) as snapshot,
    ):
        return snapshot.stats()


def _nobody(_headers: Mapping[str, str]) -> Principal:
    """Nobody may ask anything of a database that is only checked."""
    raise ProtocolError("this process only checks the database", code="sign_in", status=401)


def _ready(url: str) -> None:
    _say(f"ready {url}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _rules(where: str | None) -> list[Rule]:
    if where is None:
        return []
    module, _, attribute = where.partition(":")
    try:
        return list(getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"no rules at {where}: {error}", code="no_rules") from None


def _unfold(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Return what a request or a job tells, as fields of the line; without what is not known."""
    for name in ("request", "forgotten"):
        fields = event.pop(name, None)
        if isinstance(fields, dict):
            event.update((key, value) for key, value in fields.items() if value not in ("", None))
    return event


def warn_of_readers(tokens: Path) -> None:
    """A line in the log when others of this machine can read the tokens."""
    if read_by_others(tokens):
        told = {"file": str(tokens), "way_out": f"chmod 600 {tokens}"}
        logging.getLogger("holdfast.server").warning("tokens_readable", extra=told)


def logs_to_stderr(level: str) -> None:
    """Structured logs, one JSON object a line, on stderr."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise UsageError(f"{level!r} is not a log level", code="bad_choice")
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.ExtraAdder(),
        _unfold,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
