"""Files that are made from others: written where they differ, or only found stale.

Knows: texts and where they belong. Must not know: what is in them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(folder: Path, texts: Mapping[str, str]) -> int:
    """Write the texts that a folder of the repository does not have yet, by file name.

    With `--check` on the command line nothing is written; the status is 1 where one is stale.
    """
    check = "--check" in sys.argv[1:]
    stale = 0
    for name, text in texts.items():
        path = folder / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        state = "stale, run `make protocol`" if check else "written"
        print(f"{path.relative_to(ROOT)}: {state}")
    return 1 if stale and check else 0
