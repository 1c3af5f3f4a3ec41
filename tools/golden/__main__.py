"""`python -m golden [--anew] [family ...]`: write the files of `protocol/vectors/` that differ."""

from __future__ import annotations

import sys

from golden.families import FAMILIES


def main() -> int:
    """Write them."""
    anew = "--anew" in sys.argv
    wanted = set(sys.argv[1:]) - {"--anew"} or set(FAMILIES)
    for name in sorted(wanted):
        family = FAMILIES[name]
        text = family.document(anew=anew)
        if not family.path.is_file() or family.path.read_text(encoding="utf-8") != text:
            family.path.write_text(text, encoding="utf-8")
            print(f"{family.path.name}: {len(family.stored())} cases, {len(text) // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
