"""Cabinets as an upstream sends them: one LZX folder, one member called `blob`, UTF-16LE text.

The LZX stream is valid and decodes everywhere, but nothing in it is compressed: every block is of LZX's
"uncompressed" type. That is all a virtual upstream needs, since a client must decode whatever it is sent.
Formats: MS-CAB 2 (cabinet), MS-PATCH 2.1 to 2.6 (LZX; here without the delta extensions).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pack_blob", "pack_member"]

_FRAME = 0x8000
"""Bytes one CFDATA block decodes to; only the last may hold fewer (MS-CAB 2.6)."""
_MAX_FRAMES = 0xFFFF
"""CFFOLDER counts its CFDATA blocks in 16 bits."""
_LZX_WINDOW_21 = 0x1503
"""typeCompress: method LZX (3), window of 2**21 bytes (MS-CAB 2.4)."""
_UNCOMPRESSED_BLOCK = 3

_HEADER = struct.Struct("<4sIIIIIBBHHHHH")
_FOLDER = struct.Struct("<IHH")
_FILE = struct.Struct("<IIHHHH")
_DATA = struct.Struct("<IHH")
_REPEATED_OFFSETS = struct.pack("<III", 1, 1, 1)


def pack_blob(text: str) -> bytes:
    """The cabinet of an XmlUpdateBlobCompressed: `text` in UTF-16LE without a byte order mark.

    Raises ValueError for text over 2 GiB, and UnicodeEncodeError for a lone surrogate. MS-WSUSSS 3.1.4.6.
    """
    return pack_member(text.encode("utf-16-le"))


def pack_member(content: bytes, name: str = "blob") -> bytes:
    """A cabinet with one LZX folder holding `content` as the member `name` (ASCII).

    Raises ValueError when `content` needs more than 65,535 frames of 32,768 bytes.
    """
    frames = tuple(_frames(content))
    if len(frames) > _MAX_FRAMES:
        raise ValueError(f"{len(content)} bytes do not fit in one cabinet folder")
    entry = name.encode("ascii") + b"\0"
    files_at = _HEADER.size + _FOLDER.size
    data_at = files_at + _FILE.size + len(entry)
    size = data_at + sum(map(len, frames))
    header = _HEADER.pack(b"MSCF", 0, size, 0, files_at, 0, 3, 1, 1, 1, 0, 0, 0)
    folder = _FOLDER.pack(data_at, len(frames), _LZX_WINDOW_21)
    file = _FILE.pack(len(content), 0, 0, 0, 0, 0) + entry
    return b"".join((header, folder, file, *frames))


def _frames(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), _FRAME):
        chunk = content[start : start + _FRAME]
        block = _block(chunk, first=start == 0)
        sizes = struct.pack("<HH", len(block), len(chunk))
        yield _DATA.pack(_checksum(sizes, _checksum(block)), len(block), len(chunk)) + block


def _block(chunk: bytes, *, first: bool) -> bytes:
    """One LZX block of type "uncompressed": header bits, alignment, R0 R1 R2, raw bytes, pad to even."""
    # The bits are: E8 translation flag (0; once, at the start of the stream), 3 of type, 24 of size, zeros to
    # the next 16-bit boundary. With or without the flag that makes 32, so every block starts and ends aligned.
    shift = 4 if first else 5
    bits = _UNCOMPRESSED_BLOCK << (24 + shift) | len(chunk) << shift
    header = struct.pack("<HH", bits >> 16, bits & 0xFFFF)
    return b"".join((header, _REPEATED_OFFSETS, chunk, b"\0" * (len(chunk) % 2)))


def _checksum(data: bytes, seed: int = 0) -> int:
    """CFDATA checksum: little-endian 32-bit words XORed; the one to three bytes left over count big-endian."""
    whole = len(data) & ~3
    # XOR of all words at once: fold the data, read as one integer, in halves of whole words.
    folded, words = int.from_bytes(data[:whole], "little"), whole // 4
    while words > 1:
        half = (words + 1) // 2
        folded = (folded >> (32 * half)) ^ (folded & ((1 << (32 * half)) - 1))
        words = half
    return seed ^ folded ^ int.from_bytes(data[whole:], "big")
