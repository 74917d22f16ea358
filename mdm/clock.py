"""The one place that reads the clock; everything else is handed `now`."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["utc_now"]


def utc_now() -> datetime:
    """Return the present moment, aware and in UTC; only the outermost layers call it."""
    return datetime.now(UTC)
