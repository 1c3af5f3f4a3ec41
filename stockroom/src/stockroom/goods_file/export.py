"""The shop's goods and what is on hand as a CSV file, which can be brought back in.

Knows: the shop's tables, and how spreadsheets read such a file. Must not know: who asks.
"""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Final

from stockroom.goods_file.lines import FORMULA
from stockroom.money import digits
from stockroom.packs import write_pack
from stockroom.shop.desk import Desk
from stockroom.shop.stores import Store, find_store, list_stores

_HEADS: Final = (
    "SKU", "name", "price", "currency", "barcode", "category", "shelf", "unit", "archived",
)  # fmt: skip
_GOODS: Final = (
    "SELECT p.id, p.sku, p.name, p.price, p.currency, coalesce(c.name, ''), p.shelf, p.unit, "
    "p.archived, p.unpriced, p.merged_into FROM product AS p "
    "LEFT JOIN category AS c ON c.id = p.category_id ORDER BY p.sku, p.id"
)
BOM: Final = "\ufeff"
"""By which spreadsheets know UTF-8."""


def export(desk: Desk, *, store: str | None = None) -> tuple[str, int]:
    """The file as text, and how many products are in it.

    One column of quantities for the store that is named, or is the only one; else one a store.
    Raises `UsageError`: `unknown_store`, `store_unclear`.
    """
    with desk.transaction() as tables:
        stores = list_stores(tables)
        if store is not None:
            stores = [find_store(stores, store)]
        goods = tables.execute(_GOODS)
        merged = {str(row[0]): str(row[-1]) for row in goods if row[-1] is not None}
        codes: dict[str, list[str]] = {}
        for product, code, pack in tables.execute(
            "SELECT product_id, code, pack FROM barcode ORDER BY code"
        ):
            known = write_pack(str(code), int(pack))
            codes.setdefault(_lead(str(product), merged), []).append(known)
        on_hand: dict[tuple[str, str], int] = {}
        for product, at, total in tables.execute(
            "SELECT product_id, store_id, sum(quantity) FROM movement GROUP BY product_id, store_id"
        ):
            place = (_lead(str(product), merged), str(at))
            on_hand[place] = on_hand.get(place, 0) + int(total)
        goods = [row for row in goods if row[-1] is None]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*_HEADS, *_quantities(stores)])
    for product, sku, name, price, currency, category, shelf, unit, archived, unpriced, _ in goods:
        cells = [
            sku, name, _price(int(price), str(currency), unpriced=bool(unpriced)), currency,
            ", ".join(codes.get(str(product), [])), category, shelf, unit,
            "yes" if archived else "",
        ]  # fmt: skip
        amounts = [str(on_hand.get((str(product), one.id), 0)) for one in stores]
        writer.writerow([*(_guarded(str(cell)) for cell in cells), *amounts])
    return text.getvalue(), len(goods)


def _lead(product: str, merged: dict[str, str]) -> str:
    """The product that leads: of goods that were made one, only one is in the file."""
    seen = {product}
    while (lead := merged.get(product)) is not None and lead not in seen:
        product = lead
        seen.add(lead)
    return product


def _quantities(stores: list[Store]) -> list[str]:
    return ["quantity"] if len(stores) == 1 else [f"on hand: {one.shown}" for one in stores]


def _price(minor: int, currency: str, *, unpriced: bool) -> str:
    """The price; nothing where there is none yet."""
    return "" if unpriced and minor == 0 else _amount(minor, currency)


def _amount(minor: int, currency: str) -> str:
    places = digits(currency)
    return f"{Decimal(minor).scaleb(-places):.{places}f}"


def _guarded(cell: str) -> str:
    """The cell, so that no spreadsheet takes it for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell
