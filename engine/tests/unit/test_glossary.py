"""The glossary has the words that names are made of, and says where one name means two things."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

from parsed import nodes_of

ROOT = Path(__file__).parents[3]
GLOSSARY = ROOT / "docs" / "glossary.md"
ENGINE = ROOT / "engine" / "src" / "holdfast"
BROWSER = ROOT / "browser" / "src"
ENDINGS = ("", "s", "d", "ed", "r", "er", "or", "ing")

PLAIN = """
    access account advanced again answer api app apply apsw arriving at attached attempt
    attention authenticator await bad batch be body broken build built busy by bytes certificate
    check child choice chosen clock close cluster code column commit compare comparison
    completed composer
    config conformance connection constraint context cookie corrupt daily data database decided
    decision directory disk down download driver end endpoint engine enrolled entry error event
    extra
    exist expect fail failure fair fault fetch fold foreign forgotten front full function gone
    growth guard hash header health hint hosting http import in inspect invite job keeper kind
    interrupt known last library limit line listen live load local lock maintenance malformed memory
    message metrics migration miss moved mutex need notifier observe offline ok only open opfs
    option order out outside pack page part password patience pause people plan platform
    postgres prepare process progress protocol proxies proxy pull query queue ran random rate
    reached read reason reauthenticator received record reference refresh refuse reply request
    resolution result resume revoke row run sample script second seen sender serve service sign size
    socket sql sqlite start state statement stats status stdlib still stop stopper stream
    subscription sync tab table taken task thread tick time token total touch transition
    tls transport trouble try type unpack upgrade usage user value verdict volume wait wake watch
    wire work
"""
"""Words of computing and of everyday English: they mean here what they mean everywhere."""


def words(name: str) -> list[str]:
    """``HttpEventStream``: http, event, stream."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]*|[a-z]+", name)]


@cache
def classes() -> dict[str, list[str]]:
    """The public classes of the engine, with the modules they are in."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(ENGINE.rglob("*.py")):
        for node in nodes_of(path):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path.relative_to(ENGINE).with_suffix("").as_posix())
    return found


def exported() -> set[str]:
    """Classes and types that modules of the browser's replica export."""
    kinds = r"^export (?:abstract )?(?:class|interface|type) (\w+)"
    return {
        name
        for path in BROWSER.rglob("*.ts")
        for name in re.findall(kinds, path.read_text(encoding="utf-8"), re.MULTILINE)
    }


def glossary() -> set[str]:
    """Single words of the entries, and those that the entries put in bold."""
    bold = re.findall(r"\*\*([^*]+)\*\*", GLOSSARY.read_text(encoding="utf-8"))
    return {word.lower() for entry in bold for word in re.findall(r"[A-Za-z]+", entry)}


def forms(known: set[str]) -> set[str]:
    """Words with their endings: exchange, exchanges, exchanged, exchanger."""
    stems = set(known)
    for ending in ("al", "d", "e", "ed", "ment", "s", "sal"):
        stems |= {word.removesuffix(ending) for word in known if len(word) > len(ending) + 2}
    stems |= {word.removesuffix("y") + "ie" for word in known if word.endswith("y")}
    stems |= {word + word[-1] for word in known if len(word) <= 4}  # log, logged; run, runner
    return {stem + ending for stem in stems for ending in ENDINGS}


def test_names_of_classes_are_made_of_known_words() -> None:
    known = forms(glossary() | set(PLAIN.split())) | {"holdfast"}
    strange = {
        name: missing
        for name in [*classes(), *sorted(exported())]
        if (missing := [word for word in words(name) if word not in known])
    }
    assert not strange, "neither in the glossary nor plain words"


def test_the_list_has_no_words_that_no_name_has() -> None:
    used = {word for name in [*classes(), *exported()] for word in words(name)}
    assert not [word for word in PLAIN.split() if used.isdisjoint(forms({word}))]


def test_words_are_entered_once() -> None:
    entries = re.findall(
        r"^\| \*\*([^*]+)\*\* ?(\([^|]*\))? *\|", GLOSSARY.read_text("utf-8"), re.MULTILINE
    )
    assert len(entries) > 90
    assert len(entries) == len(set(entries))


def test_classes_of_one_name_are_told_apart() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| `([\w/]+)`: [^|]+ \| `([\w/]+)`: [^|]+ \|$",
        GLOSSARY.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    told = {name: sorted(places) for name, *places in rows}
    assert told == {name: sorted(at) for name, at in classes().items() if len(at) > 1}


def test_words_that_the_walk_puts_in_bold_are_entries() -> None:
    page = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    bold = {word for word in re.findall(r"\*\*([a-z ]+)\*\*", page) if word != "bold"}
    assert len(bold) > 15
    known = forms(glossary())
    strange = [entry for entry in bold if not known.issuperset(entry.split())]
    assert not strange
