"""The clean-up that follows a sync: once a day, told in the sync's log, and never at the sync's expense."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from mdm.audit import Origin, record
from mdm.catalog.cleanup import clean_up
from mdm.catalog.events import log_event
from mdm.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mdm.storage.engine import Database

__all__ = ["UPKEEP_EVERY", "Upkeep"]

UPKEEP_EVERY: Final = timedelta(days=1)
"""What decides is counted in days and months, and a walk through the whole catalogue takes its seconds."""

_ORIGIN: Final = Origin(actor="schedule")
_PHASE: Final = "cleanup"
_FAILED: Final = (
    "The catalogue could not be cleaned up; the service's log has the details. "
    "The synchronization itself is complete, and the next one tries again."
)

_log = structlog.get_logger(__name__)


class Upkeep:
    """Cleans the catalogue up after syncs, in the thread that synced.

    When it was done last is not stored: a process that starts anew looks through the catalogue once more, which costs
    its seconds and changes nothing else.
    """

    def __init__(
        self, database: Database, clock: Callable[[], datetime], should_stop: Callable[[], bool]
    ) -> None:
        """`should_stop` is asked between two transactions, of which each looks at some hundred revisions."""
        self._database = database
        self._clock = clock
        self._should_stop = should_stop
        self._done_at: datetime | None = None

    def after_sync(self, run_id: str) -> None:
        """Clean up, unless that was done within a day; what it came to is added to the log of the run.

        A clean-up that fails, or is cut short by a stop, is made up for after the next sync.
        """
        now = self._clock()
        if self._done_at is not None and now - self._done_at < UPKEEP_EVERY:
            return
        try:
            self._clean_up(run_id, now)
        except Unavailable as problem:
            _log.warning("catalog.cleanup_failed", run_id=run_id, reason=problem.detail)
        except Exception:  # noqa: BLE001 - a defect in here must not cost anybody the sync that went before
            _log.exception("catalog.cleanup_failed", run_id=run_id)
            with self._database.write() as connection:
                log_event(connection, run_id, self._clock(), "failed", _FAILED, phase=_PHASE)

    def _clean_up(self, run_id: str, now: datetime) -> None:
        removed: Counter[str] = Counter()
        examined = held = licences = listed = 0
        try:
            for step in clean_up(self._database, now, should_stop=self._should_stop):
                removed.update(finding.reason for finding in step.removed)
                examined, held = examined + step.examined, held + len(step.held)
                licences, listed = licences + step.licences, listed + step.listed
                if step.after is None:
                    self._done_at = now
        finally:
            # what is removed is removed, whatever became of the rest
            if removed or licences:
                self._record(run_id, removed, licences)
        if removed or licences or listed:
            _log.info(
                "catalog.cleanup",
                run_id=run_id,
                examined=examined,
                removed=dict(removed),
                held=held,
                licences=licences,
                listed=listed,
            )

    def _record(self, run_id: str, removed: Counter[str], licences: int) -> None:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(removed.items())) or "no revisions"
        message = f"Catalogue cleaned up: {counts} and {licences} licences removed."
        now = self._clock()
        with self._database.write() as connection:
            log_event(connection, run_id, now, "done", message, phase=_PHASE)
            record(
                connection,
                _ORIGIN,
                now=now,
                action="catalog.cleanup",
                object_type="catalog",
                object_id="catalog",
                detail={"removed": dict(removed), "licences": licences},
            )
