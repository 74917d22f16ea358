"""What changes and ceases to be, seen from an anchor: the driver sets and the deployments of an upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Ledger"]

T = TypeVar("T")


class Ledger(Generic[T]):
    """Values by key, each with the moment of its last change, and the moments when others went."""

    def __init__(self) -> None:
        """Empty."""
        self._held: dict[str, tuple[T, datetime]] = {}
        self._gone: dict[str, datetime] = {}

    def put(self, key: str, value: T, at: datetime) -> None:
        """Hold a value from now on, in the place of the one of that key."""
        self._held[key] = value, at
        self._gone.pop(key, None)

    def drop(self, key: str, at: datetime) -> None:
        """Hold it no longer; raises KeyError if it is not held."""
        del self._held[key]
        self._gone[key] = at

    def get(self, key: str) -> T | None:
        """The value of a key."""
        found = self._held.get(key)
        return None if found is None else found[0]

    def since(self, moment: datetime | None) -> tuple[list[T], list[str]]:
        """What was put and which keys were dropped after a moment; without one, all there is and nothing dropped."""
        if moment is None:
            return [value for value, _ in self._held.values()], []
        changed = [value for value, at in self._held.values() if at > moment]
        return changed, [key for key, at in self._gone.items() if at > moment]
