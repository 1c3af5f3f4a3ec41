"""Extras: which libraries come with which part of the package, and what to install for a part.

Knows: names of libraries and extras. Must not know: whether a library is there, or who needs it.
A client needs none of them. ``pyproject.toml`` says the same; a test compares both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.core.errors import UsageError

EXTRAS: Final[Mapping[str, frozenset[str]]] = {
    "cli": frozenset({"rich", "structlog", "typer"}),
    "server": frozenset({"anyio", "argon2", "httptools", "starlette", "uvicorn", "uvloop"}),
    "postgres": frozenset({"psycopg", "psycopg_pool"}),
    "prometheus": frozenset({"prometheus_client"}),
    "tls": frozenset({"cryptography"}),
    "zstd": frozenset({"backports"}),
}
"""The modules that an extra brings, by the name that is imported."""

_PARTS: Final = {
    "cli": "the holdfast command",
    "server": "the server",
    "postgres": "PostgreSQL",
    "prometheus": "the metrics",
    "tls": "TLS",
    "zstd": "zstd",
}


class ExtraMissing(UsageError, ImportError):
    """A part of Holdfast whose libraries are not installed. ``extra`` brings them."""

    code = "extra_missing"

    def __init__(self, extra: str, module: str) -> None:
        super().__init__(
            f"{_PARTS[extra]} needs {module}, which is not installed: "
            f'pip install "holdfast-sync[{extra}]"',
            extra=extra,
        )
        self.extra = extra


def extra_missing(error: ImportError) -> ExtraMissing | None:
    """Return what to tell of a failed import; None for a module that no extra brings."""
    module = (error.name or "").partition(".")[0]
    for extra, modules in EXTRAS.items():
        if module in modules:
            return ExtraMissing(extra, module)
    return None
