"""What is published, installed where nothing of ours is: wheel, sdist and the package of npm.

They are built here, and their libraries come from where this machine has packages from: there is no
skip for a place that cannot be reached. A version of Python that this machine lacks is skipped; the
one that runs the tests is never.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.testing import ServerProcess, free_port

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[3]
UV = ROOT / ".tools/bin/uv"
DEADLINE_S = 400
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
BLOCK = re.compile(r"```(?:python|toml)\n# (\S+)\n(.*?)```", re.DOTALL)
SERVE = re.compile(r"^PYTHONPATH=\. holdfast (serve .*)$", re.MULTILINE)
PRINTED = re.compile(r"It prints `(.*?)`")

USE = """
import { HOST, HttpTransport, Replica, openMemory } from "@holdfast/browser";
import type { ReplicaProgram, Status } from "@holdfast/browser";

const server: string = process.argv[2] ?? "";
const transport = new HttpTransport({ server, token: () => "token-b", host: HOST });
const program: ReplicaProgram = await transport.program();
const replica = Replica.open({ opened: await openMemory(), program, transport, server });
await replica.sync();
await replica.write([{ sql: "UPDATE note SET likes = likes + 1 WHERE id = ?", params: ["n1"] }]);
const report = await replica.sync();
const status: Status = await replica.status();
const { rows } = await replica.query("SELECT title, likes FROM note");
console.log(JSON.stringify([rows, report.verified, status.pending]));
await replica.close();
"""


@dataclass(frozen=True)
class Built:
    """Packages, as they would be published."""

    wheel: Path
    sdist: Path

    @property
    def with_server(self) -> str:
        return f"holdfast-sync[cli,server] @ {self.wheel.as_uri()}"


def run(command: Sequence[str | Path], folder: Path, **more: str) -> str:
    # Nothing of the tests' own environment may stand in for what is not installed.
    outside = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")
    environment = {name: value for name, value in os.environ.items() if name not in outside}
    done = subprocess.run(
        command, cwd=folder, env=environment | more, capture_output=True, text=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def build(source: Path, into: Path, *targets: str) -> list[Path]:
    """Build with the pinned backend that is already here."""
    wanted = [word for target in targets for word in ("-t", target)]
    run([sys.executable, "-m", "hatchling", "build", "-d", into, *wanted], source)
    return sorted(into.iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    wheel, sdist = build(ROOT / "engine", tmp_path_factory.mktemp("built"), "wheel", "sdist")[::-1]
    if wheel.suffix != ".whl":
        wheel, sdist = sdist, wheel
    return Built(wheel=wheel, sdist=sdist)


def python(version: str) -> str:
    if version == HERE:
        return sys.executable
    found = subprocess.run(
        [UV, "python", "find", "--no-python-downloads", "--no-project", version],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode == 0:
        return found.stdout.strip()
    # pyenv has versions that are not on PATH.
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for kept in sorted(pyenv.glob(f"versions/{version}.*/bin/python")):
        return str(kept)
    pytest.skip(f"this machine has no Python {version}")


def install(where: Path, version: str, package: str) -> Path:
    """Make an empty environment, and install a package in it, with the libraries that are tested
    together; return the folder of its commands."""
    run([UV, "venv", "--quiet", "--no-project", "--python", python(version), where], where.parent)
    run(
        [UV, "pip", "install", "--quiet", "--python", where / "bin/python",
         "--constraint", ROOT / "requirements.txt", package],
        where.parent,
    )  # fmt: skip
    return where / "bin"


def readme_files(folder: Path, port: int) -> tuple[list[str], str]:
    """Write what the index's page shows; return the server's arguments, and what it promises."""
    text = (ROOT / "engine/README.md").read_text(encoding="utf-8").replace("8750", str(port))
    names = [name for name, _ in BLOCK.findall(text)]
    assert names == ["notes.py", "tokens.toml", "devices.py"]
    for name, content in BLOCK.findall(text):
        (folder / name).write_text(content, encoding="utf-8")
    (serve,) = SERVE.findall(text)
    (promised,) = PRINTED.findall(text)
    return serve.split(), promised


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_first_minute_of_the_index_page(built: Built, version: str, tmp_path: Path) -> None:
    python(version)
    client = install(tmp_path / "client", version, str(built.wheel))
    server = install(tmp_path / "server", version, built.with_server)
    arguments, promised = readme_files(tmp_path, free_port())
    served = ServerProcess(
        [str(server / "python"), str(server / "holdfast"), *arguments],
        env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, log_path=tmp_path / "server.log",
    )  # fmt: skip
    with served:
        assert run([client / "python", "-W", "error", "devices.py"], tmp_path) == f"{promised}\n"
    assert run([server / "holdfast", "--version"], tmp_path).startswith("holdfast ")

    listed = json.loads(
        run([UV, "pip", "list", "--python", client / "python", "--format", "json"], tmp_path)
    )
    direct = {"apsw", "holdfast-sync", "httpx2", "msgspec"}
    brought = {"anyio", "h11", "httpcore2", "idna", "truststore", "typing-extensions"}
    assert direct <= {one["name"] for one in listed} <= direct | brought
    told = subprocess.run(
        [client / "holdfast", "--version"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert 'pip install "holdfast-sync[cli]"' in told.stderr


def test_the_sdist_makes_the_same_wheel(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    (again,) = build(source, tmp_path / "again", "wheel")
    files = [sorted(zipfile.ZipFile(wheel).namelist()) for wheel in (built.wheel, again)]
    assert files[0] == files[1]
    assert "holdfast/py.typed" in files[0]
    assert any(name.endswith("licenses/LICENSE") for name in files[0])
    assert not [name for name in files[0] if "tests" in Path(name).parts]


def test_no_package_of_npm_runs_anything_when_it_is_installed() -> None:
    """`npm pack` has to run our own script, so scripts are not switched off altogether."""
    lock = json.loads((ROOT / "browser/package-lock.json").read_text(encoding="utf-8"))
    assert len(lock["packages"]) > 50
    assert not [name for name, one in lock["packages"].items() if one.get("hasInstallScript")]


def test_the_package_of_npm_is_whole_and_used_from_typescript(built: Built, tmp_path: Path) -> None:
    browser = ROOT / "browser"
    if shutil.which("npm") is None or not (browser / "node_modules/typescript").is_dir():
        pytest.skip("needs npm and the packages of browser/ (make setup)")
    # A copy of what is committed, as in a fresh clone: `npm pack` has to build the rest.
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    listed = run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "browser"], ROOT
    ).split("\0")
    for name in filter(None, listed):
        copy = fresh / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy)
    (fresh / "browser/node_modules").symlink_to(browser / "node_modules")
    run(["npm", "pack", "--silent", "--pack-destination", tmp_path], fresh / "browser")
    (tarball,) = tmp_path.glob("*.tgz")

    with tarfile.open(tarball) as archive:
        names = set(archive.getnames())
        maps = [one for one in archive if one.name.endswith(".js.map")]
        assert {f"package/{name}" for name in ("LICENSE", "README.md", "package.json")} <= names
        assert {
            "package/dist/index.js",
            "package/dist/index.d.ts",
            "package/dist/worker.js",
        } <= names
        assert len(maps) > 50
        for one in maps:
            content = archive.extractfile(one)
            assert content is not None
            for source in json.load(content)["sources"]:
                assert os.path.normpath(Path(one.name).parent / source) in names, one.name

    app = tmp_path / "app"
    app.mkdir()
    (app / "package.json").write_text('{"private": true, "type": "module"}', encoding="utf-8")
    run(["npm", "install", "--silent", "--prefer-offline", "--ignore-scripts", "--no-audit",
         "--no-fund", tarball], app)  # fmt: skip
    (app / "use.ts").write_text(USE, encoding="utf-8")
    (app / "node_modules/@types").mkdir(exist_ok=True)
    (app / "node_modules/@types/node").symlink_to(browser / "node_modules/@types/node")
    (app / "node_modules/undici-types").symlink_to(browser / "node_modules/undici-types")
    run(["node", browser / "node_modules/typescript/bin/tsc", "--strict", "--target", "ES2023",
         "--module", "NodeNext", "--lib", "ES2024,DOM,DOM.Iterable,DOM.AsyncIterable",
         "--types", "node", "use.ts"], app)  # fmt: skip

    arguments, _ = readme_files(tmp_path, free_port())
    server = install(tmp_path / "server", HERE, built.with_server)
    with ServerProcess(
        [str(server / "python"), str(server / "holdfast"), *arguments],
        env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, log_path=tmp_path / "server.log",
    ) as served:  # fmt: skip
        run([server / "python", "devices.py"], tmp_path)
        said = run(["node", "use.js", served.url], app)
    assert json.loads(said) == [[["Hello", 13]], True, 0]
