"""The content coding `xpress` of a WSUS, read while it arrives: blocks of plain LZ77.

A block is its two lengths, before and after compression, and then the bytes; with equal lengths they are as they
were. Formats: MS-WSUSSS 2.1 as a WSUS follows it (blocks of 16,352 bytes), MS-XCA 2.4.4 (decompression).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from mdm.upstream.errors import InvalidAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LONGEST_BLOCK", "XpressReader"]

LONGEST_BLOCK: Final = 1024 * 1024
"""Bytes a block may have, before and after; a WSUS of 2025 makes blocks of 16,352."""

_LENGTHS: Final = struct.Struct("<II")
_BYTE: Final = struct.Struct("<B")
_HALF: Final = struct.Struct("<H")
_WORD: Final = struct.Struct("<I")
_FLAGS: Final = 32
"""Literals and matches that share one word of flags."""
_SHORTEST: Final = 3
_IN_THREE_BITS, _IN_A_NIBBLE, _IN_A_BYTE = 7, 15, 255
"""The largest number that fits means that more of the length follows."""


class XpressReader:
    """Turns the body of one answer back into what was compressed: `feed` its bytes, then `close`."""

    def __init__(self) -> None:
        """Nothing has arrived yet."""
        self._waiting = bytearray()
        self._blocks = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the blocks that are whole now, decompressed one by one, so that a caller can stop at its limit.

        Raises InvalidAnswer for a block that is longer than LONGEST_BLOCK or not what it says.
        """
        waiting = self._waiting
        waiting += data
        while len(waiting) >= _LENGTHS.size:
            plain, packed = _LENGTHS.unpack_from(waiting)
            if max(plain, packed) > LONGEST_BLOCK:
                raise InvalidAnswer(
                    f"block {self._blocks + 1} of the compressed answer has {max(plain, packed)} bytes, "
                    f"more than {LONGEST_BLOCK}"
                )
            end = _LENGTHS.size + packed
            if len(waiting) < end:
                return
            block = bytes(waiting[_LENGTHS.size : end])
            del waiting[:end]
            self._blocks += 1
            yield block if plain == packed else self._decompressed(block, plain)

    def close(self) -> None:
        """Raise InvalidAnswer if the last block is not whole."""
        if self._waiting:
            raise InvalidAnswer(f"the compressed answer ends inside block {self._blocks + 1}")

    def _decompressed(self, block: bytes, plain: int) -> bytes:
        try:
            return _decompress(block, plain)
        except struct.error:
            reason = "it ends early"
        except ValueError as problem:
            reason = str(problem)
        raise InvalidAnswer(f"block {self._blocks} of the compressed answer cannot be decompressed: {reason}")


def _decompress(data: bytes, size: int) -> bytes:
    """Return the `size` bytes that were compressed.

    Raises ValueError if `data` is not the plain LZ77 of so many, struct.error if it ends where more has to come.
    The last flags are ones that nothing belongs to. A server that leaves them out or fills up with zeros is
    understood as well: the end of the data is the end, and the length tells whether all was there.
    """
    out = bytearray()
    position, end = 0, len(data)
    nibble_at: int | None = None
    """A byte whose upper half is for the next long match."""
    while position < end:
        (flags,) = _WORD.unpack_from(data, position)
        position += _WORD.size
        left = _FLAGS
        while left and position < end:
            # a row of zeros is as many literals, taken at once: this makes it bearable in Python
            literals = left - flags.bit_length()
            if literals:
                out += data[position : position + literals]
                position += literals
                left -= literals
                continue
            left -= 1
            flags ^= 1 << left
            (match,) = _HALF.unpack_from(data, position)
            position += _HALF.size
            length = match & _IN_THREE_BITS
            if length == _IN_THREE_BITS:
                more, position, nibble_at = _long(data, position, nibble_at)
                length += more
            length += _SHORTEST
            distance = (match >> 3) + 1
            start = len(out) - distance
            if start < 0:
                raise ValueError("a match begins before the block does")
            if len(out) + length > size:
                raise ValueError(f"it has more than the {size} bytes it says")
            if length <= distance:
                out += out[start : start + length]
            else:  # it reads what it writes
                out += (out[start:] * (length // distance + 1))[:length]
    if len(out) != size:
        raise ValueError(f"it has {len(out)} bytes, not the {size} it says")
    return bytes(out)


def _long(data: bytes, position: int, nibble_at: int | None) -> tuple[int, int, int | None]:
    """What a match is longer by than three bits can say, where reading goes on, and the half byte left over.

    It is in half a byte, or what is over that in a byte; two or four bytes have the whole length but for the
    shortest match. Raises struct.error at the end of the data, ValueError for two or four that one would have held.
    """
    if nibble_at is None:
        (byte,) = _BYTE.unpack_from(data, position)
        more, nibble_at = byte & _IN_A_NIBBLE, position
        position += _BYTE.size
    else:
        more, nibble_at = data[nibble_at] >> 4, None
    if more < _IN_A_NIBBLE:
        return more, position, nibble_at
    (byte,) = _BYTE.unpack_from(data, position)
    position += _BYTE.size
    if byte < _IN_A_BYTE:
        return more + byte, position, nibble_at
    (whole,) = _HALF.unpack_from(data, position)
    position += _HALF.size
    if whole == 0:
        (whole,) = _WORD.unpack_from(data, position)
        position += _WORD.size
    if whole < _IN_THREE_BITS + _IN_A_NIBBLE:
        raise ValueError("a long match is shorter than it may be")
    return whole - _IN_THREE_BITS, position, nibble_at
