"""Microsoft's offline scan file (wsusscn2.cab) as a source of the catalogue, for sites that reach no upstream.

A cabinet of cabinets: `package.cab` has the master list, `package2.cab` and the following hold the fragments of
every revision. Each is unpacked once into a scratch directory, one at a time, so that the memory stays small
while the disk has to hold some gigabytes. The file is signed by Microsoft (Authenticode), which nothing here can
check: it has to come from a trusted place, and its SHA-256 can be pinned.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from mdm.catalog.cabinet_folders import Cabinet, CabinetError
from mdm.catalog.intake import BATCH_SIZE, Intake
from mdm.catalog.metadata import METADATA_LIMITS, MetadataError
from mdm.catalog.scan_documents import assemble
from mdm.catalog.scan_index import ScanError, ScanIndex
from mdm.catalog.store import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from mdm.audit import Origin
    from mdm.catalog.cabinet_folders import CabinetMember
    from mdm.catalog.intake import Summary
    from mdm.catalog.metadata import EulaFile
    from mdm.storage.engine import Database

__all__ = ["SCAN_UPSTREAM", "ScanError", "import_scan"]

SCAN_UPSTREAM: Final = "offline-scan:wsusscn2.cab"
"""What stands in the place of an upstream's URL at the revisions that came from such a file."""

_CHUNK: Final = 1024 * 1024
_MAX_UNPACKED: Final = 8 * 1024**3
"""Of one cabinet; the whole file of June 2026 unpacks to 25 GB, in some dozens of cabinets."""
_MASTER: Final = "package.cab"
_MASTER_LIST: Final = "package.xml"
_DETAILS: Final = re.compile(r"package[0-9]{1,4}\.cab", re.ASCII | re.IGNORECASE)
_FRAGMENT: Final = re.compile(r"(?:c|x|l/[A-Za-z0-9-]{1,20})/([0-9]{1,10})", re.ASCII)
"""Core, extended, and localised by language."""


def import_scan(
    database: Database,
    file: BinaryIO,
    *,
    scratch: Path | None,
    origin: Origin,
    clock: Callable[[], datetime],
    sha256: str | None = None,
    progress: Callable[[int], None] = lambda _revisions: None,
) -> Summary:
    """Store what a scan file has and the catalogue lacks, and return what that was.

    `scratch` is a directory for unpacking (None: the system's), `sha256` what the file has to have, in lower-case
    hex. Raises ScanError for a file that is no scan file or a damaged one; what is stored by then stays, and the
    run is told as failed.
    """
    found = _sha256(file)
    if sha256 is not None and found != sha256:
        raise ScanError(f"The file's SHA-256 is {found}, not the one that was given. Nothing was imported.")
    intake = Intake(database, f"offline-scan:{found}", origin, clock)
    with tempfile.TemporaryDirectory(prefix="csp-bridge-scan-", dir=scratch) as directory:
        try:
            _Scan(file, Path(directory), intake, progress).work()
        except CabinetError as problem:
            sentence = f"The file is no offline scan file, or it is damaged: {problem}."
            intake.finish(sentence)
            raise ScanError(sentence) from problem
        except ScanError as problem:
            intake.finish(str(problem))
            raise
    return intake.finish()


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


class _Scan:
    """One scan file under way; `scratch` is an empty directory of its own."""

    def __init__(
        self, file: BinaryIO, scratch: Path, intake: Intake, progress: Callable[[int], None]
    ) -> None:
        self._file = file
        self._scratch = scratch
        self._intake = intake
        self._progress = progress
        self._done = 0

    def work(self) -> None:
        """Read the master list, then the fragments cabinet by cabinet."""
        outer = Cabinet(self._file)
        places = {member.name.lower(): member for member in outer.members}
        if _MASTER not in places:
            raise ScanError("The file is no offline scan file: it has no package.cab.")
        with (
            _unpacking(outer, self._scratch) as unpacked,
            closing(ScanIndex(self._scratch / "index.sqlite3")) as index,
        ):
            listed = self._read_master(unpacked.cabinet(places[_MASTER]), index)
            self._intake.begin({"revisions": listed})
            for name in sorted(places, key=lambda each: (len(each), each)):
                if _DETAILS.fullmatch(name):
                    self._read_details(unpacked.cabinet(places[name]), index)
        if self._done < listed:
            self._intake.refuse(
                f"{listed - self._done} revisions", "the file lists them and has nothing of them"
            )

    def _read_master(self, cabinet: Cabinet, index: ScanIndex) -> int:
        member = next((each for each in cabinet.members if each.name.lower() == _MASTER_LIST), None)
        if member is None:
            raise ScanError("The file is no offline scan file: it has no package.xml.")
        with _unpacking(cabinet, self._scratch) as unpacked:
            return index.read(unpacked.at(member), member.size)

    def _read_details(self, cabinet: Cabinet, index: ScanIndex) -> None:
        """Store the revisions of a cabinet, batch by batch."""
        fragments: dict[int, list[CabinetMember]] = {}
        for member in cabinet.members:
            named = _FRAGMENT.fullmatch(member.name)
            if named is not None:
                fragments.setdefault(int(named[1]), []).append(member)
        with _unpacking(cabinet, self._scratch) as unpacked:
            waiting = iter(sorted(fragments))
            while batch := list(islice(waiting, BATCH_SIZE)):
                self._store(batch, fragments, unpacked, index)

    def _store(
        self,
        revision_ids: list[int],
        fragments: Mapping[int, list[CabinetMember]],
        unpacked: _Unpacked,
        index: ScanIndex,
    ) -> None:
        listed = index.identities(revision_ids)
        absent = self._intake.absent(listed.values())

        def url_of(file: EulaFile) -> str | None:
            return index.url_of(file.sha1)

        deliveries: list[Delivery] = []
        for revision_id, identity in listed.items():
            if identity in absent:
                try:
                    deliveries.append(_delivery(index, revision_id, fragments[revision_id], unpacked))
                except MetadataError as problem:
                    self._intake.refuse(identity, str(problem))
        self._intake.store(deliveries, upstream_url=SCAN_UPSTREAM, url_of=url_of)
        self._done += len(listed)
        self._progress(self._done)


def _delivery(
    index: ScanIndex, revision_id: int, members: list[CabinetMember], unpacked: _Unpacked
) -> Delivery:
    if sum(each.size for each in members) > METADATA_LIMITS.bytes:
        raise MetadataError("its fragments are larger than any update's document")
    return Delivery.of(assemble(index.entry(revision_id), map(unpacked.read, members)))


@contextmanager
def _unpacking(cabinet: Cabinet, scratch: Path) -> Iterator[_Unpacked]:
    """A cabinet's folders in a directory of their own, which is gone at the end."""
    with tempfile.TemporaryDirectory(dir=scratch) as directory, ExitStack() as files:
        yield _Unpacked(cabinet, Path(directory), files)


class _Unpacked:
    """A cabinet whose folders are unpacked when they are first asked for."""

    def __init__(self, cabinet: Cabinet, scratch: Path, files: ExitStack) -> None:
        self._cabinet = cabinet
        self._scratch = scratch
        self._files = files
        self._folders: dict[int, BinaryIO] = {}
        self._bytes = 0

    def at(self, member: CabinetMember) -> BinaryIO:
        """A file that stands at the member's first octet; raises CabinetError."""
        if member.folder not in self._folders:
            path = self._cabinet.unpack(member.folder, self._scratch)
            self._bytes += path.stat().st_size
            if self._bytes > _MAX_UNPACKED:
                raise CabinetError(f"a cabinet in it unpacks to more than {_MAX_UNPACKED} bytes")
            self._folders[member.folder] = self._files.enter_context(path.open("rb"))
        file = self._folders[member.folder]
        file.seek(member.offset)
        return file

    def read(self, member: CabinetMember) -> bytes:
        """The member's octets."""
        return self.at(member).read(member.size)

    def cabinet(self, member: CabinetMember) -> Cabinet:
        """The cabinet that the member is; one of this cabinet's members at a time."""
        return Cabinet(self.at(member), member.offset)
