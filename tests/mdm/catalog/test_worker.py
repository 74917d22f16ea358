"""The sync thread: it does what is due, wakes when told, survives what fails, and stops when asked."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from mdm.catalog import runs
from mdm.catalog.store import enqueue_needed
from mdm.catalog.upstreams import UpstreamChange, add_upstream, change_upstream
from mdm.catalog.worker import SyncWorker, account_name
from mdm.errors import Unavailable
from mdm.settings import load_settings
from mdm.upstream.transport import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

A = "aaaaaaaa-0000-4000-8000-000000000000"
NO_PAUSE = Patience(sleep=lambda _seconds: None, tries=2)


@pytest.fixture
def make_worker(data_dir: Path) -> Iterator[Callable[..., SyncWorker]]:
    """Make workers of a bench, and stop them at the end."""
    made: list[SyncWorker] = []

    def make(bench: Any, **options: Any) -> SyncWorker:
        upstream_url = options.pop("upstream_url", bench.upstream.url)
        ca_file = options.pop("ca_file", None)
        settings = load_settings(
            data_dir=data_dir, upstream_url=upstream_url, sync_interval_minutes=90, upstream_ca_file=ca_file
        )
        given = {"patience": NO_PAUSE, "poll_seconds": 0.02, **options}
        made.append(SyncWorker(bench.database, settings, bench.clock, **given))
        return made[-1]

    yield make
    for worker in made:
        worker.stop()


def ask(bench: Any) -> str:
    """Ask for a run by hand."""
    with bench.database.write() as connection:
        return runs.request_sync(connection, bench.upstream.url, "manual", "test", bench.clock())


def wait_for(bench: Any, run_id: str, *states: str) -> runs.RunView:
    """Wait until a run is in one of the states."""
    for _ in range(1000):
        with bench.database.read() as connection:
            run = runs.get_run(connection, run_id)
        assert run is not None
        if run.state in states:
            return run
        time.sleep(0.01)
    raise AssertionError(f"the run is {run.state}")


def test_the_first_schedule_is_due_at_once_and_the_next_after_the_interval(
    bench: Any, make_worker: Callable[..., SyncWorker]
) -> None:
    """In the caller's thread, a run at a time."""
    worker = make_worker(bench)
    first = worker.run_pending()
    assert first is not None
    assert (first.trigger, first.state) == ("schedule", "succeeded")
    assert worker.run_pending() is None
    bench.clock.now += timedelta(minutes=89)
    assert worker.run_pending() is None
    bench.clock.now += timedelta(minutes=1)
    second = worker.run_pending()
    assert second is not None
    assert second.id != first.id


def test_a_failed_run_is_tried_again_after_an_hour(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker]
) -> None:
    """It is not repeated at once, and says why it failed."""
    sqlite_bench.upstream.broken = {"GetAuthConfig"}
    worker = make_worker(sqlite_bench)
    with capture_logs() as logs:
        run = worker.run_pending()
    assert run is not None
    assert run.error is not None
    assert run.error.endswith("answered HTTP 503")
    (line,) = logs
    assert (line["event"], line["log_level"], line["state"]) == ("catalog.sync", "warning", "failed")
    assert line["error"] == run.error
    assert worker.run_pending() is None
    sqlite_bench.upstream.broken = set()
    sqlite_bench.clock.now += timedelta(minutes=60)
    retried = worker.run_pending()
    assert retried is not None
    assert retried.state == "succeeded"


def test_a_run_is_one_line_in_the_log(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker], document: Callable[..., str]
) -> None:
    """With its counts, and the account that was shown nowhere."""
    sqlite_bench.upstream.add(document(A, 200))
    with sqlite_bench.database.write() as connection:
        enqueue_needed(connection, [(A, 200)], sqlite_bench.clock())
    with capture_logs() as logs:
        make_worker(sqlite_bench).run_pending()
    (line,) = logs
    assert (line["log_level"], line["needed"], line["fetched"], line["error"]) == ("info", 1, 1, None)
    (upstream,) = sqlite_bench.rows("upstream")
    (request,) = sqlite_bench.upstream.asked("GetAuthorizationCookie")
    assert f"<accountGuid>{upstream['account_guid']}</accountGuid>" in request
    assert upstream["account_guid"] not in str(line)


def test_without_an_upstream_only_what_is_asked_for_is_done(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker]
) -> None:
    """Nothing is scheduled; a run that waits is done against its own upstream."""
    worker = make_worker(sqlite_bench, upstream_url=None)
    assert worker.run_pending() is None
    run_id = ask(sqlite_bench)
    run = worker.run_pending()
    assert run is not None
    assert (run.id, run.state) == (run_id, "succeeded")


def test_the_thread_does_what_is_asked_for_when_it_is_woken(
    bench: Any, make_worker: Callable[..., SyncWorker]
) -> None:
    """It need not wait for the next poll."""
    worker = make_worker(bench, poll_seconds=600)
    worker.start()
    for _ in range(500):
        if bench.rows("sync_run"):
            break
        time.sleep(0.01)
    run_id = ask(bench)
    worker.wake()
    assert wait_for(bench, run_id, "succeeded", "failed").state == "succeeded"


def test_the_thread_polls_for_what_other_processes_ask(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker]
) -> None:
    """Nobody wakes it for those."""
    make_worker(sqlite_bench).start()
    assert wait_for(sqlite_bench, ask(sqlite_bench), "succeeded", "failed").state == "succeeded"
    second = ask(sqlite_bench)
    assert wait_for(sqlite_bench, second, "succeeded", "failed").state == "succeeded"


def test_a_run_left_by_a_killed_process_is_taken_up_at_the_start(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker]
) -> None:
    """On SQLite there is one serving process, so nobody else can be at it."""
    run = sqlite_bench.claim()
    make_worker(sqlite_bench).start()
    assert wait_for(sqlite_bench, run.id, "succeeded", "failed").state == "succeeded"


def test_stopping_waits_for_the_call_and_queues_the_run_again(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker]
) -> None:
    """The call in flight ends, no further one is made, and the next start goes on."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(operation: str) -> None:
        if operation == "GetConfigData":
            reached.set()
            go_on.wait(10)

    sqlite_bench.upstream.before = hold
    worker = make_worker(sqlite_bench)
    worker.start()
    assert reached.wait(10)
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    stopper.join(0.1)
    assert stopper.is_alive()
    go_on.set()
    stopper.join(10)
    assert not stopper.is_alive()
    (row,) = sqlite_bench.rows("sync_run")
    assert row["state"] == "queued"
    assert sqlite_bench.upstream.asked("GetRevisionIdList") == []
    worker.start()
    assert wait_for(sqlite_bench, row["id"], "succeeded", "failed").state == "succeeded"


def test_stopping_cuts_a_pause_short(sqlite_bench: Any, make_worker: Callable[..., SyncWorker]) -> None:
    """The worker's own patience ends with it, and stopping twice, or before the start, is nothing."""
    sqlite_bench.upstream.broken = {"GetAuthConfig"}
    worker = make_worker(sqlite_bench, patience=None)
    worker.stop()
    worker.start()
    for _ in range(500):
        if sqlite_bench.upstream.calls:
            break
        time.sleep(0.01)
    start = time.monotonic()
    worker.stop()
    worker.stop()
    assert time.monotonic() - start < 60  # far from the wait it cuts short
    assert [row["state"] for row in sqlite_bench.rows("sync_run")] == ["queued"]


def test_start_and_stop_leave_no_threads(sqlite_bench: Any, make_worker: Callable[..., SyncWorker]) -> None:
    """Twenty rounds later there are as many as before."""
    before = threading.active_count()
    worker = make_worker(sqlite_bench, upstream_url=None)
    for _ in range(20):
        worker.start()
        worker.stop()
    assert threading.active_count() <= before + 1


def test_a_database_that_is_down_is_waited_for(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread lives on, says why it waits, and works again without a restart."""
    write = sqlite_bench.database.write
    failures = iter([Unavailable("The disk is full."), ZeroDivisionError()])
    failed = threading.Event()

    @contextmanager
    def failing() -> Iterator[Any]:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        failed.set()
        with write() as connection:
            yield connection

    monkeypatch.setattr(sqlite_bench.database, "write", failing)
    worker = make_worker(sqlite_bench)
    with capture_logs() as logs:
        worker.start()
        assert failed.wait(10)
        assert wait_for(sqlite_bench, ask(sqlite_bench), "succeeded", "failed").state == "succeeded"
        worker.stop()
    assert [line["event"] for line in logs][:2] == ["catalog.worker_waits", "catalog.worker_failed"]
    assert logs[0]["reason"] == "The disk is full."


def test_a_run_that_was_taken_over_is_let_go(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker]
) -> None:
    """It is the other worker's now."""

    def take_over(operation: str) -> None:
        if operation == "GetCookie":
            with sqlite_bench.database.write() as connection:
                runs.requeue_running(connection)

    sqlite_bench.upstream.before = take_over
    with capture_logs() as logs:
        run = make_worker(sqlite_bench).run_pending()
    assert run is not None
    assert [line["event"] for line in logs] == ["catalog.sync_lost"]


@pytest.mark.parametrize(
    ("public_url", "host", "name"),
    [
        ("https://mdm.example.org:8443/x", "box", "mdm.example.org"),
        (None, "box.local", "box.local"),
        (None, "my_box é", "my-box"),
        (None, "...", "csp-bridge"),
        ("http://[::1]:8480", "box", "1"),
    ],
)
def test_the_account_name_is_a_host_name(
    monkeypatch: pytest.MonkeyPatch, public_url: str | None, host: str, name: str
) -> None:
    """An upstream refuses any other signs."""
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert account_name(public_url) == name


def test_upstreams_of_the_list_are_scheduled_by_their_own_intervals(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker]
) -> None:
    """Enabled ones only, in their order."""
    other = "http://127.0.0.1:9"
    with sqlite_bench.database.write() as connection:
        for url, change in (
            (sqlite_bench.upstream.url, UpstreamChange(interval_minutes=15)),
            (other, UpstreamChange(enabled=False)),
        ):
            add_upstream(connection, None, url, change)
    worker = make_worker(sqlite_bench, upstream_url=None)
    first = worker.run_pending()
    assert first is not None
    assert first.upstream_url == sqlite_bench.upstream.url
    assert worker.run_pending() is None
    sqlite_bench.clock.now += timedelta(minutes=15)
    assert worker.run_pending() is not None
    with sqlite_bench.database.write() as connection:
        change_upstream(connection, None, other, UpstreamChange(enabled=True))
    failed = worker.run_pending()
    assert failed is not None
    assert (failed.upstream_url, failed.state) == (other, "failed")


def test_what_one_upstream_lacks_another_may_have(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker], document: Callable[..., str]
) -> None:
    """The first is ill; the device's update comes from the second, and its queue says synced."""
    sqlite_bench.upstream.add(document(A, 200))
    with sqlite_bench.database.write() as connection:
        add_upstream(connection, None, "http://127.0.0.1:9", UpstreamChange(position=0))
        add_upstream(connection, None, sqlite_bench.upstream.url, UpstreamChange(position=1))
        enqueue_needed(connection, [(A, 200)], sqlite_bench.clock())
    worker = make_worker(sqlite_bench, upstream_url=None)
    ended = [worker.run_pending(), worker.run_pending()]
    assert [run.state for run in ended if run is not None] == ["failed", "succeeded"]
    assert [row["state"] for row in sqlite_bench.rows("needed_revision")] == ["synced"]


def test_what_depends_on_the_catalogue_follows_a_sync(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker]
) -> None:
    """Only one that succeeded."""
    seen: list[str] = []
    worker = make_worker(sqlite_bench, after_sync=lambda run: seen.append(run.id))
    run = worker.run_pending()
    assert run is not None
    assert seen == [run.id]
    sqlite_bench.upstream.broken = {"GetAuthConfig"}
    ask(sqlite_bench)
    worker.run_pending()
    assert seen == [run.id]


def test_the_catalogue_is_cleaned_up_after_a_sync_that_succeeded(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker], document: Callable[..., str]
) -> None:
    """And before whatever depends on the catalogue looks at it; a sync that failed cleans up nothing."""
    sqlite_bench.upstream.add(document(A, 200, expired=True))
    with sqlite_bench.database.write() as connection:
        enqueue_needed(connection, [(A, 200)], sqlite_bench.clock())
    assert make_worker(sqlite_bench).run_pending() is not None
    assert len(sqlite_bench.rows("update_revision")) == 1
    sqlite_bench.clock.now += timedelta(days=8)
    seen: list[int] = []
    worker = make_worker(
        sqlite_bench, after_sync=lambda _run: seen.append(len(sqlite_bench.rows("update_revision")))
    )
    sqlite_bench.upstream.broken = {"GetAuthConfig"}
    worker.run_pending()
    assert len(sqlite_bench.rows("update_revision")) == 1
    sqlite_bench.upstream.broken = set()
    ask(sqlite_bench)
    worker.run_pending()
    assert seen == [0]


def test_authorities_that_cannot_be_read_fail_the_run(
    sqlite_bench: Any, make_worker: Callable[..., SyncWorker], tmp_path: Path
) -> None:
    """With the file's name; it is tried again like any failure."""
    run = make_worker(sqlite_bench, ca_file=tmp_path / "none.pem").run_pending()
    assert run is not None
    assert run.state == "failed"
    assert run.error is not None
    assert "none.pem" in run.error
    assert run.retry_at == sqlite_bench.clock() + timedelta(hours=1)


def test_old_runs_are_forgotten(sqlite_bench: Any, make_worker: Callable[..., SyncWorker]) -> None:
    """After ninety days."""
    worker = make_worker(sqlite_bench)
    worker.run_pending()
    sqlite_bench.clock.now += timedelta(days=89)
    worker.run_pending()
    assert len(sqlite_bench.rows("sync_run")) == 2
    sqlite_bench.clock.now += timedelta(days=2)
    worker.run_pending()
    assert len(sqlite_bench.rows("sync_run")) == 2
    assert {row["run_id"] for row in sqlite_bench.rows("sync_event")} == {
        row["id"] for row in sqlite_bench.rows("sync_run")
    }
