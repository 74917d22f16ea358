"""Cabinets of the virtual upstream decode with independent decoders."""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylibmspack import CabArchive, CabFormatError

from mdm.lab import cabinet
from mdm.lab.cabinet import pack_blob, pack_member

if TYPE_CHECKING:
    from pathlib import Path

SIZES = [0, 1, 2, 3, 32767, 32768, 32769, 65535, 65536, 65537, 150_001]


def _bytes(size: int) -> bytes:
    return bytes((i * 7 + (i >> 8)) & 0xFF for i in range(size))


def _reference_checksum(data: bytes, seed: int) -> int:
    """The checksum as MS-CAB 3.1 writes it, word by word."""
    result = seed
    whole = len(data) // 4 * 4
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        result ^= word
    last = 0
    for byte in data[whole:]:
        last = last << 8 | byte
    return result ^ last


@pytest.mark.parametrize("size", SIZES)
def test_libmspack_reads_back_every_size(size: int) -> None:
    """Content around the frame boundary, odd or even, comes back byte for byte from libmspack."""
    content = _bytes(size)
    assert CabArchive.from_bytes(pack_member(content)).read("blob") == content


@pytest.mark.parametrize("size", SIZES)
def test_cabextract_reads_back_every_size(size: int, tmp_path: Path) -> None:
    """A second decoder, which verifies the checksums, agrees."""
    tool = shutil.which("cabextract")
    if tool is None:
        pytest.skip("cabextract is not installed")
    path = tmp_path / "blob.cab"
    path.write_bytes(pack_member(_bytes(size)))
    assert subprocess.run([tool, "-q", "-p", str(path)], capture_output=True, check=True).stdout == _bytes(
        size
    )


@given(st.text(st.characters(codec="utf-16-le"), max_size=400))
def test_any_text_survives(text: str) -> None:
    """Text goes out as UTF-16LE without a mark and comes back the same."""
    assert CabArchive.from_bytes(pack_blob(text)).read("blob") == text.encode("utf-16-le")


@given(st.binary(max_size=70_000))
def test_any_bytes_survive(content: bytes) -> None:
    """Arbitrary bytes, over one to three frames, come back the same."""
    assert CabArchive.from_bytes(pack_member(content)).read("blob") == content


@given(st.binary(max_size=200), st.integers(0, 0xFFFFFFFF))
def test_checksum_is_that_of_the_specification(data: bytes, seed: int) -> None:
    """The folded checksum equals the word-by-word one for every length."""
    assert cabinet._checksum(data, seed) == _reference_checksum(data, seed)


def test_a_broken_byte_is_noticed() -> None:
    """The checksum is really there: a decoder refuses a cabinet with one byte changed."""
    damaged = bytearray(pack_blob("sixteen-bit text"))
    damaged[-1] ^= 1
    with pytest.raises(CabFormatError, match="error 9"):  # MSPACK_ERR_CHECKSUM
        CabArchive.from_bytes(bytes(damaged)).read("blob")


def test_header_is_that_of_a_real_upstream() -> None:
    """Apart from the sizes the first bytes are those WSUS writes: version 1.3, one folder, LZX:21, `blob`."""
    packed = pack_blob("<a/>")
    assert packed[:4] == b"MSCF"
    assert struct.unpack_from("<I", packed, 8) == (len(packed),)
    assert struct.unpack_from("<I", packed, 16) == (44,)
    assert packed[24:36] == bytes((3, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0))
    assert struct.unpack_from("<IHH", packed, 36) == (65, 1, 0x1503)
    assert struct.unpack_from("<IIHHHH5s", packed, 44) == (8, 0, 0, 0, 0, 0, b"blob\0")


def test_too_much_for_one_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """More frames than the folder can count is a ValueError, not a corrupt cabinet."""
    monkeypatch.setattr(cabinet, "_MAX_FRAMES", 2)
    assert pack_member(_bytes(65536))
    with pytest.raises(ValueError, match="do not fit"):
        pack_member(_bytes(65537))


# --- long members -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 32_768, 32_769, 100_001])
def test_a_long_member_is_compressed(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a size on it is MSZIP, whose blocks point back into those before; libmspack reads it."""
    monkeypatch.setattr(cabinet, "_LARGE", 0)
    content = _bytes(size)
    packed = pack_member(content)
    assert struct.unpack_from("<H", packed, 42) == (1,)
    assert CabArchive.from_bytes(packed).read("blob") == content


def test_a_long_text_becomes_short() -> None:
    """As a real upstream's cabinets do: what repeats itself costs little."""
    text = "".join(f'<update name="component-{number:06d}" />' for number in range(40_000))
    packed = pack_blob(text)
    assert len(packed) < len(text) / 5
    assert CabArchive.from_bytes(packed).read("blob").decode("utf-16-le") == text
    assert struct.unpack_from("<H", pack_blob("<short/>"), 42) == (0x1503,)


def test_bytes_that_cannot_be_made_smaller_survive(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of noise grows by some bytes and still comes back."""
    monkeypatch.setattr(cabinet, "_LARGE", 0)
    noise = hashlib.shake_128(b"noise").digest(70_000)
    assert CabArchive.from_bytes(pack_member(noise)).read("blob") == noise
