"""`csp-bridge audit verify|export`: prove that the audit trail is whole, and hand it to somebody else."""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mdm.audit_chain import Link, UnreadableEntryError, canonical, export_entries, verify
from mdm.commands.base import EXIT_FAILED, CommandError, add_data_dir, open_database, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mdm.storage.engine import Database

__all__ = ["add_parser"]

_LINK: Final = re.compile(r"([1-9][0-9]{0,9}):([0-9a-f]{64})")
_JSON_CELLS: Final = frozenset({"detail", "before", "after"})

_VERIFY: Final = """\
Compute the hash of every audit entry anew, in order, and compare. Exits with 1 at the first entry that was changed,
removed or added by something other than the bridge.

Who can write to the database can also write the whole chain anew. Note the last line of the output somewhere else,
and give it as --noted the next time: then that is found out as well."""

_EXPORT: Final = """\
Write audit entries to standard output, oldest first, each with its hash and that of the entry before, so that anybody
can check them without this program (docs/audit.md has a script)."""


def add_parser(subparsers: Any) -> None:
    """Add `audit` and its two verbs."""
    parser = subparsers.add_parser("audit", help="verify or export the audit trail")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    checking = verbs.add_parser(
        "verify",
        help="exit with 1 if an entry was changed, removed or added behind the bridge's back",
        description=_VERIFY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_dir(checking)
    checking.add_argument(
        "--noted",
        type=_link,
        metavar="SEQ:HASH",
        help="an entry that must be there, as an earlier run named it",
    )
    checking.set_defaults(func=_verify)
    exporting = verbs.add_parser(
        "export",
        help="write entries with their hashes",
        description=_EXPORT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_dir(exporting)
    for option, words in (
        (
            "--since",
            "only what was asked for at this time or later (2026-11-21, or 2026-11-21T06:00, UTC)",
        ),
        ("--until", "only what was asked for before this time"),
    ):
        exporting.add_argument(option, type=_moment, metavar="TIME", help=words)
    exporting.add_argument(
        "--format",
        choices=["jsonl", "csv"],
        default="jsonl",
        help="a JSON object a line (default), or a table",
    )
    exporting.set_defaults(func=_export)


def _verify(args: argparse.Namespace) -> int:
    with open_database(settings_of(args)) as database:
        _demand_schema(database)
        with database.read() as conn:
            verdict = verify(conn, noted=args.noted)
    if verdict.fault is not None:
        raise CommandError(
            f"The audit trail is broken at entry {verdict.fault.seq}. {verdict.fault.reason} "
            f"Entries before it that hold: {verdict.checked}.",
            exit_code=EXIT_FAILED,
        )
    sys.stdout.write(f"The audit trail is whole; entries checked: {verdict.checked}.\n")
    if verdict.last is not None:
        sys.stdout.write(f"{verdict.last.seq}:{verdict.last.hash}\n")
    return 0


def _export(args: argparse.Namespace) -> int:
    with open_database(settings_of(args)) as database:
        _demand_schema(database)
        with database.read() as conn:
            entries = export_entries(conn, since=args.since, until=args.until)
            try:
                (_write_csv if args.format == "csv" else _write_lines)(entries)
            except UnreadableEntryError as error:
                raise CommandError(f"{error} The export ends before it.", exit_code=EXIT_FAILED) from error
    return 0


def _demand_schema(database: Database) -> None:
    """Raise CommandError for another schema: who examines a trail does not want it changed by an upgrade."""
    if not database.at_head():
        raise CommandError(
            "The database does not have this release's schema; csp-bridge db upgrade brings it there."
        )


def _write_lines(entries: Iterable[dict[str, Any]]) -> None:
    for entry in entries:
        sys.stdout.write(json.dumps(entry, separators=(",", ":"), allow_nan=False) + "\n")


def _write_csv(entries: Iterable[dict[str, Any]]) -> None:
    """An empty cell is what JSON calls null; the cells of three columns are JSON."""
    table = None
    for entry in entries:
        if table is None:
            table = csv.DictWriter(sys.stdout, list(entry), lineterminator="\n")
            table.writeheader()
        table.writerow(
            {
                name: canonical(value) if name in _JSON_CELLS and value is not None else value
                for name, value in entry.items()
            }
        )


def _link(text: str) -> Link:
    found = _LINK.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError("must be a number, a colon and 64 hexadecimal digits")
    return Link(int(found[1]), found[2])


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time such as 2026-11-21 or 2026-11-21T06:00"
        ) from None
