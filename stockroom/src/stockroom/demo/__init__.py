"""An invented retailer: catalogue, stores and months of movements, the same for the same seed."""

from stockroom.demo.goods import check_digit
from stockroom.demo.history import Demo, make_demo
from stockroom.demo.load import is_empty, load

__all__ = ["Demo", "check_digit", "is_empty", "load", "make_demo"]
