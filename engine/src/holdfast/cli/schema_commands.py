"""``holdfast schema diff`` and ``holdfast schema check``: what a change of a schema comes to.

Exit codes: 0 when nothing differs or all steps are additive, and the generation has gone up with
them; 1 when the change cannot be made in place; 2 for wrong use.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from holdfast.cli.output import CHECK_FAILED, document, out, reported
from holdfast.schema.difference import Difference, difference
from holdfast.schema.load import load_schema
from holdfast.schema.model import Schema

schema = typer.Typer(
    name="schema", help="Changes of a schema, before they are made.", no_args_is_help=True
)
Json = Annotated[bool, typer.Option("--json", help="One JSON document as the last line.")]


@schema.command()
def diff(
    old: Annotated[str, typer.Argument(help="A JSON file, or module:attribute.")],
    new: Annotated[str, typer.Argument(help="A JSON file, or module:attribute.")],
    as_json: Json = False,
) -> None:
    """List the steps from one schema to another, and which are safe for older devices."""
    with reported(as_json=as_json):
        before, after = load_schema(old), load_schema(new)
        found = difference(before, after)
        hindrance = _hindrance(before, after, found)
        if as_json:
            document(_told(before, after, found, hindrance))
        else:
            _say(found, hindrance)
        if hindrance:
            raise typer.Exit(CHECK_FAILED)


@schema.command()
def check(
    new: Annotated[str, typer.Argument(metavar="SCHEMA", help="A JSON file, or module:attribute.")],
    database: Annotated[str, typer.Option(help="The SQLite file, or postgresql://user@host/name.")],
    as_json: Json = False,
) -> None:
    """Compare a server's database with a schema: steps, rows in the way, devices. Reads only."""
    from holdfast.server.maintenance.schema_check import check_schema

    with reported(as_json=as_json, at="server"):
        after = load_schema(new)
        found = check_schema(database, after)
        hindrance = "" if found.refusal is None else found.refusal.message
        if as_json:
            broken = [dataclasses.asdict(one) for one in found.broken]
            devices = [dataclasses.asdict(one) for one in found.devices]
            told = _told(found.old, after, found.difference, hindrance)
            document(told | {"broken": broken, "devices": devices})
        else:
            _say(found.difference, hindrance)
            for rows in found.broken:
                out.print(
                    f"{rows.step.text}: {rows.count} rows are in the way: {', '.join(rows.keys)}",
                    markup=False, highlight=False,
                )  # fmt: skip
            for seen in found.devices:
                of = "an unknown generation" if seen.generation is None else seen.generation
                out.print(f"devices of generation {of}: {seen.devices}")
        if hindrance:
            raise typer.Exit(CHECK_FAILED)


def _hindrance(old: Schema, new: Schema, found: Difference) -> str:
    """Say why one cannot follow the other in place; empty when it can."""
    if old.name == new.name and new.generation < old.generation:
        return f"generation {new.generation} is older than {old.generation}"
    if not found.additive:
        return "; ".join(step.text for step in found.hindrances)
    if new.generation == old.generation and (found.steps or new.fingerprint != old.fingerprint):
        return f"raise the generation: {new.generation} is the other schema's already"
    return ""


def _told(old: Schema, new: Schema, found: Difference, hindrance: str) -> dict[str, Any]:
    return {
        "ok": not hindrance,
        "equal": not found.steps and old.fingerprint == new.fingerprint,
        "additive": found.additive,
        "hindrance": hindrance or None,
        "old": _named(old),
        "new": _named(new),
        "steps": [dataclasses.asdict(step) for step in found.steps],
    }


def _named(one: Schema) -> dict[str, Any]:
    return {"name": one.name, "generation": one.generation, "fingerprint": one.fingerprint}


def _say(found: Difference, hindrance: str) -> None:
    out.print(found.words() or "no steps", markup=False, highlight=False)
    if hindrance:
        out.print(f"cannot be made in place: {hindrance}", markup=False, highlight=False)
    elif found.steps:
        out.print("additive: older devices go on")
