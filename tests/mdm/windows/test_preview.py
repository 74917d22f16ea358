"""What a window would come to, before there is one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from mdm.errors import Invalid, NotFound
from mdm.storage.statements import table_of
from mdm.storage.tables import Device
from mdm.windows import preview as module
from mdm.windows.preview import WindowPreview, preview_window

if TYPE_CHECKING:
    from conftest import Calendar

OPENS = datetime(2026, 11, 22, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)


def preview(
    calendar: Calendar, *group_ids: str, now: datetime = OPENS - HOUR, **members: Any
) -> WindowPreview:
    """What it would come to."""
    replaces = members.pop("replaces", None)
    with calendar.bench.database.read() as conn:
        return preview_window(conn, calendar.define("new", *group_ids, **members), replaces=replaces, now=now)


def test_it_tells_whom_it_is_for_and_who_has_others(calendar: Calendar) -> None:
    """Those with other windows come first; each says when it could be given updates with all of them."""
    bench = calendar.bench
    for number in (1, 2, 3):
        bench.enrol(f"DEV{number}")
    both = calendar.group("both", "id-DEV1", "id-DEV3")
    early = calendar.window("early", calendar.group("early", "id-DEV3"), start="20:00", duration_minutes=90)
    before = bench.dump()
    found = preview(calendar, both)
    assert bench.dump() == before
    assert (found.devices, found.overlapping, found.as_of) == (2, 1, OPENS - HOUR)
    assert [(each.device_id, each.other_windows, each.open_now, each.opens_next) for each in found.shown] == [
        ("DEV3", (early.id,), True, None),
        ("DEV1", (), False, OPENS),
    ]
    assert found.openings[0].opens == OPENS
    assert "local time" in found.enforcement.sentence
    everybody = preview(calendar)
    assert (everybody.devices, everybody.overlapping) == (3, 1)


def test_a_window_for_all_devices_overlaps_with_every_one(calendar: Calendar) -> None:
    """Unless it is the one that is to be changed."""
    calendar.bench.enrol("DEV1")
    window = calendar.window("old")
    assert preview(calendar).overlapping == 1
    found = preview(calendar, replaces=window.id)
    assert (found.overlapping, found.shown[0].other_windows) == (0, ())


def test_catching_up_counts(calendar: Calendar) -> None:
    """By when each device was seen."""
    bench = calendar.bench
    bench.enrol("DEV1")
    bench.enrol("DEV2")
    with bench.database.write() as conn:
        device = table_of(Device)
        conn.execute(update(device).where(device.c.pk == 1).values(last_checkin_at=OPENS + HOUR))
    found = preview(calendar, now=OPENS + 5 * HOUR, catch_up_hours=6)
    assert [(each.device_id, each.open_now) for each in found.shown] == [("DEV1", False), ("DEV2", True)]


def test_only_some_are_named(calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are counted."""
    monkeypatch.setattr(module, "SHOWN", 2)
    for number in range(3):
        calendar.bench.enrol(f"DEV{number}")
    calendar.window("old", calendar.group("g", "id-DEV2"))
    found = preview(calendar)
    assert found.devices == 3
    assert [each.device_id for each in found.shown] == ["DEV2", "DEV0"]


def test_what_is_wrong_is_refused(calendar: Calendar) -> None:
    """As it would be when the window is made."""
    with pytest.raises(NotFound, match="no group 'grp_x'"):
        preview(calendar, "all-devices", "grp_x")
    with pytest.raises(Invalid):
        preview(calendar, zone="Nowhere")
