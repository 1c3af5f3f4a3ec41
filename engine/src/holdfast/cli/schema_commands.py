"""``holdfast schema diff`` and ``holdfast schema check``: what a change of a schema comes to.

Exit codes: 0 when nothing differs or all steps are additive or declared, and the generation has
gone up with them; 1 when the change cannot be made in place; 2 for wrong use.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from holdfast.cli.output import CHECK_FAILED, document, out, reported
from holdfast.schema.lineage import Lineage, floor_steps, lineage, serves
from holdfast.schema.load import load_schema
from holdfast.schema.model import Schema
from holdfast.schema.proposal import propose

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
    """List the steps from one schema to another, which are safe for older devices, and which are
    to be declared."""
    with reported(as_json=as_json):
        before, after = load_schema(old), load_schema(new)
        way = lineage(before, after)
        hindrance = _hindrance(way)
        if as_json:
            document(_told(way, hindrance))
        else:
            _say(way, hindrance)
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
            told = _told(found.lineage, hindrance)
            document(told | {"broken": broken, "devices": devices})
        else:
            _say(found.lineage, hindrance)
            for rows in found.broken:
                out.print(
                    f"{rows.step.text}: {rows.count} rows are in the way: {', '.join(rows.keys)}",
                    markup=False, highlight=False,
                )  # fmt: skip
            for seen in found.devices:
                of = "an unknown generation" if seen.generation is None else seen.generation
                cut = "" if seen.served else ", which have to be updated first"
                last = (
                    ""
                    if seen.last_seen_us is None
                    else f" (last seen {datetime.fromtimestamp(seen.last_seen_us / 1e6, UTC):%F})"
                )
                out.print(f"devices of generation {of}: {seen.devices}{cut}{last}")
        if hindrance:
            raise typer.Exit(CHECK_FAILED)


def _hindrance(way: Lineage) -> str:
    """Say why one cannot follow the other in place; empty when it can."""
    old, new = way.old, way.new
    if old.name == new.name and new.generation < old.generation:
        return f"generation {new.generation} is older than {old.generation}"
    if way.hindrances:
        return "; ".join(step.text for step in way.hindrances)
    steps = way.difference.steps
    if new.generation == old.generation and (steps or new.fingerprint != old.fingerprint):
        return f"raise the generation: {new.generation} is the other schema's already"
    return ""


def _told(way: Lineage, hindrance: str) -> dict[str, Any]:
    found, proposal = way.difference, propose(way)
    return {
        "ok": not hindrance,
        "equal": not found.steps and way.old.fingerprint == way.new.fingerprint,
        "additive": found.additive,
        "declared": way.declared and not way.hindrances,
        "older_devices_go_on": not way.hindrances and serves(way.new, way.old),
        "raises_floor": list(floor_steps(way)),
        "hindrance": hindrance or None,
        "old": _named(way.old),
        "new": _named(way.new),
        "steps": [dataclasses.asdict(step) for step in found.steps],
        "proposed": [msgspec.to_builtins(step) for step in proposal.steps],
        "choices": [msgspec.to_builtins(step) for step in proposal.choices],
    }


def _named(one: Schema) -> dict[str, Any]:
    return {"name": one.name, "generation": one.generation, "fingerprint": one.fingerprint}


def _say(way: Lineage, hindrance: str) -> None:
    def say(text: str) -> None:
        out.print(text, markup=False, highlight=False)

    say(way.difference.words() or "no steps")
    if hindrance:
        say(f"cannot be made in place: {hindrance}")
    elif way.difference.steps:
        goes_on = serves(way.new, way.old)
        kind = "declared" if way.declared else "additive"
        say(f"{kind}: older devices {'go on' if goes_on else 'have to be updated first'}")
        for text in floor_steps(way):
            say(f"raises the support floor: {text}")
    proposal = propose(way)
    for step in proposal.steps:
        say(f"to declare: {msgspec.json.encode(step).decode()}")
    for step in proposal.choices:
        say(f"or, if it is the same one: {msgspec.json.encode(step).decode()}")
