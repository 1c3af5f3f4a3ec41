"""``holdfast serve`` and ``holdfast check``: a server on embedded SQLite or PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from holdfast.cli.output import CHECK_FAILED, document, out, reported
from holdfast.cli.server.options import Serving, with_serving
from holdfast.core.errors import UsageError
from holdfast.core.limits import (
    JOURNAL_RETENTION_DAYS,
    NUMBERS_RETENTION_DAYS,
    REMOVALS_RETENTION_DAYS,
)
from holdfast.schema.load import load_schema


@with_serving()
def serve(
    *,
    schema: Annotated[str, typer.Option(help="A JSON file, or module:attribute.")],
    serving: Serving,
    tokens: Annotated[
        Path | None,
        typer.Option(help="TOML: one table per token, instead of devices that enrol."),
    ] = None,
    rules: Annotated[str | None, typer.Option(help="module:attribute, a list of rules.")] = None,
    driver: Annotated[
        Literal["apsw", "stdlib"],
        typer.Option(help="SQLite's library: stdlib when the rules use the file through an ORM."),
    ] = "apsw",
    metrics: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of a listener for Prometheus; 0 takes a free one."),
    ] = None,
    drain: Annotated[
        float, typer.Option(help="Seconds from a stop signal to the end of listening.", min=0)
    ] = 0,
    keep_removals: Annotated[
        int, typer.Option(help="Days for which removals are remembered.", min=1)
    ] = REMOVALS_RETENTION_DAYS,
    keep_numbers: Annotated[
        int, typer.Option(help="Days for which outcomes are remembered.", min=1)
    ] = NUMBERS_RETENTION_DAYS,
    keep_journal: Annotated[
        int, typer.Option(help="Days for which automatic decisions are remembered.", min=1)
    ] = JOURNAL_RETENTION_DAYS,
) -> None:
    """Serve replicas of a schema; prints ``ready URL`` when it listens."""
    from holdfast.cli.server import host

    with reported(as_json=False, at="server"):
        host.logs_to_stderr(serving.log_level)
        if tokens is not None:
            host.warn_of_readers(tokens)
        options = host.HostOptions(
            host=serving.host,
            port=serving.port,
            rules=rules,
            front=serving.front(),
            limits=serving.limits(),
            budgets=serving.budgets(),
            certificates=serving.certificates(),
            driver=driver,
            metrics=metrics,
            drain_s=drain,
            keep_days=(keep_removals, keep_numbers, keep_journal),
        )
        host.run(load_schema(schema), serving.database, tokens, options)


def check(
    schema: Annotated[str, typer.Option(help="A JSON file, or module:attribute.")],
    database: Annotated[str, typer.Option(help="The SQLite file, or postgresql://user@host/name.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document, last.")] = False,
) -> None:
    """Recompute every row's hash of a server's database; rows that differ are told to all
    devices."""
    from holdfast.cli.server import host

    with reported(as_json=as_json, at="server"):
        if "://" not in database and not Path(database).is_file():
            raise UsageError(f"there is no database at {database}", code="no_database")
        differing = host.deep_check(load_schema(schema), database)
    if as_json:
        document({"ok": differing == 0, "differing": differing})
    else:
        out.print("every row is sound" if not differing else f"{differing} rows differed")
    if differing:
        raise typer.Exit(CHECK_FAILED)
