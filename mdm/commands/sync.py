"""`csp-bridge sync [--upstream ID_OR_URL] [--wait]`: read the upstreams' catalogues now, through the same ledger of runs as the service."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from mdm.audit import Origin, record
from mdm.catalog.runs import get_run, request_sync
from mdm.catalog.upstreams import find_upstream, list_upstreams
from mdm.catalog.worker import SyncWorker
from mdm.clock import utc_now
from mdm.commands.base import (
    EXIT_FAILED,
    CommandError,
    add_data_dir,
    open_database,
    prepare_schema,
    settings_of,
)

if TYPE_CHECKING:
    import argparse

    from sqlalchemy import Connection

    from mdm.catalog.runs import RunView
    from mdm.catalog.upstreams import UpstreamView
    from mdm.storage.engine import Database

__all__ = ["add_parser"]

_ORIGIN: Final = Origin(actor="command-line")
_POLL_SECONDS: Final = 0.5


def add_parser(subparsers: Any) -> None:
    """Add `sync`."""
    parser = subparsers.add_parser(
        "sync",
        help="read the upstreams' catalogues now",
        description="Queue a sync for the running service; with --wait, do it here unless the service is faster.",
    )
    add_data_dir(parser)
    parser.add_argument(
        "--upstream", metavar="ID_OR_URL", help="read this one only, instead of all that are enabled"
    )
    parser.add_argument("--wait", action="store_true", help="wait for the end; exit with 1 if it failed")
    parser.set_defaults(func=_sync)


def _sync(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    with open_database(settings) as database:
        prepare_schema(database)
        with database.write() as conn:
            now = utc_now()
            run_ids = []
            for upstream in _chosen(conn, settings.upstream_url, args.upstream):
                run_id = request_sync(conn, upstream.url, "command-line", _ORIGIN.actor, now)
                run_ids.append(run_id)
                record(
                    conn,
                    _ORIGIN,
                    now=now,
                    action="catalog.sync",
                    object_type="sync",
                    object_id=run_id,
                    after={"upstream": upstream.url, "state": "queued"},
                )
        if not args.wait:
            for run_id in run_ids:
                sys.stdout.write(f"{run_id} is queued; the running service does it within seconds.\n")
            return 0
        worker = SyncWorker(database, settings, utc_now)
        runs = [_wait(database, worker, run_id) for run_id in run_ids]
    for run in runs:
        if run.state == "succeeded":
            sys.stdout.write(_summary(run))
    broken = [run for run in runs if run.state != "succeeded"]
    if broken:
        sentences = [run.error or f"{run.id} was interrupted and is queued again." for run in broken]
        raise CommandError(" ".join(sentences), exit_code=EXIT_FAILED)
    return 0


def _chosen(conn: Connection, settings_url: str | None, name: str | None) -> tuple[UpstreamView, ...]:
    """The upstream that is named, else all that are enabled, in their order."""
    if name is not None:
        found = find_upstream(conn, settings_url, name)
        if found is None:
            raise CommandError(f"There is no upstream {name}.")
        return (found,)
    chosen = list_upstreams(conn, settings_url, enabled_only=True)
    if not chosen:
        raise CommandError(
            "There is no upstream to sync with: BRIDGE_UPSTREAM_URL is not set, and none was added."
        )
    return chosen


def _summary(run: RunView) -> str:
    return (
        f"{run.id} succeeded: {run.categories} categories, {run.new} new, {run.revised} revised and "
        f"{run.expired} expired updates, {run.fetched} of {run.needed} needed revisions, "
        f"{run.not_offered} not offered, {run.failed} failed, {run.eula_texts} licence texts.\n"
    )


def _wait(database: Database, worker: SyncWorker, run_id: str) -> RunView:
    """Work on whatever is due until the run has ended, or a signal asks to stop."""
    stopping = threading.Event()

    def stop(number: int, frame: object) -> None:
        del number, frame
        stopping.set()
        worker.stop()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while True:
            worker.run_pending()
            with database.read() as conn:
                run = get_run(conn, run_id)
            if run is None:
                raise CommandError(f"The run {run_id} is gone from the database.")
            if run.finished_at is not None or stopping.wait(_POLL_SECONDS):
                return run
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
