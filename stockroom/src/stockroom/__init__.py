"""Stockroom: inventory for retail stores, built on Holdfast."""

__version__ = "0.1.0"
