"""The thread that keeps matches of saved queries fresh and runs rules: after syncs, on schedule, and when asked to.

Any number of processes may have one: the ledger gives each run to one of them. All that is due is found in the
database, so that nothing is lost or done twice when a process is killed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import structlog

from mdm.errors import Unavailable
from mdm.queries.matches import refresh_due
from mdm.rules.runner import run_rule
from mdm.rules.runs import RunLost, anything_due, claim_next, queue_due, requeue_running

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mdm.catalog.runs import RunView
    from mdm.rules.runs import RuleRunView
    from mdm.storage.engine import Database

__all__ = ["RuleWorker"]

POLL_SECONDS: Final = 5.0
"""How long a run asked for by another process may wait."""

STOP_SECONDS: Final = 10.0

_log: Final = structlog.get_logger(__name__)


class RuleWorker:
    """Does what is due, in a thread of its own between `start` and `stop`, or in the caller's by `run_pending`."""

    def __init__(
        self, database: Database, clock: Callable[[], datetime], *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        """Does nothing yet."""
        self._database = database
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; on SQLite, runs left over by a killed process are taken up again at once."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._loop, name="rule-worker", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for work now: somebody has just asked for it."""
        self._wake.set()

    def after_sync(self, run: RunView) -> None:
        """Look for work now: a sync has just succeeded (`SyncWorker(after_sync=)`); without this it is soon found."""
        _log.debug("rules.woken", sync_run_id=run.id)
        self.wake()

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stop and wait for the transaction under way, at most `timeout` seconds; a run not done is queued again."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None

    def run_pending(self) -> list[RuleRunView]:
        """Do all that is due, or as much until `stop`; returns the runs as they ended.

        Raises Unavailable if the database is down.
        """
        refreshed = refresh_due(self._database, self._clock(), should_stop=self._stopping.is_set)
        if refreshed.added or refreshed.removed:
            _log.info(
                "queries.refreshed",
                queries=refreshed.queries,
                added=refreshed.added,
                removed=refreshed.removed,
            )
        with self._database.read() as conn:
            if not anything_due(conn, self._clock()):
                return []
        with self._database.write() as conn:
            queue_due(conn, self._clock())
        ended: list[RuleRunView] = []
        while not self._stopping.is_set():
            with self._database.write() as conn:
                run = claim_next(conn, self._clock())
            if run is None:
                break
            ended += self._do(run)
        return ended

    def _do(self, run: RuleRunView) -> list[RuleRunView]:
        try:
            ended = run_rule(self._database, run, self._clock, should_stop=self._stopping.is_set)
        except RunLost:
            _log.warning("rules.run_lost", run_id=run.id, rule_id=run.rule_id)
            return []
        write = _log.warning if ended.state == "failed" else _log.info
        write(
            "rules.run",
            run_id=ended.id,
            rule_id=ended.rule_id,
            trigger=ended.trigger,
            state=ended.state,
            examined=ended.examined,
            matched=ended.matched,
            outcomes=dict(ended.outcomes),
            waiting_for_eula=ended.waiting_for_eula,
            rollout_id=ended.rollout_id,
            error=ended.error,
        )
        return [ended]

    def _loop(self) -> None:
        resumed = False
        while not self._stopping.is_set():
            try:
                if not resumed and self._database.dialect == "sqlite":
                    # one host, one serving process: what is marked as running was running when it died
                    with self._database.write() as conn:
                        requeue_running(conn)
                resumed = True
                self.run_pending()
            except Unavailable as problem:
                _log.warning("rules.worker_waits", reason=problem.detail)
            except Exception:  # noqa: BLE001 - a defect must not end the thread that keeps rules running
                _log.exception("rules.worker_failed")
            self._wake.wait(self._poll_seconds)
            self._wake.clear()
