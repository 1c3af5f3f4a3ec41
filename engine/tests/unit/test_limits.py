"""Limits and paces stand in one module; other numbers are fixed by a format or an algorithm."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from parsed import tree_of

import holdfast

ROOT = Path(holdfast.__file__).parent
LIMITS = ROOT / "core" / "limits.py"
NOT_SHIPPED = "testing"

FIXED = {
    "cli": "CHECK_FAILED WRONG_USE INTERRUPTED",  # exit codes
    "core/backoff": "RETRY_AFTER_MS_MAX _DOUBLINGS_MAX _FLOOR_PART",  # the arithmetic of waits
    "core/clock": "DRIFT_PPM_MAX SAMPLE_AGE_US_MAX LATENCY_US_MAX SLACK_US",  # and of clocks
    "core/session_events": "HEARTBEATS_MISSED",
    "core/connection/failures": "_TOO_MANY_REQUESTS",  # a status code
    "core/digest": "_MODULUS HASH_BYTES",
    "core/enrolment_codes": "CODE_LENGTH _GROUP _TOKEN_BYTES",
    "core/ids": "TRANSACTION_ID_BYTES UUID7_US_MAX _VERSION _VARIANT",
    "core/merging/rows": "COUNTER_BITS COUNTER_MAX",
    "protocol": "_GZIP PROTOCOL",
    "replica/changes/dependence": "NEVER",
    "replica/exchange/exchanger": "NEVER",
    "replica/failures": "_NETWORK_SIGN_IN",
    "replica/http/transport": "_PROBE_DEADLINE_MS",  # made of a limit
    "replica/salvage": "_SAMPLE_PAGES _LIKELY INDEX_INNER TABLE_INNER INDEX_LEAF TABLE_LEAF",
    "replica/identity/fork": "REPLICA_BYTES",
    "replica/load/snapshot_file": "SNAPSHOT_FORMAT _HEADER_BYTES _MODULUS",
    "core/connection/history": "_DAY_US",
    "server/backup/postgres_restore": "_NAME_LENGTH",  # PostgreSQL's
    "server/backup/sqlite_use": "_LOCK_PAGE _LOCK_BYTES",  # of SQLite's lock page
    "server/feed": "SCOPE_KEY_BYTES _MODULUS",
    "server/files": "_US _GRACE_US SNAPSHOT_FORMAT _PAGE_BYTES",
    "server/identity": "_DAY_US _MINUTE_US _RUN",
    "server/maintenance/retention": "DAY_US",
    "server/merging/journal": "_HALF_BITS _HALF _ROUNDS",  # a cipher of page marks
    "server/push/quotas": "_DAY_MS",
    "server/store/sqlite/files": "_SUM_BYTES",
    "sql": "PROGRAM_FORMAT _NAME_BYTES_MAX",  # the latter is PostgreSQL's
    "sqlite/guard": "_SHARED_FIRST _SHARED_BYTES",  # of SQLite's lock page
}
"""Numbers that stand elsewhere, by module or package."""


def numbers(tree: ast.Module) -> Iterator[str]:
    """The names of a module's constants that are numbers, or made of them."""
    parts = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Name, ast.Load,
             ast.Attribute)  # fmt: skip
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target = node.target
        else:
            continue
        value = node.value
        assert value is not None
        inside = list(ast.walk(value))
        literals = [part.value for part in inside if isinstance(part, ast.Constant)]
        if (
            isinstance(target, ast.Name)
            and literals
            and all(type(literal) in (int, float) for literal in literals)
            and all(isinstance(part, parts) for part in inside)
        ):
            yield target.id


def fixed(place: str) -> set[str]:
    """What a module may hold, by its own name or that of a package it is in."""
    return {
        name
        for where, names in FIXED.items()
        if place == where or place.startswith(f"{where}/")
        for name in names.split()
    }


def test_numbers_are_limits_or_fixed() -> None:
    found: list[str] = []
    used: set[str] = set()
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT).with_suffix("").as_posix()
        if path == LIMITS or place.startswith(f"{NOT_SHIPPED}/"):
            continue
        held = set(numbers(tree_of(path)))
        found += [f"{place}: {name}" for name in sorted(held - fixed(place))]
        used |= held & fixed(place)
    assert found == [], "a limit or a pace: move it to core/limits.py, or say here what fixes it"
    assert {name for names in FIXED.values() for name in names.split()} == used, "no such number"


def test_a_number_is_found_however_it_is_written() -> None:
    source = (
        "A = 4\nB: Final = 4 * MIB\n_C_MS = 2.5\nD = (1 << 48) - 1\nE = 'x'\nF = True\nG = f(2)"
    )
    assert list(numbers(ast.parse(source))) == ["A", "B", "_C_MS", "D"]


def test_every_limit_is_used() -> None:
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py") if path != LIMITS
    )
    words = set(re.findall(r"\w+", sources))
    own = LIMITS.read_text(encoding="utf-8")
    for name in numbers(tree_of(LIMITS)):
        assert name in words or own.count(name) > 1, f"{name} limits nothing"


BROWSER = ROOT.parents[2] / "browser" / "src"
APART = {
    "core/limits PAGE_CACHE_KIB": "a page cannot let the system's cache do the rest",
}
"""Numbers that a browser has for itself, under the name that Python has for its own."""
CONSTANT = re.compile(r"^(?:export )?const ([A-Z][A-Z0-9_]*)(?:: \w+)? =\s*([^;]*);", re.MULTILINE)


def evaluated(source: str, known: dict[str, int | float]) -> dict[str, int | float]:
    """The constants of a module that are numbers, in Python or TypeScript."""
    found = dict(known)
    for name, written in CONSTANT.findall(source):
        text = re.sub(r"\b(\d[\d_]*)n\b", r"\1", written)  # of type bigint
        text = text.replace("Number.MAX_SAFE_INTEGER", str(2**53 - 1))
        words = set(re.findall(r"\b[A-Za-z_]\w*", re.sub(r"0x[0-9a-f]+", "0", text)))
        if re.fullmatch(r"[\w\s.()<+*/-]+", text) and words <= found.keys():
            value = eval(text, {"__builtins__": {}}, found)
            if type(value) in (int, float):
                found[name] = value
    return {name: value for name, value in found.items() if name not in known}


def snake(part: str) -> str:
    """Return the Python name of what TypeScript calls in camel case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part).lower()


def test_both_languages_have_the_same_numbers() -> None:
    """A constant of a module, and of the one of that name in the other language, is one number."""
    limits = (BROWSER / "core/limits.ts").read_text(encoding="utf-8")
    typescript = evaluated(limits, {})
    assert list(typescript) == re.findall(r"^export const (\w+)", limits, re.MULTILINE)
    compared = differ = 0
    for path in sorted(BROWSER.rglob("*.ts")):
        place = "/".join(snake(part) for part in path.relative_to(BROWSER).with_suffix("").parts)
        twin = ROOT / f"{place}.py"
        if not twin.is_file():
            continue
        source = path.read_text(encoding="utf-8")
        ours = typescript if place == "core/limits" else evaluated(source, typescript)
        module = importlib.import_module(f"holdfast.{place.replace('/', '.')}")
        for name, value in ours.items():
            theirs = vars(module).get(name, vars(module).get(f"_{name}"))
            if theirs is None:
                continue
            compared += 1
            if f"{place} {name}" in APART:
                differ += 1
                assert theirs != value, f"{place} {name} is the same now: it is not apart"
            else:
                assert theirs == value, f"{place}: {name}"
    assert compared > 50
    assert differ == len(APART)


def test_what_typescript_writes_is_read_as_numbers() -> None:
    source = (
        "const A = 4;\nexport const B = 2 * KIB;\nconst C: bigint = -(2n ** 63n);\n"
        "const D = 1_000n;\nconst E = f(2);\nconst F = Number.MAX_SAFE_INTEGER;\nlet G = 2;\n"
        "const H =\n  0x8000;\n"
    )
    assert evaluated(source, {"KIB": 1024}) == {
        "A": 4, "B": 2048, "C": -(2**63), "D": 1000, "F": 2**53 - 1, "H": 0x8000,
    }  # fmt: skip
