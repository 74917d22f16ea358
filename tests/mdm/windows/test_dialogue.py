"""Windows in real sessions: what is approved reaches a device while one is open, and the schedule is written to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Bench, Calendar, ScriptedDevice

HOUR = timedelta(hours=1)
OPENS = datetime(2026, 11, 22, 22, tzinfo=UTC)
CLOSES = datetime(2026, 11, 23, 2, tzinfo=UTC)
UPDATE = "aaaaaaaa-0000-4000-8000-000000000000"
LATER = "bbbbbbbb-0000-4000-8000-000000000000"
CONFIG = "./Device/Vendor/MSFT/Policy/Config/Update"


def offered(bench: Bench) -> ScriptedDevice:
    """A device that is offered two updates, of which the first is approved."""
    device = bench.enrol()
    device.installable = {UPDATE: (1, 200), LATER: (1, 200)}
    for update_id in device.installable:
        bench.catalogue(update_id)
    bench.approve(UPDATE)
    return device


def test_an_approval_waits_for_the_window(calendar: Calendar) -> None:
    """It is not delivered before, nor after; and then with the first session inside."""
    bench = calendar.bench
    device = offered(bench)
    calendar.window()
    for now, approved in (
        (OPENS - HOUR, []),
        (CLOSES + HOUR, []),
        (OPENS + timedelta(days=7), [UPDATE]),
    ):
        bench.now = now
        device.check_in()
        assert device.approved == approved


def test_a_window_that_is_made_meanwhile_holds_at_once(calendar: Calendar) -> None:
    """And one that is deleted does no longer."""
    bench = calendar.bench
    device = offered(bench)
    device.installable = {}
    device.check_in()
    device.installable = {UPDATE: (1, 200)}
    calendar.window()
    bench.now = OPENS - HOUR
    device.check_in()
    assert device.approved == []
    with bench.database.write() as conn:
        conn.exec_driver_sql("DELETE FROM maintenance_window")
        conn.exec_driver_sql("UPDATE device_group SET intent_version = intent_version + 1")
    bench.now += HOUR / 2
    device.check_in()
    assert device.approved == [UPDATE]


def test_a_device_that_missed_it_catches_up_in_every_session(calendar: Calendar) -> None:
    """The whole of its first session, although that makes it a device that was seen, and the next ones."""
    bench = calendar.bench
    device = offered(bench)
    calendar.window(catch_up_hours=6)
    bench.now = CLOSES + HOUR
    device.check_in()
    assert device.approved == [UPDATE]
    bench.approve(LATER)
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device_group SET intent_version = intent_version + 1")
    bench.now = CLOSES + 5 * HOUR
    device.check_in()
    assert device.approved == [UPDATE, LATER]


def test_a_device_that_was_there_gets_nothing_later(calendar: Calendar) -> None:
    """What is approved after the window waits for the next one."""
    bench = calendar.bench
    device = offered(bench)
    calendar.window(catch_up_hours=6)
    bench.now = OPENS + HOUR
    device.check_in()
    bench.approve(LATER)
    bench.now = CLOSES + HOUR
    device.check_in()
    assert device.approved == [UPDATE]


def test_an_enforced_schedule_is_written_and_taken_back(calendar: Calendar) -> None:
    """While the window holds, and not after it."""
    bench = calendar.bench
    device = bench.enrol()
    calendar.window(
        zone="device",
        fallback_zone="UTC",
        start="03:00",
        enforce_on_device=True,
        valid_until=CLOSES,
    )
    device.check_in()
    written = [each for each in device.asked if each.startswith(f"Replace {CONFIG}/Scheduled")]
    assert len(written) == 7
    assert f"Replace {CONFIG}/AllowAutoUpdate" in device.asked
    bench.now = CLOSES + HOUR
    device.check_in()
    deleted = [each for each in device.asked if each.startswith("Delete")]
    assert sorted(each.rpartition("/")[2] for each in deleted) == sorted(
        ["AllowAutoUpdate", *(each.rpartition("/")[2] for each in written)]
    )
