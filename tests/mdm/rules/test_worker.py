"""The worker of rules: what is due is done, by the thread or by hand, whatever happens to it."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from mdm.catalog.runs import get_run as get_sync
from mdm.errors import Unavailable
from mdm.rules import worker as module
from mdm.rules.runs import RunLost
from mdm.rules.worker import RuleWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from conftest import Desk


def until(condition: Callable[[], bool]) -> None:
    """Wait for something the thread does; the test's own limit ends it if it never does."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)


def test_all_that_is_due_is_done_and_told(desk: Desk) -> None:
    """Matches first, then the rules of a sync; then nothing until something happens."""
    desk.put("Good one")
    desk.query({"title": "good*"})
    rule = desk.rule(after_sync=True)
    desk.bench.now += timedelta(minutes=1)
    desk.sync("sync-1")
    with capture_logs() as lines:
        (run,) = desk.worker.run_pending()
        assert desk.worker.run_pending() == []
    assert [line["event"] for line in lines] == ["queries.refreshed", "rules.run"]
    assert {name: lines[0][name] for name in ("queries", "added", "removed")} == {
        "queries": 1,
        "added": 1,
        "removed": 0,
    }
    assert {name: lines[1][name] for name in ("rule_id", "trigger", "state", "outcomes", "log_level")} == {
        "rule_id": rule.id,
        "trigger": "sync",
        "state": "succeeded",
        "outcomes": {"approved": 1},
        "log_level": "info",
    }
    assert run.state == "succeeded"
    assert len(desk.bench.rows("query_match")) == 1


def test_months_go_by(desk: Desk) -> None:
    """A rule of Patch Tuesday and three days runs once a month, and approves what has come since."""
    rule = desk.rule(
        {"all": [{"title": "good*"}, {"age_days": {"max": 14}}]},
        schedule={"patch_tuesday": {"days": 3, "at": "03:00"}, "time_zone": "Europe/Berlin"},
    )
    for _ in range(60):
        desk.bench.now += timedelta(days=1)
        if (desk.bench.now.month, desk.bench.now.day) in {(12, 8), (1, 12)}:  # Patch Tuesdays
            desk.put(f"Good of {desk.bench.now:%B}", days=0)
        desk.worker.run_pending()
    assert [(run.requested_at.isoformat(), dict(run.outcomes)) for run in reversed(desk.runs(rule))] == [
        ("2026-12-11T12:00:00+00:00", {"approved": 1}),
        ("2027-01-15T12:00:00+00:00", {"approved": 1, "not_matched": 1}),
    ]


def test_the_thread_notices_by_itself(desk: Desk) -> None:
    """From start to stop, and again after a second start."""
    desk.put("Good one")
    rule = desk.rule(after_sync=True)
    worker = RuleWorker(desk.bench.database, desk.clock, poll_seconds=0.01)
    for number in range(2):
        desk.bench.now += timedelta(minutes=1)
        desk.sync(f"sync-{number}")
        worker.start()
        until(lambda: [run.state for run in desk.runs(rule)] == ["succeeded"] * (number + 1))  # noqa: B023 - waited for here
        worker.stop()


def test_a_sync_wakes_it(desk: Desk) -> None:
    """The sync's own thread only rings; the rule worker's does the work."""
    desk.put("Good one")
    rule = desk.rule(after_sync=True)
    worker = RuleWorker(desk.bench.database, desk.clock, poll_seconds=3600)
    worker.start()
    desk.bench.now += timedelta(minutes=1)
    desk.sync("sync-1")
    with desk.bench.database.read() as conn:
        run = get_sync(conn, "sync-1")
    assert run is not None

    def woken() -> bool:
        worker.after_sync(run)
        return bool(desk.runs(rule)) and desk.runs(rule)[0].state == "succeeded"

    until(woken)
    worker.stop()


def test_a_killed_process_leaves_its_run_to_the_next(sqlite_desk: Desk) -> None:
    """On SQLite there is one process, which takes it up at once."""
    sqlite_desk.put("Good one")
    run = sqlite_desk.claim(sqlite_desk.rule())
    worker = RuleWorker(sqlite_desk.bench.database, sqlite_desk.clock, poll_seconds=0.01)
    worker.start()
    until(lambda: sqlite_desk.read(run).state == "succeeded")
    worker.stop()


def test_what_fails_is_told_and_does_not_end_the_thread(
    sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is down, a defect, a run that is another's, a run that fails."""
    desk = sqlite_desk
    desk.put("Good one")
    rule = desk.rule()
    problems = iter([Unavailable("The lights went out."), ZeroDivisionError(), RunLost("rrn_x")])
    hand_over = module.run_rule

    def stumble(*values: Any, **members: Any) -> Any:
        problem = next(problems, None)
        if problem is not None:
            raise problem
        return hand_over(*values, **members)

    monkeypatch.setattr(module, "run_rule", stumble)
    desk.claim(rule)
    worker = RuleWorker(desk.bench.database, desk.clock, poll_seconds=0.01)

    def take_up() -> bool:
        desk.bench.now += timedelta(minutes=6)
        return desk.runs(rule)[0].state == "succeeded"

    with capture_logs() as lines:
        worker.start()
        until(take_up)
        worker.stop()
    events = [line["event"] for line in lines]
    assert events == ["rules.worker_waits", "rules.worker_failed", "rules.run_lost", "rules.run"]


def test_a_run_that_fails_is_a_warning(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason."""
    sqlite_desk.put("Good one")
    rule = sqlite_desk.rule()
    with sqlite_desk.bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE approval_rule SET criteria = '{}'")
    with capture_logs() as lines:
        run = sqlite_desk.run(rule)
    assert (run.state, run.error) == ("failed", "The document has wrong members.")
    assert [(line["log_level"], line["error"]) for line in lines] == [("warning", run.error)]


def test_stopping_leaves_the_rest_for_later(sqlite_desk: Desk) -> None:
    """Nothing more is claimed, and what is due stays due."""
    sqlite_desk.put("Good one")
    rule = sqlite_desk.rule()
    run = sqlite_desk.claim(rule)
    worker = sqlite_desk.worker
    worker.stop()
    sqlite_desk.bench.now += timedelta(minutes=6)
    assert worker.run_pending() == []
    assert sqlite_desk.read(run).state == "running"
