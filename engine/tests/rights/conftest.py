"""What the tests here share; the modules are found beside them (``pythonpath`` of pytest)."""

from rights_lab import cluster, make_stores, stores

__all__ = ["cluster", "make_stores", "stores"]
