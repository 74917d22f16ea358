"""Sync now: what is kept of the wish, and what is promised."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from mdm.audit import Origin
from mdm.devices.groups import add_member, create_group
from mdm.errors import Conflict, Invalid, NotFound
from mdm.push.sync_now import SyncWish, in_group, request_sync, request_syncs
from mdm.storage.statements import table_of
from mdm.storage.tables import ALL_DEVICES, Device

if TYPE_CHECKING:
    from conftest import Bench

ORIGIN = Origin("client:test")
SCHEDULE = "5x3, 8x15, 480"
_device = table_of(Device)


def change(bench: Bench, **values: Any) -> None:
    """Change all devices."""
    with bench.database.write() as conn:
        conn.execute(update(_device).values(**values))


def want(bench: Bench, name: str = "DEV1", *, pushing: bool = True) -> SyncWish:
    """Want a device."""
    with bench.database.write() as conn:
        return request_sync(conn, ORIGIN, f"id-{name}", pushing=pushing, now=bench.now)


def test_the_wish_is_kept_told_and_audited(bench: Bench) -> None:
    """Once for each time that somebody wants it."""
    bench.enrol()
    wish = want(bench)
    (row,) = bench.rows("device")
    assert row["sync_requested_at"] == wish.sync_requested_at == bench.now
    (event,) = bench.rows("device_event")
    assert (event["kind"], event["detail"], event["at"]) == (
        "sync_requested",
        {"by": "client:test"},
        bench.now,
    )
    bench.now += timedelta(minutes=1)
    want(bench)
    entries = [entry for entry in bench.rows("audit_entry", "seq") if entry["action"] == "device.sync"]
    assert [entry["object_id"] for entry in entries] == ["id-DEV1", "id-DEV1"]
    assert entries[1]["before"] == {"sync_requested_at": "2026-11-21T12:00:00Z"}
    assert entries[1]["after"] == {"sync_requested_at": "2026-11-21T12:01:00Z"}


def test_policies_are_read_back_only_where_there_are_some(bench: Bench) -> None:
    """What is due tomorrow becomes due now; what is due since yesterday, or not at all, stays."""
    for name in ("DEV1", "DEV2", "DEV3"):
        bench.enrol(name)
    yesterday, tomorrow = bench.now - timedelta(days=1), bench.now + timedelta(days=1)
    for name, due in (("DEV1", tomorrow), ("DEV2", yesterday), ("DEV3", None)):
        with bench.database.write() as conn:
            conn.execute(update(_device).where(_device.c.device_id == name).values(policies_due_at=due))
        want(bench, name)
    due_at = [row["policies_due_at"] for row in bench.rows("device", "pk")]
    assert due_at == [bench.now, yesterday, None]


@pytest.mark.parametrize(
    ("values", "pushing", "push", "words"),
    [
        ({"push_channel": "https://x"}, True, "queued", "A notification goes out now"),
        ({"push_channel": "https://x"}, False, "not_possible", "are not set up (BRIDGE_WNS_PFN)"),
        ({}, True, "not_possible", "has no channel for notifications. The device has not said"),
        ({"push_status": 8}, True, "not_possible", "This edition of Windows takes no notifications."),
    ],
)
def test_whether_a_notification_goes_out(
    sqlite_bench: Bench, values: dict[str, Any], push: str, words: str, *, pushing: bool
) -> None:
    """And why not."""
    sqlite_bench.enrol()
    if values:
        change(sqlite_bench, **values)
    wish = want(sqlite_bench, pushing=pushing)
    assert wish.push == push
    assert words in wish.push_why


@pytest.mark.parametrize(
    ("seen", "schedule", "minutes", "words"),
    [
        (None, SCHEDULE, None, "has never checked in"),
        (-10, None, None, "has not given the device its poll schedule"),
        (-10, SCHEDULE, 470, "comes by itself until then"),
        (-480, SCHEDULE, 0, "comes by itself until then"),
        (-481, SCHEDULE, -1, "is overdue"),
        (-10, "3x90, 60", 80, "comes by itself until then"),
    ],
)
def test_when_the_device_comes_by_itself(
    sqlite_bench: Bench, seen: int | None, schedule: str | None, minutes: int | None, words: str
) -> None:
    """By the schedule that it has, not by the one that new devices get."""
    sqlite_bench.enrol()
    now = sqlite_bench.now
    change(
        sqlite_bench,
        last_checkin_at=None if seen is None else now + timedelta(minutes=seen),
        poll_schedule=schedule,
    )
    wish = want(sqlite_bench)
    assert wish.expected_by == (None if minutes is None else now + timedelta(minutes=minutes))
    assert words in wish.expected_why


def test_a_device_that_does_not_come_any_more(bench: Bench) -> None:
    """Unknown or gone: nothing is written."""
    bench.enrol()
    with pytest.raises(NotFound, match="no device 'id-DEV2'"):
        want(bench, "DEV2")
    change(bench, unenrolled_at=bench.now)
    with pytest.raises(Conflict) as caught:
        want(bench)
    assert caught.value.code == "device_left"
    assert bench.rows("device")[0]["sync_requested_at"] is None
    assert bench.rows("device_event") == []


def test_many_at_once(bench: Bench) -> None:
    """In order of enrolment, each once, those that have left not at all; one unknown id spoils all of it."""
    for name in ("DEV1", "DEV2", "DEV3"):
        bench.enrol(name)
    with bench.database.write() as conn:
        conn.execute(update(_device).where(_device.c.device_id == "DEV2").values(unenrolled_at=bench.now))
    wanted = ["id-DEV3", "id-DEV1", "id-DEV2", "id-DEV1"]
    with bench.database.write() as conn:
        wishes = request_syncs(conn, ORIGIN, wanted, pushing=False, now=bench.now)
    assert [wish.id for wish in wishes] == ["id-DEV1", "id-DEV3"]
    assert len(bench.rows("device_event")) == 2
    with pytest.raises(Invalid) as caught, bench.database.write() as conn:
        request_syncs(conn, ORIGIN, ["id-DEV1", "no", "id-DEV3", "none"], pushing=False, now=bench.now)
    assert [(error.pointer, error.code) for error in caught.value.errors] == [
        ("/devices/1", "unknown_device"),
        ("/devices/3", "unknown_device"),
    ]
    assert len(bench.rows("device_event")) == 2


def test_the_devices_of_a_group(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have not left; too many are refused whole."""
    for name in ("DEV1", "DEV2", "DEV3"):
        bench.enrol(name)
    with bench.database.write() as conn:
        group = create_group(conn, ORIGIN, name="some", now=bench.now).id
        for name in ("DEV2", "DEV3"):
            add_member(conn, ORIGIN, group, f"id-{name}", now=bench.now)
        conn.execute(update(_device).where(_device.c.device_id == "DEV3").values(unenrolled_at=bench.now))
    with bench.database.read() as conn:
        assert in_group(conn, group) == ["id-DEV2"]
        assert in_group(conn, ALL_DEVICES) == ["id-DEV1", "id-DEV2"]
        with pytest.raises(NotFound):
            in_group(conn, "grp_nowhere")
        monkeypatch.setattr("mdm.push.sync_now.MAX_DEVICES", 1)
        with pytest.raises(Invalid) as caught:
            in_group(conn, ALL_DEVICES)
    assert [(error.pointer, error.code) for error in caught.value.errors] == [("/group", "too_many_devices")]
