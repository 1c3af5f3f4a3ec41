"""A line of a file as goods, or the reasons why it is none.

Knows: what a product needs, and what is likely to be a slip. Must not know: what is in the shop.
"""

from __future__ import annotations

import dataclasses
import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from stockroom.codes import canonical, doubt
from stockroom.goods_file.amounts import decimal_mark, parse
from stockroom.goods_file.reading import CELL_LENGTH_MAX, Field, Line, Sheet
from stockroom.money import digits
from stockroom.packs import is_pack, read_pack
from stockroom.prices import read_price
from stockroom.schema import PACK_MAX, QUANTITY_MAX
from stockroom.shop.names import folded

QUANTITY_LIKELY_MAX: Final = 1_000_000
"""More than this is a slip, as a barcode in the wrong column is."""
_GUARD: Final = "'"
"""Stands before what a spreadsheet would take for a formula."""
_OF_THE_CURRENCY: Final = {"digits": "price_digits", "currency": "other_currency"}
FORMULA: Final = ("=", "+", "-", "@", "\t")

_SAID: Final = {
    "no_name": "there is no name",
    "no_sku": "there is no SKU",
    "too_long": "{field} is longer than {max} characters",
    "bad_letters": "{field} has characters that cannot be shown",
    "bad_price": "{text!r} is not a price",
    "price_digits": "{text!r} has more digits than {currency} has",
    "other_currency": "{text!r} is in another currency than {currency}",
    "bad_currency": "{text!r} is not a currency",
    "bad_quantity": "{text!r} is not a whole number of pieces",
    "below_zero": "{text!r} is below zero",
    "likely_a_code": "{text!r} is no quantity: it looks like a barcode",
    "too_many": "{text!r} is more than a shop has",
    "bad_check_digit": "{text!r} is not a barcode: its last digit does not fit the others",
    "shortened": "{text!r} is what a spreadsheet has left of a barcode: format the column as text",
    "bad_pack": "a case holds 1 to {max} pieces, not {text}",
    "shifted": "it has {count} cells more than the first line: look for a missing quotation mark",
    "sku_twice": "the SKU {text!r} stands in line {line} already",
    "barcode_twice": "the barcode {text!r} stands in line {line} already",
    "sku_like": "there is a product with the SKU {text!r}: the same but for case or blanks?",
    "sku_merged": "the SKU {text!r} is of goods that are one with {name!r} now",
    "sku_of_another": "the SKU {text!r} is that of another product, {name!r}",
    "barcode_taken": "the barcode {text!r} is that of {name!r}",
    "has_stock": "there is stock of it already: {text} was not booked; receive, adjust or count it",
    "not_allowed": "you may not {what} in this shop",
    "cost_of_managers": "what goods cost is for managers to see",
    "quantity_differs": "{before} were there in the beginning, not {text}: nothing was booked",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason why a line, or a part of it, was not taken. `code` and `said` are stable."""

    code: str
    field: Field | None = None
    said: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def text(self) -> str:
        """The reason in words."""
        return _SAID[self.code].format(**self.said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goods:
    """A line that makes sense alone. None: it says nothing of that; money in minor units."""

    line: int
    sku: str
    name: str | None
    price: int | None = None
    cost: int | None = None
    currency: str | None = None
    quantity: int | None = None
    barcodes: tuple[str, ...] = ()
    packs: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """The pieces in what has a code, where the line says so."""
    category: str | None = None
    shelf: str | None = None
    description: str | None = None
    unit: str | None = None
    made_up: bool = False
    """The SKU is ours, since the file has none."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A line that was not taken."""

    line: int
    sku: str
    name: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks before fractions, one a column."""

    price: str
    cost: str
    quantity: str


def marks_of(sheet: Sheet, currency: str, decimal: str | None = None) -> Marks:
    """The marks of a file's columns; `decimal`: somebody has said it."""
    if decimal:
        return Marks(decimal, decimal, decimal)
    places = digits(currency)
    price = decimal_mark(sheet.column("price"), places=places)
    return Marks(
        price,
        decimal_mark(sheet.column("cost"), places=places) if "cost" in sheet.columns else price,
        decimal_mark(sheet.column("quantity"), places=0),
    )


def goods_of(line: Line, marks: Marks, currency: str, currencies: frozenset[str]) -> Goods | Wrong:
    """Goods of a line, or all reasons why they are none."""
    reader = _Reader(line, currency, currencies)
    name = reader.text("name")
    packs = reader.barcodes()
    barcodes = tuple(packs)
    sku, made_up = reader.text("sku"), False
    if not sku:
        # Without one of its own, the same line has the same one at the next time too.
        made_up = bool(barcodes or name)
        sku = barcodes[0] if barcodes else _made_up(name) if name else ""
        if not sku:
            reader.refuse("no_sku", "sku")
    chosen = reader.currency()
    goods = Goods(
        line=line.number,
        sku=sku,
        name=name or None,
        price=reader.money("price", marks.price, chosen or currency),
        cost=reader.money("cost", marks.cost, chosen or currency),
        currency=chosen,
        quantity=reader.quantity(marks.quantity),
        barcodes=barcodes,
        packs={code: pack for code, pack in packs.items() if pack is not None},
        category=reader.text("category") or None,
        shelf=reader.text("shelf") or None,
        description=reader.text("description") or None,
        unit=reader.text("unit") or None,
        made_up=made_up,
    )
    if line.surplus:
        reader.refuse("shifted", None, count=line.surplus)
    if reader.reasons:
        return Wrong(line.number, sku, name, tuple(reader.reasons))
    return goods


class _Reader:
    """Reads a line's cells and gathers what is wrong with them."""

    def __init__(self, line: Line, currency: str, currencies: frozenset[str]) -> None:
        self._cells = line.cells
        self._currency = currency
        self._currencies = currencies
        self.reasons: list[Reason] = []

    def refuse(self, code: str, name: Field | None, **said: Any) -> None:
        self.reasons.append(Reason(code, name, said))

    def text(self, name: Field) -> str:
        cell = self._cells.get(name, "")
        if cell.startswith(_GUARD) and cell[1:2] in FORMULA:
            cell = cell[1:]
        if len(cell) > CELL_LENGTH_MAX:
            self.refuse("too_long", name, field=name, max=CELL_LENGTH_MAX)
            return ""
        if name != "description":
            cell = " ".join(cell.split()) if name != "sku" else cell
        hidden = (one for one in cell if unicodedata.category(one) in ("Cc", "Cs"))
        if any(one not in "\r\n\t" or name != "description" for one in hidden):
            self.refuse("bad_letters", name, field=name)
            return ""
        return unicodedata.normalize("NFC", cell)

    def barcodes(self) -> dict[str, int | None]:
        """The codes in their one form, each with its pack size where one is said.

        Several stand between commas or semicolons.
        """
        found: dict[str, int | None] = {}
        cell = self.text("barcode").replace(";", ",").replace("|", ",")
        for code, pack in map(read_pack, cell.split(",")):
            if (why := doubt(code)) is not None:
                self.refuse(why, "barcode", text=code)
            elif pack is not None and not is_pack(pack):
                self.refuse("bad_pack", "barcode", text=pack, max=PACK_MAX)
            elif code:
                found[canonical(code)] = pack
        return found

    def currency(self) -> str | None:
        cell = self.text("currency").upper()
        if cell and cell not in self._currencies:
            self.refuse("bad_currency", "currency", text=cell)
            return None
        return cell or None

    def money(self, name: Field, mark: str, currency: str) -> int | None:
        cell = self.text(name)
        if not cell:
            return None
        found = read_price(cell, currency=currency, mark=mark)
        if isinstance(found, int):
            return found
        said = {"currency": currency} if found in _OF_THE_CURRENCY else {}
        self.refuse(_OF_THE_CURRENCY.get(found, "bad_price"), name, text=cell, **said)
        return None

    def quantity(self, mark: str) -> int | None:
        cell = self.text("quantity")
        if not cell:
            return None
        amount = parse(cell, mark)
        if amount is None or amount != amount.to_integral_value():
            self.refuse("bad_quantity", "quantity", text=cell)
        elif amount < 0:
            self.refuse("below_zero", "quantity", text=cell)
        elif amount > QUANTITY_LIKELY_MAX:
            likely = _is_code(cell)
            self.refuse("likely_a_code" if likely else "too_many", "quantity", text=cell)
        else:
            return int(min(amount, Decimal(QUANTITY_MAX)))
        return None


def _is_code(cell: str) -> bool:
    return cell.isdecimal() and 8 <= len(cell) <= 14 and doubt(cell) is None


def _made_up(name: str) -> str:
    """A SKU from a name alone."""
    return f"N-{hashlib.sha256(folded(name).encode()).hexdigest()[:8].upper()}"
