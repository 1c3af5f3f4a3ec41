"""`stockroom user`, and `stockroom device list|revoke|rename`: people and devices of the shop.

Knows: the commands' options and words. Must not know: what a role may do, or how devices enrol.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.output import moment
from holdfast.core.errors import UsageError
from stockroom.cli import output
from stockroom.cli.pin import PinFile, pin_from
from stockroom.cli.shop import DATABASE, Database, Json, PasswordFile, password_from, reported

if TYPE_CHECKING:
    from stockroom.shop.desk import Desk
    from stockroom.shop.staff import Member

Name = Annotated[str, typer.Argument(help="The person's name.", show_default=False)]
Role = Annotated[
    str,
    typer.Option(help="employee, manager, owner; or till: a shared device.", show_default=False),
]
AtStore = Annotated[
    list[str] | None,
    typer.Option("--store", help="Where they work; may be given repeatedly. The only one if left."),
]

user_app = typer.Typer(no_args_is_help=True, help="The shop's people, their roles and stores.")


@user_app.command("add")
def user_add(
    name: Name,
    *,
    role: Role,
    store: AtStore = None,
    password_file: PasswordFile = None,
    database: Database = DATABASE,
    as_json: Json = False,
) -> None:
    """Add a person. Without a password they come in by an invitation: `stockroom user invite`."""
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.staff import add_member

        with open_desk(database) as desk:
            password = password_from(password_file)
            made, new = add_member(desk, name, role=role, stores=store or (), password=password)
            shown = _shown(desk, [made])[0]
    said = f"{made.name}: {_described(shown)}." if new else f"{made.name} was there already."
    if not made.has_password:
        said += f" There is no password: `stockroom user invite {made.login!r}` lets them in."
    _tell(shown | {"new": new}, said, as_json=as_json)


@user_app.command("change")
def user_change(
    name: Name,
    *,
    role: Annotated[str | None, typer.Option(help="employee, manager, owner or till.")] = None,
    store: AtStore = None,
    called: Annotated[
        str | None, typer.Option("--name", help="What others read; they sign in as before.")
    ] = None,
    database: Database = DATABASE,
    as_json: Json = False,
) -> None:
    """Give a person another role, other stores or another name; it holds at once, everywhere."""
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.staff import change_member

        with open_desk(database) as desk:
            changed = change_member(desk, name, role=role, stores=store, called=called)
            shown = _shown(desk, [changed])[0]
    _tell(shown, f"{changed.name} is {_described(shown)} now.", as_json=as_json)


@user_app.command("list")
def user_list(*, database: Database = DATABASE, as_json: Json = False) -> None:
    """List the people: what they do, where, and when they were last seen."""
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.staff import list_staff

        with open_desk(database) as desk:
            found = _shown(desk, list_staff(desk))
    if as_json:
        output.document({"ok": True, "users": found})
        return
    rows = [
        (
            _name(one), one["role"], ", ".join(one["stores"]), str(one["devices"]),
            moment(one["last_seen"] or None), _state(one),
        )
        for one in found
    ]  # fmt: skip
    columns = ("name", "role", "stores", "devices#", "last seen", "")
    output.show_table("People", columns, rows)


@user_app.command("password")
def user_password(
    name: Name,
    *,
    password_file: PasswordFile = None,
    database: Database = DATABASE,
    as_json: Json = False,
) -> None:
    """Set a person's password: from a file, or asked for. Their devices are signed out."""
    with reported(as_json=as_json):
        from holdfast.cli.server.people_commands import read_password
        from stockroom.shop.desk import open_desk
        from stockroom.shop.staff import find_member

        with open_desk(database) as desk:
            user = find_member(desk.people, name)
            password = password_from(password_file) or read_password(from_stdin=False, twice=True)
            desk.people.set_password(user.name, password)
    _tell({"name": user.name}, f"{user.name} has a new password.", as_json=as_json)


@user_app.command("pin")
def user_pin(
    name: Name,
    *,
    pin_file: PinFile = None,
    forget: Annotated[bool, typer.Option("--forget", help="They have none from now on.")] = False,
    database: Database = DATABASE,
    as_json: Json = False,
) -> None:
    """Set the PIN with which a person works at the tills of their stores, or forget it."""
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.pins import forget_pin, set_pin
        from stockroom.shop.staff import find_member

        with open_desk(database) as desk:
            user = find_member(desk.people, name)
            if forget:
                forget_pin(desk, user)
            else:
                set_pin(desk, user, pin_from(pin_file, twice=True))
    said = "has no PIN now" if forget else "has a new PIN; tills know it after their next sync"
    _tell({"name": user.name, "has_pin": not forget}, f"{user.name} {said}.", as_json=as_json)


@user_app.command("disable")
def user_disable(name: Name, *, database: Database = DATABASE, as_json: Json = False) -> None:
    """Lock a person and all their devices out, from now on; `enable` undoes it."""
    _set_disabled(name, database, disabled=True, as_json=as_json)


@user_app.command("enable")
def user_enable(name: Name, *, database: Database = DATABASE, as_json: Json = False) -> None:
    """Let a person in again, on the devices that were not revoked one by one."""
    _set_disabled(name, database, disabled=False, as_json=as_json)


def _set_disabled(name: str, database: str, *, disabled: bool, as_json: bool) -> None:
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.staff import change_member

        with open_desk(database) as desk:
            changed = change_member(desk, name, disabled=disabled)
            shown = _shown(desk, [changed])[0]
    said = "is locked out" if disabled else "may come in"
    _tell(shown, f"{changed.name} {said}.", as_json=as_json)


@user_app.command("invite")
def user_invite(
    name: Name,
    *,
    database: Database = DATABASE,
    as_json: Json = False,
) -> None:
    """Print a code with which a person signs in on one more device: once, within 30 minutes."""
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.staff import INVITATION_MINUTES, find_member

        with open_desk(database) as desk:
            user = find_member(desk.people, name)
            made = desk.people.invite(user.name, minutes=INVITATION_MINUTES)
    data = {"name": made.user, "code": made.code, "expires_at": made.expires_at}
    said = f"{made.user} signs in once, until {moment(made.expires_at)}, with the code {made.code}"
    _tell(data, said, as_json=as_json)


def device_list(
    context: typer.Context, *, database: Database = DATABASE, as_json: Json = False
) -> None:
    """Of the shop: list its devices, whose they are and when they were last seen."""
    as_json = as_json or _json_before(context)
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.staff import list_devices, list_staff

        with open_desk(database) as desk:
            found = list_devices(desk)
            people = {one.login: one.name for one in list_staff(desk)}
    if as_json:
        names = ("device", "name", "user", "last_seen", "waiting", "oldest_us", "client")
        output.document(
            {
                "ok": True,
                "devices": [
                    {name: getattr(one, name) for name in names} | {"revoked": one.revoked > 0}
                    for one in found
                ],
            }
        )
        return
    rows = [
        (
            one.name or "(no name)", people.get(one.user, one.user), moment(one.last_seen or None),
            str(one.waiting) if one.last_seen else "", "revoked" if one.revoked else "",
            one.device,
        )
        for one in found
    ]  # fmt: skip
    columns = ("device", "person", "last seen", "waiting#", "", "id")
    output.show_table("Devices", columns, rows)


def device_revoke(
    context: typer.Context,
    device: Annotated[str, typer.Argument(help="Its id, or its name.", show_default=False)],
    *,
    database: Database = DATABASE,
    as_json: Json = False,
) -> None:
    """Of the shop: let a device in no more, from now on. What waits on it stays there."""
    as_json = as_json or _json_before(context)
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk

        with open_desk(database) as desk:
            found = _find_device(desk, device)
            desk.people.revoke(found)
    _tell({"device": found, "revoked": True}, f"{device} is revoked.", as_json=as_json)


def device_rename(
    context: typer.Context,
    device: Annotated[str, typer.Argument(help="Its id, or its name.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Its new name.", show_default=False)],
    *,
    database: Database = DATABASE,
    as_json: Json = False,
) -> None:
    """Of the shop: give a device another name, which all devices read from then on."""
    as_json = as_json or _json_before(context)
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.staff import rename_device

        with open_desk(database) as desk:
            found = _find_device(desk, device)
            new = rename_device(desk, found, name)
    _tell({"device": found, "name": new}, f"It is called {new} now.", as_json=as_json)


def _find_device(desk: Desk, wanted: str) -> str:
    from stockroom.shop.staff import list_devices

    devices = list_devices(desk)
    if any(one.device == wanted for one in devices):
        return wanted
    named = [one for one in devices if one.name == wanted]
    named = [one for one in named if not one.revoked] or named[:1]
    if len(named) == 1:
        return named[0].device
    if named:
        which = "; ".join(f"{one.device} of {one.user}" for one in named)
        raise UsageError(
            f"{len(named)} devices are called {wanted!r}: say which by its id ({which})",
            code="device_unclear",
        )
    raise UsageError(
        f"there is no device {wanted!r}: `stockroom device list` shows them all",
        code="unknown_device",
    )


def _json_before(context: typer.Context) -> bool:
    """Return whether `--json` stood before the verb, as device verbs have it."""
    return bool(getattr(context.obj, "as_json", False))


def _shown(desk: Desk, members: list[Member]) -> list[dict[str, Any]]:
    """People with the names of their stores."""
    from stockroom.shop.stores import list_stores

    with desk.transaction() as tables:
        names = {store.id: store.shown for store in list_stores(tables)}
    return [
        asdict(one) | {"stores": [names.get(store, store) for store in one.stores]}
        for one in members
    ]


def _name(shown: dict[str, Any]) -> str:
    """A person's name, with what they sign in with where that is another."""
    name, login = str(shown["name"]), str(shown["login"])
    return name if name == login else f"{name} ({login})"


def _described(shown: dict[str, Any]) -> str:
    where = f" at {', '.join(shown['stores'])}" if shown["stores"] else ""
    return f"{shown['role']}{where}"


def _state(shown: dict[str, Any]) -> str:
    if shown["disabled"]:
        return "locked out"
    return "" if shown["has_password"] or shown["devices"] else "has not come in yet"


def _tell(data: dict[str, Any], said: str, *, as_json: bool) -> None:
    if as_json:
        output.document({"ok": True, **data})
    else:
        output.say(said)
