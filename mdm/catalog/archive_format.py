"""The file a catalogue travels in: a tar whose parts a signed manifest at its end vouches for.

    000001.revisions      some hundreds of records: a line of JSON, then as many octets as it says
    000002.texts          ...
    manifest.json         what is in it, and the SHA-256 of every part
    manifest.sig          the site's Ed25519 signature of the manifest

Any tar program lists it; ours reads only plain members of these names, at places it has computed itself, and
writes none of them to the disk. Nothing is believed before the signature holds, and no part is used but from
memory, after the very octets in memory have been checked. Writing and reading hold one part at a time.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mdm.catalog.signing import SIGNATURE_BYTES, PublicKey

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from mdm.catalog.signing import SigningKey

__all__ = [
    "ArchiveError",
    "ArchiveReader",
    "ArchiveWriter",
    "Kind",
    "Manifest",
    "Part",
    "Record",
]

Kind = Literal["licences", "revisions", "texts"]
"""Where licence files are; documents of updates; licence files."""

_FORMAT: Final = "csp-bridge-catalogue"
_VERSION: Final = 1
_MANIFEST: Final = "manifest.json"
_SIGNATURE: Final = "manifest.sig"
_NAME: Final = re.compile(rf"[0-9]{{6}}\.(?:{'|'.join(get_args(Kind))})", re.ASCII)

_BLOCK: Final = tarfile.BLOCKSIZE
_PART_BYTES: Final = 4 * 1024 * 1024
"""A part is closed when it has grown to this; the largest document published compresses to some 3 MB."""
_PART_RECORDS: Final = 500
_MAX_PART: Final = 96 * 1024 * 1024
"""More than a part below its limit and the largest document there can be."""
_MAX_PARTS: Final = 100_000
_MAX_MANIFEST: Final = 32 * 1024 * 1024
_MAX_LINE: Final = 64 * 1024
_CHUNK: Final = 1024 * 1024

_CUT_SHORT: Final = "The file ends too early: it was not copied whole. Copy it again from where it was made."
_NO_ARCHIVE: Final = "The file is no archive of csp-bridge catalog export, or it is damaged."


class ArchiveError(Exception):
    """An archive that cannot be used; the message says why, and what to do about it."""


class Part(BaseModel):
    """One member of the archive, as the manifest knows it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    size: int
    sha256: str
    """Lower-case hex."""
    records: int

    @property
    def kind(self) -> Kind:
        """What its records are."""
        return cast("Kind", self.name.rpartition(".")[2])


class Manifest(BaseModel):
    """What an archive says of itself, and its site has signed."""

    # a later release may add members that this one need not know
    model_config = ConfigDict(extra="ignore", frozen=True)

    format: Literal["csp-bridge-catalogue"] = _FORMAT
    version: int = _VERSION
    created_at: str
    """ISO 8601, UTC."""
    public_key: str
    """Hex of the signing key's public half."""
    selection: dict[str, Any] = Field(default_factory=dict)
    """What was asked for; empty for the whole catalogue."""
    counts: dict[str, int]
    """Records of each kind."""
    upstreams: tuple[str, ...]
    """Where the revisions came from."""
    parts: tuple[Part, ...] = Field(max_length=_MAX_PARTS)

    @property
    def fingerprint(self) -> str:
        """The signing key's."""
        return PublicKey(bytes.fromhex(self.public_key)).fingerprint


@dataclass(frozen=True, slots=True)
class Record:
    """A line of JSON and the octets that follow it."""

    members: Mapping[str, Any]
    payload: bytes

    def text(self, name: str, *, longest: int = 4096) -> str:
        """A member that has to be a text; raises ArchiveError."""
        value = self.members.get(name)
        if not isinstance(value, str) or len(value) > longest:
            raise ArchiveError(f"{_NO_ARCHIVE} A record's {name} is no text.")
        return value

    def number(self, name: str) -> int:
        """A member that has to be a whole number, 0 or more; raises ArchiveError."""
        return _whole(self.members, name)


# --- writing --------------------------------------------------------------------------------------------


class ArchiveWriter:
    """Writes an archive from the front to the end; records of one kind come one after the other."""

    def __init__(self, file: BinaryIO, now: datetime) -> None:
        """Begin at the file's present place."""
        self._file = file
        self._now = now
        self._parts: list[Part] = []
        self._counts: dict[str, int] = dict.fromkeys(get_args(Kind), 0)
        self._kind: Kind | None = None
        self._buffer = bytearray()
        self._records = 0

    def add(self, kind: Kind, members: Mapping[str, Any], payload: bytes = b"") -> None:
        """Add a record."""
        if kind != self._kind or len(self._buffer) >= _PART_BYTES or self._records >= _PART_RECORDS:
            self._close_part()
            self._kind = kind
        self._buffer += _json({**members, "size": len(payload)}) + b"\n" + payload
        self._records += 1
        self._counts[kind] += 1

    def finish(
        self, key: SigningKey, *, selection: Mapping[str, Any], upstreams: Collection[str]
    ) -> Manifest:
        """Write the manifest, its signature and the end of the tar."""
        self._close_part()
        manifest = Manifest(
            created_at=self._now.isoformat(timespec="seconds"),
            public_key=key.public.raw.hex(),
            selection=dict(selection),
            counts=self._counts,
            upstreams=tuple(sorted(upstreams)),
            parts=tuple(self._parts),
        )
        document = _json(manifest.model_dump(mode="json"))
        self._member(_MANIFEST, document)
        self._member(_SIGNATURE, key.sign(document))
        self._file.write(bytes(2 * _BLOCK))
        return manifest

    def _close_part(self) -> None:
        if self._kind is not None:
            name = f"{len(self._parts) + 1:06}.{self._kind}"
            data = bytes(self._buffer)
            self._member(name, data)
            sha256 = hashlib.sha256(data).hexdigest()
            self._parts.append(Part(name=name, size=len(data), sha256=sha256, records=self._records))
        self._buffer.clear()
        self._records = 0

    def _member(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        member.mtime = int(self._now.timestamp())
        self._file.write(member.tobuf(tarfile.USTAR_FORMAT))
        self._file.write(data)
        self._file.write(bytes(-len(data) % _BLOCK))


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode("ascii")


# --- reading --------------------------------------------------------------------------------------------


class ArchiveReader:
    """Reads an archive from a file that can be sought in."""

    def __init__(self, file: BinaryIO) -> None:
        """Find the members; raises ArchiveError for what is no archive, or not a whole one."""
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}
        self._find()

    def verify(self, trusted: Collection[str]) -> Manifest:
        """Return the manifest when all is as a trusted site has signed it; raises ArchiveError with what to do.

        `trusted` are fingerprints. Every part is read and compared with its SHA-256, so that nothing of a
        damaged archive is used.
        """
        document = self._read(_MANIFEST)
        fields = _document(document)
        if fields.get("format") != _FORMAT:
            raise ArchiveError(_NO_ARCHIVE)
        if fields.get("version") != _VERSION:
            raise ArchiveError("The archive was made by a newer csp-bridge: bring this one up to date first.")
        try:
            manifest = Manifest.model_validate_json(document)
            key = PublicKey(bytes.fromhex(manifest.public_key))
        except (ValidationError, ValueError):
            raise ArchiveError(_NO_ARCHIVE) from None
        if not key.has_signed(document, self._read(_SIGNATURE)):
            raise ArchiveError(
                "The signature does not fit the archive: it was damaged, or changed by somebody. "
                "Copy it again from where it was made."
            )
        if key.fingerprint not in trusted:
            raise ArchiveError(
                f"The archive is signed with the key {key.fingerprint}, which is not trusted here. Compare that "
                "with what csp-bridge catalog key prints at the site that made it; if it is the same, give it "
                "as --trust."
            )
        self._check_parts(manifest)
        return manifest

    def records(self, part: Part) -> Iterator[Record]:
        """Yield the records of a part, whose octets are checked before the first; raises ArchiveError."""
        data = self._read(part.name)
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise _damaged(part)
        place = 0
        while place < len(data):
            end = data.find(b"\n", place, place + _MAX_LINE)
            members = _document(data[place : max(end, place)])
            place = end + 1 + _whole(members, "size")
            if place > len(data):
                raise ArchiveError(f"{_NO_ARCHIVE} A record is longer than its part.")
            yield Record(members, data[end + 1 : place])

    def _find(self) -> None:
        """Walk from member to member; only plain files of our own names are let pass."""
        self._file.seek(0)
        place = 0
        while True:
            block = self._file.read(_BLOCK)
            if len(block) < _BLOCK:
                raise ArchiveError(_CUT_SHORT if self._places else _NO_ARCHIVE)
            if not any(block):
                break
            name, size = _header(block)
            if name in self._places or len(self._places) >= _MAX_PARTS + 2:
                raise ArchiveError(_NO_ARCHIVE)
            self._places[name] = (place + _BLOCK, size)
            place += _BLOCK + size + -size % _BLOCK
            self._file.seek(place)
        if not {_MANIFEST, _SIGNATURE} <= self._places.keys():
            raise ArchiveError("The archive has no signature: it was not made by csp-bridge catalog export.")

    def _read(self, name: str) -> bytes:
        place, size = self._places[name]
        self._file.seek(place)
        data = self._file.read(size)
        if len(data) != size:
            raise ArchiveError(_CUT_SHORT)
        return data

    def _check_parts(self, manifest: Manifest) -> None:
        sizes = {name: size for name, (_, size) in self._places.items()}
        del sizes[_MANIFEST], sizes[_SIGNATURE]
        if sizes != {part.name: part.size for part in manifest.parts}:
            raise ArchiveError("The archive lacks a part, or has one too many. Copy it again.")
        for part in manifest.parts:
            self._file.seek(self._places[part.name][0])
            digest = hashlib.sha256()
            rest = part.size
            while rest > 0 and (chunk := self._file.read(min(rest, _CHUNK))):
                digest.update(chunk)
                rest -= len(chunk)
            if digest.hexdigest() != part.sha256:
                raise _damaged(part)


def _header(block: bytes) -> tuple[str, int]:
    """Name and size of a member, neither of which anything is believed of yet."""
    try:
        member = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError):
        raise ArchiveError(_NO_ARCHIVE) from None
    bounds = {_MANIFEST: _MAX_MANIFEST, _SIGNATURE: SIGNATURE_BYTES}
    known = member.name in bounds or _NAME.fullmatch(member.name)
    if not known or member.type != tarfile.REGTYPE:
        raise ArchiveError(_NO_ARCHIVE)
    if not 0 <= member.size <= bounds.get(member.name, _MAX_PART):
        raise ArchiveError(f"{_NO_ARCHIVE} Its member {member.name} is too large.")
    return member.name, member.size


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ArchiveError(_NO_ARCHIVE)
    return document


def _whole(members: Mapping[str, Any], name: str) -> int:
    value = members.get(name)
    if type(value) is not int or value < 0:
        raise ArchiveError(f"{_NO_ARCHIVE} A record's {name} is no number.")
    return value


def _damaged(part: Part) -> ArchiveError:
    return ArchiveError(
        f"The part {part.name} of the archive is damaged: its SHA-256 is not the one that was signed. "
        "Copy the file again from where it was made."
    )
