"""Objects too large for one message: chunks joined again, checked against the announced size.

The first chunk carries Meta Size, every chunk but the last MoreData; chunks of one object stand in consecutive
messages, with nothing new between them. Each chunk is answered 213 and the message Alert 1222; what breaks off
is told to the sender with Alert 1225 (OMA-TS-DM_Protocol V1_2_1 6, OMA DM RepPro 7.4.6, MS-MDM 3.1.5.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from syncml.exchange import Request
from syncml.messages import Item, Location, Meta
from syncml.status import StatusCode
from syncml.xmltree import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MAX_OBJECT", "Chunk", "Joined", "Outgoing", "join"]

MAX_OBJECT = 1024 * 1024
"""Characters of one object; the longest value of the Update CSP has some twenty."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """An object of which the last chunk has not come yet."""

    verb: str
    """The command that carries it: `Results`, `Alert` or `Replace`."""
    source: str | None
    target: str | None
    size: int
    """What the first chunk announced; octets in the specification, characters with some senders."""
    format: str | None
    type: str | None
    parts: tuple[str, ...]
    """What has come so far; joined once, at the end, for a message may hold thousands of chunks."""
    length: int
    """Characters in `parts`."""
    owner: int | None = None
    """The caller's mark of what the object belongs to."""
    refusal: int | None = None
    """The status that refused the object: its remaining chunks are swallowed, so that no tail passes for a whole."""

    def to_json(self) -> dict[str, Any]:
        """The chunk as JSON values; `from_json` is its inverse."""
        return {
            "verb": self.verb,
            "source": self.source,
            "target": self.target,
            "size": self.size,
            "format": self.format,
            "type": self.type,
            "parts": list(self.parts),
            "length": self.length,
            "owner": self.owner,
            "refusal": self.refusal,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Chunk:
        """Read what `to_json` wrote."""
        return cls(**{**value, "parts": tuple(value["parts"])})

    def belongs(self, verb: str, item: Item) -> bool:
        """True if `item` of a command `verb` can be the next chunk of this object."""
        return (verb, _uri(item.source), _uri(item.target)) == (self.verb, self.source, self.target)

    def whole(self) -> Item | None:
        """The object as one Item, or None if it was refused or is not as long as announced."""
        # RepPro counts octets of the data as sent; samples count characters. Either proves completeness.
        data = "".join(self.parts)
        if self.refusal is not None or self.size not in {len(data.encode()), len(data)}:
            return None
        return Item(
            source=None if self.source is None else Location(self.source),
            target=None if self.target is None else Location(self.target),
            meta=Meta(format=self.format, type=self.type),
            data=data,
        )


@dataclass(frozen=True, slots=True)
class Joined:
    """The items of one command after joining."""

    items: tuple[Item, ...]
    """Complete items, in order."""
    open: Chunk | None
    """The object that goes on in the next message."""
    code: StatusCode | None = None
    """The status the command gets because of a chunk: 213, 411, 416 or 424; None when it has none."""
    broken: tuple[Chunk, ...] = ()
    """Objects that something else interrupted: to be told with Alert 1225."""


def join(before: Chunk | None, verb: str, items: Iterable[Item], owner: int | None = None) -> Joined:
    """Join the items of one command to the object `before` that an earlier message left open.

    `owner` marks an object that begins here, and is never looked at.

    An object without Size is refused with 411, one above `MAX_OBJECT` with 416, one whose length is not the
    announced one with 424; none of them leaves an item.
    """
    items = tuple(items)
    if before is None and not any(item.more_data for item in items):
        return Joined(items, None)
    complete: list[Item] = []
    broken: list[Chunk] = []
    chunk, code = before, None
    for item in items:
        if chunk is not None and not chunk.belongs(verb, item):
            if chunk.verb != verb and not item.more_data:
                # An Alert may come between two chunks of Results: the keep-alive of a busy device does.
                complete.append(item)
                continue
            broken.append(chunk)
            chunk = None
        if chunk is None and not item.more_data:
            complete.append(item)
            continue
        chunk = _begin(verb, item, owner) if chunk is None else _add(chunk, item)
        code = StatusCode.CHUNKED_ITEM_ACCEPTED if chunk.refusal is None else StatusCode(chunk.refusal)
        if not item.more_data:
            whole = chunk.whole()
            if whole is not None:
                complete.append(whole)
                code = None
            elif chunk.refusal is None:
                code = StatusCode.SIZE_MISMATCH
            chunk = None
    return Joined(tuple(complete), chunk, code, tuple(broken))


def _begin(verb: str, item: Item, owner: int | None) -> Chunk:
    meta = item.meta or Meta()
    refusal = None
    if meta.size is None:
        refusal = StatusCode.SIZE_REQUIRED
    elif meta.size > MAX_OBJECT:
        refusal = StatusCode.REQUESTED_SIZE_TOO_BIG
    data = (item.data or "") if refusal is None else ""
    return Chunk(
        verb=verb,
        source=_uri(item.source),
        target=_uri(item.target),
        size=meta.size or 0,
        format=meta.format,
        type=meta.type,
        parts=(data,),
        length=len(data),
        owner=owner,
        refusal=None if refusal is None else int(refusal),
    )


def _add(chunk: Chunk, item: Item) -> Chunk:
    if chunk.refusal is not None:
        return chunk
    data = item.data or ""
    length = chunk.length + len(data)
    if length > MAX_OBJECT:
        return replace(chunk, parts=(), length=0, refusal=int(StatusCode.REQUESTED_SIZE_TOO_BIG))
    return replace(chunk, parts=(*chunk.parts, data), length=length)


def _uri(location: Location | None) -> str | None:
    return None if location is None else location.loc_uri


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A value of ours that fits into no message: how much of it has gone out."""

    request: Request
    offset: int = 0
    """Characters sent."""

    def take(self, item: Item, room: int) -> tuple[Item, Outgoing | None]:
        """`item` with the next piece as its Data, at most `room` octets of it, and what is left, if anything.

        A piece has at least one character, so that an object ends even with a device that has no room at all.
        """
        data = self.request.data or ""
        piece = _fitting(data[self.offset :], room - _CHUNK_MARKS)
        end = self.offset + len(piece)
        if self.offset == 0:
            item = replace(item, meta=replace(item.meta or Meta(), size=len(data.encode())))
        if end == len(data):
            return replace(item, data=piece), None
        return replace(item, data=piece, more_data=True), replace(self, offset=end)

    def to_json(self) -> list[Any]:
        """The object as JSON values; `from_json` is its inverse."""
        request = self.request
        return [
            [request.verb, request.loc_uri, request.format, request.type, request.data],
            self.offset,
        ]

    @classmethod
    def from_json(cls, value: Iterable[Any]) -> Outgoing:
        """Read what `to_json` wrote; TypeError or ValueError if it is something else."""
        request, offset = value
        return cls(Request(*request), offset)


_CHUNK_MARKS = 96
"""Octets of Size and MoreData, which only chunks have."""


def _fitting(text: str, room: int) -> str:
    """A long beginning of `text`, found in few steps, whose escaped UTF-8 is not longer than `room`; never empty."""
    length = max(1, min(len(text), room))
    while length > 1:
        size = len(escape(text[:length]).encode())
        if size <= room:
            break
        length = max(1, min(length - 1, length * room // size))
    return text[:length]
