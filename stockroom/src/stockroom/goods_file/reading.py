"""A CSV file as it comes: its encoding, its delimiter and what its columns are.

Knows: how spreadsheets and shop programs write such files. Must not know: products, or a database.
Each is decided once, for the whole file, and told; whoever knows better says so.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from holdfast.core.errors import UsageError

BYTES_MAX: Final = 8 * 1024 * 1024
LINES_MAX: Final = 20_000
CELL_LENGTH_MAX: Final = 2_000
DELIMITERS: Final = (",", ";", "\t", "|")
_LOOKED_AT: Final = 50
"""So many lines say which delimiter it is."""

Field = Literal[
    "sku", "name", "price", "quantity", "barcode", "cost", "currency", "category", "shelf",
    "description", "unit",
]  # fmt: skip
FIELDS: Final[tuple[Field, ...]] = get_args(Field)
_CALLED: Final[dict[Field, str]] = {
    "sku": "sku itemsku variantsku articlenumber article articleno itemnumber itemno itemcode "
    "productcode productnumber code reference ref artikelnummer artikelnr artnr artno referencia",
    "name": "name productname itemname title product item artikel bezeichnung artikelbezeichnung "
    "produkt produktname nom designation nombre nosaukums",
    "price": "price sellingprice salesprice retailprice regularprice unitprice variantprice vk "
    "preis verkaufspreis prix precio cena",
    "quantity": "quantity qty stock onhand instockquantity currentquantity variantinventoryqty "
    "inventory count menge bestand anzahl lagerbestand quantite cantidad daudzums",
    "barcode": "barcode barcodes ean ean13 ean8 eancode gtin upc isbn variantbarcode "
    "gtinupceanorisbn strichcode codebarre",
    "cost": "cost unitcost costprice purchaseprice buyingprice costperitem ek einkaufspreis",
    "currency": "currency currencycode wahrung",
    "category": "category categories productcategory type kategorie kategorija categorie",
    "shelf": "shelf bin location binlocation regal lagerplatz fach",
    "description": "description beschreibung details notes",
    "unit": "unit unitofmeasure uom einheit",
}
"""Heads of columns as they are found, without case, blanks, accents and signs."""
_BY_HEAD: Final = {head: field for field, heads in _CALLED.items() for head in heads.split()}
_SIGNS: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of goods: where it begins in the file, and its cells by field."""

    number: int
    cells: dict[Field, str]
    surplus: int = 0
    """Cells that are under no head: then something has shifted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A file that was read. `columns`: which head is which field; `ignored`: the other heads."""

    encoding: str
    delimiter: str
    columns: dict[Field, str]
    ignored: tuple[str, ...]
    lines: tuple[Line, ...]

    def column(self, field: Field) -> list[str]:
        """All that stands in a column."""
        return [line.cells.get(field, "") for line in self.lines]


def read_sheet(data: bytes, *, delimiter: str | None = None, encoding: str | None = None) -> Sheet:
    """The lines of a file. Raises `UsageError`: `too_large`, `not_text`, `no_columns`,
    `too_many_lines`, `bad_option`."""
    if len(data) > BYTES_MAX:
        raise UsageError(
            f"the file has more than {BYTES_MAX // 2**20} MB: bring it in several parts",
            code="too_large",
        )
    if delimiter is not None and delimiter not in DELIMITERS:
        raise UsageError("a delimiter is , or ; or | or a tab", code="bad_option")
    text, used = _decoded(data, encoding)
    if text[:4].casefold() == "sep=" and text[4:5] in DELIMITERS:  # as Excel is told
        delimiter = delimiter or text[4]
        text = "\n" + text.partition("\n")[2]
    chosen = delimiter or _delimiter(text)
    rows = _rows(text, chosen)
    number, heads = next(rows, (0, []))
    columns = _columns(heads)
    if "sku" not in columns.values() and "name" not in columns.values():
        raise UsageError(
            "the first line has to say what the columns are: SKU, name, price, quantity, barcode",
            code="no_columns",
        )
    lines: list[Line] = []
    for number, cells in rows:
        if len(lines) == LINES_MAX:
            raise UsageError(
                f"the file has more than {LINES_MAX} lines: bring it in several parts",
                code="too_many_lines",
            )
        found = {field: cells[at].strip() for at, field in columns.items() if at < len(cells)}
        surplus = sum(1 for cell in cells[len(heads) :] if cell.strip())
        lines.append(Line(number, found, surplus))
    named = set(columns)
    return Sheet(
        encoding=used,
        delimiter=chosen,
        columns={field: heads[at].strip() for at, field in columns.items()},
        ignored=tuple(
            head.strip() for at, head in enumerate(heads) if at not in named and head.strip()
        ),
        lines=tuple(lines),
    )


def _decoded(data: bytes, encoding: str | None) -> tuple[str, str]:
    if data.startswith(b"PK\x03\x04"):
        raise UsageError(
            "this is a workbook, not a text file: save it as CSV (UTF-8) first", code="not_text"
        )
    for name in (encoding,) if encoding else _likely(data):
        try:
            text = data.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
        if "\0" not in text:
            return text.removeprefix("\ufeff"), name
    raise UsageError(
        "the file cannot be read as text: save it as CSV (UTF-8), or name its encoding",
        code="not_text",
    )


def _likely(data: bytes) -> Sequence[str]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ("utf-16",)
    # Text of Latin letters has a zero in every other place, when each takes two bytes.
    begin = data[:400]
    for name, at in (("utf-16-le", 1), ("utf-16-be", 0)):
        if len(begin) > 3 and begin[at::2].count(0) > len(begin) // 4:
            return (name,)
    return ("utf-8", "cp1252", "latin-1")


def _delimiter(text: str) -> str:
    """The one under which the lines have the same number of cells, and the most heads are known."""

    def fit(candidate: str) -> tuple[int, int, int]:
        some = [cells for _at, cells in _some(_rows(text, candidate))]
        if not some:
            return (0, 0, 0)
        width = len(some[0])
        return (len(_columns(some[0])), sum(len(one) == width > 1 for one in some), width)

    return max(DELIMITERS, key=fit)


def _some(rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    for _count, row in zip(range(_LOOKED_AT), rows, strict=False):
        yield row


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with something in them, each with the line where it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    begins = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(
            f"line {reader.line_num} cannot be read: {error}; look for a quotation mark that is "
            "not closed",
            code="not_text",
        ) from None


def _columns(heads: Sequence[str]) -> dict[int, Field]:
    """Fields by the place of their columns; of several columns for one field, the first."""
    found: dict[int, Field] = {}
    for at, head in enumerate(heads):
        plain = unicodedata.normalize("NFKD", head).casefold()
        field = _BY_HEAD.get(
            _SIGNS.sub("", "".join(c for c in plain if not unicodedata.combining(c)))
        )
        if field is not None and field not in found.values():
            found[at] = field
    return found
