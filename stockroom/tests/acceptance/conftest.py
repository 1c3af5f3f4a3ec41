"""Real processes: the command as a user starts it, and the server it talks to."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing import ServerProcess, launching
from holdfast.testing.fixtures import postgres_cluster  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parents[3]
REAL_SALES = ROOT.parent / "shared/data/online-retail.csv.xz"

TOKENS = """\
[token-a]
user = "Ana"
device = "tablet"
read = ["catalog", "store/1"]
write = ["catalog", "store/1"]
roles = ["manager"]

[token-b]
user = "Ben"
device = "phone"
read = ["catalog", "store/*"]
write = ["catalog", "store/*"]
roles = ["manager"]
"""


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document in the last line of stdout."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found


Run = Callable[..., Ran]


@pytest.fixture
def run() -> Run:
    """Run `stockroom` with arguments, in a process of its own."""

    def run_command(*arguments: object, timeout_s: float = 280) -> Ran:
        done = launching.run([sys.executable, "-m", "stockroom.cli", *arguments], timeout=timeout_s)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run_command


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of Stockroom with two tokens."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)
    command = [
        sys.executable, "-m", "holdfast.cli", "serve",
        "--schema", "stockroom.schema:schema", "--rules", "stockroom.rules:rules",
        "--database", str(tmp_path / "server.db"), "--port", "{port}", "--tokens", str(tokens),
    ]  # fmt: skip
    with ServerProcess(command, log_path=tmp_path / "server.log") as started:
        yield started
