"""The update document inside a GetUpdateData record.

XmlUpdateBlobCompressed is a Microsoft cabinet with one LZX folder and one member `blob` in UTF-16LE, without
a byte order mark and without an XML declaration (MS-WSUSSS 2.2.4.3, and what a WSUS of 2025 sends). Decoding
is libmspack's; other compressions it knows are read as well.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from pylibmspack import CabArchive, MspackError

from mdm.upstream.errors import BlobError

if TYPE_CHECKING:
    from mdm.upstream.messages import UpdateRecord

__all__ = ["MAX_BLOB_BYTES", "decode_cabinet", "document_of"]

MAX_BLOB_BYTES: Final = 128 * 1024 * 1024
"""UTF-16 bytes of one document: the largest one published is 47 MB of UTF-8, so 94 MB here."""

_MEMBER: Final = "blob"


def document_of(record: UpdateRecord) -> str:
    """Return the update's XML document.

    Raises BlobError unless exactly one of the two blobs is there and can be decoded.
    """
    if record.text is not None and record.compressed is None:
        return record.text
    if record.text is not None or record.compressed is None:
        raise BlobError("the record has not exactly one of XmlUpdateBlob and XmlUpdateBlobCompressed")
    try:
        cabinet = base64.b64decode("".join(record.compressed.split()), validate=True)
    except (binascii.Error, ValueError) as problem:
        raise BlobError("XmlUpdateBlobCompressed is not base64") from problem
    return decode_cabinet(cabinet)


def decode_cabinet(cabinet: bytes, *, max_bytes: int = MAX_BLOB_BYTES) -> str:
    """Return the text of the cabinet's one member `blob`, at most `max_bytes` long.

    Raises BlobError. The size the cabinet declares is checked before anything is decompressed, and the
    decompressor is bounded as well, because a declaration may lie.
    """
    try:
        archive = CabArchive.from_bytes(cabinet)
        members = archive.files()
        # an offset would let a cabinet hide data before the member that is decompressed but never counted
        if [(member["name"], member["offset"]) for member in members] != [(_MEMBER, 0)]:
            raise BlobError("the cabinet does not hold exactly one member called blob")
        if members[0]["size"] > max_bytes:
            raise BlobError(f"the cabinet declares {members[0]['size']} bytes, more than {max_bytes}")
        data: bytes = archive.read(_MEMBER, max_size=max_bytes)
    except MspackError as problem:
        raise BlobError(f"the cabinet cannot be decoded: {problem}") from problem
    try:
        return data.decode("utf-16-le").removeprefix("\ufeff")
    except UnicodeDecodeError as problem:
        raise BlobError("the cabinet's member is not UTF-16LE text") from problem
