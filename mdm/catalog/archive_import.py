"""Reading an archive into the catalogue: verified as a whole, then stored part by part.

The three kinds are read in the order of need, whatever their order in the file: where licence files are, the
revisions, the licence files.
"""

from __future__ import annotations

import zlib
from itertools import groupby
from typing import TYPE_CHECKING, BinaryIO, Final

from mdm.catalog.archive_format import ArchiveError, ArchiveReader
from mdm.catalog.eula_texts import MAX_TEXT_BYTES
from mdm.catalog.intake import BATCH_SIZE, Intake
from mdm.catalog.metadata import METADATA_LIMITS, MetadataError, parse_metadata
from mdm.catalog.store import Delivery
from mdm.upstream.messages import UpdateIdentity, wire_guid

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime

    from mdm.audit import Origin
    from mdm.catalog.archive_format import Manifest, Record
    from mdm.catalog.intake import Summary
    from mdm.catalog.metadata import EulaFile
    from mdm.storage.engine import Database

__all__ = ["import_archive", "verify_archive"]

_MAX_LICENCES: Final = 200_000
_REVISION_MAX: Final = 2**31 - 1


def verify_archive(file: BinaryIO, trusted: Collection[str]) -> tuple[ArchiveReader, Manifest]:
    """Check signature and digests without storing anything; raises ArchiveError with what to do."""
    reader = ArchiveReader(file)
    return reader, reader.verify(trusted)


def import_archive(
    database: Database,
    file: BinaryIO,
    trusted: Collection[str],
    *,
    origin: Origin,
    clock: Callable[[], datetime],
    progress: Callable[[int], None] = lambda _revisions: None,
) -> Summary:
    """Store what an archive has and the catalogue lacks, and return what that was.

    `trusted` are fingerprints of keys. Raises ArchiveError before anything is stored, unless the file changes
    while it is read; what is stored by then stays, and the run is told as failed.
    """
    reader, manifest = verify_archive(file, trusted)
    intake = Intake(database, f"archive:{manifest.fingerprint}", origin, clock)
    intake.begin({"created_at": manifest.created_at, "counts": manifest.counts})
    try:
        _Import(reader, manifest, intake, progress).work()
    except ArchiveError as problem:
        intake.finish(str(problem))
        raise
    return intake.finish()


class _Import:
    def __init__(
        self, reader: ArchiveReader, manifest: Manifest, intake: Intake, progress: Callable[[int], None]
    ) -> None:
        self._reader = reader
        self._manifest = manifest
        self._intake = intake
        self._progress = progress
        self._urls: dict[str, str] = {}

    def work(self) -> None:
        for part in self._of("licences"):
            for each in part:
                self._note_url(each)
        done = 0
        for part in self._of("revisions"):
            for batch in _batches(part):
                self._store(batch)
                done += len(batch)
                self._progress(done)
        for part in self._of("texts"):
            for each in part:
                if len(each.payload) > MAX_TEXT_BYTES:
                    self._intake.refuse(f"licence text {each.text('sha1')}", "the file is too large")
                else:
                    self._intake.store_text(each.text("sha1"), each.payload)

    def _of(self, kind: str) -> Iterator[Iterator[Record]]:
        for part in self._manifest.parts:
            if part.kind == kind:
                yield self._reader.records(part)

    def _note_url(self, licence: Record) -> None:
        self._urls[licence.text("sha1")] = licence.text("url")
        if len(self._urls) > _MAX_LICENCES:
            raise ArchiveError(f"The archive names more than {_MAX_LICENCES} licence files.")

    def _store(self, batch: list[Record]) -> None:
        """Store a batch, one transaction for each upstream that its revisions came from."""
        named = [(_identity(each), each) for each in batch]
        absent = self._intake.absent(identity for identity, _ in named)
        fresh = sorted(
            (pair for pair in named if pair[0] in absent),
            key=lambda pair: (pair[1].text("upstream"), pair[0]),
        )
        for upstream_url, group in groupby(fresh, key=lambda pair: pair[1].text("upstream")):
            deliveries = []
            for identity, each in group:
                try:
                    deliveries.append(_delivery(identity, each.payload))
                except MetadataError as problem:
                    self._intake.refuse(identity, str(problem))
            self._intake.store(deliveries, upstream_url=upstream_url, url_of=self._url_of)

    def _url_of(self, file: EulaFile) -> str | None:
        return self._urls.get(file.sha1)


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for each in records:
        batch.append(each)
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch


def _identity(record: Record) -> UpdateIdentity:
    number = record.number("revision")
    try:
        update_id = wire_guid(record.text("id"))
    except ValueError as problem:
        raise ArchiveError(f"A record's id is {problem}.") from None
    if number > _REVISION_MAX:
        raise ArchiveError("A record's revision is too large.")
    return UpdateIdentity(update_id, number)


def _delivery(identity: UpdateIdentity, compressed: bytes) -> Delivery:
    """Read a document, which may not be larger unpacked than an upstream's; raises MetadataError."""
    unpacking = zlib.decompressobj()
    try:
        document = unpacking.decompress(compressed, METADATA_LIMITS.bytes)
        whole = unpacking.eof and not unpacking.unused_data
        text = document.decode()
    except (zlib.error, UnicodeDecodeError):
        raise MetadataError("the document cannot be unpacked") from None
    if not whole:
        raise MetadataError("the document is cut short, or unpacks to more than any update's")
    revision = parse_metadata(text)
    if revision.identity != identity:
        raise MetadataError(f"the document is that of {revision.identity}")
    return Delivery(revision, compressed)
