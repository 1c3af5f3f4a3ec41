"""An invented retailer: catalogue, stores and months of movements, the same for the same seed."""

from stockroom.demo.goods import GOODS_MAX, check_digit
from stockroom.demo.load import is_empty, load
from stockroom.demo.make import Size, make_demo
from stockroom.demo.rows import Demo

__all__ = ["GOODS_MAX", "Demo", "Size", "check_digit", "is_empty", "load", "make_demo"]
