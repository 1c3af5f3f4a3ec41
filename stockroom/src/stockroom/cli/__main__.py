"""`python -m stockroom.cli`: the same as `stockroom`."""

from __future__ import annotations

from stockroom.cli import main

if __name__ == "__main__":
    main()
