"""``holdfast server user|enrol|devices|revoke``: people and their devices.

Each is a thin layer over ``server.people.People``. Passwords and codes are shown or asked for at
the terminal only; they are never part of a command line.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from holdfast.cli.output import document, err, moment, out, reported
from holdfast.core.errors import UsageError
from holdfast.core.limits import CODE_MINUTES
from holdfast.schema.load import load_schema

SchemaPath = Annotated[str, typer.Option("--schema", help="A JSON file, or module:attribute.")]
Database = Annotated[
    str, typer.Option("--database", help="The SQLite file, or postgresql://user@host/name.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, last.")]
NameArgument = Annotated[str, typer.Argument(help="The user's name.", show_default=False)]
Read = Annotated[
    list[str] | None,
    typer.Option("--read", help="A scope to read; * at its end: all that begin so."),
]
Write = Annotated[list[str] | None, typer.Option("--write", help="A scope to read and write.")]
Role = Annotated[list[str] | None, typer.Option("--role", help="A role, for rules; or admin.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read a password from the first line of stdin.")
]

user = typer.Typer(name="user", help="Users and their permissions.", no_args_is_help=True)


@user.command("add")
def user_add(
    name: NameArgument,
    *,
    schema: SchemaPath,
    database: Database,
    read: Read = None,
    write: Write = None,
    role: Role = None,
    password_stdin: PasswordStdin = False,
    as_json: Json = False,
) -> None:
    """Add a user. Without a password a user's devices enrol by code."""
    from holdfast.cli.server import people_host

    with reported(as_json=as_json, at="server"):
        password = _from_stdin() if password_stdin else None
        with people_host.people(load_schema(schema), database) as people:
            made = people.add_user(
                name, read=read or (), write=write or (), roles=role or (), password=password
            )
        _show_user(made, as_json=as_json)


@user.command("set")
def user_set(
    name: NameArgument,
    *,
    schema: SchemaPath,
    database: Database,
    read: Read = None,
    write: Write = None,
    role: Role = None,
    no_read: Annotated[bool, typer.Option("--no-read", help="No scopes to read only.")] = False,
    no_write: Annotated[bool, typer.Option("--no-write", help="No scopes to write.")] = False,
    no_roles: Annotated[bool, typer.Option("--no-roles", help="No roles.")] = False,
    as_json: Json = False,
) -> None:
    """Replace a user's scopes or roles; what is not named stays. Takes effect on all
    devices at once."""
    from holdfast.cli.server import people_host

    with reported(as_json=as_json, at="server"):
        for given, none in ((read, no_read), (write, no_write), (role, no_roles)):
            if given and none:
                raise UsageError("say either which ones or none", code="bad_choice")
        with people_host.people(load_schema(schema), database) as people:
            changed = people.set_user(
                name,
                read=[] if no_read else read or None,
                write=[] if no_write else write or None,
                roles=[] if no_roles else role or None,
            )
        _show_user(changed, as_json=as_json)


@user.command("list")
def user_list(*, schema: SchemaPath, database: Database, as_json: Json = False) -> None:
    """List users and their permissions."""
    from holdfast.cli.server import people_host

    with (
        reported(as_json=as_json, at="server"),
        people_host.people(load_schema(schema), database, existing=True) as people,
    ):
        found = [_user_shown(item) for item in people.users()]
    if as_json:
        document({"users": found})
        return
    table = Table("user", "reads", "writes", "roles", "password", "disabled")
    for item in found:
        lists = (", ".join(item[key]) for key in ("read", "write", "roles"))
        table.add_row(
            item["name"],
            *lists,
            "yes" if item["password"] else "",
            "yes" if item["disabled"] else "",
        )
    out.print(table)


@user.command("disable")
def user_disable(
    name: NameArgument, *, schema: SchemaPath, database: Database, as_json: Json = False
) -> None:
    """Lock a user and all their devices out, from now on; enabling undoes it."""
    _set_disabled(name, schema, database, disabled=True, as_json=as_json)


@user.command("enable")
def user_enable(
    name: NameArgument, *, schema: SchemaPath, database: Database, as_json: Json = False
) -> None:
    """Unlock a user's devices, except those that were revoked one by one."""
    _set_disabled(name, schema, database, disabled=False, as_json=as_json)


def _set_disabled(name: str, schema: str, database: str, *, disabled: bool, as_json: bool) -> None:
    from holdfast.cli.server import people_host

    with reported(as_json=as_json, at="server"):
        with people_host.people(load_schema(schema), database, existing=True) as people:
            changed = people.set_user(name, disabled=disabled)
        _show_user(changed, as_json=as_json)


@user.command("password")
def user_password(
    name: NameArgument,
    *,
    schema: SchemaPath,
    database: Database,
    password_stdin: PasswordStdin = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the password.")] = False,
    keep_devices: Annotated[
        bool, typer.Option("--keep-devices", help="Do not sign out the user's devices.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Set a user's password: asked for, or from stdin or HOLDFAST_PASSWORD. The user's devices are
    signed out; what waits on them stays there."""
    from holdfast.cli.server import people_host

    with reported(as_json=as_json, at="server"):
        password = None if remove else read_password(password_stdin, twice=True)
        with people_host.people(load_schema(schema), database, existing=True) as people:
            people.set_password(name, password, keep_devices=keep_devices)
    if as_json:
        document({"ok": True, "name": name, "password": password is not None})
    else:
        out.print(f"{name} has {'a new' if password else 'no'} password", highlight=False)


def enrol(
    name: Annotated[str, typer.Option("--user", help="Whose device it will be.")],
    *,
    schema: SchemaPath,
    database: Database,
    device: Annotated[str, typer.Option(help="Only for this device, to register it again.")] = "",
    minutes: Annotated[int, typer.Option(help="How long the code is valid.")] = CODE_MINUTES,
    as_json: Json = False,
) -> None:
    """Print a one-time code with which a device enrols for a user."""
    from holdfast.cli.server import people_host

    with (
        reported(as_json=as_json, at="server"),
        people_host.people(load_schema(schema), database, existing=True) as people,
    ):
        made = people.invite(name, device=device, minutes=minutes)
    if as_json:
        document({"code": made.code, "user": made.user, "expires_at": made.expires_at})
    else:
        sys.stdout.write(f"{made.code}\n")
        err.print(f"for {made.user}, once, until {moment(made.expires_at)}", highlight=False)


def devices(
    *,
    schema: SchemaPath,
    database: Database,
    name: Annotated[str, typer.Option("--user", help="Only this user's.")] = "",
    as_json: Json = False,
) -> None:
    """List devices: when they were last seen, and what was pending on them then."""
    from holdfast.cli.server import people_host

    with (
        reported(as_json=as_json, at="server"),
        people_host.people(load_schema(schema), database, existing=True) as people,
    ):
        found = list(people.devices(user=name))
    if as_json:
        document({"devices": [dataclasses.asdict(item) for item in found]})
        return
    device = Column("device", no_wrap=True)  # it is what revoking asks for
    names = ("user", "name", "last seen", "waiting", "oldest", "client", "clock", "")
    table = Table(device, *names)
    for item in found:
        state = "[red]revoked[/]" if item.revoked else "" if item.registered else "by token file"
        seen = item.last_seen or None
        table.add_row(
            item.device, item.user, item.name, moment(seen), str(item.waiting) if seen else "",
            moment(item.oldest_us) if item.oldest_us else "", item.client,
            f"{-item.offset_us / 1e6:+.1f} s" if seen else "", state,
        )  # fmt: skip
        for other in item.replicas[1:]:
            table.add_row("  another file", "", "", moment(other.last_seen), str(other.waiting))
    out.print(table)


def revoke(
    device: Annotated[str | None, typer.Argument(help="The device's id.")] = None,
    *,
    schema: SchemaPath,
    database: Database,
    name: Annotated[str, typer.Option("--user", help="All devices that this user has.")] = "",
    as_json: Json = False,
) -> None:
    """Revoke a device, from now on. Pending work stays on it."""
    from holdfast.cli.server import people_host

    with reported(as_json=as_json, at="server"):
        if (device is None) == (not name):
            raise UsageError("say either a device or --user", code="bad_choice")
        with people_host.people(load_schema(schema), database, existing=True) as people:
            if device is None:
                gone = people.revoke_user(name)
            else:
                people.revoke(device)
                gone = [device]
    if as_json:
        document({"ok": True, "revoked": gone})
    else:
        out.print(f"revoked {len(gone)}: {', '.join(gone)}" if gone else "none", highlight=False)


def read_password(from_stdin: bool, *, twice: bool = False) -> str:
    """A password from stdin, from HOLDFAST_PASSWORD, or asked for at the terminal."""
    if from_stdin:
        return _from_stdin()
    given = os.environ.get("HOLDFAST_PASSWORD")
    if given:
        return given
    if not sys.stdin.isatty():
        raise UsageError(
            "no terminal to ask at: use --password-stdin or HOLDFAST_PASSWORD", code="no_password"
        )
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=twice, err=True))


def _from_stdin() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise UsageError("there is no password on stdin", code="no_password")
    return password


def _user_shown(item: Any) -> dict[str, Any]:
    return dataclasses.asdict(item) | {"password": item.password is not None}


def _show_user(item: Any, *, as_json: bool) -> None:
    if as_json:
        document(_user_shown(item))
        return
    state = "disabled, " if item.disabled else ""
    reads, writes, roles = (", ".join(n) or "nothing" for n in (item.read, item.write, item.roles))
    out.print(f"{item.name}: {state}reads {reads}; writes {writes}; roles {roles}", highlight=False)
