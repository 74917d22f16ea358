"""The update document inside a GetUpdateData record, in UTF-8 and piece by piece.

XmlUpdateBlobCompressed is a Microsoft cabinet with one LZX folder and one member `blob` in UTF-16LE, without
a byte order mark and without an XML declaration (MS-WSUSSS 2.2.4.3, and what a WSUS of 2025 sends). Decoding
is libmspack's; other compressions it knows are read as well. It decodes into files only. An ordinary document
goes into one that is nothing but memory, because making and removing a real one costs as much as decoding; of a
long one no more than a piece is in memory at a time: the longest document published fills 94 MB.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import os
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from pylibmspack import CabArchive, MspackError

from mdm.upstream.errors import BlobError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mdm.upstream.messages import UpdateRecord

__all__ = ["MAX_BLOB_BYTES", "BlobReader"]

MAX_BLOB_BYTES: Final = 128 * 1024 * 1024
"""UTF-16 bytes of one document: the largest one published is 47 MB of UTF-8, so 94 MB here."""

_MEMBER: Final = "blob"
_HEADER: Final = struct.Struct("<4sIIIIIBBHHHHH")
_RESERVES: Final = struct.Struct("<HBB")
_HAS_RESERVES: Final = 0x0004
"""The only flag a cabinet may have that is whole by itself: room for others' data, such as a signature."""
_FOLDER_SIZE: Final = 8
_FILE: Final = struct.Struct(f"<IIHHHH{len(_MEMBER) + 1}s")
_MARK: Final = "\ufeff"
_PIECE: Final = 256 * 1024
"""Bytes of UTF-16, or characters, in a piece."""
_SHORT: Final = 1024 * 1024
"""Bytes of UTF-16 up to which a document is decoded in memory."""
_DESCRIPTORS: Final = Path("/proc/self/fd")
"""Where a file that has no name has a path; a system without this decodes on disk."""


class BlobReader:
    """Reads the documents of one answer; a context manager, because it keeps a directory to decode into.

    Not for longer than that: directories for temporary files are swept, if only every few days.
    """

    def __init__(self, *, max_bytes: int = MAX_BLOB_BYTES) -> None:
        """`max_bytes` bounds a decoded cabinet."""
        self._max_bytes = max_bytes
        self._scratch = tempfile.TemporaryDirectory(prefix="csp-bridge-blobs-")
        self._long = Path(self._scratch.name, "long")
        self._memory = _Memory(Path(self._scratch.name, "short")) if _DESCRIPTORS.is_dir() else None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove the directory."""
        if self._memory is not None:
            self._memory.close()
        self._scratch.cleanup()

    def document_of(self, record: UpdateRecord) -> Iterator[bytes]:
        """Yield the update's XML document in UTF-8.

        Raises BlobError unless exactly one of the two blobs is there and can be decoded.
        """
        if record.text is not None and record.compressed is None:
            for at in range(0, len(record.text), _PIECE):
                yield record.text[at : at + _PIECE].encode()
            return
        if record.text is not None or record.compressed is None:
            raise BlobError("the record has not exactly one of XmlUpdateBlob and XmlUpdateBlobCompressed")
        try:
            cabinet = base64.b64decode("".join(record.compressed.split()), validate=True)
        except (binascii.Error, ValueError) as problem:
            raise BlobError("XmlUpdateBlobCompressed is not base64") from problem
        yield from self.decode_cabinet(cabinet)

    def decode_cabinet(self, cabinet: bytes) -> Iterator[bytes]:
        """Yield the text of the cabinet's one member `blob` in UTF-8, without a byte order mark.

        Raises BlobError. The size the cabinet declares is checked before anything is decompressed, and the
        decompressor is bounded as well, because a declaration may lie.
        """
        size = _declared_size(cabinet)
        if size > self._max_bytes:
            raise BlobError(f"the cabinet declares {size} bytes, more than {self._max_bytes}")
        decoder = codecs.getincrementaldecoder("utf-16-le")()
        before = _MARK
        try:
            for data in self._decoded(cabinet, size):
                text, before = decoder.decode(data).removeprefix(before), ""
                yield text.encode()
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as problem:
            raise BlobError("the cabinet's member is not UTF-16LE text") from problem

    def _decoded(self, cabinet: bytes, size: int) -> Iterator[bytes]:
        if size <= _SHORT and self._memory is not None:
            _extract(cabinet, self._memory.directory, max(size, 1))
            yield self._memory.read(size)
            return
        decoded = _extract(cabinet, self._long, self._max_bytes)
        with decoded.open("rb") as file:
            # removed and not written over: a disk would have to write what is cut off, for every document
            decoded.unlink()
            while data := file.read(_PIECE):
                yield data


class _Memory:
    """A directory whose member `blob` is a file in memory; the library knows no other way to be told where to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = os.memfd_create("csp-bridge-blob", os.MFD_CLOEXEC)
        directory.mkdir()
        (directory / _MEMBER).symlink_to(_DESCRIPTORS / str(self._file))

    def read(self, size: int) -> bytes:
        """The first so many bytes of the file."""
        return os.pread(self._file, size, 0)

    def close(self) -> None:
        """Free the memory."""
        os.close(self._file)


def _extract(cabinet: bytes, directory: Path, max_bytes: int) -> Path:
    """Decode the member into a directory; raises BlobError."""
    try:
        # "raw": the library need not ask whether `blob` is a harmless path
        archive = CabArchive.from_bytes(cabinet)
        return Path(archive.extract_raw(_MEMBER, str(directory), max_size=max_bytes))
    except MspackError as problem:
        raise BlobError(f"the cabinet cannot be decoded: {problem}") from problem


def _declared_size(cabinet: bytes) -> int:
    """Return how long the one member `blob` is said to be (MS-CAB 2.1 to 2.3); raises BlobError.

    The library's own `files()` is not asked: it never frees the list it returns, which a catalogue of 150,000
    documents would feel. The entries are looked for where the library looks, behind the folders, and not where the
    header says, so that both speak of the same member.
    """
    try:
        magic, *_, folders, files, flags, _, _ = _HEADER.unpack_from(cabinet)
        at, in_folder = _HEADER.size, 0
        if flags & _HAS_RESERVES:
            in_header, in_folder, _ = _RESERVES.unpack_from(cabinet, at)
            at += _RESERVES.size + in_header
        at += folders * (_FOLDER_SIZE + in_folder)
        size, offset, _, _, _, _, name = _FILE.unpack_from(cabinet, at)
    except struct.error as problem:
        raise BlobError("the cabinet cannot be decoded: it ends too early") from problem
    if magic != b"MSCF":
        raise BlobError("the cabinet cannot be decoded: it is no cabinet")
    # an offset would let a cabinet hide data before the member that is decompressed but never counted
    if flags & ~_HAS_RESERVES or (files, offset, name) != (1, 0, f"{_MEMBER}\0".encode()):
        raise BlobError("the cabinet does not hold exactly one member called blob")
    return int(size)
