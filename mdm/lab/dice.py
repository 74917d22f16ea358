"""Repeatable randomness: every value is a function of the seed and a name, so no order of calls matters."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

__all__ = ["Dice"]


@dataclass(frozen=True, slots=True)
class Dice:
    """Throws for one seed; the same name always gives the same value."""

    seed: int

    def bytes(self, name: str) -> bytes:
        """32 bytes."""
        return hashlib.sha256(f"{self.seed}/{name}".encode()).digest()

    def number(self, name: str, low: int, high: int) -> int:
        """A number from `low` to `high`, both included."""
        return low + int.from_bytes(self.bytes(name)[:8], "big") % (high - low + 1)

    def guid(self, name: str) -> str:
        """A random (version 4) GUID in lower case."""
        return str(uuid.UUID(bytes=self.bytes(f"guid/{name}")[:16], version=4))
