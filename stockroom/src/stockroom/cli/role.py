"""`stockroom role`: what each role may do in this shop.

Knows: the commands' options and words. Must not know: how a role is kept to.
"""

from __future__ import annotations

from typing import Annotated

import typer

from stockroom.cli import output
from stockroom.cli.shop import DATABASE, Database, Json, reported
from stockroom.permissions import DEEDS

Role = Annotated[str, typer.Argument(help="employee or manager.", show_default=False)]
Deed = Annotated[str, typer.Argument(help=f"One of {', '.join(DEEDS)}.", show_default=False)]

role_app = typer.Typer(no_args_is_help=True, help="What employees and managers may do.")


@role_app.command("list")
def role_list(*, database: Database = DATABASE, as_json: Json = False) -> None:
    """List what each role may do; an owner may do everything."""
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.roles import list_roles

        with open_desk(database) as desk, desk.transaction() as tables:
            found = list_roles(tables)
    if as_json:
        output.document({"ok": True, "roles": found})
        return
    rows = [(deed, *("yes" if may[deed] else "" for may in found.values())) for deed in DEEDS]
    output.show_table("What they may do", ("", *found), rows)


@role_app.command("allow")
def role_allow(
    role: Role, deed: Deed, *, database: Database = DATABASE, as_json: Json = False
) -> None:
    """Allow a role something; it holds at once, and on each device when it next syncs."""
    _set(role, deed, database, allowed=True, as_json=as_json)


@role_app.command("deny")
def role_deny(
    role: Role, deed: Deed, *, database: Database = DATABASE, as_json: Json = False
) -> None:
    """Deny a role something; `allow` undoes it."""
    _set(role, deed, database, allowed=False, as_json=as_json)


def _set(role: str, deed: str, database: str, *, allowed: bool, as_json: bool) -> None:
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.roles import set_allowed

        with open_desk(database) as desk:
            changed = set_allowed(desk, role, deed, allowed=allowed)
    if as_json:
        document = {"ok": True, "role": role, "deed": deed, "allowed": allowed, "changed": changed}
        output.document(document)
        return
    may = "may" if allowed else "may not"
    output.say(f"{role.capitalize()}s {may} {deed}{'' if changed else ', as before'}.")
