"""The clean-up after a sync: daily, in small steps, told in the log, and harmless when it fails."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from mdm.catalog import upkeep as upkeep_module
from mdm.catalog.cleanup import clean_up
from mdm.catalog.events import list_events
from mdm.catalog.store import enqueue_needed
from mdm.catalog.upkeep import UPKEEP_EVERY, Upkeep
from mdm.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")


@pytest.fixture
def synced(bench: Any, document: Callable[..., str]) -> str:
    """A run that stored three withdrawn updates, eight days ago."""
    for key in (A, B, C):
        bench.upstream.add(document(key, 200, expired=True))
    with bench.database.write() as connection:
        enqueue_needed(connection, [(key, 200) for key in (A, B, C)], bench.clock())
    run_id: str = bench.sync().id
    bench.clock.now += timedelta(days=8)
    return run_id


def upkeep(bench: Any, should_stop: Callable[[], bool] = lambda: False) -> Upkeep:
    """The upkeep of a bench."""
    return Upkeep(bench.database, bench.clock, should_stop)


def told(bench: Any, run_id: str) -> list[tuple[str, str]]:
    """What the run's log says of clean-ups."""
    with bench.database.read() as connection:
        events = list_events(connection, run_id, limit=100)
    return [(each.kind, each.message) for each in events if each.phase == "cleanup"]


def test_what_nobody_needs_goes_after_a_sync(bench: Any, synced: str) -> None:
    """The run's log, the service's log and the audit trail say what went."""
    with capture_logs() as logs:
        upkeep(bench).after_sync(synced)
    assert bench.rows("update_revision") == []
    assert told(bench, synced) == [("done", "Catalogue cleaned up: 3 expired and 0 licences removed.")]
    (line,) = logs
    assert (line["event"], line["removed"], line["examined"]) == ("catalog.cleanup", {"expired": 3}, 3)
    (entry,) = bench.rows("audit_entry")
    assert (entry["action"], entry["actor"]) == ("catalog.cleanup", "schedule")
    assert entry["detail"] == {"removed": {"expired": 3}, "licences": 0}


def test_a_catalogue_is_walked_once_a_day(bench: Any, synced: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncs are hourly and what decides is counted in days; nothing is told of a walk that found nothing."""
    walks: list[object] = []

    def counted(*args: Any, **options: Any) -> Any:
        walks.append(args)
        return clean_up(*args, **options)

    monkeypatch.setattr(upkeep_module, "clean_up", counted)
    worker = upkeep(bench)
    worker.after_sync(synced)
    bench.clock.now += UPKEEP_EVERY - timedelta(seconds=1)
    worker.after_sync(synced)
    assert len(walks) == 1
    bench.clock.now += timedelta(seconds=1)
    with capture_logs() as logs:
        worker.after_sync(synced)
    assert len(walks) == 2
    assert logs == []
    assert len(told(bench, synced)) == 1


def test_a_stop_cuts_it_short_and_the_next_sync_goes_on(
    bench: Any, synced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two transactions; what went until then is told, and the rest is not put off for a day."""
    stopping = [False, True]
    monkeypatch.setattr(
        upkeep_module, "clean_up", lambda *args, **options: clean_up(*args, **options, limit=2)
    )
    worker = upkeep(bench, lambda: stopping.pop(0) if stopping else False)
    worker.after_sync(synced)
    assert [row["update_id"] for row in bench.rows("update_revision")] == [C]
    assert told(bench, synced) == [("done", "Catalogue cleaned up: 2 expired and 0 licences removed.")]
    worker.after_sync(synced)
    assert bench.rows("update_revision") == []


def test_a_defect_is_told_and_costs_nobody_the_sync(
    bench: Any, synced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was removed before it is told as well, and the next sync tries again."""

    def broken(*args: Any, **options: Any) -> Any:
        yield next(iter(clean_up(*args, **options, limit=2)))
        raise ZeroDivisionError

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(upkeep_module, "clean_up", broken)
        worker = upkeep(bench)
        worker.after_sync(synced)
    assert [(line["event"], line["log_level"]) for line in logs] == [("catalog.cleanup_failed", "error")]
    (removed, failed) = told(bench, synced)
    assert removed == ("done", "Catalogue cleaned up: 2 expired and 0 licences removed.")
    assert failed[0] == "failed"
    assert "The synchronization itself is complete" in failed[1]
    worker.after_sync(synced)
    assert bench.rows("update_revision") == []


def test_a_database_that_is_down_is_no_defect(
    bench: Any, synced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a line of the log; there is nowhere else to write."""

    def down(*_args: Any, **_options: Any) -> Any:
        raise Unavailable("The database is down.")

    monkeypatch.setattr(upkeep_module, "clean_up", down)
    with capture_logs() as logs:
        upkeep(bench).after_sync(synced)
    (line,) = logs
    assert (line["log_level"], line["reason"]) == ("warning", "The database is down.")
    assert told(bench, synced) == []
