"""Many ids in one statement, in pieces that every database takes."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["chunks"]

K = TypeVar("K", str, int)

_CHUNK: Final = 500
"""Ids in one IN list: far below the databases' bounds on parameters."""


def chunks(ids: Iterable[K]) -> Iterator[list[K]]:
    """Yield the different ids in order, some hundreds at a time."""
    remaining = iter(sorted(set(ids)))
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
