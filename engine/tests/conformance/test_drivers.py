"""Both drivers that Holdfast brings pass the suite that it ships.

Checks I33, I34.
"""

from __future__ import annotations

import pytest

from holdfast.core.errors import UsageError
from holdfast.sqlite import Driver, driver
from holdfast.testing.conformance.driver import DriverConformance


class TestApsw(DriverConformance):
    def make(self) -> Driver:
        return driver("apsw")

    def other(self) -> Driver:
        return driver("stdlib")


class TestStdlib(DriverConformance):
    def make(self) -> Driver:
        return driver("stdlib")

    def other(self) -> Driver:
        return driver("apsw")


def test_an_unknown_driver_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        driver("oracle")
    assert caught.value.code == "unknown_driver"
