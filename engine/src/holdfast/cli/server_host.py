"""What ``holdfast serve`` and ``holdfast check`` run; apart, for it brings the whole server.

Knows: the server's parts and structured logs. Must not know: command lines.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import structlog

from holdfast.core.errors import ProtocolError, UsageError
from holdfast.schema.model import Schema
from holdfast.server.assembly import open_server
from holdfast.server.auth import TokenFile
from holdfast.server.principal import Principal
from holdfast.server.rules import Rule
from holdfast.server.run import collect_rarely, serve


def run(
    schema: Schema,
    database: str,
    tokens: Path | None,
    *,
    host: str,
    port: int,
    rules: str | None,
    proxies: Collection[str] = (),
) -> None:
    """Serve until SIGTERM or SIGINT; prints ``ready URL`` when it listens. Without a file of
    tokens, the people and devices in the database are let in."""
    authenticate = None if tokens is None else TokenFile(tokens)
    with open_server(
        schema, database, authenticate, rules=_rules(rules), proxies=proxies
    ) as server:
        collect_rarely()
        serve(server.app, host, port, _ready)


def deep_check(schema: Schema, database: str) -> int:
    """How many rows of a server's database differ from what their hashes say."""
    with open_server(schema, database, _nobody) as server:
        return server.service.deep_check()


def _nobody(_headers: Mapping[str, str]) -> Principal:
    """Nobody may ask anything of a database that is only checked."""
    raise ProtocolError("this server only checks", code="sign_in", status=401)


def _ready(url: str) -> None:
    sys.stdout.write(f"ready {url}\n")
    sys.stdout.flush()


def _rules(where: str | None) -> list[Rule]:
    if where is None:
        return []
    module, _, attribute = where.partition(":")
    try:
        return list(getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"no rules at {where}: {error}", code="no_rules") from None


def logs_to_stderr(level: str) -> None:
    """Structured logs, one JSON object a line, on stderr."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise UsageError(f"{level!r} is not a log level", code="bad_choice")
    shared: list[structlog.typing.Processor] = [
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
