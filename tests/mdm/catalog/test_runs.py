"""The ledger of sync runs: one at a time, at most hourly unless told, and never two workers in one run."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update
from sqlmodel import SQLModel

from mdm.catalog import runs
from mdm.catalog.events import list_events
from mdm.catalog.upstreams import UpstreamChange, change_upstream, ensure_upstream

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.storage.engine import Database

URL = "https://sws.update.microsoft.com"
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
        ensure_upstream(connection, URL)
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


# --- after a failure, cancelling, history ---------------------------------------------------------------


def test_a_failed_run_is_tried_again_after_an_hour(database: Database, now: datetime) -> None:
    """Sooner than the interval; a success forgets it."""
    with database.write() as connection:
        run = start(connection, now)
        failed = runs.finish_run(connection, run.id, now, now, "It rained.")
        assert failed.retry_at == now + runs.RETRY_AFTER
        assert upstreams(connection)[0].retry_at == now + HOUR
        assert runs.request_scheduled_sync(connection, URL, 8 * HOUR, now + HOUR - SECOND) is None
        assert runs.request_scheduled_sync(connection, URL, 8 * HOUR, now + HOUR) is not None
        again = runs.claim_next(connection, now + HOUR)
        assert again is not None
        ended = runs.finish_run(connection, again.id, now + HOUR, now + HOUR)
        assert (ended.retry_at, upstreams(connection)[0].retry_at) == (None, None)


def test_the_log_tells_the_life_of_a_run(database: Database, now: datetime) -> None:
    """Started, interrupted, started again, failed with the cause and the next retry."""
    with database.write() as connection:
        run = start(connection, now)
        runs.release_run(connection, run.id, now, now)
        again = runs.claim_next(connection, now)
        assert again is not None
        assert again.heartbeat_at is not None
        runs.finish_run(connection, run.id, again.heartbeat_at, now, "It rained.")
        log = list_events(connection, run.id, limit=10)
        assert [each.kind for each in log] == ["started", "interrupted", "started", "failed"]
        assert log[0].message == "Synchronization started."
        assert log[3].message == (
            f"Synchronization failed: It rained. The next retry is at {now + HOUR:%Y-%m-%d %H:%M:%S} UTC."
        )
        assert list_events(connection, run.id, limit=2, after=log[1].seq) == log[2:]
        done = start(connection, now + HOUR)
        runs.finish_run(connection, done.id, now + HOUR, now + HOUR)
        assert list_events(connection, done.id, limit=9)[-1].message == (
            "Synchronization done: 0 new, 0 revised, 0 expired, 0 failed, 0 bytes."
        )


def test_a_queued_run_is_cancelled_at_once(database: Database, now: datetime) -> None:
    """It never starts."""
    with database.write() as connection:
        run_id = runs.request_sync(connection, URL, "manual", "a", now)
        cancelled = runs.cancel_run(connection, run_id, now)
        assert cancelled is not None
        assert (cancelled.state, cancelled.finished_at) == ("cancelled", now)
        assert runs.claim_next(connection, now) is None
        assert runs.cancel_run(connection, run_id, now + SECOND) == cancelled
        assert runs.cancel_run(connection, "run_none", now) is None


def test_a_running_run_is_asked_to_end(database: Database, now: datetime) -> None:
    """Its worker sees it with the next heartbeat; if that never comes, the run is cancelled all the same."""
    with database.write() as connection:
        run = start(connection, now)
        asked = runs.cancel_run(connection, run.id, now + SECOND)
        assert asked is not None
        assert (asked.state, asked.cancel_requested_at) == ("running", now + SECOND)
        again = runs.cancel_run(connection, run.id, now + 2 * SECOND)
        assert again is not None
        assert again.cancel_requested_at == now + SECOND
        assert runs.beat(connection, run.id, now, now).cancel_requested_at == now + SECOND
        assert runs.claim_next(connection, now + HOUR) is None
        ended = runs.get_run(connection, run.id)
        assert ended is not None
        assert (ended.state, ended.finished_at) == ("cancelled", now + SECOND)


def test_a_cancelled_run_ends_by_its_worker(database: Database, now: datetime) -> None:
    """Neither success nor failure: nothing is tried again sooner."""
    with database.write() as connection:
        run = start(connection, now)
        ended = runs.end_cancelled(connection, run.id, now, now + SECOND)
        assert (ended.state, ended.error, ended.retry_at) == ("cancelled", "Somebody cancelled it.", None)
        assert list_events(connection, run.id, limit=9)[-1].kind == "cancelled"


@pytest.mark.parametrize(
    ("total", "done", "percent", "eta"),
    [(0, 0, None, None), (200, 0, 0, None), (200, 50, 25, 90), (200, 250, 100, 0)],
)
def test_a_running_run_tells_how_long_it_takes(
    sqlite_database: Database, now: datetime, total: int, done: int, percent: int | None, eta: int | None
) -> None:
    """By the pace its phase has had: 50 in half a minute leave 150 for a minute and a half."""
    with sqlite_database.write() as connection:
        run = start(connection, now)
        seen = runs.beat(
            connection,
            run.id,
            now,
            now + timedelta(seconds=30),
            phase_started_at=now,
            phase_total=total,
            phase_done=done,
        )
        assert (seen.progress_percent, seen.eta_seconds) == (percent, eta)
        ended = runs.finish_run(connection, run.id, now + timedelta(seconds=30), now + HOUR)
        assert (ended.progress_percent, ended.eta_seconds) == (None, None)


def test_history_is_kept_for_a_while(database: Database, now: datetime) -> None:
    """Ended runs go with their logs; what has not ended stays."""
    with database.write() as connection:
        old = start(connection, now)
        runs.finish_run(connection, old.id, now, now)
        waiting = runs.request_sync(connection, URL, "manual", "a", now)
        assert runs.prune_runs(connection, now) == 0
        assert runs.prune_runs(connection, now + SECOND) == 1
        assert [run.id for run in runs.list_runs(connection, limit=9)] == [waiting]
        assert list_events(connection, old.id, limit=9) == ()


def test_runs_asked_for_together_start_in_the_upstreams_order(database: Database, now: datetime) -> None:
    """What the first has, the second need not be asked for."""
    with database.write() as connection:
        for url, position in ((URL, 2), (OTHER, 1)):
            ensure_upstream(connection, url)
            change_upstream(connection, url, url, UpstreamChange(position=position))
            runs.request_sync(connection, url, "manual", "a", now)
        first, second = runs.claim_next(connection, now), runs.claim_next(connection, now)
        assert first is not None
        assert second is not None
        assert (first.upstream_url, second.upstream_url) == (OTHER, URL)


def test_ones_own_server_may_be_read_every_quarter_of_an_hour(database: Database, now: datetime) -> None:
    """The hour is Microsoft's."""
    with database.write() as connection:
        runs.request_sync(connection, OTHER, "manual", "a", now)
        run = runs.claim_next(connection, now)
        assert run is not None
        runs.finish_run(connection, run.id, now, now)
        quarter = timedelta(minutes=15)
        assert runs.request_scheduled_sync(connection, OTHER, SECOND, now + quarter - SECOND) is None
        assert runs.request_scheduled_sync(connection, OTHER, SECOND, now + quarter) is not None
        assert runs.claim_next(connection, now + quarter) is not None
