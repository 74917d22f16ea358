"""The archive as a file: what is written is read back, and nothing else is believed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.catalog import archive_format
from mdm.catalog.archive_format import ArchiveError, ArchiveReader, ArchiveWriter, Kind, Record
from mdm.catalog.signing import SigningKey

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = SigningKey(bytes(range(32)))
TRUSTED = {KEY.public.fingerprint}


def write(*records: tuple[Kind, dict[str, Any], bytes]) -> bytes:
    """An archive."""
    file = io.BytesIO()
    writer = ArchiveWriter(file, NOW)
    for kind, members, payload in records:
        writer.add(kind, members, payload)
    writer.finish(KEY, selection={"products": ["p"]}, upstreams={"http://b", "http://a"})
    return file.getvalue()


def read(data: bytes) -> list[tuple[Kind, dict[str, Any], bytes]]:
    """Its records, without their sizes."""
    reader = ArchiveReader(io.BytesIO(data))
    return [
        (part.kind, {name: value for name, value in each.members.items() if name != "size"}, each.payload)
        for part in reader.verify(TRUSTED).parts
        for each in reader.records(part)
    ]


def sign(fields: dict[str, Any], *parts: tuple[str, bytes], key: SigningKey = KEY) -> bytes:
    """An archive whose manifest says what it likes, rightly signed."""
    document = json.dumps(fields).encode()
    return tar(*parts, ("manifest.json", document), ("manifest.sig", key.sign(document)))


def tar(*members: tuple[str, bytes]) -> bytes:
    """A tar made by the standard library's own writer."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def fields(*parts: tuple[str, bytes], **others: Any) -> dict[str, Any]:
    """The members of a manifest for these parts."""
    return {
        "format": "csp-bridge-catalogue",
        "version": 1,
        "created_at": "2026-11-21T12:00:00+00:00",
        "public_key": KEY.public.raw.hex(),
        "counts": {},
        "upstreams": [],
        "parts": [
            {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "records": 1}
            for name, data in parts
        ],
        **others,
    }


RECORDS: list[tuple[Kind, dict[str, Any], bytes]] = [
    ("revisions", {"id": "ä\n"}, b"\0\n{}"),
    ("revisions", {}, b""),
    ("texts", {"sha1": "x"}, b"text"),
]


def test_what_is_written_is_read_back() -> None:
    """Records in their order, and what the manifest says of them."""
    data = write(*RECORDS)
    assert read(data) == RECORDS
    manifest = ArchiveReader(io.BytesIO(data)).verify(TRUSTED)
    assert manifest.counts == {"licences": 0, "revisions": 2, "texts": 1}
    assert manifest.upstreams == ("http://a", "http://b")
    assert manifest.selection == {"products": ["p"]}
    assert (manifest.created_at, manifest.fingerprint) == (
        "2026-11-21T12:00:00+00:00",
        KEY.public.fingerprint,
    )


def test_any_tar_program_lists_it() -> None:
    """The standard library's finds the same members."""
    with tarfile.open(fileobj=io.BytesIO(write(*RECORDS))) as archive:
        assert archive.getnames() == ["000001.revisions", "000002.texts", "manifest.json", "manifest.sig"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["licences", "revisions", "texts"]),
            st.dictionaries(st.text().filter(lambda name: name != "size"), st.integers() | st.text()),
            st.binary(),
        )
    )
)
def test_any_records_survive(records: Any) -> None:
    """Whatever is in them, and however kinds alternate."""
    assert read(write(*records)) == records


def test_a_part_is_closed_when_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    """By octets or by records, so that a reader holds little."""
    monkeypatch.setattr(archive_format, "_PART_BYTES", 100)
    monkeypatch.setattr(archive_format, "_PART_RECORDS", 3)
    sizes = [60, 60, 1, 1, 1, 1]
    data = write(*(("revisions", {}, bytes(size)) for size in sizes))
    manifest = ArchiveReader(io.BytesIO(data)).verify(TRUSTED)
    assert [part.records for part in manifest.parts] == [2, 3, 1]


def test_an_untrusted_key_is_named_with_what_to_do() -> None:
    """Nobody's signature counts but that of a site that was named."""
    with pytest.raises(ArchiveError, match=f"{KEY.public.fingerprint}, which is not trusted here.*--trust"):
        ArchiveReader(io.BytesIO(write(*RECORDS))).verify({SigningKey(bytes(32)).public.fingerprint})


def test_a_manifest_that_was_changed_is_refused() -> None:
    """Also if everything else fits, and if another key has signed it."""
    part = ("000001.texts", b'{"size":0}\n')
    document = json.dumps(fields(part)).encode()
    for signature in (bytes(64), b"", KEY.sign(document + b" "), SigningKey(bytes(32)).sign(document)):
        data = tar(part, ("manifest.json", document), ("manifest.sig", signature))
        with pytest.raises(ArchiveError, match="signature does not fit"):
            ArchiveReader(io.BytesIO(data)).verify(TRUSTED)
    assert len(read(sign(fields(part), part))) == 1


@given(st.data())
def test_no_changed_octet_goes_unnoticed(data: st.DataObject) -> None:
    """Whatever is read of a damaged archive is what was written, or it is refused."""
    archive = bytearray(write(*RECORDS))
    place = data.draw(st.integers(0, len(archive) - 1))
    archive[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ArchiveError):
        assert read(bytes(archive)) == RECORDS  # filling between members


@given(st.integers(min_value=0))
def test_an_archive_that_was_cut_is_refused(length: int) -> None:
    """With a sentence, at every length."""
    whole = write(*RECORDS)
    with pytest.raises(ArchiveError):
        read(whole[: length % (len(whole) - 1024)])


def test_a_cut_archive_says_so() -> None:
    """That is what happens to files on their way; the words name the remedy."""
    whole = write(("revisions", {}, bytes(5000)))
    with pytest.raises(ArchiveError, match=r"not copied whole. Copy it again"):
        read(whole[:3000])


@given(st.binary(max_size=2000))
def test_any_octets_are_refused(data: bytes) -> None:
    """A file that is something else altogether."""
    with pytest.raises(ArchiveError):
        read(data)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "1.texts", "000001.exe", "manifest.json/x"]
)
def test_a_member_of_another_name_is_refused(name: str) -> None:
    """Before anything is looked at; and nothing is ever written to the disk."""
    with pytest.raises(ArchiveError, match="no archive"):
        ArchiveReader(io.BytesIO(tar((name, b"x"))))


def test_links_doubles_and_giants_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member is a plain file of a bounded size that is there once, and they are counted."""
    link = tarfile.TarInfo("000001.texts")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    giant = tarfile.TarInfo("manifest.sig")
    giant.size = 65
    for block, words in ((link.tobuf(), "no archive"), (giant.tobuf(), "manifest.sig is too large")):
        with pytest.raises(ArchiveError, match=words):
            ArchiveReader(io.BytesIO(block + bytes(2048)))
    with pytest.raises(ArchiveError, match="no archive"):
        ArchiveReader(io.BytesIO(tar(("000001.texts", b""), ("000001.texts", b""))))
    monkeypatch.setattr(archive_format, "_MAX_PARTS", 0)
    with pytest.raises(ArchiveError, match="no archive"):
        ArchiveReader(io.BytesIO(tar(*((f"00000{each}.texts", b"") for each in range(3)))))


def test_an_archive_without_signature_is_refused() -> None:
    """A tar somebody made by hand."""
    with pytest.raises(ArchiveError, match="has no signature"):
        ArchiveReader(io.BytesIO(tar(("manifest.json", b"{}"))))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"[]", "no archive"),
        (b"{", "no archive"),
        (b"[" * 100_000, "no archive"),
        (b'{"format": "x"}', "no archive"),
        (json.dumps(fields(version=2)).encode(), "newer csp-bridge"),
        (json.dumps(fields(counts=None)).encode(), "no archive"),
        (json.dumps(fields(public_key="xy")).encode(), "no archive"),
        (json.dumps(fields(public_key="aa")).encode(), "does not fit"),
    ],
)
def test_a_manifest_that_is_none_is_refused(document: bytes, words: str) -> None:
    """By its form, before its signature is asked for."""
    data = tar(("manifest.json", document), ("manifest.sig", KEY.sign(document)))
    with pytest.raises(ArchiveError, match=words):
        ArchiveReader(io.BytesIO(data)).verify(TRUSTED)


def test_the_parts_are_those_that_were_signed() -> None:
    """None is missing, none was put in, and each is as it was."""
    part, other = ("000001.texts", b'{"size":0}\n'), ("000002.texts", b'{"size":0}\n')
    for data in (sign(fields(part, other), part), sign(fields(part), part, other)):
        with pytest.raises(ArchiveError, match="lacks a part, or has one too many"):
            ArchiveReader(io.BytesIO(data)).verify(TRUSTED)
    with pytest.raises(ArchiveError, match=r"part 000001.texts of the archive is damaged"):
        ArchiveReader(io.BytesIO(sign(fields(part), (part[0], b'{"size":1}\n')))).verify(TRUSTED)


def test_a_part_that_changes_after_the_check_is_not_used() -> None:
    """The file may be on a disk that somebody else writes to."""
    file = io.BytesIO(write(*RECORDS))
    reader = ArchiveReader(file)
    part = reader.verify(TRUSTED).parts[0]
    file.seek(512)
    file.write(b"X")
    with pytest.raises(ArchiveError, match="damaged"):
        list(reader.records(part))
    file.truncate(520)
    with pytest.raises(ArchiveError, match="not copied whole"):
        list(reader.records(part))


@pytest.mark.parametrize(
    "content",
    [
        b"no line",
        b'{"size":1}\n',
        b'{"size":-1}\n',
        b'{"size":true}\n',
        b"{}\n",
        b"[]\n",
        b"1" * 70_000 + b"\n",
    ],
)
def test_a_part_without_records_is_refused(content: bytes) -> None:
    """A trusted site may have a defect; it costs a sentence."""
    part = ("000001.texts", content)
    with pytest.raises(ArchiveError, match="no archive"):
        read(sign(fields(part), part))


def test_a_record_s_members_are_what_they_have_to_be() -> None:
    """Texts of a bounded length, and whole numbers."""
    record = Record({"text": "x" * 9, "number": 1}, b"")
    assert (record.text("text"), record.number("number")) == ("x" * 9, 1)
    for ask in (
        lambda: record.text("number"),
        lambda: record.text("text", longest=8),
        lambda: record.number("text"),
    ):
        with pytest.raises(ArchiveError, match="A record's"):
            ask()
