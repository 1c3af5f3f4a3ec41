"""``holdfast serve``: a server on embedded SQLite."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import structlog
import typer

from holdfast.cli.output import CHECK_FAILED, document, out, reported
from holdfast.core.errors import ProtocolError, UsageError
from holdfast.schema.load import load_schema
from holdfast.server.assembly import open_server
from holdfast.server.auth import TokenFile
from holdfast.server.principal import Principal
from holdfast.server.rules import Rule
from holdfast.server.run import collect_rarely
from holdfast.server.run import serve as run_server


def serve(
    *,
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


def check(
    schema: Annotated[str, typer.Option(help="A JSON file, or module:attribute.")],
    database: Annotated[Path, typer.Option(help="The server's SQLite file.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document, last.")] = False,
) -> None:
    """Recompute every row's hash of a server's database; rows that differ are told to all
    devices."""
    with reported(as_json=as_json):
        if not database.is_file():
            raise UsageError(f"there is no database at {database}", code="no_database")
        with open_server(load_schema(schema), database, nobody) as server:
            differing = server.service.deep_check()
    if as_json:
        document({"ok": differing == 0, "differing": differing})
    else:
        out.print("every row is sound" if not differing else f"{differing} rows differed")
    if differing:
        raise typer.Exit(CHECK_FAILED)


def nobody(_headers: Mapping[str, str]) -> Principal:
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
