"""An app's own authenticator: whatever it says no by, the device is asked to sign in."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from holdfast.core.errors import ProtocolError, UsageError
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.assembly import open_server
from holdfast.server.identity.principal import Principal

SCHEMA = Schema(name="n", tables=(Table("t", ("id",), (Column("id"),), scopes=("all",)),))
PEOPLE = {"token-a": Principal("anna", "till-1", read=("all",), write=("all",))}
NAMES: list[str] = []


def by_key(headers: Mapping[str, str]) -> Principal:
    return PEOPLE[headers["authorization"].removeprefix("Bearer ")]


def by_get(headers: Mapping[str, str]) -> Principal | None:
    return PEOPLE.get(headers.get("authorization", "").removeprefix("Bearer "))


def by_index(headers: Mapping[str, str]) -> Principal:
    return by_get(headers) or PEOPLE[NAMES[7]]


def by_error(headers: Mapping[str, str]) -> Principal:
    found = by_get(headers)
    if found is None:
        raise ProtocolError("who?", code="sign_in", status=401)
    return found


@pytest.mark.parametrize("how", [by_key, by_get, by_index, by_error])
@pytest.mark.parametrize("own", [True, False])
def test_nobody_is_asked_to_sign_in(tmp_path: Path, how: Callable[..., Any], own: bool) -> None:
    """``own``: in place of the registry; else beside it."""
    authenticate, sign_in = (how, None) if own else (None, how)
    with open_server(SCHEMA, tmp_path / "s.db", authenticate, sign_in=sign_in) as server:
        client = TestClient(server.app)
        for headers in ({}, {"authorization": "Bearer nobody"}, {"authorization": "Basic x"}):
            for path in ("/v1/session", "/v1/events", "/v1/journal"):
                answer = client.get(path, headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "sign_in")
            answer = client.post("/v1/exchange", headers=headers, json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "sign_in")
        if own:
            good = client.get("/v1/session", headers={"authorization": "Bearer token-a"})
            assert good.json()["user"] == "anna"


async def is_async(_headers: Mapping[str, str]) -> Principal:
    return PEOPLE["token-a"]


class Waits:
    async def __call__(self, _headers: Mapping[str, str]) -> Principal:
        return PEOPLE["token-a"]


@pytest.mark.parametrize("how", [is_async, Waits()])
def test_what_cannot_be_called_in_a_thread_is_refused_at_open(tmp_path: Path, how: Any) -> None:
    for options in ({"authenticate": how}, {"sign_in": how}):
        with pytest.raises(UsageError) as refused:
            open_server(SCHEMA, tmp_path / "s.db", **options)
        assert refused.value.code == "bad_authenticate"
    assert not (tmp_path / "s.db").exists()


@pytest.mark.parametrize("what", ["anna", True, lambda: None])
def test_what_is_no_principal_is_a_failure_of_the_server(tmp_path: Path, what: Any) -> None:
    with open_server(SCHEMA, tmp_path / "s.db", lambda _headers: what) as server:
        answer = TestClient(server.app).get("/v1/session")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")


def _modes(folder: Path) -> dict[str, int]:
    return {p.name: stat.S_IMODE(p.stat().st_mode) & 0o077 for p in folder.iterdir()}


def test_the_database_is_its_owners_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_server(SCHEMA, tmp_path / "s.db") as server:
        server.people.add_user("ann", read=["all"])
        assert set(_modes(tmp_path).values()) == {0}, _modes(tmp_path)
        assert len(_modes(tmp_path)) > 1, "a log beside it"
    assert not [r for r in caplog.records if r.getMessage() == "database_made_private"]
    (tmp_path / "s.db").chmod(0o644)
    with open_server(SCHEMA, tmp_path / "s.db"):
        assert set(_modes(tmp_path).values()) == {0}
    assert [r for r in caplog.records if r.getMessage() == "database_made_private"]
