"""The windows of one device, by its groups, and what it may catch up on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import event

from mdm.windows.effective import grant_catch_up, window_state
from mdm.windows.state import UNRESTRICTED, WindowState

if TYPE_CHECKING:
    from conftest import Bench, Calendar

HOUR = timedelta(hours=1)
OPENS = datetime(2026, 11, 22, 22, tzinfo=UTC)
CLOSES = datetime(2026, 11, 23, 2, tzinfo=UTC)


def state(bench: Bench, now: datetime, seen: datetime | None = None, pk: int = 1) -> WindowState:
    """What holds for a device."""
    with bench.database.read() as connection:
        return window_state(connection, pk, now, seen)


def grant(bench: Bench, now: datetime, seen: datetime | None = None, pk: int = 1) -> None:
    """A session of the device begins."""
    with bench.database.write() as connection:
        grant_catch_up(connection, pk, now, seen)


def test_a_device_without_windows_costs_one_read(calendar: Calendar) -> None:
    """It is unrestricted, and stays so; windows of other groups are not even fetched."""
    bench = calendar.bench
    bench.enrol("DEV1")
    bench.enrol("DEV2")
    calendar.window("others", calendar.group("others", "id-DEV2"))
    statements: list[str] = []
    with bench.database.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
        assert window_state(connection, 1, bench.now, None) == UNRESTRICTED
    assert len(statements) == 1
    assert state(bench, bench.now, pk=2).closed


def test_windows_reach_devices_through_their_groups(calendar: Calendar) -> None:
    """Each group's and all devices', and any of them opens the device."""
    bench = calendar.bench
    bench.enrol("DEV1")
    bench.enrol("DEV2")
    everybody = calendar.window("everybody")
    early = calendar.window("early", calendar.group("early", "id-DEV1"), start="20:00", duration_minutes=60)
    assert state(bench, OPENS - HOUR, pk=2) == WindowState(
        closed=True, next_open=OPENS, changes_at=OPENS, window_ids=(everybody.id,)
    )
    assert state(bench, OPENS - 3 * HOUR).next_open == OPENS - 2 * HOUR
    assert state(bench, OPENS - 2 * HOUR) == WindowState(
        closed=False,
        next_open=None,
        changes_at=OPENS - HOUR,
        window_ids=tuple(sorted((everybody.id, early.id))),
    )
    assert state(bench, OPENS).changes_at == CLOSES


def test_a_device_catches_up_for_all_its_hours(calendar: Calendar) -> None:
    """Seen again after the window, it is open in its later sessions too, until the hours are over."""
    bench = calendar.bench
    bench.enrol("DEV1")
    calendar.window(catch_up_hours=12)
    now, before = CLOSES + HOUR, OPENS - HOUR
    grant(bench, now, before)
    # Inside the session the device's row says that it has been seen just now.
    assert state(bench, now, now).changes_at == CLOSES + 12 * HOUR
    grant(bench, now + 2 * HOUR, now)
    assert not state(bench, now + 2 * HOUR, now + 2 * HOUR).closed
    assert state(bench, CLOSES + 12 * HOUR, now).closed


def test_a_device_that_was_there_has_nothing_to_catch_up_on(calendar: Calendar) -> None:
    """And nothing is written for it."""
    bench = calendar.bench
    bench.enrol("DEV1")
    calendar.window(catch_up_hours=12)
    grant(bench, CLOSES + HOUR, OPENS + HOUR)
    assert state(bench, CLOSES + HOUR, CLOSES + HOUR).closed
    assert bench.rows("window_catch_up") == []


def test_what_was_granted_before_is_forgotten_with_the_next(calendar: Calendar) -> None:
    """One row for each device and window, of which the old ones go."""
    bench = calendar.bench
    bench.enrol("DEV1")
    first, second = calendar.window("first", catch_up_hours=2), calendar.window("second", catch_up_hours=24)
    grant(bench, CLOSES + HOUR, None)
    assert len(bench.rows("window_catch_up")) == 2
    grant(bench, CLOSES + 3 * HOUR, OPENS - HOUR)
    rows = bench.rows("window_catch_up")
    assert [(row["window_id"], row["until"]) for row in rows] == [(second.id, CLOSES + 24 * HOUR)]
    assert first.id != second.id


def test_a_window_that_is_gone_grants_nothing(calendar: Calendar) -> None:
    """With it goes what it granted."""
    bench = calendar.bench
    bench.enrol("DEV1")
    calendar.window(catch_up_hours=12)
    grant(bench, CLOSES + HOUR)
    with bench.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM maintenance_window")
    assert bench.rows("window_catch_up") == []
    assert state(bench, CLOSES + HOUR) == UNRESTRICTED
