"""The ``holdfast`` command."""

from holdfast.cli.app import app, main

__all__ = ["app", "main"]
