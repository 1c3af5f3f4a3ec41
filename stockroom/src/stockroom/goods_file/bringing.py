"""Goods of a file brought into a shop: what each line comes to, and that it is written once.

Knows: the shop's tables. Must not know: how a file looks, or who asks. All good lines are one
transaction. A quantity is what was there in the beginning: a movement with an id of its own for
each product and store, so that the same file books nothing twice, and nothing that was sold since.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from holdfast.core.values import Value
from stockroom import ids
from stockroom.goods_file.allowed import EVERYTHING, Allowed
from stockroom.goods_file.lines import Goods, Reason, Wrong, goods_of, marks_of
from stockroom.goods_file.reading import Sheet
from stockroom.packs import write_pack
from stockroom.rules.history import FIELDS, differences
from stockroom.schema import FIRST_CURRENCY
from stockroom.shop.costs import costs_of, set_cost
from stockroom.shop.desk import Desk
from stockroom.shop.names import folded, fresh
from stockroom.shop.opening import currencies, read_shop
from stockroom.shop.stores import list_stores, only_store
from stockroom.shop.tables import Tables, insert
from stockroom.skus import like

Came = Literal["new", "changed", "same", "wrong"]
_SET: Final = ("name", "price", "cost", "currency", "shelf", "description", "unit")
"""What a line says of a product that is there; empty cells say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCame:
    """Result for a line. `reasons`: why it was not taken, or what of it was not."""

    line: int
    came: Came
    sku: str
    name: str
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """Result for a file. `written`: False for a look ahead."""

    store: str
    currency: str
    decimal: str
    written: bool
    lines: tuple[LineCame, ...]

    def count(self, came: Came) -> int:
        return sum(line.came == came for line in self.lines)


@dataclass(slots=True)
class _Known:
    """The catalogue as lines are compared with it; those that were taken are in it."""

    by_sku: dict[str, dict[str, Value]]
    like: dict[str, str]
    codes: dict[str, str]
    names: dict[str, str]
    openings: dict[str, int]
    moved: set[str]
    categories: dict[str, str]

    def leads(self, product: str) -> str:
        """The product that leads these goods."""
        for _step in self.merged:
            product = self.merged.get(product, product)
        return product

    merged: dict[str, str] = field(default_factory=dict)
    packs: dict[str, int] = field(default_factory=dict)
    skus: dict[str, int] = field(default_factory=dict)
    """In which line of the file a SKU stands; `lines`: a code."""
    lines: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _By:
    """Words on what is written: the shop's currency, when, by whom, from which file; what of it
    they may."""

    currency: str
    now_us: int
    person: str
    document: str
    allowed: Allowed


class _LookAhead(Exception):
    """Ends a transaction of which nothing is to stay."""


def bring(
    desk: Desk,
    sheet: Sheet,
    *,
    store: str | None = None,
    dry_run: bool = False,
    decimal: str | None = None,
    person: str = "",
    document: str = "",
    allowed: Callable[[Tables], Allowed] | None = None,
) -> Brought:
    """Bring a file's goods to a store, or look what would come of it. `allowed`: what of it may be
    written, as the shop says then; everything without it.

    Raises `UsageError`: `no_store`, `unknown_store`, `store_unclear`.
    """
    with contextlib.suppress(_LookAhead), desk.transaction() as tables:
        shop = read_shop(tables)
        currency = FIRST_CURRENCY if shop is None else shop.currency
        place = only_store(list_stores(tables), store)
        marks = marks_of(sheet, currency, decimal)
        may = EVERYTHING if allowed is None else allowed(tables)
        by = _By(currency, desk.now_us(), person, document, may)
        writer = _Writer(tables, place.id, by)
        brought = Brought(
            store=place.shown,
            currency=currency,
            decimal=marks.price,
            written=not dry_run,
            lines=tuple(
                writer.take(goods_of(line, marks, currency, currencies())) for line in sheet.lines
            ),
        )
        _keep(dry_run)
    return brought


def _keep(dry_run: bool) -> None:
    if dry_run:
        raise _LookAhead


class _Writer:
    """Writes lines, one by one, inside a transaction."""

    def __init__(self, tables: Tables, store: str, by: _By) -> None:
        self._tables, self._store, self._by = tables, store, by
        self._known = _read(tables, store)

    def take(self, goods: Goods | Wrong) -> LineCame:
        """Take a line: what is good of it is written."""
        if isinstance(goods, Wrong):
            return LineCame(
                line=goods.line, came="wrong", sku=goods.sku, name=goods.name, reasons=goods.reasons
            )
        found = self._known.by_sku.get(goods.sku)
        if found is not None and found["merged_into"] is not None:
            said = {"text": goods.sku, "name": self._known.names.get(str(found["merged_into"]), "")}
            why = Reason("sku_merged", "sku", said)
            return LineCame(
                line=goods.line, came="wrong", sku=goods.sku, name=goods.name or "", reasons=(why,)
            )
        reasons = (*self._against(goods, found), *self._denied(goods, found))
        name = goods.name or str((found or {}).get("name", ""))
        if reasons:
            return LineCame(
                line=goods.line, came="wrong", sku=goods.sku, name=name, reasons=reasons
            )
        self._known.skus[goods.sku] = goods.line
        self._known.lines.update(dict.fromkeys(goods.barcodes, goods.line))
        product, changed = self._add(goods) if found is None else self._change(goods, found)
        for code in goods.barcodes:
            pack, before = goods.packs.get(code), self._known.packs.get(code, 1)
            if code not in self._known.codes:
                row: dict[str, Value] = {"code": code, "product_id": product, "pack": pack or 1}
                insert(self._tables, "barcode", row)
                if found is not None:
                    self._remember(product, "barcode", "", write_pack(code, pack or 1))
                self._known.codes[code] = product
                changed = True
            elif pack is not None and pack != before:
                self._tables.execute("UPDATE barcode SET pack = ? WHERE code = ?", [pack, code])
                old, new = write_pack(code, before), write_pack(code, pack)
                self._remember(product, "barcode", old, new)
                changed = True
            self._known.packs[code] = pack or before
        booked, note = self._book(goods, product)
        came: Came = "new" if found is None else "changed" if changed or booked else "same"
        return LineCame(
            line=goods.line, came=came, sku=goods.sku, name=name,
            reasons=() if note is None else (note,),
        )  # fmt: skip

    def _against(self, goods: Goods, found: dict[str, Value] | None) -> Iterator[Reason]:
        """Reasons that lie in the shop, or in lines before."""
        known = self._known
        if (line := known.skus.get(goods.sku)) is not None:
            yield Reason("sku_twice", "sku", {"text": goods.sku, "line": line})
        if found is None and goods.name is None:
            yield Reason("no_name", "name")
        like = known.like.get(_like(goods.sku))
        if found is None and like is not None:
            yield Reason("sku_like", "sku", {"text": like})
        for code in goods.barcodes:
            holder = known.codes.get(code)
            if (line := known.lines.get(code)) is not None:
                yield Reason("barcode_twice", "barcode", {"text": code, "line": line})
            elif holder is not None and (found is None or known.leads(holder) != found["id"]):
                said = {"text": code, "name": known.names.get(holder, "")}
                yield Reason("barcode_taken", "barcode", said)

    def _denied(self, goods: Goods, found: dict[str, Value] | None) -> Iterator[Reason]:
        """Reasons that lie in what is allowed."""
        known, allowed = self._known, self._by.allowed
        added = [code for code in goods.barcodes if code not in known.codes]
        more = {c: p for c, p in goods.packs.items() if c not in added and known.packs.get(c) != p}
        new_category = goods.category and folded(goods.category) not in known.categories
        yield from allowed.denied(
            [
                *(["add"] if found is None or added or new_category else []),
                *(["code"] if more else []),
            ]
        )
        if found is not None:
            changed = self._changes(goods, found)
            if new_category:
                changed["category_id"] = None
            yield from allowed.denied_changes(changed, says_cost=goods.cost is not None)

    def _changes(self, goods: Goods, found: dict[str, Value]) -> dict[str, Value]:
        """Columns of a product that is there which a line changes; but for a new category."""
        said = {name: value for name in _SET if (value := getattr(goods, name)) is not None}
        known = self._known.categories.get(folded(goods.category or ""))
        if known is not None:
            said["category_id"] = known
        if goods.price is not None:
            said["unpriced"] = 0
        return {name: value for name, value in said.items() if found[name] != value}

    def _add(self, goods: Goods) -> tuple[str, bool]:
        derived = ids.product_id(goods.sku, goods.name or "")
        product = fresh(self._by.now_us) if derived in self._known.names else derived
        said = {name: value for name in _SET if (value := getattr(goods, name)) is not None}
        row: dict[str, Value] = {"currency": self._by.currency} | said
        row |= {
            "id": product,
            "sku": goods.sku,
            "unpriced": int(goods.price is None),
            "merged_into": None,
        }
        row |= self._category(goods)
        cost = row.pop("cost", None)
        insert(self._tables, "product", row)
        if cost is not None:
            set_cost(self._tables, product, cost, str(row["currency"]))
        self._known.by_sku[goods.sku] = row | {"cost": cost}
        self._known.like[_like(goods.sku)] = goods.sku
        self._known.names[product] = goods.name or ""
        return product, True

    def _change(self, goods: Goods, found: dict[str, Value]) -> tuple[str, bool]:
        self._category(goods)
        changes = self._changes(goods, found)
        changed = bool(changes)
        cost = changes.pop("cost", found["cost"])
        if cost is not None and (cost != found["cost"] or "currency" in changes):
            currency = str(changes.get("currency", found["currency"]))
            set_cost(self._tables, str(found["id"]), cost, currency)
        if changes:
            assigned = ", ".join(f"{name} = ?" for name in changes)
            self._tables.execute(
                f"UPDATE product SET {assigned} WHERE id = ?", [*changes.values(), found["id"]]
            )
            fields = [name for name in FIELDS if name in found]
            for field_, before, after in differences(found, found | changes, fields):
                self._remember(str(found["id"]), field_, before, after)
        return str(found["id"]), changed

    def _remember(self, product: str, field_: str, before: str, after: str) -> None:
        """Write the history of a product that was there: no rule sees what is written here."""
        change: dict[str, Value] = {
            "id": fresh(self._by.now_us), "product_id": product, "field": field_,
            "old_value": before, "new_value": after, "person": self._by.person,
            "changed_at": self._by.now_us,
        }  # fmt: skip
        insert(self._tables, "product_change", change)

    def _category(self, goods: Goods) -> dict[str, Value]:
        if goods.category is None:
            return {}
        known = self._known.categories.get(folded(goods.category))
        if known is None:
            known = ids.category_id(goods.category)
            insert(self._tables, "category", {"id": known, "name": goods.category})
            self._known.categories[folded(goods.category)] = known
        return {"category_id": known}

    def _book(self, goods: Goods, product: str) -> tuple[bool, Reason | None]:
        """Book what was there in the beginning, unless that is known already."""
        if goods.quantity is None:
            return False, None
        opening = ids.opening_id(self._store, product)
        before = self._known.openings.get(opening)
        if before is not None:
            if before == goods.quantity:
                return False, None
            said = {"before": before, "text": goods.quantity}
            return False, Reason("quantity_differs", "quantity", said)
        if product in self._known.moved:
            return False, Reason("has_stock", "quantity", {"text": goods.quantity})
        if goods.quantity == 0:
            return False, None
        for why in self._by.allowed.denied(["receive"]):
            return False, why
        movement: dict[str, Value] = {
            "id": opening, "product_id": product, "store_id": self._store,
            "location_id": ids.first_location_id(self._store), "quantity": goods.quantity,
            "kind": "opening", "occurred_at": self._by.now_us, "person": self._by.person,
            "document": self._by.document,
        }  # fmt: skip
        insert(self._tables, "movement", movement)
        return True, None


def _read(tables: Tables, store: str) -> _Known:
    names = ("id", "sku", *_SET, "category_id", "unpriced", "merged_into")
    products = [
        dict(zip(names, row, strict=True))
        for row in tables.execute(f"SELECT {', '.join(names)} FROM product")
    ]
    costs = costs_of(tables)
    products = [one | {"cost": costs.get(str(one["id"]), (None, ""))[0]} for one in products]
    moved = tables.execute(
        "SELECT id, product_id, quantity, kind FROM movement WHERE store_id = ?", (store,)
    )
    return _Known(
        by_sku={str(one["sku"]): one for one in products},
        like={_like(one["sku"]): str(one["sku"]) for one in products},
        codes={str(c): str(p) for c, p in tables.execute("SELECT code, product_id FROM barcode")},
        packs={str(c): int(p) for c, p in tables.execute("SELECT code, pack FROM barcode")},
        names={str(one["id"]): str(one["name"]) for one in products},
        openings={str(i): int(q) for i, _p, q, kind in moved if kind == "opening"},
        moved={str(product) for _i, product, _q, _k in moved},
        merged={
            str(one["id"]): str(one["merged_into"])
            for one in products
            if one["merged_into"] is not None
        },
        categories={
            folded(name): str(i) for i, name in tables.execute("SELECT id, name FROM category")
        },
    )


def _like(sku: Value) -> str:
    return like(str(sku))


def told(brought: Brought) -> dict[str, object]:
    """The same as JSON."""
    lines = [
        {
            "line": one.line, "came": one.came, "sku": one.sku, "name": one.name,
            "reasons": [
                {"code": why.code, "field": why.field, "text": why.text, "said": why.said}
                for why in one.reasons
            ],
        }
        for one in brought.lines
    ]  # fmt: skip
    kinds: tuple[Came, ...] = ("new", "changed", "same", "wrong")
    plain = dataclasses.asdict(brought) | {"lines": lines}
    return plain | {"counts": {kind: brought.count(kind) for kind in kinds}}
