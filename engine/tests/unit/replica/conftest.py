"""What the tests here share; the modules are found beside them (``pythonpath`` of pytest)."""

from transport_lab import stub, transport

__all__ = ["stub", "transport"]
