"""Cabinets larger than the memory: their members, and each folder of them unpacked once into a file.

libmspack's wrapper begins a folder anew for every member it is asked for, which for a folder of thousands takes
hours. So a folder's compressed blocks are put, as they are, into a cabinet of our own with one single member, and
that is unpacked; the members are then slices of it. Format: MS-CAB 2. No name of a cabinet is used as a path.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from pylibmspack import CabArchive, MspackError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Cabinet", "CabinetError", "CabinetMember"]

_HEADER: Final = struct.Struct("<4sIIIIIBBHHHHH")
_RESERVES: Final = struct.Struct("<HBB")
_FOLDER: Final = struct.Struct("<IHH")
_FILE: Final = struct.Struct("<IIHHHH")
_DATA: Final = struct.Struct("<IHH")
_SPANS: Final = 0x0003
"""Flags: there is a cabinet before or after it that shares a folder with it."""
_HAS_RESERVES: Final = 0x0004
"""Room for others' data, such as an Authenticode signature."""
_MAX_NAME: Final = 256
_MAX_BLOCK: Final = 0x8000
_ONLY: Final = "folder"


class CabinetError(ValueError):
    """A file that is no cabinet, or a damaged one; the message is part of a sentence."""


@dataclass(frozen=True, slots=True)
class CabinetMember:
    """A file in a cabinet: a slice of one of its folders."""

    name: str
    folder: int
    offset: int
    size: int


class Cabinet:
    """A cabinet that begins somewhere in a file."""

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        """Read the lists of folders and members, at most 65,535 each; raises CabinetError."""
        self._file = file
        self._start = start
        file.seek(start)
        header = self._read(_HEADER)
        magic, files_at, folders, files, flags = header[0], header[4], *header[8:11]
        if magic != b"MSCF":
            raise CabinetError("the file is no cabinet")
        if flags & _SPANS:
            raise CabinetError("the cabinet is one of several that belong together")
        reserves = self._read(_RESERVES) if flags & _HAS_RESERVES else (0, 0, 0)
        in_header, in_folder = reserves[:2]
        self._in_data: int = reserves[2]
        file.seek(in_header, os.SEEK_CUR)
        self._folders: list[tuple[Any, ...]] = []
        for _ in range(folders):
            self._folders.append(self._read(_FOLDER))
            file.seek(in_folder, os.SEEK_CUR)
        file.seek(start + files_at)
        self.members: tuple[CabinetMember, ...] = tuple(self._member() for _ in range(files))

    def unpack(self, folder: int, scratch: Path) -> Path:
        """Unpack a folder into a new file in `scratch` and return its path; raises CabinetError."""
        packed = scratch / "packed"
        try:
            with packed.open("xb") as file:
                self._repack(folder, file)
            CabArchive(str(packed)).extract(_ONLY, str(scratch), max_size=_MAX_BLOCK * 0xFFFF)
        except MspackError as problem:
            raise CabinetError(f"the cabinet cannot be unpacked: {problem}") from problem
        finally:
            packed.unlink(missing_ok=True)
        return (scratch / _ONLY).replace(scratch / f"{_ONLY}-{self._start}-{folder}")

    def _repack(self, folder: int, out: BinaryIO) -> None:
        """Write a cabinet whose only member is all of a folder."""
        data_at, blocks, method = self._folders[folder]
        entry = _ONLY.encode("ascii") + b"\0"
        files_at = _HEADER.size + _FOLDER.size
        copied_to = files_at + _FILE.size + len(entry)
        out.seek(copied_to)
        self._file.seek(self._start + data_at)
        unpacked = 0
        for _ in range(blocks):
            checksum, size, holds = self._read(_DATA)
            self._file.seek(self._in_data, os.SEEK_CUR)
            if self._in_data:
                checksum = 0  # "not computed": it covers what is left out here
            out.write(_DATA.pack(checksum, size, holds))
            out.write(self._bytes(size))
            unpacked += holds
        total = out.tell()
        out.seek(0)
        out.write(_HEADER.pack(b"MSCF", 0, total, 0, files_at, 0, 3, 1, 1, 1, 0, 0, 0))
        out.write(_FOLDER.pack(copied_to, blocks, method))
        out.write(_FILE.pack(unpacked, 0, 0, 0, 0, 0) + entry)

    def _member(self) -> CabinetMember:
        size, offset, folder, _, _, _ = self._read(_FILE)
        name = bytearray()
        while (octet := self._bytes(1)) != b"\0":
            name += octet
            if len(name) > _MAX_NAME:
                raise CabinetError("a name in the cabinet is too long")
        if folder >= len(self._folders):
            raise CabinetError("a member of the cabinet is in no folder of it")
        return CabinetMember(name.decode("utf-8", errors="replace").replace("\\", "/"), folder, offset, size)

    def _read(self, layout: struct.Struct) -> tuple[Any, ...]:
        return layout.unpack(self._bytes(layout.size))

    def _bytes(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise CabinetError("the cabinet ends too early")
        return data
