"""A package that is too long for one message: spread over several, between items and, if need be, inside values."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from syncml.messages import Meta, Results
from syncml.writer import write_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from syncml.messages import Command, Item

__all__ = ["chunks", "packed"]


def packed(
    commands: Iterable[Command], room: int, longest_value: int | None = None
) -> list[tuple[Command, ...]]:
    """The commands in as few messages as have `room` octets each, in their order; at least one message.

    Results come apart between items. A value of more than `longest_value` characters is cut into chunks, and
    a chunk that is not the last ends its message. What is longer than a message and cannot be cut goes alone.
    """
    messages: list[tuple[Command, ...]] = []
    part: list[Command] = []
    left = room
    for piece, envelope in _pieces(commands, longest_value):
        length = _length(piece)
        if part and length - (envelope if _goes_on(part[-1], piece) else 0) > left:
            messages.append(_joined(part))
            part, left = [], room
        left -= length - (envelope if part and _goes_on(part[-1], piece) else 0)
        part.append(piece)
        if isinstance(piece, Results) and piece.items[0].more_data:
            messages.append(_joined(part))
            part, left = [], room
    # After a chunk with MoreData another always follows: something is left, or there never was anything.
    return [*messages, _joined(part)]


def chunks(item: Item, longest_value: int) -> list[Item]:
    """The item in chunks: Size in the first, MoreData in all but the last (DM_Protocol 6); a short one as it is."""
    data = item.data or ""
    if len(data) <= longest_value:
        return [item]
    pieces = [data[start : start + longest_value] for start in range(0, len(data), longest_value)]
    meta = item.meta or Meta()
    first = replace(item, meta=replace(meta, size=len(data.encode())), data=pieces[0], more_data=True)
    between = [replace(item, data=piece, more_data=True) for piece in pieces[1:-1]]
    return [first, *between, replace(item, data=pieces[-1])]


def _pieces(commands: Iterable[Command], longest_value: int | None) -> Iterator[tuple[Command, int]]:
    """Each command, Results item by item and chunk by chunk, with the octets that pieces of one Results share."""
    for command in commands:
        if not isinstance(command, Results):
            yield command, 0
            continue
        first = command.items[:1]
        envelope = 2 * _length(replace(command, items=first)) - _length(replace(command, items=first * 2))
        for item in command.items:
            for chunk in [item] if longest_value is None else chunks(item, longest_value):
                yield replace(command, items=(chunk,)), envelope


def _joined(part: list[Command]) -> tuple[Command, ...]:
    """The pieces of one message, with those of the same Results in one again."""
    joined: list[Command] = []
    for key, group in groupby(part, key=_belonging):
        if key is None:
            joined += group
        else:
            pieces = [piece for piece in group if isinstance(piece, Results)]
            joined.append(replace(pieces[0], items=tuple(item for piece in pieces for item in piece.items)))
    return tuple(joined)


def _belonging(command: Command) -> tuple[str, str] | None:
    return (command.msg_ref, command.cmd_ref) if isinstance(command, Results) else None


def _goes_on(before: Command, piece: Command) -> bool:
    key = _belonging(piece)
    return key is not None and key == _belonging(before)


def _length(command: Command) -> int:
    return len(write_command(command).encode())
