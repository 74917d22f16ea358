"""The ledger of sync runs: one at a time, at most hourly unless told, and never two workers in one run."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update
from sqlmodel import SQLModel

from mdm.catalog import runs

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.storage.engine import Database

URL = "http://upstream.test"
OTHER = "http://other.test"
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def start(connection: Connection, now: datetime, trigger: runs.Trigger = "manual") -> runs.RunView:
    """Ask for a run and claim it."""
    runs.request_sync(connection, URL, trigger, "test", now)
    run = runs.claim_next(connection, now)
    assert run is not None
    assert run.heartbeat_at is not None
    return run


def upstreams(connection: Connection) -> list[Any]:
    """All rows of the upstreams."""
    return list(connection.execute(select(SQLModel.metadata.tables["upstream"])))


def test_a_run_is_asked_for_claimed_and_finished(database: Database, now: datetime) -> None:
    """Each step shows in the view."""
    with database.write() as connection:
        run_id = runs.request_sync(connection, URL, "manual", "client:it", now)
        queued = runs.get_run(connection, run_id)
        assert queued is not None
        assert (queued.state, queued.trigger, queued.requested_by) == ("queued", "manual", "client:it")
        assert (queued.requested_at, queued.started_at, queued.fetched) == (now, None, 0)
    with database.write() as connection:
        run = runs.claim_next(connection, now + SECOND)
        assert run is not None
        assert (run.id, run.state, run.started_at, run.heartbeat_at) == (
            run_id,
            "running",
            now + SECOND,
            now + SECOND,
        )
        assert upstreams(connection)[0].last_started_at == now + SECOND
        runs.finish_run(connection, run_id, now + SECOND, now + 2 * SECOND)
    with database.read() as connection:
        ended = runs.get_run(connection, run_id)
        assert ended is not None
        assert (ended.state, ended.finished_at, ended.error) == ("succeeded", now + 2 * SECOND, None)
        assert runs.get_run(connection, "run_none") is None


def test_a_failed_run_says_why(database: Database, now: datetime) -> None:
    """In one sentence."""
    with database.write() as connection:
        run = start(connection, now)
        ended = runs.finish_run(connection, run.id, now, now, "It rained.")
        assert (ended.state, ended.error) == ("failed", "It rained.")


def test_a_run_that_waits_already_is_the_one_that_is_meant(database: Database, now: datetime) -> None:
    """Asking twice makes one run; of another upstream it makes another."""
    with database.write() as connection:
        first = runs.request_sync(connection, URL, "manual", "a", now)
        assert runs.request_sync(connection, URL, "manual", "b", now + SECOND) == first
        assert runs.request_sync(connection, OTHER, "manual", "b", now) != first
        run = runs.claim_next(connection, now)
        assert run is not None
        assert run.id == first or run.upstream_url == OTHER


def test_while_one_runs_another_may_wait(database: Database, now: datetime) -> None:
    """But of one upstream no two run at a time."""
    with database.write() as connection:
        run = start(connection, now)
        waiting = runs.request_sync(connection, URL, "manual", "b", now)
        assert waiting != run.id
        assert runs.claim_next(connection, now) is None
        runs.finish_run(connection, run.id, now, now)
        following = runs.claim_next(connection, now)
        assert following is not None
        assert following.id == waiting


def test_two_upstreams_do_not_wait_for_each_other(database: Database, now: datetime) -> None:
    """The lock is the upstream's."""
    with database.write() as connection:
        first = start(connection, now)
        runs.request_sync(connection, OTHER, "manual", "b", now)
        second = runs.claim_next(connection, now)
        assert second is not None
        assert (first.upstream_url, second.upstream_url) == (URL, OTHER)
        assert len({row.account_guid for row in upstreams(connection)}) == 2


def test_the_account_of_an_upstream_stays(database: Database, now: datetime) -> None:
    """It is this installation's identity in the upstream's table."""
    with database.write() as connection:
        runs.ensure_upstream(connection, URL)
        (before,) = upstreams(connection)
        runs.request_sync(connection, URL, "manual", "a", now)
        assert upstreams(connection) == [before]


# --- the hour -------------------------------------------------------------------------------------------


def test_a_schedule_is_due_when_its_interval_has_passed(database: Database, now: datetime) -> None:
    """At once the first time; then counted from the last start, whatever started it."""
    interval = timedelta(hours=2)
    with database.write() as connection:
        first = runs.request_scheduled_sync(connection, URL, interval, now)
        assert first is not None
        assert runs.request_scheduled_sync(connection, URL, interval, now) is None
        run = runs.claim_next(connection, now)
        assert run is not None
        assert run.trigger == "schedule"
        assert runs.request_scheduled_sync(connection, URL, interval, now + 3 * HOUR) is None
        runs.finish_run(connection, run.id, now, now + SECOND)
        assert runs.request_scheduled_sync(connection, URL, interval, now + 2 * HOUR - SECOND) is None
        assert runs.request_scheduled_sync(connection, URL, interval, now + 2 * HOUR) is not None


def test_no_interval_is_under_an_hour(database: Database, now: datetime) -> None:
    """However it is configured."""
    with database.write() as connection:
        run = start(connection, now)
        runs.finish_run(connection, run.id, now, now)
        minute = timedelta(minutes=1)
        assert runs.request_scheduled_sync(connection, URL, minute, now + HOUR - SECOND) is None
        assert runs.request_scheduled_sync(connection, URL, minute, now + HOUR) is not None


def test_a_scheduled_run_is_not_claimed_within_the_hour(database: Database, now: datetime) -> None:
    """Even if it was queued before somebody's own run started."""
    with database.write() as connection:
        run = start(connection, now)
        runs.finish_run(connection, run.id, now, now)
        runs.request_sync(connection, URL, "schedule", "schedule", now)
        assert runs.claim_next(connection, now + HOUR - SECOND) is None
        assert runs.claim_next(connection, now + HOUR) is not None


def test_a_manual_run_is_always_allowed(database: Database, now: datetime) -> None:
    """Also when a scheduled one waits for its hour: that one becomes the asker's."""
    with database.write() as connection:
        run = start(connection, now)
        runs.finish_run(connection, run.id, now, now)
        scheduled = runs.request_sync(connection, URL, "schedule", "schedule", now)
        assert runs.claim_next(connection, now + SECOND) is None
        assert runs.request_sync(connection, URL, "manual", "client:it", now + SECOND) == scheduled
        claimed = runs.claim_next(connection, now + SECOND)
        assert claimed is not None
        assert (claimed.id, claimed.trigger, claimed.requested_by) == (scheduled, "manual", "client:it")


# --- death and succession -------------------------------------------------------------------------------


def test_a_silent_run_is_taken_over(database: Database, now: datetime) -> None:
    """After five minutes without a heartbeat, and its start stays what it was."""
    with database.write() as connection:
        run = start(connection, now, "schedule")
        assert runs.claim_next(connection, now + runs.STALE_AFTER) is None
        later = now + runs.STALE_AFTER + SECOND
        again = runs.claim_next(connection, later)
        assert again is not None
        assert (again.id, again.started_at, again.heartbeat_at) == (run.id, now, later)
        assert upstreams(connection)[0].last_started_at == now


def test_a_heartbeat_keeps_a_run(database: Database, now: datetime) -> None:
    """And carries its progress."""
    with database.write() as connection:
        run = start(connection, now)
        alive = runs.beat(connection, run.id, now, now + timedelta(minutes=4), phase="updates", fetched=7)
        assert alive.heartbeat_at == now + timedelta(minutes=4)
        assert (alive.phase, alive.fetched) == ("updates", 7)
        assert runs.claim_next(connection, now + timedelta(minutes=8)) is None
        assert runs.get_run(connection, run.id) == alive


def test_a_worker_taken_for_dead_cannot_write(database: Database, now: datetime) -> None:
    """Its mark is no longer the one in the ledger, even if no clock has moved."""
    with database.write() as connection:
        run = start(connection, now)
        runs.requeue_running(connection)
        with pytest.raises(runs.RunLost):
            runs.beat(connection, run.id, now, now)
        again = runs.claim_next(connection, now)
        assert again is not None
        mark = runs.beat(connection, run.id, now, now).heartbeat_at
        assert mark is not None
        assert mark > now
        for act in (runs.beat, runs.finish_run, runs.release_run):
            with pytest.raises(runs.RunLost):
                act(connection, run.id, now, now)
        released = runs.release_run(connection, run.id, mark, now)
        assert (released.state, released.started_at) == ("queued", now)


def test_a_released_run_goes_on_within_the_hour(database: Database, now: datetime) -> None:
    """It is the same run, not a new start."""
    with database.write() as connection:
        run = start(connection, now, "schedule")
        runs.release_run(connection, run.id, now, now)
        again = runs.claim_next(connection, now + SECOND)
        assert again is not None
        assert again.id == run.id


def test_a_run_without_a_heartbeat_is_silent(database: Database, now: datetime) -> None:
    """As one would be that an older version left behind."""
    table = SQLModel.metadata.tables["sync_run"]
    with database.write() as connection:
        start(connection, now)
        connection.execute(update(table).values(heartbeat_at=None))
        assert runs.requeue_running(connection, silent_since=now) == 1
        assert runs.requeue_running(connection, silent_since=now) == 0


def test_of_many_workers_one_gets_the_run(database: Database, now: datetime) -> None:
    """Also when they ask at the same moment."""
    with database.write() as connection:
        runs.request_sync(connection, URL, "manual", "test", now)
    ready = threading.Barrier(4)
    claimed: list[runs.RunView | None] = []

    def work() -> None:
        ready.wait()
        with database.write() as connection:
            claimed.append(runs.claim_next(connection, now))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(run is None for run in claimed) == [False, True, True, True]


def test_runs_are_listed_with_the_latest_request_first(database: Database, now: datetime) -> None:
    """Page by page, without gaps, even where two were asked for at the same moment."""
    with database.write() as connection:
        for number in range(5):
            run = start(connection, now + (number // 2) * HOUR)
            runs.finish_run(connection, run.id, now + (number // 2) * HOUR, now)
    with database.read() as connection:
        everything = runs.list_runs(connection, limit=100)
        assert [run.requested_at for run in everything] == sorted(
            (run.requested_at for run in everything), reverse=True
        )
        pages: list[runs.RunView] = []
        after = None
        while page := runs.list_runs(connection, limit=2, after=after):
            pages += page
            after = (page[-1].requested_at, page[-1].id)
        assert tuple(pages) == everything
        assert len(everything) == 5
