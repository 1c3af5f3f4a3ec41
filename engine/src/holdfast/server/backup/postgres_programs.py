"""PostgreSQL's own programs: where they are, and how they are run.

Knows: ``pg_dump``, ``pg_restore``, their versions and their complaints. Must not know: what is in a
dump. A password never stands in a command line, which every account of a machine can read.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from holdfast.core.errors import DatabaseError, UsageError

_DEBIAN: Final = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """The folder with PostgreSQL's programs, and their major version."""

    folder: Path
    version: int

    def command(self, name: str, *arguments: str) -> list[str]:
        return [str(self.folder / name), *arguments]


def find_programs(folder: Path | None, *, version: int) -> PostgresPrograms:
    """Programs that are as new as the server (``version``: its major one), or newer: in a given
    folder, on PATH, or where Debian keeps them. Raises ``UsageError`` (``no_programs``)."""
    found: list[PostgresPrograms] = []
    for place in _places(folder):
        programs = _programs_in(place)
        if programs is not None and programs.version >= version:
            return programs
        if programs is not None:
            found.append(programs)
    wanted = f"pg_dump and pg_restore of PostgreSQL {version} or newer are needed"
    if found:
        old = ", ".join(f"{p.folder} has {p.version}" for p in found)
        raise UsageError(
            f"{wanted}; {old}. Install the client of that version, or name its folder "
            "with --pg-bin",
            code="no_programs",
        )
    where = "on PATH" if folder is None else f"in {folder}"
    raise UsageError(
        f"{wanted}, and there are none {where}. Install PostgreSQL's client (Debian: "
        "postgresql-client), or name its folder with --pg-bin",
        code="no_programs",
    )


def _places(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    on_path = shutil.which("pg_dump")
    if on_path is not None:
        yield Path(on_path).parent
    homes = [home for home in _DEBIAN.glob("*/bin") if home.parent.name.isdigit()]
    yield from sorted(homes, key=lambda home: -int(home.parent.name))


def _programs_in(folder: Path) -> PostgresPrograms | None:
    versions = []
    for name in ("pg_dump", "pg_restore"):
        try:
            done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
                [str(folder / name), "--version"], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        number = re.search(r"(\d+)(?:\.|devel|beta|rc|\s|$)", done.stdout.partition(")")[2])
        if number is None:
            return None
        versions.append(int(number[1]))
    return PostgresPrograms(folder, min(versions))


def connection_of(url: str) -> tuple[str, dict[str, str]]:
    """An address for a command line, and the environment with the password that was in it."""
    parts = {str(name): str(value) for name, value in conninfo_to_dict(url).items()}
    password = parts.pop("password", "")
    environment = {**os.environ, "LC_ALL": "C"}
    if password:
        environment["PGPASSWORD"] = password
    return make_conninfo(**parts), environment


@contextlib.contextmanager
def reading(command: Sequence[str], copy: Path) -> Iterator[IO[bytes]]:
    """Output of a program about a dump; all of it is read to the end.

    Raises ``UsageError`` (``not_a_backup``) when the program gives up.
    """
    with subprocess.Popen(  # noqa: S603 - PostgreSQL's own program
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        try:
            yield process.stdout
        except BaseException:
            process.kill()
            raise
        while process.stdout.read(1 << 16):
            """The rest is of no interest, but whether it can be read is."""
        words = process.stderr.read().decode(errors="replace")
    if process.returncode:
        raise UsageError(
            f"{copy} cannot be read as a dump of PostgreSQL: {complaint(words)}",
            code="not_a_backup",
        )


def complaint(words: str) -> str:
    """The error in what a program has said."""
    lines = [line for line in words.splitlines() if "error:" in line or "FATAL" in line]
    return (lines or words.strip().splitlines() or ["no reason was told"])[0].strip()


def failed_dump(words: str) -> DatabaseError:
    return DatabaseError(f"pg_dump failed: {complaint(words)}", code="dump_failed")
