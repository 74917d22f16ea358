"""The ledger of runs: which slots come, who gets them, and how long they are remembered."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mdm.audit import Origin, list_entries
from mdm.errors import Conflict, NotFound
from mdm.rules import runs as module
from mdm.rules.runs import (
    STALE_AFTER,
    RunLost,
    anything_due,
    beat,
    claim_next,
    finish_run,
    get_run,
    list_results,
    list_runs,
    queue_due,
    request_run,
    requeue_running,
)
from mdm.rules.store import change_rule, definition_of, switch_rule

if TYPE_CHECKING:
    from conftest import Desk

ORIGIN = Origin("client:ops")
HOURLY = {"cron": "0 * * * *"}


def queue(desk: Desk) -> int:
    """Queue what is due; the cheap question before it says the same."""
    with desk.bench.database.write() as conn:
        due = anything_due(conn, desk.bench.now)
        made = queue_due(conn, desk.bench.now)
        assert due or not made
        return made


def test_a_schedule_has_one_run_for_each_slot(desk: Desk) -> None:
    """And for all that passed while nobody looked together one."""
    rule = desk.rule(schedule=HOURLY)
    assert queue(desk) == 0
    desk.bench.now += timedelta(hours=1)
    assert (queue(desk), queue(desk)) == (1, 0)
    (run,) = desk.runs(rule)
    assert (run.trigger, run.requested_by, run.state) == ("schedule", "schedule", "queued")
    desk.bench.now += timedelta(hours=7, minutes=30)
    assert (queue(desk), queue(desk)) == (1, 0)
    assert [row["slot"] for row in desk.bench.rows("rule_run", "slot")] == [
        "schedule:2026-11-21T13:00:00+00:00",
        "schedule:2026-11-21T14:00:00+00:00",
    ]
    assert desk.bench.rows("approval_rule")[0]["next_due_at"] == desk.bench.now.replace(hour=21, minute=0)


def test_a_rule_that_is_off_is_never_due(desk: Desk) -> None:
    """Neither by the clock, nor after a sync, nor by hand; what it missed is not made up for."""
    rule = desk.rule(schedule=HOURLY, after_sync=True, enabled=False)
    desk.bench.now += timedelta(hours=2)
    desk.sync("sync-1")
    assert queue(desk) == 0
    with pytest.raises(Conflict) as problem, desk.bench.database.write() as conn:
        request_run(conn, ORIGIN, rule.id, now=desk.bench.now)
    assert problem.value.code == "rule_disabled"
    desk.bench.now += timedelta(minutes=1)
    with desk.bench.database.write() as conn:
        switch_rule(conn, ORIGIN, rule.id, enabled=True, now=desk.bench.now)
    assert queue(desk) == 0
    desk.bench.now += timedelta(hours=1)
    desk.sync("sync-2")
    assert queue(desk) == 2


def test_each_sync_has_one_run(desk: Desk) -> None:
    """The last one counts; one before the rule was made or changed does not, nor one that failed."""
    desk.sync("sync-0")
    desk.bench.now += timedelta(minutes=1)
    rule, other = desk.rule(after_sync=True), desk.rule(name="other")
    assert queue(desk) == 0
    desk.bench.now += timedelta(minutes=1)
    desk.sync("sync-1")
    desk.bench.now += timedelta(minutes=1)
    desk.sync("sync-2")
    assert (queue(desk), queue(desk)) == (1, 0)
    assert [run.trigger for run in desk.runs(rule)] == ["sync"]
    assert desk.runs(other) == []
    assert [row["slot"] for row in desk.bench.rows("rule_run")] == ["sync:sync-2"]
    with desk.bench.database.write() as conn:
        definition = desk.definition(after_sync=True, deadline_days=3)
        change_rule(conn, ORIGIN, rule.id, name="new", definition=definition, now=desk.bench.now)
    assert queue(desk) == 0


def test_by_hand_it_waits_once(desk: Desk) -> None:
    """A second request gets the run that waits already; the audit names who asked."""
    rule = desk.rule()
    with desk.bench.database.write() as conn:
        first = request_run(conn, ORIGIN, rule.id, now=desk.bench.now)
        assert request_run(conn, Origin("client:other"), rule.id, now=desk.bench.now) == first
        assert first.requested_by == "client:ops"
        with pytest.raises(NotFound):
            request_run(conn, ORIGIN, "rul_x", now=desk.bench.now)
    with desk.bench.database.read() as conn:
        entries = list_entries(conn, before=None, limit=5, action="rule.run")
        with pytest.raises(NotFound):
            get_run(conn, "rul_x", first.id)
    assert [entry.after for entry in entries] == [{"run_id": first.id, "state": "queued"}]


def test_of_one_rule_no_two_runs_are_done_at_a_time(desk: Desk) -> None:
    """The oldest first; other rules do not wait."""
    one, two = desk.rule(schedule=HOURLY), desk.rule(name="two")
    desk.bench.now += timedelta(hours=1)
    queue(desk)
    with desk.bench.database.write() as conn:
        first = claim_next(conn, desk.bench.now)
        assert first is not None
        desk.bench.now += timedelta(seconds=1)
        request_run(conn, ORIGIN, one.id, now=desk.bench.now)
        desk.bench.now += timedelta(seconds=1)
        request_run(conn, ORIGIN, two.id, now=desk.bench.now)
        other = claim_next(conn, desk.bench.now)
        assert other is not None
        assert (first.rule_id, other.rule_id) == (one.id, two.id)
        assert claim_next(conn, desk.bench.now) is None
        finish_run(conn, first, desk.bench.now)
        second = claim_next(conn, desk.bench.now)
        assert second is not None
        assert (second.rule_id, second.trigger) == (one.id, "manual")


def test_a_silent_run_is_taken_over(desk: Desk) -> None:
    """After five minutes; its old worker then learns that it has lost it."""
    rule = desk.rule()
    run = desk.claim(rule)
    desk.bench.now += STALE_AFTER
    with desk.bench.database.write() as conn:
        assert not anything_due(conn, desk.bench.now)
        assert claim_next(conn, desk.bench.now) is None
        desk.bench.now += timedelta(seconds=1)
        assert anything_due(conn, desk.bench.now)
        taken = claim_next(conn, desk.bench.now)
        assert taken is not None
        assert (taken.id, taken.started_at) == (run.id, run.started_at)
        with pytest.raises(RunLost):
            beat(conn, run, desk.bench.now)
        assert beat(conn, taken, desk.bench.now).heartbeat_at == desk.bench.now + timedelta(microseconds=1)


def test_the_only_process_takes_all_up_again(desk: Desk) -> None:
    """Silent or not."""
    desk.claim(desk.rule())
    with desk.bench.database.write() as conn:
        assert (requeue_running(conn), requeue_running(conn)) == (1, 0)
        assert claim_next(conn, desk.bench.now) is not None


def test_a_slot_goes_to_one_of_many(desk: Desk) -> None:
    """Four workers at the same moment: each slot is queued once, and each run claimed once."""
    for number in range(3):
        desk.rule(name=f"rule {number}", schedule=HOURLY)
    desk.bench.now += timedelta(hours=1)
    barrier = threading.Barrier(4)
    claimed: list[str] = []
    made: list[int] = []

    def work() -> None:
        barrier.wait()
        with desk.bench.database.write() as conn:
            made.append(queue_due(conn, desk.bench.now))
        while True:
            with desk.bench.database.write() as conn:
                run = claim_next(conn, desk.bench.now)
            if run is None:
                return
            claimed.append(run.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made) == 3
    assert sorted(claimed) == sorted(row["id"] for row in desk.bench.rows("rule_run"))


def test_old_runs_are_forgotten_with_their_results(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of each rule is kept, and what waits."""
    monkeypatch.setattr(module, "KEPT_RUNS", 2)
    desk.put("Good one")
    rule, other = desk.rule(), desk.rule(name="other")
    ended = []
    for _ in range(4):
        desk.bench.now += timedelta(minutes=1)
        ended.append(desk.run(rule))
    kept = desk.run(other)
    assert [run.id for run in desk.runs(rule)] == [ended[3].id, ended[2].id]
    assert [run.id for run in desk.runs(other)] == [kept.id]
    assert {row["run_id"] for row in desk.bench.rows("rule_result")} == {ended[2].id, ended[3].id, kept.id}


def test_lists_go_on_where_they_ended(desk: Desk) -> None:
    """Runs by their time, results by the updates' age, whole or of one outcome."""
    for number in range(3):
        desk.put(f"Good {number}", days=number)
    desk.put("Bad one", days=9)
    rule = desk.rule()
    runs = []
    for _ in range(3):
        runs.append(desk.run(rule))
        desk.bench.now += timedelta(minutes=1)
    with desk.bench.database.read() as conn:
        latest = list_runs(conn, rule.id, before=None, limit=2)
        rest = list_runs(conn, rule.id, before=(latest[-1].requested_at, latest[-1].id), limit=2)
        assert [run.id for run in (*latest, *rest)] == [run.id for run in reversed(runs)]
        first = list_results(conn, runs[0].id, after=None, limit=2)
        more = list_results(conn, runs[0].id, after=first[-1][0], limit=5)
        assert [result.title for _, result in (*first, *more)] == ["Good 0", "Good 1", "Good 2", "Bad one"]
        some = list_results(conn, runs[0].id, outcome="approved", after=first[-1][0], limit=5)
        assert [result.title for _, result in some] == ["Good 2"]
    assert definition_of(rule).action == "approve"
