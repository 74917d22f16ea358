"""The thread that keeps matches of saved queries fresh and runs rules: after syncs, on schedule, and when asked to.

Any number of processes may have one: the ledger gives each run to one of them. All that is due is found in the
database, so that nothing is lost or done twice when a process is killed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mdm.background import Worker
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


class RuleWorker(Worker):
    """Does what is due, in a thread of its own between `start` and `stop`, or in the caller's by `run_pending`."""

    def __init__(
        self, database: Database, clock: Callable[[], datetime], *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        """Does nothing yet."""
        super().__init__(database, "rules", poll_seconds=poll_seconds)
        self._clock = clock

    def resume(self) -> None:
        """What is marked as running was running when its process died: on one host there is one."""
        with self._database.write() as conn:
            requeue_running(conn)

    def work(self) -> bool:
        """As `run_pending`."""
        self.run_pending()
        return False

    def after_sync(self, run: RunView) -> None:
        """Look for work now: a sync has just succeeded (`SyncWorker(after_sync=)`); without this it is soon found."""
        self._log.debug("rules.woken", sync_run_id=run.id)
        self.wake()

    def run_pending(self) -> list[RuleRunView]:
        """Do all that is due, or as much until `stop`; returns the runs as they ended.

        Raises Unavailable if the database is down.
        """
        refreshed = refresh_due(self._database, self._clock(), should_stop=self._stopping.is_set)
        if refreshed.added or refreshed.removed:
            self._log.info(
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
            self._log.warning("rules.run_lost", run_id=run.id, rule_id=run.rule_id)
            return []
        write = self._log.warning if ended.state == "failed" else self._log.info
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
