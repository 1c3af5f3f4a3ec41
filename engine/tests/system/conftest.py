"""What the tests here share; the modules are found beside them (``pythonpath`` of pytest)."""

from shell import other_process

__all__ = ["other_process"]
