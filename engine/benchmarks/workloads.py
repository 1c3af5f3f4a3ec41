"""The workloads W1 to W6 and the conflict batch (WC), each on the databases it concerns.

Knows: which there are. Must not know: what is done in them, or how results are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import w1_load
import w2_upload
import w3_live
import w4_local
import w5_change
import w6_decrement
from bench import Measured
from databases import Kind
from sizes import Sizes

_ON_SERVER: dict[str, Callable[[Path, Kind, Sizes], Iterator[Measured]]] = {
    "W1": w1_load.measure,
    "W2": w2_upload.measure,
    "W3": w3_live.measure,
    "W5": w5_change.measure,
    "W6": lambda folder, kind, _sizes: w6_decrement.measure(folder, kind),
    "WC": w2_upload.measure_conflicts,
}
_LOCAL: dict[str, Callable[[Path, Sizes], Iterator[Measured]]] = {"W4": w4_local.measure}
NAMES = tuple(sorted({**_ON_SERVER, **_LOCAL}))


def run(
    folder: Path, sizes: Sizes, kinds: Sequence[Kind], only: frozenset[str]
) -> Iterator[Measured]:
    """Measure the workloads named in ``only``, or all, on each of ``kinds``."""
    for name in NAMES:
        if only and name not in only:
            continue
        if name in _LOCAL:
            yield from _LOCAL[name](_place(folder, name), sizes)
            continue
        for kind in kinds:
            yield from _ON_SERVER[name](_place(folder, f"{name}-{kind.name}"), kind, sizes)


def _place(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path
