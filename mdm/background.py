"""What runs beside requests: a thread that does what is due, looks again after a while or when woken, and never dies.

Any number of processes may run the same worker: what is due, and who does it, stands in the database.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import structlog

from mdm.errors import Unavailable

if TYPE_CHECKING:
    from mdm.storage.engine import Database

__all__ = ["STOP_SECONDS", "Worker"]

STOP_SECONDS: Final = 10.0
"""How long the end of the process waits for what a worker is about."""


class Worker(ABC):
    """Does its work in a thread of its own between `start` and `stop`, or in the caller's."""

    def __init__(self, database: Database, name: str, *, poll_seconds: float) -> None:
        """Does nothing yet. Log events begin with `name`; `poll_seconds` is how long it waits when nothing was due."""
        self._database = database
        self._name = name
        self._log = structlog.get_logger(f"mdm.{name}")
        self._poll_seconds = poll_seconds
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def work(self) -> bool:
        """Do what is due, or as much until `stop`; returns True if there may be more at once.

        Raises Unavailable if the database is down: it is tried again.
        """

    def resume(self) -> None:  # noqa: B027 - most workers leave nothing behind
        """Take up what a killed process has left, once per thread, where only one process serves (SQLite)."""

    def start(self) -> None:
        """Start the thread."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._loop, name=f"{self._name}-worker", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for work now: somebody has just asked for it."""
        self._wake.set()

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stop and wait for what is under way, at most `timeout` seconds; nothing is lost if that is too short."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None

    def _loop(self) -> None:
        resumed = self._database.dialect != "sqlite"
        while not self._stopping.is_set():
            more = False
            try:
                if not resumed:
                    self.resume()
                resumed = True
                more = self.work()
            except Unavailable as problem:
                self._log.warning(f"{self._name}.worker_waits", reason=problem.detail)
            except Exception:  # noqa: BLE001 - a defect must not end the thread that others wait for
                self._log.exception(f"{self._name}.worker_failed")
            if not more:
                self._wake.wait(self._poll_seconds)
            self._wake.clear()
