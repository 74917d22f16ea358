"""`csp-bridge catalog export|import|import-scan|key`: the catalogue on a disk, for sites that reach no upstream."""

from __future__ import annotations

import argparse
import os
import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mdm.audit import Origin, record
from mdm.catalog.archive import Selection, export_catalogue
from mdm.catalog.archive_format import ArchiveError
from mdm.catalog.archive_import import import_archive, verify_archive
from mdm.catalog.offline_scan import ScanError, import_scan
from mdm.catalog.signing import InvalidKey, SigningKey, parse_fingerprint, read_public_key
from mdm.clock import utc_now
from mdm.commands.base import (
    EXIT_FAILED,
    CommandError,
    add_data_dir,
    open_database,
    prepare_schema,
    settings_of,
)
from mdm.upstream.messages import wire_guid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from mdm.catalog.archive import Exported
    from mdm.catalog.archive_format import Manifest
    from mdm.catalog.intake import Summary
    from mdm.settings import Settings

__all__ = ["add_verbs"]

_ORIGIN: Final = Origin(actor="command-line")
_KEY_FILE: Final = "catalog-signing.key"
_TOLD_EVERY: Final = 5000
_HEX: Final = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)

_EXPORT: Final = """\
Write the catalogue into one signed file, for a site that reaches no upstream: update documents, categories and
licence texts, but no update content and nothing about devices or approvals. The service may go on running.

The file is signed with this site's key, which is made when it is first needed. The other site has to be told once
which key that is: csp-bridge catalog key prints it."""

_IMPORT: Final = """\
Read a file of csp-bridge catalog export into this catalogue. First the whole file is checked: it must be signed by
a key that is trusted here, and every part of it must have the SHA-256 that was signed. Then what this catalogue
lacks is stored, as a sync does it. An import that was interrupted is started again with the same command; importing
a file twice changes nothing. The service may go on running."""

_SCAN: Final = """\
Read Microsoft's offline scan file (wsusscn2.cab) into this catalogue: security updates, update rollups and service
packs, without drivers, previews and licence texts.

Nothing here can check Microsoft's signature of the file. Take it from Microsoft over HTTPS, check the signature on
a Windows computer (in the file's properties), note the SHA-256 there (Get-FileHash), and give it as --sha256: then
what is imported is that file and no other. Without --sha256 whoever gave you the file decides what updates say.

Unpacking needs some gigabytes in the scratch directory. An import that was interrupted is started again with the
same command; importing a file twice changes nothing. What a server has sent is never replaced by what the file says
of the same revision, and the other way round."""

_KEY: Final = """\
Print the public key that archives of this site are signed with, and its fingerprint. Give it to the other site on
another way than the archives, or read the fingerprint out on the telephone: who can replace both can forge both."""


def add_verbs(verbs: Any) -> None:
    """Add `export`, `import`, `import-scan` and `key`."""
    export = _verb(verbs, "export", "write the catalogue into a signed file", _EXPORT)
    export.add_argument("file", type=Path, metavar="FILE", help="file to write")
    export.add_argument("--force", action="store_true", help="replace FILE if it is there already")
    export.add_argument(
        "--product",
        action="append",
        default=[],
        type=_guid,
        metavar="GUID",
        help="only updates of this product and what they need; may be given several times",
    )
    export.add_argument(
        "--classification",
        action="append",
        default=[],
        type=_guid,
        metavar="GUID",
        help="only updates of this classification and what they need; may be given several times",
    )
    export.add_argument(
        "--since",
        type=_moment,
        metavar="DATE",
        help="only what this site has got since then (2026-11-21, or 2026-11-21T06:00, UTC): "
        "for a site that has imported everything before",
    )
    export.set_defaults(func=_export)
    importing = _verb(verbs, "import", "read a file of another site's export", _IMPORT)
    importing.add_argument("file", type=Path, metavar="FILE", help="file to read")
    importing.add_argument(
        "--trust",
        action="append",
        default=[],
        type=_trust,
        metavar="KEY",
        help="fingerprint of the key, or file with the key, of a site to trust; may be given several times "
        "(this site's own key always is)",
    )
    importing.add_argument("--check", action="store_true", help="check the file and store nothing")
    importing.set_defaults(func=_import)
    scan = _verb(verbs, "import-scan", "read Microsoft's offline scan file (wsusscn2.cab)", _SCAN)
    scan.add_argument("file", type=Path, metavar="FILE", help="file to read")
    scan.add_argument("--sha256", type=_sha256, metavar="HEX", help="the SHA-256 that the file has to have")
    scan.add_argument(
        "--scratch-dir", type=Path, metavar="DIR", help="where to unpack (TMPDIR, or the system's directory)"
    )
    scan.set_defaults(func=_import_scan)
    _verb(verbs, "key", "print the key that this site's exports are signed with", _KEY).set_defaults(
        func=_key
    )


def _verb(verbs: Any, name: str, words: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=words, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_dir(parser)
    return parser


# --- key ------------------------------------------------------------------------------------------------


def _key(args: argparse.Namespace) -> int:
    public = _signing_key(settings_of(args)).public
    sys.stdout.write(f"Fingerprint: {public.fingerprint}\n{public.pem}")
    return 0


def _signing_key(settings: Settings) -> SigningKey:
    return SigningKey.from_file(settings.data_dir / _KEY_FILE)


# --- export ---------------------------------------------------------------------------------------------


def _export(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    if args.file.exists() and not args.force:
        raise CommandError(f"{args.file} is there already; --force replaces it.")
    selection = Selection(tuple(args.product), tuple(args.classification), args.since)
    now = utc_now()
    with open_database(settings) as database:
        prepare_schema(database)
        key = _signing_key(settings)
        with _whole_file(args.file) as file:
            exported = export_catalogue(
                database, file, key, selection, now=now, progress=_Progress("written").tell
            )
        if exported.manifest.counts["revisions"] == 0:
            sys.stderr.write("Nothing in the catalogue is in this selection: the file holds no revision.\n")
        with database.write() as connection:
            record(
                connection,
                _ORIGIN,
                now=now,
                action="catalog.export",
                object_type="archive",
                object_id=key.public.fingerprint,
                detail={"file": args.file.name, "counts": exported.manifest.counts, **selection.document},
            )
    sys.stdout.write(_export_words(args.file, exported))
    return 0


def _export_words(path: Path, exported: Exported) -> str:
    counts = exported.manifest.counts
    holds = f"{counts['revisions']} revisions and {counts['texts']} licence texts"
    lines = [
        f"{path}: {holds}, {path.stat().st_size} bytes, signed with {exported.manifest.fingerprint}.",
        f"What comes later: csp-bridge catalog export --since {exported.manifest.created_at} FILE",
    ]
    if exported.texts_left_out:
        lines.append(
            f"{exported.texts_left_out} licence texts are left out: their files were damaged where they came from, "
            "and the other site could not check them."
        )
    return "".join(f"{line}\n" for line in lines)


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when all of it is on the disk; until then it is beside it, named `.partial`."""
    draft = path.with_name(f"{path.name}.partial")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise CommandError(f"Cannot write {path}: {error.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)


# --- import ---------------------------------------------------------------------------------------------


def _import(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    trusted = {*args.trust}
    if (settings.data_dir / _KEY_FILE).exists():
        trusted.add(_signing_key(settings).public.fingerprint)
    with _told(args.file), args.file.open("rb") as file:
        if args.check:
            manifest = verify_archive(file, trusted)[1]
            sys.stdout.write(f"{args.file} is whole and signed by {_manifest_words(manifest)}\n")
            return 0
        with open_database(settings) as database:
            prepare_schema(database)
            progress = _Progress("read").tell
            summary = import_archive(
                database, file, trusted, origin=_ORIGIN, clock=utc_now, progress=progress
            )
    _tell(args.file, summary)
    return 0


def _import_scan(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    if args.sha256 is None:
        sys.stderr.write("Without --sha256 nothing says that this is the file Microsoft has signed.\n")
    with _told(args.file), args.file.open("rb") as file, open_database(settings) as database:
        prepare_schema(database)
        summary = import_scan(
            database,
            file,
            scratch=args.scratch_dir,
            origin=_ORIGIN,
            clock=utc_now,
            sha256=args.sha256,
            progress=_Progress("read").tell,
        )
    _tell(args.file, summary)
    return 0


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say in one sentence why an import ended."""
    try:
        yield
    except (ArchiveError, ScanError) as error:
        raise CommandError(f"{path}: {error}", exit_code=EXIT_FAILED) from None
    except OSError as error:
        raise CommandError(f"Cannot read {error.filename or path}: {error.strerror}.") from None
    except KeyboardInterrupt:
        raise CommandError(
            "Stopped. What is stored stays; the same command goes on.", exit_code=EXIT_FAILED
        ) from None


def _manifest_words(manifest: Manifest) -> str:
    counts = manifest.counts
    return (
        f"{manifest.fingerprint}: {counts['revisions']} revisions and {counts['texts']} licence texts of "
        f"{manifest.created_at}, from {', '.join(manifest.upstreams) or 'no upstream'}."
    )


def _tell(path: Path, summary: Summary) -> None:
    sys.stdout.write(f"{path}: {summary.sentence}\n")
    for reason in summary.reasons:
        sys.stderr.write(f"Refused: {reason}\n")


# --- both -----------------------------------------------------------------------------------------------


class _Progress:
    """Says on stderr how far it is, every some thousand revisions."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._told = 0

    def tell(self, done: int) -> None:
        """Say it if there is enough to say."""
        if done - self._told >= _TOLD_EVERY:
            self._told = done
            sys.stderr.write(f"{done} revisions {self._word}\n")


def _guid(text: str) -> str:
    try:
        return wire_guid(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"it is {error}") from None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date such as 2026-11-21 or 2026-11-21T06:00"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _sha256(text: str) -> str:
    if not _HEX.fullmatch(text):
        raise argparse.ArgumentTypeError("a SHA-256 is 64 hexadecimal digits")
    return text.lower()


def _trust(text: str) -> str:
    """The fingerprint somebody gave, or that of the key in the file."""
    try:
        path = Path(text)
        return read_public_key(path).fingerprint if path.exists() else parse_fingerprint(text)
    except InvalidKey as error:
        raise argparse.ArgumentTypeError(str(error)) from None
