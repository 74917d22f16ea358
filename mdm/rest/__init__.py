"""The REST API under /api/v1."""

from __future__ import annotations

from typing import Final

__all__ = ["API_PREFIX"]

API_PREFIX: Final = "/api/v1"
