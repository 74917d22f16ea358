"""The thread that works out memberships after a change of definitions, so that figures are right without check-ins.

Any number of processes may have one: a device that one of them is busy with is left out by the others.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import structlog

from mdm.devices.refresh import count_behind, refresh_memberships
from mdm.errors import Unavailable

if TYPE_CHECKING:
    from mdm.storage.engine import Database

__all__ = ["MembershipWorker"]

POLL_SECONDS: Final = 2.0
"""How long a change of definitions may wait: one cheap read each time."""

STOP_SECONDS: Final = 10.0

_BATCH: Final = 200
"""Devices in one transaction: check-ins on SQLite wait for it."""

_log: Final = structlog.get_logger(__name__)


class MembershipWorker:
    """Brings devices up to date, in a thread of its own between `start` and `stop`, or in the caller's."""

    def __init__(
        self, database: Database, *, poll_seconds: float = POLL_SECONDS, batch: int = _BATCH
    ) -> None:
        """Does nothing yet."""
        self._database = database
        self._poll_seconds = poll_seconds
        self._batch = batch
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._loop, name="membership-worker", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stop and wait for the transaction under way, at most `timeout` seconds."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None

    def run_pending(self) -> int:
        """Bring all devices up to date that are behind, or as many until `stop`; returns how many.

        Raises Unavailable if the database is down.
        """
        with self._database.read() as connection:
            behind = count_behind(connection)
        if not behind:
            return 0
        done = 0
        began = time.monotonic()
        while not self._stopping.is_set():
            with self._database.write() as connection:
                step = refresh_memberships(connection, self._batch)
            if not step:
                break
            done += step
        if done:
            _log.info("groups.refreshed", devices=done, seconds=round(time.monotonic() - began, 3))
        return done

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self.run_pending()
            except Unavailable as problem:
                _log.warning("groups.worker_waits", reason=problem.detail)
            except Exception:  # noqa: BLE001 - a defect must not end the thread that keeps memberships right
                _log.exception("groups.worker_failed")
            self._stopping.wait(self._poll_seconds)
