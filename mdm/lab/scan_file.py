"""A small offline scan file in the layout of Microsoft's wsusscn2.cab, with made-up updates.

A cabinet of cabinets (metadata notes, section 12). Folders are MSZIP, in as many as asked for, so that whoever
reads them has to find their members by folder and offset.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ScanRevision", "pack_folders", "pack_scan_file"]

_FRAME: Final = 0x8000
_MSZIP: Final = 1
_HAS_RESERVES: Final = 0x0004
_HEADER: Final = struct.Struct("<4sIIIIIBBHHHHH")
_FOLDER: Final = struct.Struct("<IHH")
_FILE: Final = struct.Struct("<IIHHHH")
_DATA: Final = struct.Struct("<IHH")


@dataclass(frozen=True, slots=True)
class ScanRevision:
    """One revision: its element in the master list, and its fragments by name (`c`, `x`, `l/en`)."""

    revision_id: int
    element: str
    fragments: tuple[tuple[str, str], ...] = ()


def pack_scan_file(
    revisions: Sequence[ScanRevision], *, locations: str = "", per_cabinet: int = 3, signed: bool = True
) -> bytes:
    """A scan file of these revisions, some to each cabinet; `locations` are its FileLocation elements."""
    updates = "".join(each.element for each in revisions)
    master = (
        '<?xml version="1.0" encoding="utf-8"?><OfflineSyncPackage '
        'xmlns="http://schemas.microsoft.com/msus/2004/02/OfflineSync" MinimumClientVersion="5.8.0.2678">'
        f"<Updates>{updates}</Updates><FileLocations>{locations}</FileLocations></OfflineSyncPackage>"
    )
    members = [
        ("index.xml", b"<INDEX/>"),
        ("package.cab", pack_folders([[("package.xml", master.encode())]])),
    ]
    for number, start in enumerate(range(0, len(revisions), per_cabinet), 2):
        group = revisions[start : start + per_cabinet]
        core = [_member(each, kind, text) for each in group for kind, text in each.fragments if kind == "c"]
        others = [_member(each, kind, text) for each in group for kind, text in each.fragments if kind != "c"]
        members.append((f"package{number}.cab", pack_folders([core, others])))
    return pack_folders([members], reserves=(20, 0, 4) if signed else None)


def pack_folders(
    folders: Sequence[Sequence[tuple[str, bytes]]], *, reserves: tuple[int, int, int] | None = None
) -> bytes:
    """A cabinet with members (ASCII name and content) in MSZIP folders.

    `reserves` are octets left free in the header, in each folder's entry and in each block, as signing leaves them.
    """
    in_header, in_folder, in_data = reserves or (0, 0, 0)
    entries = b""
    packed: list[tuple[bytes, ...]] = []
    for number, members in enumerate(folders):
        offset = 0
        for name, content in members:
            entries += _FILE.pack(len(content), offset, number, 0, 0, 0) + name.encode("ascii") + b"\0"
            offset += len(content)
        packed.append(tuple(_frames(b"".join(content for _, content in members), in_data)))
    reserved = b"" if reserves is None else struct.pack("<HBB", *reserves) + bytes(in_header)
    files_at = _HEADER.size + len(reserved) + len(folders) * (_FOLDER.size + in_folder)
    data_at = files_at + len(entries)
    rows = b""
    for frames in packed:
        rows += _FOLDER.pack(data_at, len(frames), _MSZIP) + bytes(in_folder)
        data_at += sum(map(len, frames))
    files, flags = sum(map(len, folders)), 0 if reserves is None else _HAS_RESERVES
    header = _HEADER.pack(b"MSCF", 0, data_at, 0, files_at, 0, 3, 1, len(folders), files, flags, 0, 0)
    return b"".join((header, reserved, rows, entries, *(each for frames in packed for each in frames)))


def _member(revision: ScanRevision, kind: str, text: str) -> tuple[str, bytes]:
    return f"{kind}/{revision.revision_id}", text.encode()


def _frames(content: bytes, reserve: int) -> Iterator[bytes]:
    before = b""
    for start in range(0, len(content), _FRAME):
        chunk = content[start : start + _FRAME]
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS, zdict=before)
        block = b"CK" + packer.compress(chunk) + packer.flush()
        # a checksum of 0 says that none was computed
        yield _DATA.pack(0, len(block), len(chunk)) + bytes(reserve) + block
        before = chunk
