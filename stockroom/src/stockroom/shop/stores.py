"""The stores of a shop: added, renamed, found by the name that people use.

Knows: a store's row and its first location. Must not know: who works there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.core.errors import UsageError
from holdfast.core.values import Value
from stockroom import ids
from stockroom.schema import FIRST_LOCATION_NAME
from stockroom.shop.desk import Desk
from stockroom.shop.names import cleaned, folded, fresh, slug
from stockroom.shop.tables import Tables, insert

A_STORE: Final = "a store"


@dataclass(frozen=True, slots=True)
class Store:
    """A store. A name is missing where a device has opened the store offline."""

    id: str
    name: str

    @property
    def shown(self) -> str:
        return self.name or self.id


def list_stores(tables: Tables) -> list[Store]:
    """All stores by name."""
    rows = tables.execute("SELECT id, name FROM store")
    return sorted((Store(str(i), str(n)) for i, n in rows), key=lambda one: folded(one.shown))


def find_store(stores: Sequence[Store], wanted: str) -> Store:
    """The store that is called so, or has this id.

    Raises `UsageError`: `unknown_store`, `store_unclear`.
    """
    exact = [one for one in stores if wanted in (one.name, one.id)]
    found = exact or [one for one in stores if folded(one.name) == folded(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(one.id for one in found)
        raise UsageError(
            f"{len(found)} stores are called {wanted!r}: say which by its id ({which})",
            code="store_unclear",
        )
    known = ", ".join(one.shown for one in stores)
    raise UsageError(
        f"there is no store {wanted!r}; "
        + (f"there are: {known}. " if known else "there is none yet. ")
        + "Add it with `stockroom store add`",
        code="unknown_store",
    )


def only_store(stores: Sequence[Store], wanted: str | None) -> Store:
    """The store that is named, or the only one. Raises also `UsageError` (`no_store`)."""
    if wanted is not None:
        return find_store(stores, wanted)
    if len(stores) == 1:
        return stores[0]
    known = ", ".join(one.shown for one in stores) or "none yet"
    raise UsageError(f"say which store (--store NAME); there are: {known}", code="no_store")


def add_store(desk: Desk, name: str) -> tuple[Store, bool]:
    """The store of this name, and whether it is new: one that is there already stays as it is."""
    wanted = cleaned(name, A_STORE)
    with desk.transaction() as tables:
        return ensure_store(tables, wanted, desk.now_us())


def ensure_store(tables: Tables, name: str, now_us: int) -> tuple[Store, bool]:
    """The same inside a transaction."""
    stores = list_stores(tables)
    for one in stores:
        if folded(one.name) == folded(name):
            return one, False
    store_id = slug(name, now_us)
    if any(one.id == store_id for one in stores):
        store_id = fresh(now_us)
    store = Store(store_id, name)
    insert(tables, "store", {"id": store.id, "name": store.name})
    first = ids.first_location_id(store.id)
    location: dict[str, Value] = {
        "id": first,
        "store_id": store.id,
        "name": FIRST_LOCATION_NAME,
        "archived": 0,
    }
    insert(tables, "location", location)
    return store, True


def rename_store(desk: Desk, wanted: str, name: str) -> tuple[Store, bool]:
    """The store under its new name, and whether that is a change.

    Raises `UsageError`: `unknown_store`, `store_unclear`, `exists`.
    """
    new = cleaned(name, A_STORE)
    with desk.transaction() as tables:
        stores = list_stores(tables)
        taken = next((one for one in stores if folded(one.name) == folded(new)), None)
        try:
            store = find_store(stores, wanted)
        except UsageError:
            if taken is None or taken.name != new:
                raise
            return taken, False  # done before
        if taken is not None and taken.id != store.id:
            raise UsageError(f"there is a store {taken.name!r} already", code="exists")
        if store.name == new:
            return store, False
        tables.execute("UPDATE store SET name = ? WHERE id = ?", (new, store.id))
        return Store(store.id, new), True
