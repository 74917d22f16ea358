"""How fast a catalogue is synced: from a virtual upstream on the loopback into an embedded database.

Upstream and sync have a process each, so that CPU time and memory are the sync's own. Everything the upstream has is
asked for, first into an empty database and then again, when there is nothing new.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select

from mdm.catalog.runs import claim_next, request_sync, requeue_running
from mdm.catalog.sync import run_sync
from mdm.catalog.upstreams import UpstreamChange, change_upstream, ensure_upstream
from mdm.clock import utc_now
from mdm.commands.base import CommandError
from mdm.heap import settle_heap
from mdm.lab.upstream_options import UpstreamOptions
from mdm.lab.upstream_process import UpstreamProcess
from mdm.storage.engine import Database
from mdm.storage.statements import table_of
from mdm.storage.tables import UpdateRevision
from mdm.upstream.client import UpstreamClient
from mdm.upstream.transport import open_http_client

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from typing import Literal

__all__ = ["Figures", "Round", "database_url", "run", "sync_once"]

_ACCOUNT: Final = "6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12"
_KIBI: Final = 1 << 10
_STATUS: Final = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Round:
    """One sync run, as the process that did it saw it."""

    state: str
    error: str | None
    stored: int
    """Revisions in the database afterwards."""
    failed: int
    """Documents that could not be had or read."""
    seconds: float
    """Of the run, without the start of the process."""
    cpu_seconds: float
    """Of all threads of the process, during the run."""
    peak_mib: float
    """The most memory the process has had resident, from its start on."""
    bytes_received: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured."""

    revisions: int
    """Listed by the upstream; of an update listed twice the sync takes the higher revision."""
    stored: int
    failed: int
    """Documents that could not be had or read: none, if the measurement is worth anything."""
    seconds: float
    cpu_seconds: float
    peak_mib: float
    bytes_received: int
    fetches: int
    """GetUpdateData calls of the first sync."""
    again_seconds: float
    """Of the second sync, which finds nothing new."""
    again_fetches: int
    """GetUpdateData calls of the second sync: none, if it asks for nothing it holds."""

    @property
    def per_second(self) -> float:
        """Revisions stored per second."""
        return self.stored / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Revisions stored per second of one core."""
        return self.stored / self.cpu_seconds


def run(
    revisions: int,
    big_document: bool,  # noqa: FBT001 - the signature agreed with the command
    data_dir: Path,
    *,
    compress: Literal["auto", "always", "never"] = "auto",
) -> Figures:
    """Sync so many revisions into a database in `data_dir`, which must be empty or absent, and then once more.

    `compress` is how the upstream sends documents: a WSUS sends the long ones as cabinets. Raises CommandError if
    the directory is not empty or a sync fails.
    """
    if data_dir.exists() and any(data_dir.iterdir()):
        raise CommandError(f"{data_dir} is not empty; a measurement begins with nothing.")
    options = UpstreamOptions(compress=compress)
    with UpstreamProcess(revisions, big_document=big_document, options=options) as upstream:
        first = _succeeded(upstream.url, data_dir)
        fetches = upstream.calls("GetUpdateData")
        again = _succeeded(upstream.url, data_dir)
        again_fetches = upstream.calls("GetUpdateData") - fetches
    return Figures(
        revisions=revisions,
        stored=first.stored,
        failed=first.failed,
        seconds=first.seconds,
        cpu_seconds=first.cpu_seconds,
        peak_mib=first.peak_mib,
        bytes_received=first.bytes_received,
        fetches=fetches,
        again_seconds=again.seconds,
        again_fetches=again_fetches,
    )


def database_url(data_dir: Path) -> str:
    """The embedded database in a directory."""
    return f"sqlite:///{data_dir / 'bridge.sqlite3'}"


def sync_once(upstream_url: str, data_dir: Path) -> Round:
    """Sync everything an upstream has, as the service does: what a process that was killed left is taken up."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(database_url(data_dir))
    try:
        database.migrate()
        with database.write() as connection:
            ensure_upstream(connection, upstream_url)
            change_upstream(connection, upstream_url, upstream_url, UpstreamChange(mode="filtered"))
            requeue_running(connection)
            request_sync(connection, upstream_url, "command-line", "bench", utc_now())
            claimed = claim_next(connection, utc_now())
        if claimed is None:
            raise CommandError(f"Another process is syncing into {data_dir}.")
        begun, cpu_begun = time.perf_counter(), time.process_time()
        with open_http_client() as http:
            client = UpstreamClient(upstream_url, "bench.example", _ACCOUNT, http, now=utc_now)
            ended = run_sync(database, client, claimed, clock=utc_now)
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
        with database.read() as connection:
            stored = connection.scalar(select(func.count()).select_from(table_of(UpdateRevision)))
    finally:
        database.close()
    return Round(
        state=ended.state,
        error=ended.error,
        stored=stored or 0,
        failed=ended.failed,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        peak_mib=_peak_mib(),
        bytes_received=ended.bytes_received,
    )


def _succeeded(upstream_url: str, data_dir: Path) -> Round:
    done = _round_of_a_process(upstream_url, data_dir)
    if done.state != "succeeded":
        raise CommandError(f"The sync did not succeed: {done.error or done.state}.")
    return done


def _round_of_a_process(upstream_url: str, data_dir: Path) -> Round:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_send_round, args=(theirs, upstream_url, data_dir), name="sync")
    process.start()
    theirs.close()
    try:
        done: Round = ours.recv()
    except EOFError:
        process.join()
        raise CommandError(f"The syncing process ended with exit code {process.exitcode}.") from None
    process.join()
    return done


def _send_round(pipe: Connection, upstream_url: str, data_dir: Path) -> None:
    settle_heap()  # as the service does when it has started
    pipe.send(sync_once(upstream_url, data_dir))


def _peak_mib() -> float:
    """Where /proc is, from there: ru_maxrss begins with what the process that started this one had."""
    if _STATUS.exists():
        (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / _KIBI
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIBI
