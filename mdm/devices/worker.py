"""The thread that works out memberships after a change of definitions, so that figures are right without check-ins.

Any number of processes may have one: a device that one of them is busy with is left out by the others.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mdm.background import Worker
from mdm.devices.refresh import count_behind, refresh_memberships

if TYPE_CHECKING:
    from mdm.storage.engine import Database

__all__ = ["MembershipWorker"]

POLL_SECONDS: Final = 2.0
"""How long a change of definitions may wait: one cheap read each time."""

_BATCH: Final = 200
"""Devices in one transaction: check-ins on SQLite wait for it."""


class MembershipWorker(Worker):
    """Brings devices up to date, in a thread of its own between `start` and `stop`, or in the caller's."""

    def __init__(
        self, database: Database, *, poll_seconds: float = POLL_SECONDS, batch: int = _BATCH
    ) -> None:
        """Does nothing yet."""
        super().__init__(database, "groups", poll_seconds=poll_seconds)
        self._batch = batch

    def work(self) -> bool:
        """As `run_pending`."""
        self.run_pending()
        return False

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
            self._log.info("groups.refreshed", devices=done, seconds=round(time.monotonic() - began, 3))
        return done
