"""Invented goods: what a shop for house and garden might sell, with codes nobody else uses.

Knows: names, prices, suppliers and barcodes of the demo. Must not know: stock, or where rows go.
A shop of any size: what goes beyond the first edition of everything comes in further ones, each
named after a bird and a plant.
Barcodes are EAN-13 in the ranges that GS1 leaves to a retailer's own use (20 to 29), with valid
check digits: no scanner will ever read one of them on real goods.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Final

from stockroom import ids

CURRENCY: Final = "EUR"

SUPPLIERS: Final = (
    ("Nordlicht Emaille", "orders@nordlicht.example"),
    ("Weaver & Daughters", "hello@weaverdaughters.example"),
    ("Three Rivers Pottery", "kiln@threerivers.example"),
    ("Hollow Oak Woodworks", "shop@hollowoak.example"),
    ("Bright Wick Candles", "sales@brightwick.example"),
    ("Salt & Slate", "desk@saltandslate.example"),
    ("Green Gate Garden", "trade@greengate.example"),
    ("Paper Lantern Press", "print@paperlantern.example"),
)
"""Name and contact of the eight suppliers."""


@dataclass(frozen=True, slots=True)
class Family:
    """Goods of one kind: they differ by form and finish. ``price`` in minor units, the least."""

    category: str
    supplier: int
    code: str
    thing: str
    forms: tuple[str, ...]
    finishes: tuple[str, ...]
    price: int
    step: int
    pack: int
    unit: str = "piece"


FAMILIES: Final = (
    Family("Kitchen", 0, "MUG", "Enamel mug", ("small", "large"),
           ("cream", "forest green", "slate blue", "rust red", "black"), 690, 200, 24),
    Family("Kitchen", 0, "JUG", "Enamel jug", ("0.5 l", "1 l", "2 l"),
           ("cream", "forest green", "slate blue"), 1450, 450, 6),
    Family("Kitchen", 2, "BWL", "Stoneware bowl", ("cereal", "salad", "serving"),
           ("oat", "moss", "night", "speckled"), 950, 750, 12),
    Family("Kitchen", 2, "PLT", "Stoneware plate", ("side", "dinner"),
           ("oat", "moss", "night", "speckled"), 890, 500, 12),
    Family("Kitchen", 3, "BRD", "Chopping board", ("small", "medium", "large"),
           ("oak", "walnut", "beech"), 1890, 900, 6),
    Family("Kitchen", 3, "SPN", "Wooden spoon", ("short", "long", "slotted"),
           ("beech", "olive"), 350, 120, 40),
    Family("Kitchen", 5, "MIL", "Pepper mill", ("12 cm", "18 cm"),
           ("slate", "oak", "brass"), 2450, 900, 6),
    Family("Linen", 1, "TWL", "Tea towel", ("single", "set of three"),
           ("striped", "checked", "plain", "fig leaf", "herring"), 790, 1100, 20),
    Family("Linen", 1, "APR", "Apron", ("short", "long"),
           ("striped", "plain", "denim"), 2290, 700, 8),
    Family("Linen", 1, "NAP", "Napkin", ("set of four",),
           ("oat", "moss", "night", "rust", "fig leaf"), 1590, 0, 12, "set"),
    Family("Linen", 1, "BLK", "Wool blanket", ("throw", "double"),
           ("oat", "heather", "moss"), 5900, 3000, 4),
    Family("Candles", 4, "CND", "Pillar candle", ("8 cm", "12 cm", "18 cm"),
           ("ivory", "honey", "sage", "plum"), 490, 300, 24),
    Family("Candles", 4, "TIN", "Scented candle in a tin", ("100 g", "200 g"),
           ("fig", "cedar", "sea salt", "tomato leaf", "lavender"), 990, 600, 12),
    Family("Candles", 4, "TEA", "Tea lights", ("box of 30",),
           ("plain", "beeswax"), 450, 0, 20, "box"),
    Family("Garden", 6, "POT", "Terracotta pot", ("10 cm", "14 cm", "18 cm", "24 cm"),
           ("plain", "washed"), 290, 280, 20),
    Family("Garden", 6, "CAN", "Watering can", ("1.5 l", "5 l", "9 l"),
           ("zinc", "green"), 1690, 800, 6),
    Family("Garden", 6, "SED", "Seeds", ("packet",),
           ("basil", "chives", "marigold", "sweet pea", "radish", "rocket", "cornflower"),
           295, 0, 50, "packet"),
    Family("Garden", 6, "TWN", "Garden twine", ("50 m", "100 m"),
           ("natural", "green"), 420, 280, 24),
    Family("Garden", 5, "TRW", "Hand trowel", ("narrow", "wide"),
           ("ash handle", "steel"), 1290, 300, 8),
    Family("Paper", 7, "NTB", "Notebook", ("A6", "A5", "A4"),
           ("plain", "ruled", "dotted"), 590, 300, 20),
    Family("Paper", 7, "CRD", "Greeting card", ("folded",),
           ("hare", "swallow", "oak", "lighthouse", "quince", "teapot", "snow"), 320, 0, 50),
    Family("Paper", 7, "WRP", "Wrapping paper", ("3 sheets",),
           ("stars", "fern", "stripes", "fish"), 490, 0, 30, "pack"),
    Family("Bath", 5, "SOP", "Soap", ("bar", "liquid 300 ml"),
           ("lavender", "cedar", "sea salt", "oat and honey"), 590, 650, 24),
    Family("Bath", 3, "BRS", "Nail brush", ("small", "large"),
           ("beech", "walnut"), 690, 300, 12),
    Family("Bath", 1, "FLN", "Face flannel", ("single", "pair"),
           ("oat", "moss", "night"), 490, 400, 20),
)  # fmt: skip


BIRDS: Final = (
    "Avocet", "Bittern", "Bunting", "Chaffinch", "Curlew", "Dipper", "Dunlin", "Egret", "Fieldfare",
    "Goldcrest", "Goosander", "Heron", "Hoopoe", "Jackdaw", "Kestrel", "Kingfisher", "Lapwing",
    "Linnet", "Merlin", "Nightjar", "Nuthatch", "Oriole", "Plover", "Redstart", "Sandpiper",
    "Siskin", "Skylark", "Stonechat", "Swift", "Teal", "Turnstone", "Wagtail", "Waxwing", "Wren",
)  # fmt: skip
PLANTS: Final = (
    "Alder", "Aster", "Bramble", "Bryony", "Campion", "Clover", "Cowslip", "Dogwood", "Elder",
    "Fennel", "Foxglove", "Gorse", "Hawthorn", "Hazel", "Iris", "Juniper", "Larch", "Lupin",
    "Mallow", "Myrtle", "Nettle", "Orchis", "Primrose", "Rowan", "Sedge", "Sorrel", "Tansy",
    "Thistle", "Valerian", "Willow", "Yarrow", "Yew",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Good:
    """One product. ``price`` and ``cost`` in minor units; ``pack``: how it is delivered."""

    id: str
    sku: str
    name: str
    category: str
    supplier: int
    price: int
    cost: int
    unit: str
    pack: int
    shelf: str
    barcodes: tuple[str, ...]


def check_digit(digits: str) -> str:
    """The check digit of an EAN-13, by its first twelve digits (GS1 General Specifications 7.9)."""
    if len(digits) != 12 or not digits.isdigit():
        raise ValueError("an EAN-13 has twelve digits before its check digit")
    total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(digits))
    return str(-total % 10)


def make_goods(rng: random.Random, count: int | None = None) -> list[Good]:
    """``count`` goods, or the first edition of everything; one in ten has a second barcode.

    They come in order of their editions and families; the second barcode is that of the outer pack.
    """
    everything = islice(_sorts(), GOODS_MAX if count is not None else FIRST_EDITION)
    goods: list[Good] = []
    for number, (shelf, family, size, name) in enumerate(islice(everything, count), start=1):
        price = family.price + size * family.step
        codes = [_code(20, number)]
        if rng.random() < 0.1:
            codes.append(_code(29, number))
        sku = f"{family.code}-{number:03d}"
        goods.append(
            Good(
                id=ids.product_id(sku, name),
                sku=sku,
                name=name,
                category=family.category,
                supplier=family.supplier,
                price=price,
                cost=round(price * rng.uniform(0.42, 0.58)),
                unit=family.unit,
                pack=family.pack,
                shelf=f"{'ABCDEF'[shelf % 6]}{shelf // 6 + 1}-{size + 1}",
                barcodes=tuple(codes),
            )
        )
    return goods


def _sorts() -> Iterator[tuple[int, Family, int, str]]:
    """Every good there can be: number of its family, family, number of its form, name."""
    editions = ("", *(f", {bird} and {plant}" for plant, bird in product(PLANTS, BIRDS)))
    for edition in editions:
        for shelf, family in enumerate(FAMILIES):
            for size, form in enumerate(family.forms):
                for finish in family.finishes:
                    yield shelf, family, size, f"{family.thing}, {form}, {finish}{edition}"


FIRST_EDITION: Final = sum(len(family.forms) * len(family.finishes) for family in FAMILIES)
GOODS_MAX: Final = FIRST_EDITION * (1 + len(BIRDS) * len(PLANTS))
"""How many goods there can be; no two have one name."""


def _code(prefix: int, number: int) -> str:
    digits = f"{prefix}{number:010d}"
    return digits + check_digit(digits)
