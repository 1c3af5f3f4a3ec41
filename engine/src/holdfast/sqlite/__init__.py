"""SQLite libraries behind one protocol."""

from holdfast.core.errors import UsageError
from holdfast.core.values import Row
from holdfast.sqlite.driver import Connection, Driver, OpenOptions


def driver(name: str = "apsw") -> Driver:
    """A driver by name: ``apsw`` (default) or ``stdlib``. Raises ``UsageError``."""
    if name == "apsw":
        from holdfast.sqlite.apsw_driver import ApswDriver

        return ApswDriver()
    if name == "stdlib":
        from holdfast.sqlite.stdlib_driver import StdlibDriver

        return StdlibDriver()
    raise UsageError(f"no SQLite driver is called {name!r}", code="unknown_driver")


__all__ = ["Connection", "Driver", "OpenOptions", "Row", "driver"]
