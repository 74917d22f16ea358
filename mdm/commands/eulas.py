"""`csp-bridge eulas export`: the licence ledger, for whoever has to prove what was accepted."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final

from mdm.approvals.ledger import Acceptance, oldest_acceptances
from mdm.commands.base import CommandError, add_data_dir, open_database, settings_of
from mdm.rest.encoding import time_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

__all__ = ["add_parser"]

_EXPORT: Final = """\
Write every acceptance to standard output, oldest first: who accepted which text of which EULA, when, from where and
for whom. The SHA-256 is that of the text, which GET /api/v1/eulas/ID?text_sha256=... gives."""

_NAMES: Final = tuple(field.name for field in fields(Acceptance))


def add_parser(subparsers: Any) -> None:
    """Add `eulas` and its verb."""
    parser = subparsers.add_parser("eulas", help="export the licence ledger")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    exporting = verbs.add_parser("export", help="write every acceptance of a licence", description=_EXPORT)
    add_data_dir(exporting)
    exporting.add_argument(
        "--format",
        choices=["jsonl", "csv"],
        default="jsonl",
        help="a JSON object a line (default), or a table",
    )
    exporting.set_defaults(func=_export)


def _export(args: argparse.Namespace) -> int:
    with open_database(settings_of(args)) as database:
        if not database.at_head():
            raise CommandError(
                "The database does not have this release's schema; csp-bridge db upgrade brings it there."
            )
        with database.read() as conn:
            rows = (_row(each) for each in oldest_acceptances(conn))
            (_write_csv if args.format == "csv" else _write_lines)(rows)
    return 0


def _row(acceptance: Acceptance) -> dict[str, Any]:
    return asdict(acceptance) | {"accepted_at": time_text(acceptance.accepted_at)}


def _write_lines(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        sys.stdout.write(json.dumps(row, separators=(",", ":"), allow_nan=False) + "\n")


def _write_csv(rows: Iterable[dict[str, Any]]) -> None:
    """An empty cell is what JSON calls null; true and false are written as JSON has them."""
    table = csv.DictWriter(sys.stdout, _NAMES, lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerow(
            {name: str(value).lower() if isinstance(value, bool) else value for name, value in row.items()}
        )
