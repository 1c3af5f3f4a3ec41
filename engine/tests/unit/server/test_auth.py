"""A token file lets in exactly those that are in it now."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.core.errors import ProtocolError, UsageError
from holdfast.server.identity.principal import Principal
from holdfast.server.identity.token_file import TokenFile

TOKENS = """
[token-a]
user = "ann"
device = "till-1"
read = ["catalog"]
write = ["store/12", "store/13"]

["token.b"]
user = "bob"
device = "till-2"
read = []
write = []
roles = ["manager"]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.toml"
    path.write_text(TOKENS)
    return path


def settle(path: Path, seconds_ago: int = 60) -> None:
    """As if the file had been written a while ago."""
    at = path.stat().st_mtime - seconds_ago
    os.utime(path, (at, at))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def refused(call: Callable[[], object]) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        call()
    return caught.value


def test_a_token_gives_its_principal(path: Path) -> None:
    tokens = TokenFile(path)
    assert tokens(bearer("token-a")) == Principal(
        "ann", "till-1", read=("catalog",), write=("store/12", "store/13")
    )
    assert tokens({"authorization": "bearer  token.b"}).roles == ("manager",)


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": ""}, {"authorization": "Bearer"}, {"authorization": "Bearer "},
     {"authorization": "token-a"}, {"authorization": "Basic token-a"}, bearer("token-c"),
     bearer("token-a2"), bearer("TOKEN-A"), bearer("token"), bearer("x" * 100_000),
     bearer("\udcff"), bearer("token-a token.b")],
)  # fmt: skip
def test_anything_else_has_to_sign_in(path: Path, headers: dict[str, str]) -> None:
    error = refused(lambda: TokenFile(path)(headers))
    assert (error.status, error.code) == (401, "sign_in")
    assert "token-a" not in error.message


def test_a_token_taken_out_is_refused_at_once(path: Path) -> None:
    tokens = TokenFile(path)
    tokens(bearer("token-a"))
    path.write_text(TOKENS.replace("token-a", "token-c"))
    assert refused(lambda: tokens(bearer("token-a"))).code == "sign_in"
    assert tokens(bearer("token-c")).user == "ann"


def test_an_old_file_that_is_replaced_is_read_again(path: Path) -> None:
    settle(path)
    tokens = TokenFile(path)
    other = path.with_suffix(".new")
    other.write_text(TOKENS.replace('"ann"', '"eve"'))
    settle(other, 30)
    other.replace(path)
    assert tokens(bearer("token-a")).user == "eve"


def test_a_settled_file_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(path)
    tokens = TokenFile(path)
    monkeypatch.setattr(Path, "read_text", lambda *_: pytest.fail("it was read again"))
    for _ in range(3):
        tokens(bearer("token-a"))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("token-a", "="),
        ("[t]\nuser = 1\ndevice = 'd'", "user"),
        ("[t]\nuser = 'u'", "device"),
        ("[t]\nuser = ''\ndevice = 'd'", "user"),
        ("[t]\nuser = 'u'\ndevice = 'd'\nread = 'main'", "read"),
        ("[t]\nuser = 'u'\ndevice = 'd'\nwrite = [1]", "write"),
        ("[t]\nuser = 'u'\ndevice = 'd'\nadmin = true", "admin"),
        ("t = 'u'", "one table per token"),
        ("['']\nuser = 'u'\ndevice = 'd'", "empty"),
        ("[t]\nuser = 'u'\ndevice = 'd'\n[t]\nuser = 'u'", ""),
    ],
)
def test_a_malformed_file_is_named_at_once(tmp_path: Path, content: str, part: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        TokenFile(path)
    assert caught.value.code == "tokens_invalid"
    assert "tokens.toml" in caught.value.message
    assert part in caught.value.message


def test_a_missing_file_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tokens_invalid"):
        TokenFile(tmp_path / "none.toml")


@pytest.mark.parametrize("spoil", [lambda p: p.write_text("[token-a"), lambda p: p.unlink()])
def test_a_file_that_breaks_later_lets_nobody_in(path: Path, spoil: Callable[[Path], None]) -> None:
    tokens = TokenFile(path)
    tokens(bearer("token-a"))
    spoil(path)
    error = refused(lambda: tokens(bearer("token-a")))
    assert (error.status, error.code) == (503, "tokens_invalid")
    path.write_text(TOKENS)
    assert tokens(bearer("token-a")).user == "ann"


def test_many_threads_may_ask(path: Path) -> None:
    tokens = TokenFile(path)
    users: list[str] = []

    def ask() -> None:
        users.extend(tokens(bearer("token-a")).user for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert users == ["ann"] * 200
