"""The rules of the house that no linter knows; `make lint` holds every file of it to them.

- No file names a package registry's host: where packages come from is the machine's business.
- No module of Python or TypeScript is longer than 600 lines (a file of tests: 1,000): a module has
  one idea.
- Every relative link in a Markdown page leads somewhere, down to the heading.
"""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
MODULE_LINES_MAX = 600
TEST_LINES_MAX = 1000

# Spelled in parts, so that this file keeps its own rule.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
    )
)
REGISTRY_PATTERN = re.compile(
    "|".join(rf"(?<![\w-]){re.escape(host)}\b" for host in REGISTRY_HOSTS), re.IGNORECASE
)

FENCE = re.compile(r"^ {0,3}(```+|~~~+).*?^ {0,3}\1", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)<>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)", re.MULTILINE)
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
EXPLICIT_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
EXTERNAL = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


def repository_files() -> list[Path]:
    """Return what is committed or would be: ignored files are nobody's concern."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    paths = {ROOT / name for name in listed.split("\0") if name}
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())


def read_text(path: Path) -> str | None:
    """Return a file's text, or None when it holds something else."""
    data = path.read_bytes()
    if b"\0" in data[:8192]:
        return None
    return data.decode(errors="replace")


def check_registry_hosts(_path: Path, text: str) -> Iterator[str]:
    """Find lines that name a registry's host."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := REGISTRY_PATTERN.search(line):
            yield f"{number}: names a package registry: {found[0]}"


def check_length(path: Path, text: str) -> Iterator[str]:
    """Find modules that hold more than one idea; what is generated has none."""
    lines = text.count("\n")
    lines_max = TEST_LINES_MAX if "tests" in path.parts else MODULE_LINES_MAX
    written = path.suffix in {".py", ".ts"} and not path.name.endswith(".generated.ts")
    if written and lines > lines_max:
        yield f"{lines}: longer than {lines_max} lines; a module has one idea"


def check_links(path: Path, text: str) -> Iterator[str]:
    """Find relative links of a Markdown page that lead nowhere."""
    if path.suffix != ".md":
        return
    prose = CODE_SPAN.sub(_blank, FENCE.sub(_blank, text))
    for pattern in (LINK, REFERENCE):
        for match in pattern.finditer(prose):
            target = match[1]
            if EXTERNAL.match(target):
                continue
            if problem := _link_problem(path, target):
                yield f"{prose.count(chr(10), 0, match.start()) + 1}: {problem}: {target}"


def _link_problem(path: Path, target: str) -> str | None:
    name, _, fragment = unquote(target).partition("#")
    name = name.partition("?")[0]
    base = ROOT if name.startswith("/") else path.parent
    linked = (base / name.lstrip("/")).resolve() if name else path
    if not linked.exists():
        return "link leads nowhere"
    if not linked.is_relative_to(ROOT):
        return "link leaves the repository"
    if fragment and linked.suffix == ".md" and fragment not in anchors(linked.read_text()):
        return "no such heading"
    return None


def anchors(text: str) -> set[str]:
    """Return the fragments that a Markdown page answers to, as code hosts derive them."""
    found = set(EXPLICIT_ANCHOR.findall(text))
    seen: dict[str, int] = {}
    for match in HEADING.finditer(FENCE.sub(_blank, text)):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1]).replace("`", "")
        kept = (c for c in title.lower() if c in " -_" or unicodedata.category(c)[0] in "LNM")
        slug = "".join(kept).strip().replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found


def _blank(match: re.Match[str]) -> str:
    """Empty a passage but keep its lines, so that numbers stay true."""
    return "\n" * match[0].count("\n")


CHECKS: tuple[Callable[[Path, str], Iterator[str]], ...] = (
    check_registry_hosts,
    check_length,
    check_links,
)


def main() -> int:
    """Check every file; print what is wrong; return the exit code."""
    files = repository_files()
    problems = [
        f"{path.relative_to(ROOT)}:{problem}"
        for path in files
        if (text := read_text(path)) is not None
        for check in CHECKS
        for problem in check(path, text)
    ]
    for problem in problems:
        print(problem)
    print(f"house: {len(files)} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
