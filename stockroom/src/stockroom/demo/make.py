"""A whole demo of any size: goods, their history, and the rows of both.

Knows: how the parts are put together. Must not know: databases.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date

from stockroom.demo.goods import make_goods
from stockroom.demo.history import DAYS, Told, keep_shops
from stockroom.demo.rows import Demo, rows_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Number of products and movements; None: as many as a small retailer has."""

    products: int | None = None
    movements: int | None = None


def make_demo(
    *,
    seed: int,
    ends: date,
    days: int = DAYS,
    size: Size | None = None,
    told: Told = lambda _count: None,
) -> Demo:
    """The history of ``days`` days, the last of them the day before ``ends``.

    ``told`` hears how many movements there are, now and then.
    """
    size = size or Size()
    rng = random.Random(f"{seed}/demo")
    goods = make_goods(rng, size.products)
    stores = keep_shops(goods, rng, ends=ends, days=days, movements=size.movements, told=told)
    return rows_of(goods, stores)
