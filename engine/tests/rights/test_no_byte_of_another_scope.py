"""No byte of a row outside a device's scopes reaches it: random histories, all bytes read.

Checks I23.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest
from histories import History
from stores import Stores

pytestmark = pytest.mark.slow
STEPS = 20
REACHED_MIN = 6


@pytest.mark.parametrize(("seed", "by_file"), [(0, False), (1, False), (2, False), (3, True)])
def test_random_histories(make_stores: Callable[..., Stores], seed: int, by_file: bool) -> None:
    history = History(make_stores(by_file=by_file), seed)
    assert history.run(STEPS) == []
    seen = history.oracle
    for name in history.stores.devices:
        assert seen.everything - seen.allowed[name] or name == "boss", "nothing was kept from it"
        content = b"".join(history.stores.bytes_of(name).values())
        reached = (word for word in sorted(seen.allowed[name]) if word in content)
        assert len(list(islice(reached, REACHED_MIN))) == REACHED_MIN, "nothing reached it"
    assert (history.stores.recorder.files > 3) == by_file, "nothing came as a file, or all did"
