"""Stockroom: inventory for retail stores, built on Holdfast."""
