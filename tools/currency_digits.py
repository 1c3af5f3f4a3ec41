"""Write the digits of currencies for the web app, from the table that Stockroom's Python uses.

`--check` writes nothing, and ends with 1 when the file is not what would be written.
"""

from __future__ import annotations

import sys
from pathlib import Path

from stockroom.money import unusual_digits

TARGET = Path(__file__).resolve().parents[1] / "stockroom/web/src/data/currencies.generated.ts"
HEAD = """\
/** Made by `tools/currency_digits.py` from ISO 4217; do not edit. */

/** Digits after the point, where they are not two. */
export const UNUSUAL_DIGITS: Readonly<Record<string, number>> = {
"""


def module() -> str:
    """Return the text of the TypeScript module."""
    lines = (f"  {code}: {places},\n" for code, places in unusual_digits().items())
    return f"{HEAD}{''.join(lines)}}};\n"


def main(arguments: list[str]) -> int:
    """Write the file, or compare it."""
    if arguments != ["--check"]:
        TARGET.write_text(module(), encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") == module():
        return 0
    print(f"{TARGET.name} is stale: run tools/currency_digits.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
