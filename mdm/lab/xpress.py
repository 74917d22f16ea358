"""The content coding `xpress` of WSUS: blocks of plain LZ77 as Windows' servers have compressed since 2003.

A block is its two lengths, before and after, and then the bytes; with equal lengths they are as they were.
Formats: MS-WSUSSS 2.1 as a WSUS of 2025 follows it (blocks of 16,352 bytes), MS-XCA 2.3 (plain LZ77).
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["pack"]

_BLOCK: Final = 16_352
_LENGTHS: Final = struct.Struct("<II")
_FARTHEST: Final = 8_192
"""A match begins at most so many bytes back."""
_SHORTEST: Final = 3
_SHORT, _HALF, _WHOLE = 7, 15, 255
"""What fits into three bits, half a byte and a byte: the largest means that more follows."""
_FLAGS: Final = 32
"""Literals and matches that share one word of flags."""


def pack(data: bytes) -> bytes:
    """The body of an answer with `Content-Encoding: xpress`."""
    packed: list[bytes] = []
    for start in range(0, len(data), _BLOCK):
        plain = data[start : start + _BLOCK]
        smaller = _compress(plain)
        best = smaller if len(smaller) < len(plain) else plain
        packed += _LENGTHS.pack(len(plain), len(best)), best
    return b"".join(packed)


def _compress(data: bytes) -> bytes:
    """One block in plain LZ77: of the matches with the last place that began alike, the longest it gives."""
    writer = _Writer()
    places: dict[bytes, int] = {}
    position = 0
    while position < len(data):
        start = data[position : position + _SHORTEST]
        place = places.get(start)
        places[start] = position
        if len(start) < _SHORTEST or place is None or position - place > _FARTHEST:
            writer.literal(data[position])
            position += 1
            continue
        length = _SHORTEST
        while position + length < len(data) and data[place + length] == data[position + length]:
            length += 1
        writer.match(position - place, length)
        position += length
    return writer.close()


class _Writer:
    """Plain LZ77 as MS-XCA 2.3.4 writes it."""

    def __init__(self) -> None:
        self._out = bytearray(4)
        self._flags_at = 0
        self._flags = 0
        self._count = 0
        self._nibble_at: int | None = None
        """A byte whose upper half still waits for the length of a match."""

    def literal(self, byte: int) -> None:
        self._out.append(byte)
        self._flag(0)

    def match(self, distance: int, length: int) -> None:
        rest = length - _SHORTEST
        self._out += struct.pack("<H", distance - 1 << 3 | min(rest, _SHORT))
        if rest >= _SHORT:
            self._long(rest - _SHORT)
        self._flag(1)

    def close(self) -> bytes:
        """Flags that nothing uses are ones."""
        free = _FLAGS - self._count
        struct.pack_into("<I", self._out, self._flags_at, self._flags << free | (1 << free) - 1)
        return bytes(self._out)

    def _long(self, rest: int) -> None:
        """What is over 7 goes into half a byte, what is over that into a byte, what is over that into two."""
        if self._nibble_at is None:
            self._nibble_at = len(self._out)
            self._out.append(min(rest, _HALF))
        else:
            self._out[self._nibble_at] |= min(rest, _HALF) << 4
            self._nibble_at = None
        if rest >= _HALF:
            self._out.append(min(rest - _HALF, _WHOLE))
        if rest - _HALF >= _WHOLE:
            self._out += struct.pack("<H", rest + _SHORT)

    def _flag(self, bit: int) -> None:
        self._flags = self._flags << 1 | bit
        self._count += 1
        if self._count == _FLAGS:
            struct.pack_into("<I", self._out, self._flags_at, self._flags)
            self._flags_at, self._flags, self._count = len(self._out), 0, 0
            self._out += bytes(4)
