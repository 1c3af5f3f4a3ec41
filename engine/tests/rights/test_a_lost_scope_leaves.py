"""What a device may not read any more leaves it: also the bytes of its file.

Checks I24.
"""

from __future__ import annotations

import random

from stores import Stores, canary


def test_no_byte_of_a_lost_scope_stays_in_the_file(stores: Stores) -> None:
    """Rows, their older values, and the device's own acknowledged work on them."""
    rng = random.Random(1)
    kept, lost = (canary(rng) for _ in range(2))
    stores.grant("boss", write=("*",))
    stores.grant("one", write=(f"store/{kept}", f"store/{lost}"))
    words: dict[str, list[str]] = {kept: [kept], lost: [lost]}
    for store in (kept, lost):
        for number in range(40):
            key, text = canary(rng), canary(rng) * (1 + 300 * (number % 7 == 0))
            words[store] += [key, text[:16]]
            row = (key, store, text)
            stores.write("boss", ("INSERT INTO box (id, store_id, text) VALUES (?, ?, ?)", row))
    for name in ("boss", "one"):
        stores.sync(name)
    for store in (kept, lost):
        text = canary(rng)
        words[store].append(text)
        stores.write("one", ("UPDATE box SET text = ? WHERE store_id = ?", (text, store)))
    stores.sync("one")
    files = "replica.db", "replica.db-wal"
    held = b"".join(stores.bytes_of("one").get(name, b"") for name in files)
    assert all(word.encode() in held for word in words[lost])

    stores.grant("one", write=(f"store/{kept}",))
    stores.sync("one")
    held = b"".join(stores.bytes_of("one").get(name, b"") for name in files)
    assert [word for word in words[lost] if word.encode() in held] == []
    assert all(row[0] == kept for row in stores.device("one").query("SELECT store_id FROM box"))
    assert stores.device("one").query("SELECT count(*) FROM box") == [(40,)]
    assert stores.device("one").verify().ok
