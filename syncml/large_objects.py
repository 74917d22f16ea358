"""Objects too large for one message: chunks joined again, checked against the announced size.

The first chunk carries Meta Size, every chunk but the last MoreData; chunks of one object stand in consecutive
messages, with nothing new between them. Each chunk is answered 213 and the message Alert 1222; what breaks off
is told to the sender with Alert 1225 (OMA-TS-DM_Protocol V1_2_1 6, OMA DM RepPro 7.4.6, MS-MDM 3.1.5.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from syncml.messages import Item, Location, Meta
from syncml.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MAX_OBJECT", "Chunk", "Joined", "join"]

MAX_OBJECT = 4 * 1024 * 1024
"""Characters of one object; InstalledUpdates of a device with years of updates is below a tenth of it."""


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
