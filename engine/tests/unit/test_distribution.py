"""Names and versions of what is published: one of each, wherever they stand."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import holdfast
import stockroom

ROOT = Path(__file__).resolve().parents[3]
PROJECTS = {"holdfast": ROOT / "engine", "stockroom": ROOT / "stockroom"}
PUBLISHED = {"holdfast": "holdfast-sync", "stockroom": "stockroom-app"}
INSTALLED = re.compile(
    r"(?:pip install|uv add|uvx|pipx install)[^\n`]*?"
    r"(?<![\w./-])(?<!-e )(holdfast|stockroom)(?![\w-])"
)
EXTRA = re.compile(r"(?<![\w-])(?:holdfast|stockroom)\[[a-z]")


def metadata(package: str) -> dict[str, Any]:
    loaded = tomllib.loads((PROJECTS[package] / "pyproject.toml").read_text(encoding="utf-8"))
    project: dict[str, Any] = loaded["project"]
    return project


def texts() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.py", "*.md", "*.toml", "Makefile"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode()  # fmt: skip
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_a_package_says_the_version_of_its_metadata() -> None:
    assert holdfast.__version__ == metadata("holdfast")["version"]
    assert stockroom.__version__ == metadata("stockroom")["version"]


@pytest.mark.parametrize("package", PUBLISHED)
def test_it_is_published_under_a_name_of_its_own(package: str) -> None:
    assert metadata(package)["name"] == PUBLISHED[package]


@pytest.mark.parametrize("module", ["holdfast.cli", "stockroom.cli"])
def test_a_command_says_its_version(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"from {module} import main; main()", "--version"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    name = module.partition(".")[0]
    assert (done.returncode, done.stdout) == (0, f"{name} {metadata(name)['version']}\n"), done


def test_nobody_is_told_to_install_somebody_elses_package() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in texts()
        if path != Path(__file__) and "decisions" not in path.parts
        for pattern in (INSTALLED, EXTRA)
        for found in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_rule_about_names_catches_its_prey() -> None:
    assert INSTALLED.search("pip install holdfast")
    assert INSTALLED.search("pip install stockroom")
    assert EXTRA.search('needs "holdfast[postgres]"')
    assert not INSTALLED.search('pip install "holdfast-sync[server]"')
    assert not EXTRA.search("holdfast-sync[postgres]")
