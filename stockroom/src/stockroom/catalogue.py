"""The catalogue: adding, editing, listing and finding products, online or not.

Knows: what a product is. Must not know: stock, the network, or how results are shown.
Each function is one local transaction or one query; none waits for a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from holdfast.core.errors import UsageError
from holdfast.core.values import Value
from stockroom import ids, skus, words
from stockroom.codes import canonical, doubt
from stockroom.money import format_price
from stockroom.packs import is_pack, read_pack
from stockroom.same_goods import family, leading
from stockroom.schema import PACK_MAX

if TYPE_CHECKING:
    from holdfast import Replica


class Writer(Protocol):
    """An open transaction, as far as functions need it."""

    def execute(self, sql: str, params: tuple[Value, ...] = ..., /) -> list[tuple[Value, ...]]: ...


Field = str | int | None
EDITABLE: Final = (
    "sku",
    "name",
    "description",
    "shelf",
    "notes",
    "price",
    "cost",
    "currency",
    "unit",
    "archived",
    "unpriced",
)
"""The columns a person edits; which of them ask a person on conflict is the schema's business."""

_COLUMNS: Final = ("id", *EDITABLE)
_COST: Final = "coalesce(p.cost, (SELECT c.cost FROM product_cost AS c WHERE c.product_id = p.id))"
"""What it costs us, where this device may know: typed here and not sent yet, or kept apart."""


def _asked(names: Iterable[str]) -> str:
    return ", ".join(_COST if name == "cost" else f"p.{name}" for name in names)


_SELECT: Final = f"SELECT {_asked(_COLUMNS)} FROM product AS p"
_SCANNED: Final = f"SELECT {_asked(_COLUMNS)}, {{pack}} FROM product AS p"

_NOT_TEXT: Final = ("price", "archived", "unpriced")
NO_PRICE: Final = "no price yet"

LIST_MAX: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product; `price` and `cost` in minor units of `currency`.

    `unpriced`, with a price of 0: nobody has said yet what it costs.
    """

    id: str
    sku: str
    name: str
    description: str
    shelf: str
    notes: str
    price: int
    cost: int | None
    currency: str
    unit: str
    archived: bool
    unpriced: bool

    @property
    def price_text(self) -> str:
        if self.unpriced and self.price == 0:
            return NO_PRICE
        return format_price(self.price, currency=self.currency)


def _product(row: tuple[object, ...]) -> Product:
    fields = dict(zip(_COLUMNS, row, strict=True))
    cost = fields.pop("cost")
    texts = {name: str(value) for name, value in fields.items() if name not in _NOT_TEXT}
    return Product(
        **texts,
        price=int(str(fields["price"])),
        cost=None if cost is None else int(str(cost)),
        archived=bool(fields["archived"]),
        unpriced=bool(fields["unpriced"]),
    )


def get_product(replica: Replica, sku: str) -> Product:
    """The product with exactly this SKU, or else with this barcode, in whatever form.

    Raises `UsageError` with the code `no_product`.
    """
    return scanned(replica, sku)[0]


def scanned(replica: Replica, code: str) -> tuple[Product, int]:
    """The same, and the pieces that one scan of it counts: those of its case, or 1."""
    found = _scanned(replica, code)
    if found is None:
        raise UsageError(f"there is no product with the SKU or barcode {code!r}", code="no_product")
    return found


def product_or_none(replica: Replica, sku: str) -> Product | None:
    """The product with exactly this SKU, or else with this barcode, in whatever form, or None."""
    found = _scanned(replica, sku)
    return None if found is None else found[0]


def _scanned(replica: Replica, code: str) -> tuple[Product, int] | None:
    rows = replica.query(
        f"{_SCANNED.format(pack='1')} JOIN product AS w ON p.id = {leading('w.id')} "
        "WHERE w.sku = ?",
        (code,),
    ) or replica.query(
        f"{_SCANNED.format(pack='b.pack')} JOIN barcode AS b ON p.id = {leading('b.product_id')} "
        "WHERE b.code IN (?, ?)",
        (code, canonical(code)),
    )
    return (_product(rows[0][:-1]), int(str(rows[0][-1]))) if rows else None


def add_product(
    replica: Replica,
    *,
    sku: str,
    name: str,
    price: int | None = None,
    cost: int | None = None,
    currency: str = "EUR",
    description: str = "",
    shelf: str = "",
    notes: str = "",
    unit: str = "piece",
    barcodes: Iterable[str] = (),
    as_is: bool = False,
) -> Product:
    """Add a product; `price` and `cost` in minor units, None for a price that is not known yet.

    Barcodes are kept in their one form (`codes.canonical`), with the pieces of a case where they
    are said (`packs.read_pack`); what may be a mistake is refused, unless it is meant `as_is`.
    Raises `UsageError`: `sku_exists`, `barcode_exists`, `bad_sku`, `bad_barcode`, `bad_pack`.
    """
    sku = skus.tidy(sku)
    if not sku or not name:
        raise UsageError("a product needs a SKU and a name", code="bad_sku")
    codes = _checked(tuple(barcodes), as_is=as_is)
    apart = False
    with replica.transaction() as db:
        apart = cost is not None and _keeps_costs(db)
        check_sku(db, sku)
        derived = ids.product_id(sku, name)
        # The product that was first called so has another SKU by now; this one is a new thing.
        taken = db.execute("SELECT 1 FROM product WHERE id = ?", (derived,))
        product_id = ids.new_id(replica.now_us()) if taken else derived
        db.execute(
            "INSERT INTO product (id, sku, name, description, shelf, notes, price, cost, currency, "
            "unit, unpriced) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                product_id, sku, name, description, shelf, notes, price or 0,
                None if apart else cost, currency, unit, int(price is None),
            ),
        )  # fmt: skip
        for code, pack in codes.items():
            add_code(db, code, product_id, pack)
    if apart:  # alone: whoever cannot have the SKU loses nothing of it
        with replica.transaction() as db:
            set_cost(db, product_id, cost, currency)
    return get_product(replica, sku)


def edit_product(
    replica: Replica,
    sku: str,
    changes: Mapping[str, Field],
    *,
    barcodes: Iterable[str] = (),
    as_is: bool = False,
) -> Product:
    """Change columns of a product (see `EDITABLE`) and add barcodes (as `add_product` does).

    Only columns whose value differs are written: what was not changed cannot conflict; price, cost
    and currency are one decision, and are changed together or not at all. A price of None is none
    yet.

    Raises `UsageError`: `no_product`, `no_field`, `sku_exists`, `barcode_exists`, `bad_barcode`,
    `bad_pack`.
    """
    codes = _checked(tuple(barcodes), as_is=as_is)
    if "sku" in changes:
        changes = {**changes, "sku": skus.tidy(str(changes["sku"]))}
    unknown = set(changes) - set(EDITABLE)
    if unknown:
        raise UsageError(f"a product has no {', '.join(sorted(unknown))}", code="no_field")
    product = get_product(replica, sku)
    if "price" in changes:
        changes = {**changes, "price": changes["price"] or 0,
                   "unpriced": int(changes["price"] is None)}  # fmt: skip
    with replica.transaction() as db:
        (row,) = db.execute(
            f"SELECT {_asked(EDITABLE)} FROM product AS p WHERE p.id = ?", (product.id,)
        )
        before = dict(zip(EDITABLE, row, strict=True))
        for name, value in changes.items():
            if name == "sku" and value != product.sku:
                check_sku(db, str(value), product.id)
            if before[name] != value and not (name == "cost" and _keeps_costs(db)):
                db.execute(f"UPDATE product SET {name} = ? WHERE id = ?", (value, product.id))
        after = before | dict(changes)
        costs = [(one["cost"], one["currency"]) for one in (before, after)]
        if _keeps_costs(db) and costs[0] != costs[1] and any(cost is not None for cost, _ in costs):
            set_cost(db, product.id, *costs[1])
        for code, pack in codes.items():
            add_code(db, code, product.id, pack)
    (row,) = replica.query(f"{_SELECT} WHERE p.id = ?", (product.id,))
    return _product(row)


Run = Callable[[str, tuple[Value, ...]], list[tuple[Value, ...]]]
"""Function that runs SQL: of a replica, or of an open transaction in it."""


def holder_of_sku(run: Run, sku: str, but: str = "") -> tuple[str, str, str] | None:
    """Id, SKU and name of the product that has a SKU, or one that a person would take for it."""
    forms = skus.spellings(sku)
    marks = ", ".join("?" for _ in forms)
    found = [
        (str(row[0]), str(row[1]), str(row[2]))
        for row in run(
            f"SELECT id, sku, name FROM product WHERE {skus.FOLDED} IN ({marks}) AND id <> ?",
            (*forms, but),
        )
    ]
    alike = [one for one in found if skus.like(one[1]) == skus.like(sku)]
    return min(alike, key=lambda one: (one[1] != sku, one[1]), default=None)


def check_sku(db: Writer, sku: str, but: str = "") -> None:
    """Raise `UsageError` (`sku_exists`) where another product has this SKU, or one like it."""
    holder = holder_of_sku(db.execute, sku, but)
    if holder is not None:
        raise UsageError(
            f"{holder[1]} is there already ({holder[2]}): change that one, or choose another SKU",
            code="sku_exists",
        )


def list_products(
    replica: Replica, *, archived: bool = False, limit: int = LIST_MAX
) -> list[Product]:
    """Products by SKU; archived ones only when asked for."""
    where = "" if archived else "WHERE p.archived = 0"
    rows = replica.query(f"{_SELECT} {where} ORDER BY p.sku LIMIT ?", (limit,))
    return [_product(row) for row in rows]


_FOUND_MAX: Final = 200
"""So many of each sort are looked at, each in its own order."""
_AFTER: Final = "?3 || char(1114111)"
"""Text that sorts behind everything that begins with `?3`: for a range of an index."""


def _some(sql: str) -> str:
    return f"SELECT * FROM ({sql} LIMIT {_FOUND_MAX})"


def _by_words(rank: int, among: str = "words", when: str = "1") -> str:
    return _some(
        f"SELECT w.product_id AS product, {rank} AS rank FROM product_search AS f "
        f"JOIN product_words AS w ON w.n = f.rowid WHERE f.{among} MATCH ?2 AND {when}"
    )


_ALL_WORDS: Final = "product_search"
"""Words of names, and of where goods stand and who sends them."""
_NOTE: Final = (
    f"document <> '' AND document >= ?3 COLLATE NOCASE AND document < {_AFTER} COLLATE NOCASE "
    "AND length(?3) > 2"
)


def _ranked(*wanted: str) -> str:
    return (
        f"{_SELECT} JOIN (SELECT {leading('product')} AS leads, min(rank) AS rank "
        f"FROM ({' UNION ALL '.join(wanted)}) GROUP BY 1) AS w ON p.id = w.leads "
        "ORDER BY w.rank > 0, p.archived, w.rank, p.name COLLATE NOCASE, p.sku LIMIT ?1"
    )


_SEARCH: Final = _ranked(
    "SELECT product_id AS product, 0 AS rank FROM barcode WHERE code IN (?3, ?4)",
    "SELECT id, 0 FROM product WHERE sku IN (?3, upper(?3))",
    _some(
        f"SELECT id, 1 FROM product WHERE sku >= upper(?3) AND sku < upper({_AFTER}) ORDER BY sku"
    ),
    _some(
        f"SELECT product_id, 1 FROM barcode WHERE code >= ?3 AND code < {_AFTER} "
        "AND length(?3) > 1 ORDER BY code"
    ),
    _some(
        "SELECT id, 2 FROM product WHERE archived = 0 AND name >= ?3 COLLATE NOCASE "
        f"AND name < {_AFTER} COLLATE NOCASE ORDER BY name COLLATE NOCASE"
    ),
    _by_words(3),
    # Half of all shelves begin with a single letter.
    _by_words(4, _ALL_WORDS, "length(?3) > 1"),
    _some(f"SELECT product_id, 5 FROM movement WHERE {_NOTE} ORDER BY document COLLATE NOCASE"),
    _some(
        "SELECT l.product_id, 5 FROM delivery AS d JOIN delivery_line AS l ON l.delivery_id = d.id "
        f"WHERE d.{_NOTE} AND d.status = 'draft' AND l.removed = 0"
    ),
)
_SIMILAR: Final = _ranked(
    _by_words(1),
    _by_words(2, _ALL_WORDS),
    _some("SELECT product_id, 2 FROM barcode WHERE length(?3) > 3 AND code LIKE '%' || ?3"),
)
_NOTHING: Final = '""'
"""Matches nothing: a phrase that no name has."""


def find_products(replica: Replica, text: str, *, limit: int = 50) -> list[Product]:
    """Products by what is typed, the best first: what the app's search finds, by the same rules.

    A whole barcode (in any form) or SKU, their beginnings, the beginning of a name, names with all
    these words in any order, without regard to accents or case; then goods of which shelf and
    supplier have the words that the name has not, and what came with a delivery note that begins
    so. Where nothing is called so: what
    comes near, and the last digits of a barcode.
    """
    typed = text.strip()
    if not (beginnings := words.beginnings(typed)):
        return []
    found = replica.query(_SEARCH, (limit, beginnings, typed, canonical(typed)))
    if not found:
        known = words.vocabulary(str(w) for (w,) in replica.query("SELECT word FROM search_word"))
        digits = typed if typed.isascii() and typed.isdigit() else ""
        found = replica.query(_SIMILAR, (limit, words.meant(typed, known) or _NOTHING, digits))
    return [_product(row) for row in found]


def barcodes_of(replica: Replica, product_id: str) -> list[str]:
    """The barcodes of a product."""
    rows = replica.query(
        f"SELECT code FROM barcode WHERE product_id IN {family('?1')} ORDER BY code", (product_id,)
    )
    return [str(code) for (code,) in rows]


def packs_of(replica: Replica, product_id: str) -> dict[str, int]:
    """The pieces in each case of a product, by the case's barcode."""
    rows = replica.query(
        f"SELECT code, pack FROM barcode WHERE product_id IN {family('?1')} AND pack <> 1 "
        "ORDER BY code",
        (product_id,),
    )
    return {str(code): int(str(pack)) for code, pack in rows}


def merge_products(replica: Replica, sku: str, into: str) -> Product:
    """Make a product one with another, which leads: its stock, codes and history count there.

    Nothing is moved, so that it can be undone (`part_products`). Raises `UsageError`: `no_product`,
    `same_product`.
    """
    product, lead = get_product(replica, sku), get_product(replica, into)
    if product.id == lead.id:
        raise UsageError(f"{sku!r} and {into!r} are one product already", code="same_product")
    with replica.transaction() as db:
        db.execute(
            "UPDATE product SET merged_into = ?, archived = 1 WHERE id = ?", (lead.id, product.id)
        )
    return get_product(replica, lead.sku)


def part_products(replica: Replica, sku: str) -> Product:
    """Undo that a product was made one with another. Raises `UsageError`: `no_product`,
    `not_merged`."""
    rows = replica.query("SELECT id, merged_into FROM product WHERE sku = ?", (sku,))
    if not rows:
        raise UsageError(f"there is no product with the SKU {sku!r}", code="no_product")
    if rows[0][1] is None:
        raise UsageError(f"{sku!r} is a product of its own", code="not_merged")
    with replica.transaction() as db:
        db.execute(
            "UPDATE product SET merged_into = NULL, archived = 0 WHERE id = ?", (rows[0][0],)
        )
    return get_product(replica, sku)


_DOUBTS: Final = {
    "bad_check_digit": "its last digit does not fit the others",
    "shortened": "a spreadsheet has shortened it",
}


def _checked(barcodes: tuple[str, ...], *, as_is: bool) -> dict[str, int | None]:
    """The codes in their one form, each with the pieces in what has it, where that is said."""
    read = [read_pack(text) for text in barcodes]
    for code, pack in read:
        if pack is not None and not is_pack(pack):
            raise UsageError(f"a case holds 1 to {PACK_MAX} pieces, not {pack}", code="bad_pack")
        if not as_is and (found := doubt(code)) is not None:
            raise UsageError(
                f"{code!r} is hardly a barcode: {_DOUBTS[found]}; scan it again, or say that it is "
                "meant as it is",
                code="bad_barcode",
            )
    return {known: pack for code, pack in read if (known := canonical(code))}


def _keeps_costs(db: Writer) -> bool:
    """Return whether this device has what goods cost. Of one that has not, the server takes a cost
    with the product, and keeps it where this device does not look."""
    return bool(db.execute("SELECT 1 FROM holdfast_scope WHERE scope = 'cost' AND writable = 1"))


def set_cost(db: Writer, product_id: str, cost: Value, currency: Value) -> None:
    """Write what a product costs us; what was typed with it and is not sent yet is this, then."""
    known = "SELECT 1 FROM product_cost WHERE product_id = ?"
    if db.execute(known, (product_id,)):
        db.execute(
            "UPDATE product_cost SET cost = ?, currency = ? WHERE product_id = ?",
            (cost, currency, product_id),
        )
    else:
        db.execute(
            "INSERT INTO product_cost (product_id, cost, currency) VALUES (?, ?, ?)",
            (product_id, cost, currency),
        )
    db.execute("UPDATE product SET cost = NULL WHERE id = ? AND cost IS NOT NULL", (product_id,))


def add_code(db: Writer, code: str, product_id: str, pack: int | None = None) -> None:
    """Let a code name a product, unless it does already; `pack`: so many are in what has it."""
    holder = db.execute(f"SELECT {leading('product_id')} FROM barcode WHERE code = ?", (code,))
    if holder and holder[0][0] != product_id:
        raise UsageError(f"the barcode {code} names another product", code="barcode_exists")
    if not holder:
        db.execute(
            "INSERT INTO barcode (code, product_id, pack) VALUES (?, ?, ?)",
            (code, product_id, pack or 1),
        )
    elif pack is not None:
        db.execute("UPDATE barcode SET pack = ?1 WHERE code = ?2 AND pack <> ?1", (pack, code))
