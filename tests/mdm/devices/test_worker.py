"""The thread that brings memberships up to date."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from mdm.audit import Origin
from mdm.devices import worker as module
from mdm.devices.groups import GroupDefinition, create_group
from mdm.devices.refresh import count_behind
from mdm.devices.worker import MembershipWorker
from mdm.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bench


def behind(bench: Bench) -> int:
    """How many devices are behind."""
    with bench.database.read() as conn:
        return count_behind(conn)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something the thread does; the test's own limit ends it if it never does."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)


def test_all_that_is_behind_is_done_in_steps(bench: Bench) -> None:
    """Each step a transaction; then nothing is written until a definition changes."""
    for number in range(5):
        bench.enrol(f"DEV{number}")
    worker = MembershipWorker(bench.database, batch=2)
    with capture_logs() as lines:
        assert worker.run_pending() == 5
        assert worker.run_pending() == 0
    assert [(line["event"], line["devices"]) for line in lines] == [("groups.refreshed", 5)]
    with bench.database.write() as conn:
        definition = GroupDefinition({"name": "*"})
        create_group(conn, Origin("test"), name="all", definition=definition, now=bench.now)
    assert worker.run_pending() == 5
    assert behind(bench) == 0


def test_the_thread_notices_by_itself(bench: Bench) -> None:
    """From start to stop, and again after a second start."""
    worker = MembershipWorker(bench.database, poll_seconds=0.01)
    for number in range(2):
        bench.enrol(f"DEV{number}")
        worker.start()
        until(lambda: behind(bench) == 0)
        worker.stop()
    worker.stop()
    bench.enrol("DEV9")
    assert behind(bench) == 1


def test_a_stop_ends_it_between_two_steps(sqlite_bench: Bench) -> None:
    """What is left is behind, and done by the next one."""
    sqlite_bench.enrol("DEV1")
    worker = MembershipWorker(sqlite_bench.database)
    worker.stop()
    assert worker.run_pending() == 0
    assert behind(sqlite_bench) == 1


@pytest.mark.parametrize(
    ("problem", "logged"),
    [
        (Unavailable("The database is locked."), "groups.worker_waits"),
        (KeyError("x"), "groups.worker_failed"),
    ],
)
def test_no_failure_ends_the_thread(
    sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch, problem: Exception, logged: str
) -> None:
    """It is told, and tried again."""
    real, failures = module.refresh_memberships, [problem]

    def refresh(*arguments: Any) -> int:
        if failures:
            raise failures.pop()
        return real(*arguments)

    monkeypatch.setattr(module, "refresh_memberships", refresh)
    sqlite_bench.enrol("DEV1")
    worker = MembershipWorker(sqlite_bench.database, poll_seconds=0.01)
    with capture_logs() as lines:
        worker.start()
        until(lambda: behind(sqlite_bench) == 0)
        worker.stop()
    assert [line["event"] for line in lines] == [logged, "groups.refreshed"]
