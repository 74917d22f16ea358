"""`csp-bridge bench checkin|enrol|hostile|sync|search|approve`: what the service costs on this machine, measured on data of its own."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mdm.commands.base import EXIT_FAILED, CommandError
from mdm.lab import bench_approve, bench_checkin, bench_enrol, bench_hostile, bench_search, bench_sync
from mdm.lab.bridge import BridgeDown
from mdm.lab.bulk import LEAST
from mdm.lab.enrolment_errors import EnrolmentFailed
from mdm.lab.hostile import ATTACKS
from mdm.lab.tables import render_table
from mdm.log import configure_logging
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["add_parser"]

_MOST: Final = 100_000
_FLEET: Final = 1_000_000
_THREADS: Final = 200
_NOTE: Final = "Measured on a temporary database in {}, which is removed; no other data are touched."


def add_parser(subparsers: Any) -> None:
    """Add `bench` and what it can measure."""
    parser = subparsers.add_parser(
        "bench",
        help="measure what the service costs here",
        description="Measure on a temporary database; no data of a bridge are touched.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="WHAT")

    checkin = verbs.add_parser("checkin", help="CPU time of a device's session, beside a bare commit")
    checkin.add_argument("--devices", type=_count, default=20, metavar="N", help="that check in (default 20)")
    checkin.add_argument(
        "--updates", type=_count, default=100, metavar="N", help="that each is offered (default 100)"
    )
    checkin.set_defaults(func=_checkin)

    enrol = verbs.add_parser("enrol", help="enrolments over TLS, and sessions and renewals over mutual TLS")
    enrol.add_argument("--devices", type=_count, default=200, metavar="N", help="that enrol (default 200)")
    enrol.add_argument(
        "--at-once",
        type=_at_once,
        default=bench_enrol.AT_ONCE,
        metavar="N",
        help=f"that do so at a time (default {bench_enrol.AT_ONCE})",
    )
    enrol.add_argument("--password", action="store_true", help="with a password in place of a token")
    enrol.add_argument(
        "--database-url",
        metavar="URL",
        help="an empty PostgreSQL database to measure on, which keeps what was written (default: SQLite)",
    )
    enrol.set_defaults(func=_enrol)

    hostile = verbs.add_parser(
        "hostile", help="the worst messages beside the promise for them; 1 if it breaks"
    )
    hostile.add_argument(
        "--rounds",
        type=_count,
        default=5,
        metavar="N",
        help="times each, of which the best counts (default 5)",
    )
    hostile.add_argument(
        "--only", default="", metavar="TEXT", help="attacks whose name or kind has this text"
    )
    hostile.set_defaults(func=_hostile)

    sync = verbs.add_parser("sync", help="a sync from a simulated WSUS, and one that finds nothing new")
    _add_revisions(sync, default=2_000)
    sync.add_argument(
        "--big-document", action="store_true", help="one of them with as much metadata as exist"
    )
    sync.set_defaults(func=_sync)

    search = verbs.add_parser("search", help="the questions people ask of a catalogue")
    _add_revisions(search, default=10_000)
    search.set_defaults(func=_search)

    approve = verbs.add_parser("approve", help="an approval for a whole fleet, and what a device has of it")
    approve.add_argument(
        "--devices",
        type=_fleet,
        default=_FLEET,
        metavar="N",
        help=f"in the fleet (default {_FLEET:,}; that many take some minutes to make)",
    )
    approve.set_defaults(func=_approve)

    for verb in (checkin, enrol, hostile, sync, search, approve):
        verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_revisions(parser: argparse.ArgumentParser, *, default: int) -> None:
    parser.add_argument(
        "--revisions", type=_count, default=default, metavar="N", help=f"in the catalogue (default {default})"
    )


def _checkin(args: argparse.Namespace) -> int:
    figures = _measured(lambda where: bench_checkin.run(where, devices=args.devices, updates=args.updates))
    _print(args, bench_checkin.render(figures), [asdict(figure) for figure in figures])
    return 0


def _enrol(args: argparse.Namespace) -> int:
    try:
        figures = _measured(
            lambda where: bench_enrol.run(
                where,
                devices=args.devices,
                at_once=args.at_once,
                by_password=args.password,
                database_url=args.database_url,
            )
        )
    except (BridgeDown, EnrolmentFailed) as problem:
        raise CommandError(str(problem), exit_code=EXIT_FAILED) from None
    _print(args, bench_enrol.render(figures), asdict(figures))
    return 0


def _hostile(args: argparse.Namespace) -> int:
    chosen = [attack for attack in ATTACKS if args.only in f"{attack.kind}: {attack.name}"]
    figures = _measured(lambda where: bench_hostile.run(where, rounds=args.rounds, attacks=chosen))
    _print(args, bench_hostile.render(figures), asdict(figures))
    return 0 if all(row.holds for row in figures.rows) else EXIT_FAILED


def _sync(args: argparse.Namespace) -> int:
    if args.revisions < LEAST:
        raise CommandError(f"A generated catalogue has at least {LEAST} revisions.")
    figures = asdict(_measured(lambda where: bench_sync.run(args.revisions, args.big_document, where)))
    rows = [
        (f"{value:,.1f}" if isinstance(value, float) else f"{value:,}", name)
        for name, value in figures.items()
    ]
    _print(args, render_table(("FIGURE", "OF THE SYNC"), rows), figures)
    return 0


def _search(args: argparse.Namespace) -> int:
    figures = _measured(
        lambda where: _on_database(where, lambda database: bench_search.run(database, args.revisions))
    )
    rows = [
        (f"{each.p50:.2f}", f"{each.p95:.2f}", f"{each.worst:.2f}", str(each.rows), each.question)
        for each in figures
    ]
    table = render_table(("MEDIAN ms", "95 % BELOW", "WORST", "ROWS", "QUESTION"), rows)
    _print(args, table, [asdict(each) for each in figures])
    return 0


def _approve(args: argparse.Namespace) -> int:
    figures = _measured(
        lambda where: _on_database(where, lambda database: bench_approve.run(database, args.devices))
    )
    _print(args, bench_approve.render(figures), [asdict(figure) for figure in figures])
    return 0


def _on_database(where: Path, measure: Callable[[Database], Any]) -> Any:
    """What `measure` finds on an empty database."""
    database = Database(bench_sync.database_url(where))
    try:
        database.migrate()
        return measure(database)
    finally:
        database.close()


def _measured(measure: Callable[[Path], Any]) -> Any:
    """What `measure` finds in a directory that is removed afterwards."""
    # The log of a hostile message is part of its cost, but nobody wants to read it here.
    with (
        tempfile.TemporaryDirectory(prefix="csp-bridge-bench-") as directory,
        Path(os.devnull).open("w") as void,
    ):
        configure_logging("json", "info", void)
        try:
            return measure(Path(directory) / "data")
        finally:
            configure_logging("auto", "warning", sys.stderr)


def _print(args: argparse.Namespace, table: str, figures: Any) -> None:
    if args.json:
        sys.stdout.write(f"{json.dumps(figures)}\n")
    else:
        sys.stdout.write(f"{table}\n\n{_NOTE.format(tempfile.gettempdir())}\n")


def _count(text: str) -> int:
    return _number(text, _MOST)


def _at_once(text: str) -> int:
    return _number(text, _THREADS)


def _fleet(text: str) -> int:
    return _number(text, _FLEET)


def _number(text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:10]) <= most:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {most}")
    return int(text)
