"""``holdfast serve``: a server on embedded SQLite."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer

from holdfast.cli.output import reported
from holdfast.core.errors import UsageError
from holdfast.schema.load import load_schema
from holdfast.server.assembly import open_server
from holdfast.server.auth import TokenFile
from holdfast.server.rules import Rule
from holdfast.server.run import collect_rarely
from holdfast.server.run import serve as run_server


def serve(
    schema: Annotated[str, typer.Option(help="A JSON file, or module:attribute.")],
    database: Annotated[Path, typer.Option(help="The server's SQLite file; made when missing.")],
    tokens: Annotated[Path, typer.Option(help="TOML: one table per token.")],
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 0,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    rules: Annotated[str | None, typer.Option(help="module:attribute, a list of rules.")] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve replicas of a schema; prints ``ready URL`` when it listens."""
    with reported(as_json=False):
        logs_to_stderr(log_level)
        found = load_schema(schema)
        authenticate = TokenFile(tokens)
        with open_server(found, database, authenticate, rules=_rules(rules)) as server:
            collect_rarely()
            run_server(server.app, host, port, _ready)


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
