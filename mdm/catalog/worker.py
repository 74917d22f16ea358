"""The thread that syncs: claims queued runs, asks for scheduled ones, and does them one after the other.

Any number of processes may have one: the ledger gives each run to one of them. A failed run is not repeated
at once, but an hour later. Runs that ended long ago are forgotten here as well, and the catalogue is cleaned up
after a run that succeeded.
"""

from __future__ import annotations

import re
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sqlalchemy import select

from mdm.background import Worker
from mdm.catalog.runs import (
    RunLost,
    RunView,
    claim_next,
    finish_run,
    prune_runs,
    request_scheduled_sync,
    requeue_running,
)
from mdm.catalog.sync import run_sync
from mdm.catalog.upkeep import Upkeep
from mdm.catalog.upstreams import list_upstreams
from mdm.storage.statements import table_of
from mdm.storage.tables import Upstream
from mdm.upstream.client import UpstreamClient
from mdm.upstream.errors import TransportError
from mdm.upstream.transport import Patience, open_http_client

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from mdm.settings import Settings
    from mdm.storage.engine import Database

__all__ = ["SyncWorker", "account_name"]

POLL_SECONDS: Final = 5.0
"""How long a run asked for by another process may wait."""

STOP_SECONDS: Final = 30.0

_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9.-]+")

_upstream = table_of(Upstream)


class SyncWorker(Worker):
    """Does sync runs, in a thread of its own between `start` and `stop`, or in the caller's by `run_pending`."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Callable[[], datetime],
        *,
        patience: Patience | None = None,
        poll_seconds: float = POLL_SECONDS,
        after_sync: Callable[[RunView], None] | None = None,
    ) -> None:
        """`patience` is how calls wait between tries (unless given: real time, cut short by `stop`).

        `after_sync` gets each run that succeeded, in the worker's thread: what depends on the catalogue, such as
        rules, is brought up to date there.
        """
        super().__init__(database, "catalog", poll_seconds=poll_seconds)
        self._after_sync = after_sync
        self._settings = settings
        self._clock = clock
        self._patience = patience or Patience(sleep=self._stopping.wait)
        self._upkeep = Upkeep(database, clock, self._stopping.is_set)

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stop and wait for the HTTP attempt under way, at most `timeout` seconds.

        A run that is not done is queued again; after the timeout the process may end all the same, which costs
        the run no more than a kill would: nothing.
        """
        super().stop(timeout)

    def resume(self) -> None:
        """What is marked as running was running when its process died: on one host there is one."""
        with self._database.write() as connection:
            requeue_running(connection)

    def work(self) -> bool:
        """Do one run that is due; returns whether there was one."""
        return self.run_pending() is not None

    def run_pending(self) -> RunView | None:
        """Do the run that is due, if there is one, and return how it ended.

        Raises Unavailable if the database is down.
        """
        settings = self._settings
        with self._database.write() as connection:
            now = self._clock()
            default = timedelta(minutes=settings.sync_interval_minutes)
            upstreams = list_upstreams(connection, settings.upstream_url, enabled_only=True)
            for upstream in upstreams:
                request_scheduled_sync(connection, upstream.url, upstream.interval(default), now)
            prune_runs(connection, now - timedelta(days=settings.sync_history_days))
            run = claim_next(connection, now)
        return self._do(run, [each.url for each in upstreams]) if run is not None else None

    def _do(self, run: RunView, upstreams: Collection[str]) -> RunView:
        with self._database.read() as connection:
            account_guid = connection.scalar(
                select(_upstream.c.account_guid).where(_upstream.c.url == run.upstream_url)
            )
        try:
            with open_http_client(
                proxy=self._settings.upstream_proxy, ca_file=self._settings.upstream_ca_file
            ) as http:
                client = UpstreamClient(
                    run.upstream_url,
                    account_name(self._settings.public_url),
                    str(account_guid),
                    http,
                    now=self._clock,
                    patience=self._patience,
                    xpress=self._settings.upstream_xpress,
                )
                ended = run_sync(
                    self._database,
                    client,
                    run,
                    clock=self._clock,
                    should_stop=self._stopping.is_set,
                    upstreams=upstreams,
                )
        except RunLost:
            self._log.warning("catalog.sync_lost", run_id=run.id)
            return run
        except TransportError as problem:  # of the client itself: its file of authorities cannot be read
            with self._database.write() as connection:
                ended = finish_run(
                    connection, run.id, run.heartbeat_at or self._clock(), self._clock(), str(problem)
                )
        write = self._log.warning if ended.state == "failed" else self._log.info
        write(
            "catalog.sync",
            run_id=ended.id,
            trigger=ended.trigger,
            state=ended.state,
            phase=ended.phase,
            categories=ended.categories,
            needed=ended.needed,
            fetched=ended.fetched,
            not_offered=ended.not_offered,
            failed=ended.failed,
            eula_texts=ended.eula_texts,
            new=ended.new,
            revised=ended.revised,
            expired=ended.expired,
            bytes_received=ended.bytes_received,
            error=ended.error,
        )
        if ended.state == "succeeded":
            self._upkeep.after_sync(ended.id)
            if self._after_sync is not None:
                self._after_sync(ended)
        return ended


def account_name(public_url: str | None) -> str:
    """Return the name this bridge shows to an upstream: its public host, else this machine's.

    Only what a host name may hold: an upstream refuses other signs (MS-WSUSSS 3.1.4.2).
    """
    host = urlsplit(public_url).hostname if public_url is not None else None
    return _NOT_IN_A_NAME.sub("-", host or socket.gethostname()).strip("-.") or "csp-bridge"
