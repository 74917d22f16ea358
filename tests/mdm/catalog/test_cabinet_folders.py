"""Cabinets read folder by folder: the members come out whole, wherever the cabinet begins."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest

from mdm.catalog.cabinet_folders import Cabinet, CabinetError
from mdm.lab.cabinet import pack_member
from mdm.lab.scan_file import pack_folders

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = [
    [("c/1", b"core one"), ("c/2", b"core two"), ("c/3", b"")],
    [("x\\1", bytes(range(256)) * 400), ("l/en/1", b"text" * 10_000)],
]


def contents(data: bytes, scratch: Path, start: int = 0) -> dict[str, bytes]:
    """Every member of a cabinet by name."""
    cabinet = Cabinet(io.BytesIO(data), start)
    folders = {member.folder: b"" for member in cabinet.members}
    for folder in folders:
        path = cabinet.unpack(folder, scratch)
        folders[folder] = path.read_bytes()
        path.unlink()
    assert list(scratch.iterdir()) == []
    return {
        each.name: folders[each.folder][each.offset : each.offset + each.size] for each in cabinet.members
    }


@pytest.mark.parametrize("reserves", [None, (0, 0, 0), (20, 0, 0), (20, 3, 7)])
@pytest.mark.parametrize("before", [b"", b"something else"])
def test_members_come_out_whole(reserves: tuple[int, int, int] | None, before: bytes, tmp_path: Path) -> None:
    """Of several folders, with and without room for a signature, at any place of a file."""
    data = before + pack_folders(FOLDERS, reserves=reserves) + b"behind"
    assert contents(data, tmp_path, len(before)) == {
        name.replace("\\", "/"): content for folder in FOLDERS for name, content in folder
    }


def test_lzx_is_unpacked_as_well(tmp_path: Path) -> None:
    """What it is compressed with is libmspack's business."""
    content = bytes(range(256)) * 1000
    assert contents(pack_member(content), tmp_path) == {"blob": content}


@pytest.mark.parametrize(
    ("place", "octets", "words"),
    [
        (0, b"PK", "is no cabinet"),
        (30, b"\x01", "one of several"),
        (30, b"\x02", "one of several"),
    ],
)
def test_what_cannot_be_read_is_refused(place: int, octets: bytes, words: str) -> None:
    """Other files, and parts of a set."""
    data = bytearray(pack_folders(FOLDERS))
    data[place : place + len(octets)] = octets
    with pytest.raises(CabinetError, match=words):
        Cabinet(io.BytesIO(data))


def test_a_member_is_in_a_folder_that_is_there() -> None:
    """Numbers beyond the last one are for sets of cabinets, or lies."""
    data = bytearray(pack_folders([[("a", b"x")]]))
    files_at = struct.unpack_from("<I", data, 16)[0]
    struct.pack_into("<H", data, files_at + 8, 1)
    with pytest.raises(CabinetError, match="in no folder"):
        Cabinet(io.BytesIO(data))


def test_a_name_ends_somewhere() -> None:
    """A name without an end does not fill the memory."""
    with pytest.raises(CabinetError, match="too long"):
        Cabinet(io.BytesIO(pack_folders([[("a" * 300, b"x")]])))


def test_a_cabinet_that_was_cut_is_refused(tmp_path: Path) -> None:
    """At every place."""
    whole = pack_folders([[("a", b"some text that is packed")]])
    for length in range(len(whole)):
        with pytest.raises(CabinetError):
            contents(whole[:length], tmp_path)


def test_a_damaged_block_is_refused(tmp_path: Path) -> None:
    """And nothing is left in the scratch directory but what its owner removes."""
    data = bytearray(pack_folders([[("a", b"x" * 50_000)]]))
    data[-20:-2] = bytes(18)
    with pytest.raises(CabinetError, match="cannot be unpacked"):
        Cabinet(io.BytesIO(data)).unpack(0, tmp_path)
    assert not (tmp_path / "packed").exists()
