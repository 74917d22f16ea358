"""Which schedule a device should keep by itself, and until when that holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mdm.windows.policies import NOTHING, Overlay, schedule_policies

if TYPE_CHECKING:
    from conftest import Calendar

NOW = datetime(2026, 12, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def overlay(calendar: Calendar, now: datetime = NOW, pk: int = 1) -> Overlay:
    """What the device should have."""
    with calendar.bench.database.read() as connection:
        return schedule_policies(connection, pk, now)


def enforced(calendar: Calendar, name: str, *group_ids: str, **members: Any) -> str:
    """A window that devices are to keep by themselves."""
    values: dict[str, Any] = {
        "zone": "device",
        "fallback_zone": "UTC",
        "enforce_on_device": True,
        **members,
    }
    return calendar.window(name, *group_ids, **values).id


def test_only_enforced_windows_of_the_device_count(calendar: Calendar) -> None:
    """One of another group, and one that only the bridge keeps, give nothing."""
    calendar.bench.enrol("DEV1")
    calendar.bench.enrol("DEV2")
    enforced(calendar, "others", calendar.group("others", "id-DEV2"))
    enforced(calendar, "ours", enforce_on_device=False)
    assert overlay(calendar) == NOTHING
    assert overlay(calendar, pk=2).values["ScheduledInstallDay"].value == "1"


def test_the_oldest_that_can_be_enforced_wins(calendar: Calendar) -> None:
    """Windows has one schedule; each value says where it is from."""
    calendar.bench.enrol("DEV1")
    enforced(calendar, "b", start="03:30")
    oldest = enforced(calendar, "z", start="04:00")
    enforced(calendar, "a", start="05:00")
    found = overlay(calendar)
    assert found.until is None
    assert found.values["ScheduledInstallTime"].value == "4"
    assert {value.source for value in found.values.values()} == {oldest}


def test_a_schedule_holds_while_its_window_does(calendar: Calendar) -> None:
    """And the moment that changes it is told."""
    calendar.bench.enrol("DEV1")
    enforced(calendar, "w", valid_from=NOW + DAY, valid_until=NOW + 3 * DAY)
    assert overlay(calendar) == Overlay({}, NOW + DAY)
    during = overlay(calendar, NOW + DAY)
    assert (len(during.values), during.until) == (8, NOW + 3 * DAY)
    assert overlay(calendar, NOW + 3 * DAY) == NOTHING
