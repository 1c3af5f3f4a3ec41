"""The ``holdfast`` command."""

from __future__ import annotations

import json
import sys

from holdfast.extras import extra_missing


def main() -> None:
    """Entry point. Where the libraries of a part are not installed, it says what brings them, and
    exits with 2."""
    try:
        from holdfast.cli.app import main as run

        run()
    except ImportError as error:
        missing = extra_missing(error)
        if missing is None:
            raise
        if "--json" in sys.argv[1:]:
            told = {"code": missing.code, "message": missing.message}
            sys.stdout.write(json.dumps({"ok": False, "error": told}) + "\n")
        sys.stderr.write(f"{missing.code}: {missing.message}\n")
        sys.exit(2)


__all__ = ["main"]
