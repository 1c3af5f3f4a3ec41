"""`holdfast serve` and `stockroom serve` have the same options where they mean the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import typer

import stockroom.cli
from holdfast.cli.app import app as holdfast_app
from holdfast.cli.server import host
from holdfast.cli.server.options import HERE, Serving, with_proxy_here
from stockroom.server import run as stockroom_run

SAID = [
    *("--host", "127.0.0.9", "--port", "4321", "--database", "said.db"),
    *("--proxy", "10.0.0.0/8", "--proxy", "::1", "--allowed-host", "shop.example.com"),
    *("--public-url", "https://shop.example.com", "--root-path", "/shop"),
    *("--connections", "77", "--connections-per-address", "7"),
    *("--quota-scope-rows", "11", "--quota-scope-bytes", "12", "--quota-row-bytes", "13"),
    *("--quota-device-bytes", "14", "--quota-user-bytes", "15"),
]


def test_a_proxy_without_an_address_is_on_this_machine() -> None:
    for said, meant in (
        ([], []),
        (["serve", "--proxy", "--root-path", "/shop"], ["serve", *HERE, "--root-path", "/shop"]),
        (["serve", "--proxy"], ["serve", *HERE]),
        (["serve", "--proxy", "10.0.0.1"], ["serve", "--proxy", "10.0.0.1"]),
        (["serve", "--proxy=10.0.0.1", "--lan"], ["serve", "--proxy=10.0.0.1", "--lan"]),
    ):
        assert with_proxy_here(said) == meant


def _options(app: typer.Typer) -> dict[str, Any]:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return {str(param.name): param for param in group.commands["serve"].params}


def test_what_both_know_is_defined_once() -> None:
    engine, app = _options(holdfast_app), _options(stockroom.cli.app)
    shared = {field.name for field in dataclasses.fields(Serving)}
    # Whatever else both have would be a second definition.
    assert engine.keys() & app.keys() - {"help"} == shared
    assert {"connections", "connections_per_address", "proxy", "allowed_host"} <= shared
    for name in shared:
        ours, theirs = engine[name], app[name]
        for one in ("help", "opts", "multiple", "min", "max"):
            assert getattr(ours, one) == getattr(theirs, one), (name, one)


def test_what_is_said_reaches_both_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reached: dict[str, tuple[str, Any]] = {}
    monkeypatch.setattr(
        host, "run",
        lambda _schema, database, _tokens, options: reached.update(holdfast=(database, options)),
    )  # fmt: skip
    monkeypatch.setattr(
        stockroom_run, "run",
        lambda options, **_more: reached.update(stockroom=(options.database, options)),
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    schema = ("--schema", "stockroom.schema:schema")
    for app, more in ((holdfast_app, schema), (stockroom.cli.app, ())):
        typer.main.get_command(app).main(["serve", *SAID, *more], standalone_mode=False)
    for database, options in reached.values():
        assert database == "said.db"
        assert (options.host, options.port) == ("127.0.0.9", 4321)
        assert options.front.proxies == ("10.0.0.0/8", "::1")
        assert options.front.hosts == ("shop.example.com",)
        assert options.front.public_url == "https://shop.example.com"
        assert options.front.root_path == "/shop"
        assert (options.limits.connections, options.limits.per_address) == (77, 7)
        assert dataclasses.astuple(options.budgets.quotas) == (11, 12, 13, 14, 15)
    assert reached.keys() == {"holdfast", "stockroom"}


@pytest.mark.parametrize(
    ("app", "more"),
    [(holdfast_app, ("--schema", "x", "--database", "y")), (stockroom.cli.app, ())],
    ids=("holdfast", "stockroom"),
)
@pytest.mark.parametrize(
    ("option", "value"), [("--connections", "0"), ("--port", "65536"), ("--quota-scope-bytes", "0")]
)
def test_neither_takes_what_is_out_of_range(
    app: typer.Typer, more: tuple[str, ...], option: str, value: str
) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        typer.main.get_command(app).main(["serve", option, value, *more], standalone_mode=False)
    assert caught.value.param is not None
    assert caught.value.param.opts == [option]


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (("--tls-dir", "x"), "--tls-dir is for --lan"),
        (("--lan", "--proxy", "10.0.0.1"), "leave --lan out"),
    ],
)
def test_a_way_to_listen_is_one(
    said: tuple[str, ...], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stockroom_run, "run", lambda *_options, **_more: None)
    with pytest.raises(typer.BadParameter, match=word):
        typer.main.get_command(stockroom.cli.app).main(["serve", *said], standalone_mode=False)
