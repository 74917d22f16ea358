"""Results that are too long for one message: cut between items, and sent in as few messages as they fit in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from syncml.writer import write_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncml.messages import Item, Results

__all__ = ["RESULTS_ROOM", "cut", "fitting"]

RESULTS_ROOM: Final = 64 * 1024
"""Octets of Results in one message; the rest follows in further messages of the same package."""


def cut(results: Results) -> list[Results]:
    """The same Results in several, each with as many items as there is room for, and at least one."""
    parts: list[Results] = []
    items: list[Item] = []
    room = RESULTS_ROOM
    for item in results.items:
        length = _length(replace(results, items=(item,)))
        if items and length > room:
            parts.append(replace(results, items=tuple(items)))
            items, room = [], RESULTS_ROOM
        items.append(item)
        room -= length
    return [*parts, replace(results, items=tuple(items))]


def fitting(waiting: Sequence[Results]) -> int:
    """How many of the first Results one message has room for; at least one, if there is one."""
    room = RESULTS_ROOM
    for count, results in enumerate(waiting):
        room -= _length(results)
        if count and room < 0:
            return count
    return len(waiting)


def _length(results: Results) -> int:
    return len(write_command(results).encode())
