"""What a client installs is enough for a client; what more is needed says which extra brings it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from parsed import nodes_of

from holdfast.extras import EXTRAS, ExtraMissing, extra_missing
from holdfast.testing import ServerProcess

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "engine/src/holdfast"
COUNTER = ROOT / "examples/counter"
CLIENT = frozenset({"apsw", "httpx2", "msgspec"})
# What these bring themselves, and what runs the tests of an app.
GIVEN = {"httpcore2": "replica", "pytest": "testing"}
# Extras whose modules a part may import beside that; parts that are not named have none.
BRINGS = {
    "cli": ("cli", "server"),
    "integrations": ("prometheus", "server"),
    "protocol": ("zstd",),
    "server": ("postgres", "server", "tls"),
    "testing": ("postgres", "server", "tls"),
}
# Distributions whose modules have another name.
MODULES = {"argon2-cffi": "argon2", "backports.zstd": "backports"}

_WITHOUT = """
import sys
for name in {modules!r}:
    sys.modules[name] = None
sys.argv = ["holdfast", *sys.argv[1:]]
{work}
"""
_A_CLIENT = """
from pathlib import Path
from holdfast import Replica, Schema
schema = Schema.from_json(Path(sys.argv[3]).read_text())
with Replica.open(sys.argv[1], schema, server=sys.argv[2], token="token-a") as replica:
    with replica.transaction() as db:
        db.execute("INSERT INTO stock (sku, on_hand) VALUES ('85123A', 10)")
    report = replica.sync()
    print(report.verified, replica.status.pending)
"""


def modules_of(requirement: str) -> str:
    name = re.split(r"[\[<>=;~! ]", requirement, maxsplit=1)[0]
    return MODULES.get(name, name.replace("-", "_"))


def without(
    extras: tuple[str, ...], work: str, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    """Run a program where what these extras bring is not installed, as far as it can see."""
    # httpx2 has a use of its own for anyio.
    hidden = sorted(set().union(*(EXTRAS[extra] for extra in extras)) - {"anyio"})
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(modules=hidden, work=work), *arguments],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def foreign_imports(path: Path) -> Iterator[str]:
    for node in nodes_of(path):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        for name in names:
            root = name.partition(".")[0]
            if root not in sys.stdlib_module_names and root not in {"holdfast", "compression"}:
                yield root


def too_much(path: Path, part: str) -> set[str]:
    """Find what a module imports and its part's extras do not bring."""
    allowed = CLIENT.union(*(EXTRAS[extra] for extra in BRINGS.get(part, ())))
    return {
        name for name in foreign_imports(path) if name not in allowed and GIVEN.get(name) != part
    }


def test_the_extras_are_those_of_the_metadata() -> None:
    project = tomllib.loads((ROOT / "engine/pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {modules_of(needed) for needed in project["dependencies"]} == CLIENT
    declared = {
        extra: {modules_of(needed) for needed in listed if not needed.startswith("holdfast-sync")}
        for extra, listed in project["optional-dependencies"].items()
    }
    assert declared == {extra: set(modules) for extra, modules in EXTRAS.items()}


def test_each_part_imports_what_its_extras_bring() -> None:
    wrong = {}
    for path in sorted(SOURCE.rglob("*.py")):
        inside = path.relative_to(SOURCE)
        part = inside.parts[0] if len(inside.parts) > 1 else ""
        # The entry point and its helper say what to install: they must run without it.
        if inside.as_posix() in {"cli/__init__.py", "cli/__main__.py"}:
            part = ""
        if found := too_much(path, part):
            wrong[inside.as_posix()] = found
    assert not wrong


def test_an_import_of_too_much_is_found(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from starlette.types import ASGIApp\n", encoding="utf-8")
    assert too_much(bad, "replica") == {"starlette"}
    assert too_much(bad, "server") == set()


def test_a_client_without_any_extra_writes_and_syncs(tmp_path: Path) -> None:
    served = [
        sys.executable, "-m", "holdfast.cli", "serve", "--schema", str(COUNTER / "schema.json"),
        "--database", str(tmp_path / "server.db"), "--tokens", str(COUNTER / "tokens.toml"),
        "--port", "{port}",
    ]  # fmt: skip
    with ServerProcess(served, log_path=tmp_path / "server.log") as server:
        done = without(
            tuple(EXTRAS), _A_CLIENT, tmp_path / "a.db", server.url, COUNTER / "schema.json"
        )
    assert (done.returncode, done.stdout) == (0, "True 0\n"), done.stderr


def test_the_command_without_its_extra_says_what_to_install() -> None:
    done = without(("cli",), "from holdfast.cli import main; main()", "--version")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("extra_missing: ")
    assert 'pip install "holdfast-sync[cli]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_of_the_server_without_it_says_what_to_install(tmp_path: Path) -> None:
    arguments = (
        "serve",
        "--schema",
        str(COUNTER / "schema.json"),
        "--database",
        str(tmp_path / "s.db"),
    )
    done = without(("server",), "from holdfast.cli import main; main()", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("extra_missing: the server needs ")
    assert 'pip install "holdfast-sync[server]"' in done.stderr
    shown = ("server", "stats", *arguments[1:], "--json")
    read = without(("server",), "from holdfast.cli import main; main()", *shown)
    assert json.loads(read.stdout.splitlines()[-1])["error"]["code"] == "extra_missing", read


def test_the_commands_of_a_device_need_no_server(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("token-a", encoding="utf-8")
    token.chmod(0o600)
    made = without(
        ("server", "postgres", "tls", "prometheus"), "from holdfast.cli import main; main()",
        "init", tmp_path / "a.db", "--schema", COUNTER / "schema.json",
        "--server", "http://127.0.0.1:9", "--token-file", token,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr


def test_an_import_of_the_server_without_it_is_an_import_error_with_a_code() -> None:
    work = (
        "try:\n    from holdfast.server import open_server\n"
        "except ImportError as error:\n    print(error.code, error.extra)\n"
    )
    done = without(("server",), work)
    assert done.stdout == "extra_missing server\n", done.stderr


def test_a_module_that_no_extra_brings_is_not_explained() -> None:
    assert extra_missing(ModuleNotFoundError("no", name="somebody_elses")) is None
    told = extra_missing(ModuleNotFoundError("no", name="starlette.types"))
    assert isinstance(told, ExtraMissing)
    assert (told.code, told.extra) == ("extra_missing", "server")


@pytest.mark.parametrize("found", [True, False])
def test_a_server_runs_with_and_without_uvloop(tmp_path: Path, found: bool) -> None:
    hide = "" if found else 'import sys; sys.modules["uvloop"] = None; '
    served = [
        sys.executable, "-c", f"{hide}from holdfast.cli import main; main()", "serve",
        "--schema", str(COUNTER / "schema.json"), "--database", str(tmp_path / "server.db"),
        "--tokens", str(COUNTER / "tokens.toml"), "--port", "{port}",
    ]  # fmt: skip
    with ServerProcess(served, log_path=tmp_path / "server.log") as server:
        done = without((), _A_CLIENT, tmp_path / "a.db", server.url, COUNTER / "schema.json")
    assert (done.returncode, done.stdout) == (0, "True 0\n"), done.stderr
