"""JSON as the API writes it: compact, UTF-8, times in RFC 3339 with `Z`, frozen dataclasses as objects."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ["time_text", "to_json"]


def time_text(moment: datetime) -> str:
    """`2026-11-21T20:00:00Z`, with microseconds if there are any; raises ValueError without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone cannot be shown")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def to_json(value: Any) -> bytes:
    """Encode what handlers return; raises TypeError for anything that is neither JSON, a time nor a dataclass."""
    return json.dumps(
        value, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return time_text(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    msg = f"{type(value).__name__} has no JSON form"
    raise TypeError(msg)
