"""The catalogue: adding, editing, listing and finding products, online or not.

Knows: what a product is. Must not know: stock, the network, or how results are shown.
Each function is one local transaction or one query; none waits for a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.core.errors import UsageError
from stockroom import ids
from stockroom.money import format_price

if TYPE_CHECKING:
    from holdfast import Replica

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
)
"""The columns a person edits; which of them ask a person on conflict is the schema's business."""

_COLUMNS: Final = ("id", *EDITABLE)
_SELECT: Final = f"SELECT {', '.join('p.' + name for name in _COLUMNS)} FROM product AS p"

_NOT_TEXT: Final = ("price", "archived")

LIST_MAX: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product; `price` and `cost` in minor units of `currency`."""

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

    @property
    def price_text(self) -> str:
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
    )


def get_product(replica: Replica, sku: str) -> Product:
    """The product with exactly this SKU, or else with this barcode.

    Raises `UsageError` with the code `no_product`.
    """
    found = product_or_none(replica, sku)
    if found is None:
        raise UsageError(f"there is no product with the SKU or barcode {sku!r}", code="no_product")
    return found


def product_or_none(replica: Replica, sku: str) -> Product | None:
    """The product with exactly this SKU, or else with this barcode, or None."""
    rows = replica.query(f"{_SELECT} WHERE p.sku = ?", (sku,)) or replica.query(
        f"{_SELECT} JOIN barcode AS b ON b.product_id = p.id WHERE b.code = ?", (sku,)
    )
    return _product(rows[0]) if rows else None


def add_product(
    replica: Replica,
    *,
    sku: str,
    name: str,
    price: int = 0,
    cost: int | None = None,
    currency: str = "EUR",
    description: str = "",
    shelf: str = "",
    notes: str = "",
    unit: str = "piece",
    barcodes: Iterable[str] = (),
) -> Product:
    """Add a product; `price` and `cost` in minor units.

    Raises `UsageError`: `sku_exists`, `barcode_exists`, `bad_sku`.
    """
    if not sku or not name:
        raise UsageError("a product needs a SKU and a name", code="bad_sku")
    with replica.transaction() as db:
        if db.execute("SELECT 1 FROM product WHERE sku = ?", (sku,)):
            raise UsageError(f"there is a product with the SKU {sku!r} already", code="sku_exists")
        derived = ids.product_id(sku)
        # The product that was first called so has another SKU by now; this one is a new thing.
        taken = db.execute("SELECT 1 FROM product WHERE id = ?", (derived,))
        product_id = ids.new_id(replica.now_us()) if taken else derived
        db.execute(
            "INSERT INTO product (id, sku, name, description, shelf, notes, price, cost, currency, "
            "unit) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (product_id, sku, name, description, shelf, notes, price, cost, currency, unit),
        )
        for code in barcodes:
            if db.execute("SELECT 1 FROM barcode WHERE code = ?", (code,)):
                raise UsageError(
                    f"the barcode {code} names a product already", code="barcode_exists"
                )
            db.execute("INSERT INTO barcode (code, product_id) VALUES (?, ?)", (code, product_id))
    return get_product(replica, sku)


def edit_product(
    replica: Replica,
    sku: str,
    changes: Mapping[str, Field],
    *,
    barcodes: Iterable[str] = (),
) -> Product:
    """Change columns of a product (see `EDITABLE`) and add barcodes.

    Only columns whose value differs are written: what was not changed cannot conflict. Raises
    `UsageError`: `no_product`, `no_field`, `sku_exists`, `barcode_exists`.
    """
    unknown = set(changes) - set(EDITABLE)
    if unknown:
        raise UsageError(f"a product has no {', '.join(sorted(unknown))}", code="no_field")
    product = get_product(replica, sku)
    with replica.transaction() as db:
        (row,) = db.execute(
            f"SELECT {', '.join(EDITABLE)} FROM product WHERE id = ?", (product.id,)
        )
        before = dict(zip(EDITABLE, row, strict=True))
        for name, value in changes.items():
            if name == "sku" and db.execute(
                "SELECT 1 FROM product WHERE sku = ? AND id <> ?", (value, product.id)
            ):
                raise UsageError(f"there is a product with the SKU {value!r}", code="sku_exists")
            if before[name] != value:
                db.execute(f"UPDATE product SET {name} = ? WHERE id = ?", (value, product.id))
        for code in barcodes:
            holder = db.execute("SELECT product_id FROM barcode WHERE code = ?", (code,))
            if holder and holder[0][0] != product.id:
                raise UsageError(f"the barcode {code} names another product", code="barcode_exists")
            if not holder:
                db.execute(
                    "INSERT INTO barcode (code, product_id) VALUES (?, ?)", (code, product.id)
                )
    (row,) = replica.query(f"{_SELECT} WHERE p.id = ?", (product.id,))
    return _product(row)


def list_products(
    replica: Replica, *, archived: bool = False, limit: int = LIST_MAX
) -> list[Product]:
    """Products by SKU; archived ones only when asked for."""
    where = "" if archived else "WHERE p.archived = 0"
    rows = replica.query(f"{_SELECT} {where} ORDER BY p.sku LIMIT ?", (limit,))
    return [_product(row) for row in rows]


def find_products(replica: Replica, text: str, *, limit: int = 50) -> list[Product]:
    """Products by barcode, SKU or words of their name, the best match first.

    All words must occur, in any order; letters of ASCII match in either case.
    """
    words = text.split()
    if not words:
        return []
    columns = ("p.name", "p.sku", "p.description")
    matches = " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in columns)
    condition = " AND ".join(f"({matches})" for _ in words)
    patterns = [pattern for word in words for pattern in [f"%{_escaped(word)}%"] * 3]
    code = text.strip()
    rank = (
        "CASE WHEN p.sku = ? THEN 1 WHEN p.sku LIKE ? ESCAPE '\\' THEN 2 "
        "WHEN p.name LIKE ? ESCAPE '\\' THEN 3 ELSE 4 END"
    )
    start = f"{_escaped(code)}%"
    by_barcode = replica.query(
        f"{_SELECT} JOIN barcode AS b ON b.product_id = p.id WHERE b.code = ?", (code,)
    )
    rows = replica.query(
        f"{_SELECT} WHERE {condition} ORDER BY p.archived, {rank}, p.sku LIMIT ?",
        (*patterns, code, start, start, limit),
    )
    known = {row[0] for row in by_barcode}
    return [_product(row) for row in (*by_barcode, *(r for r in rows if r[0] not in known))][:limit]


def barcodes_of(replica: Replica, product_id: str) -> list[str]:
    """The barcodes of a product."""
    rows = replica.query(
        "SELECT code FROM barcode WHERE product_id = ? ORDER BY code", (product_id,)
    )
    return [str(code) for (code,) in rows]


def _escaped(text: str) -> str:
    for sign in ("\\", "%", "_"):
        text = text.replace(sign, "\\" + sign)
    return text
