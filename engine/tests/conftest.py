"""Fixtures that all tiers share."""

from __future__ import annotations

from holdfast.testing.fixtures import postgres_cluster, postgres_url

__all__ = ["postgres_cluster", "postgres_url"]
