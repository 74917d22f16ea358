"""Blobs: cabinets decoded, bounded, and refused with one error."""

from __future__ import annotations

import base64
import contextlib
import gc
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.lab.cabinet import pack_blob, pack_member
from mdm.upstream.blob import MAX_BLOB_BYTES, BlobReader
from mdm.upstream.errors import BlobError
from mdm.upstream.messages import UpdateIdentity, UpdateRecord

IDENTITY = UpdateIdentity("dd78b8a1-0b20-45c1-add6-4da72e9364cf", 202)
TEXT = '<upd:Update title="Ünïcode €"/>'


def record(text: str | None = None, cabinet: bytes | None = None) -> UpdateRecord:
    """A record with the blobs given."""
    return UpdateRecord(IDENTITY, text, base64.b64encode(cabinet).decode() if cabinet is not None else None)


def document_of(record: UpdateRecord) -> str:
    """The whole document of a record."""
    with BlobReader() as blobs:
        return b"".join(blobs.document_of(record)).decode()


def decode_cabinet(cabinet: bytes, max_bytes: int = MAX_BLOB_BYTES) -> str:
    """The whole text of a cabinet."""
    with BlobReader(max_bytes=max_bytes) as blobs:
        return b"".join(blobs.decode_cabinet(cabinet)).decode()


def test_a_plain_blob_is_its_own_document() -> None:
    """XmlUpdateBlob needs no decoding."""
    assert document_of(record(TEXT)) == TEXT


def test_a_cabinet_holds_the_document() -> None:
    """XmlUpdateBlobCompressed is decoded, also when its base64 is wrapped."""
    assert document_of(record(cabinet=pack_blob(TEXT))) == TEXT
    wrapped = base64.encodebytes(pack_blob(TEXT)).decode()
    assert document_of(UpdateRecord(IDENTITY, None, wrapped)) == TEXT


def test_a_byte_order_mark_is_dropped() -> None:
    """A WSUS sends none, but may."""
    assert decode_cabinet(pack_blob("\ufeff" + TEXT)) == TEXT


def test_a_text_of_several_frames_is_decoded() -> None:
    """Longer texts have several CFDATA blocks that share one LZX window."""
    text = "".join(f"<line number='{number}'/>" for number in range(5000))
    assert decode_cabinet(pack_blob(text)) == text


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\ufeff")))
def test_any_text_survives_the_cabinet(text: str) -> None:
    """Whatever a document holds comes out again."""
    assert decode_cabinet(pack_blob(text)) == text


def cabinet_with(offset: int = 0, size: int | None = None) -> bytes:
    """A cabinet whose CFFILE entry lies about where the member begins or how long it is."""
    data = bytearray(pack_blob(TEXT))
    entry = struct.unpack_from("<I", data, 16)[0]  # coffFiles
    if size is not None:
        struct.pack_into("<I", data, entry, size)
    struct.pack_into("<I", data, entry + 4, offset)
    return bytes(data)


def patched(at: int, value: int) -> bytes:
    """A cabinet with another 16-bit number in its header: at 28 of members, at 30 flags."""
    data = bytearray(pack_blob(TEXT))
    struct.pack_into("<H", data, at, value)
    return bytes(data)


def test_room_for_a_signature_is_passed_by() -> None:
    """A cabinet may leave room for others' data in its header and in each folder (MS-CAB 2.1)."""
    plain = pack_blob(TEXT)
    head, folder, rest = plain[:36], plain[36:44], plain[44:]
    reserves = struct.pack("<HBB", 20, 3, 0) + b"\xff" * 20
    data = bytearray(head + reserves + folder + b"\xee" * 3 + rest)
    struct.pack_into("<H", data, 30, 4)
    grown = len(data) - len(plain)
    for at in (
        8,
        16,
        36 + len(reserves),
    ):  # the cabinet's length, where its entries are, and where its data are
        struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] + grown)
    assert decode_cabinet(bytes(data)) == TEXT


def test_entries_are_looked_for_where_the_decoder_finds_them() -> None:
    """A header that points to a harmless entry elsewhere does not hide the one that is decoded."""
    data = bytearray(cabinet_with(offset=2))
    struct.pack_into("<I", data, 16, len(data))
    harmless = pack_blob(TEXT)[44:65]
    with pytest.raises(BlobError, match="exactly one member called blob"):
        decode_cabinet(bytes(data) + harmless)


def test_decoding_leaves_no_memory_behind() -> None:
    """A catalogue is 150,000 documents: what each of them leaves behind adds up."""
    cabinet = pack_blob(TEXT)
    with BlobReader() as blobs:
        list(blobs.decode_cabinet(cabinet))
        before = len(gc.get_objects())
        for _ in range(50):
            list(blobs.decode_cabinet(cabinet))
        gc.collect()
        assert len(gc.get_objects()) <= before + 10


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (record(), "not exactly one"),
        (record(TEXT, pack_blob(TEXT)), "not exactly one"),
        (UpdateRecord(IDENTITY, None, "%%%"), "not base64"),
        (UpdateRecord(IDENTITY, None, "TVND"), "cannot be decoded"),
        (record(cabinet=b""), "cannot be decoded"),
        (record(cabinet=pack_blob(TEXT)[:-3]), "cannot be decoded"),
        (record(cabinet=pack_member(TEXT.encode("utf-16-le"), "../blob")), "exactly one member called blob"),
        (record(cabinet=pack_member(b"abc")), "not UTF-16LE"),
        (record(cabinet=pack_member(b"\x00\xd8")), "not UTF-16LE"),
        (record(cabinet=cabinet_with(offset=2)), "exactly one member called blob"),
        (record(cabinet=b"XSCF" + pack_blob(TEXT)[4:]), "it is no cabinet"),
        (record(cabinet=patched(28, 2)), "exactly one member called blob"),
        (record(cabinet=patched(30, 1)), "exactly one member called blob"),
        (record(cabinet=patched(30, 2)), "exactly one member called blob"),
        (record(cabinet=cabinet_with(size=0x7FFFFFFF)), "declares 2147483647 bytes"),
        (record(cabinet=cabinet_with(size=4096)), "cannot be decoded"),
    ],
)
def test_what_cannot_be_decoded_is_a_blob_error(blob: UpdateRecord, reason: str) -> None:
    """One error, with the reason, and never a guess at the text."""
    with pytest.raises(BlobError, match=reason):
        document_of(blob)


def test_the_declared_size_is_bounded_before_decompression() -> None:
    """One byte over the bound is refused, the bound itself is not."""
    cabinet = pack_blob("ab")
    assert decode_cabinet(cabinet, max_bytes=4) == "ab"
    with pytest.raises(BlobError, match="declares 4 bytes, more than 3"):
        decode_cabinet(cabinet, max_bytes=3)


@given(st.binary(max_size=200), st.integers(0, 120))
def test_a_damaged_cabinet_is_a_blob_error_or_a_text(noise: bytes, at: int) -> None:
    """Whatever bytes come, nothing else leaves the decoder."""
    data = bytearray(pack_blob(TEXT))
    data[at : at + len(noise)] = noise
    with contextlib.suppress(BlobError):
        decode_cabinet(bytes(data))


@pytest.mark.parametrize("sign", ["€", "\U0001f4a9"])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_long_document_comes_in_pieces(sign: str, *, compressed: bool) -> None:
    """No piece is long, and no sign is lost where one piece ends and the next begins."""
    text = "x" + sign * 600_001
    with BlobReader() as blobs:
        pieces = list(blobs.document_of(record(cabinet=pack_blob(text)) if compressed else record(text)))
    assert len(pieces) > 2
    assert max(map(len, pieces)) <= 4 * 256 * 1024
    assert b"".join(pieces).decode() == text


def test_documents_are_decoded_one_after_the_other() -> None:
    """A reader is used for all documents of an answer, and what one leaves behind is not in the next."""
    texts = [TEXT * 3, TEXT, "", TEXT * 2]
    with BlobReader() as blobs:
        assert [b"".join(blobs.decode_cabinet(pack_blob(text))).decode() for text in texts] == texts
        begun = blobs.decode_cabinet(pack_blob(TEXT))
        with pytest.raises(BlobError):
            list(blobs.decode_cabinet(pack_blob(TEXT)[:-3]))
        assert b"".join(begun).decode() == TEXT


@pytest.mark.parametrize("length", [0, 1, 524_288, 524_289])
def test_short_and_long_documents_are_the_same_on_disk_and_in_memory(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to a mebibyte is decoded in memory where the system can, and everything on disk where it cannot."""
    text = "é" * length
    assert decode_cabinet(pack_blob(text)) == text
    monkeypatch.setattr("mdm.upstream.blob._DESCRIPTORS", tmp_path / "absent")
    assert decode_cabinet(pack_blob(text)) == text


def test_a_reader_leaves_no_descriptor_behind() -> None:
    """A sync makes a reader for every answer."""
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        assert decode_cabinet(pack_blob(TEXT)) == TEXT
    assert len(list(descriptors.iterdir())) == before


def test_nothing_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was decoded goes with the reader, a damaged cabinet's beginning too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with BlobReader() as blobs:
        assert len(list(tmp_path.iterdir())) == 1
        assert next(blobs.decode_cabinet(pack_blob(TEXT)))
        with pytest.raises(BlobError):
            list(blobs.decode_cabinet(pack_blob(TEXT)[:-3]))
    assert list(tmp_path.iterdir()) == []
