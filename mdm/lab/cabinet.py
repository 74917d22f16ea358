"""Cabinets as an upstream sends them: one LZX folder, one member called `blob`, UTF-16LE text.

The LZX stream is valid and decodes everywhere, but nothing in it is compressed: every block is of LZX's
"uncompressed" type. That is all a virtual upstream needs, since a client must decode whatever it is sent. Only a
text of megabytes has to be made smaller, as a real upstream's is, or no client would take it: it goes out as MSZIP,
which every reader of cabinets knows as well.
Formats: MS-CAB 2 (cabinet), MS-PATCH 2.1 to 2.6 (LZX; here without the delta extensions), MS-MCI (MSZIP).
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["pack_blob", "pack_member"]

_FRAME = 0x8000
"""Bytes one CFDATA block decodes to; only the last may hold fewer (MS-CAB 2.6)."""
_MAX_FRAMES = 0xFFFF
"""CFFOLDER counts its CFDATA blocks in 16 bits."""
_LZX_WINDOW_21 = 0x1503
"""typeCompress: method LZX (3), window of 2**21 bytes (MS-CAB 2.4)."""
_UNCOMPRESSED_BLOCK = 3
_MSZIP = 0x0001
"""typeCompress: method MSZIP (MS-CAB 2.4)."""
_LARGE = 2 * 1024 * 1024
"""Bytes from which on a member is compressed."""

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
    """A cabinet with one folder holding `content` as the member `name` (ASCII): LZX, or MSZIP from 2 MiB on.

    Raises ValueError when `content` needs more than 65,535 frames of 32,768 bytes.
    """
    large = len(content) >= _LARGE
    frames = tuple(_frames(content, _mszip_block if large else _lzx_block))
    if len(frames) > _MAX_FRAMES:
        raise ValueError(f"{len(content)} bytes do not fit in one cabinet folder")
    entry = name.encode("ascii") + b"\0"
    files_at = _HEADER.size + _FOLDER.size
    data_at = files_at + _FILE.size + len(entry)
    size = data_at + sum(map(len, frames))
    header = _HEADER.pack(b"MSCF", 0, size, 0, files_at, 0, 3, 1, 1, 1, 0, 0, 0)
    folder = _FOLDER.pack(data_at, len(frames), _MSZIP if large else _LZX_WINDOW_21)
    file = _FILE.pack(len(content), 0, 0, 0, 0, 0) + entry
    return b"".join((header, folder, file, *frames))


def _frames(content: bytes, block_of: Callable[[bytes, bytes], bytes]) -> Iterator[bytes]:
    before = b""
    for start in range(0, len(content), _FRAME):
        chunk = content[start : start + _FRAME]
        block = block_of(chunk, before)
        sizes = struct.pack("<HH", len(block), len(chunk))
        yield _DATA.pack(_checksum(sizes, _checksum(block)), len(block), len(chunk)) + block
        before = chunk


def _mszip_block(chunk: bytes, before: bytes) -> bytes:
    """A signature and a deflate stream of its own, which may point back into the block before (MS-MCI 2)."""
    packer = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS, zdict=before)
    return b"CK" + packer.compress(chunk) + packer.flush()


def _lzx_block(chunk: bytes, before: bytes) -> bytes:
    """One LZX block of type "uncompressed": header bits, alignment, R0 R1 R2, raw bytes, pad to even."""
    # The bits are: E8 translation flag (0; once, at the start of the stream), 3 of type, 24 of size, zeros to
    # the next 16-bit boundary. With or without the flag that makes 32, so every block starts and ends aligned.
    shift = 5 if before else 4
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
