"""Making, changing, reading and deleting maintenance windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.audit import Origin
from mdm.devices.groups import delete_group
from mdm.errors import Conflict, Invalid, NotFound
from mdm.windows.effective import grant_catch_up
from mdm.windows.store import WindowView, change_window, delete_window, get_window, list_windows

if TYPE_CHECKING:
    from conftest import Calendar

    from mdm.windows.definition import WindowDefinition

ORIGIN = Origin(actor="client:test")
SUNDAY = datetime(2026, 11, 22, 23, tzinfo=UTC)


def read(calendar: Calendar, window_id: str, now: datetime = SUNDAY) -> WindowView:
    """The window as it is."""
    with calendar.bench.database.read() as conn:
        return get_window(conn, window_id, now=now)


def change(calendar: Calendar, window_id: str, definition: WindowDefinition) -> WindowView:
    """The window as it is then."""
    with calendar.bench.database.write() as conn:
        return change_window(conn, ORIGIN, window_id, definition, now=SUNDAY)


def last_audit(calendar: Calendar) -> dict[str, Any]:
    """The newest entry of the trail."""
    return calendar.bench.rows("audit_entry", "seq")[-1]


def test_a_window_shows_its_openings_in_both_times(calendar: Calendar) -> None:
    """Five of them, across the end of summer time."""
    window = calendar.window(zone="America/New_York", start="02:30", duration_minutes=60)
    shown = read(calendar, window.id, datetime(2027, 3, 1, tzinfo=UTC))
    assert shown.state == "closed"
    assert [(each.opens.strftime("%m-%d %H:%M"), each.local_opens) for each in shown.openings] == [
        ("03-07 07:30", "2027-03-07T02:30:00-05:00"),
        ("03-14 07:00", "2027-03-14T03:00:00-04:00"),
        ("03-21 06:30", "2027-03-21T02:30:00-04:00"),
        ("03-28 06:30", "2027-03-28T02:30:00-04:00"),
        ("04-04 06:30", "2027-04-04T02:30:00-04:00"),
    ]
    assert shown.openings[1].local_closes == "2027-03-14T04:00:00-04:00"
    assert not shown.enforcement.possible


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (SUNDAY - timedelta(days=3), "not_yet"),
        (SUNDAY, "open"),
        (SUNDAY + timedelta(hours=5), "closed"),
        (SUNDAY + timedelta(days=30), "over"),
    ],
)
def test_the_state_of_a_window(calendar: Calendar, now: datetime, expected: str) -> None:
    """By its validity and by what is open."""
    window = calendar.window(valid_from=SUNDAY - timedelta(days=1), valid_until=SUNDAY + timedelta(days=9))
    assert read(calendar, window.id, now).state == expected


def test_making_one_is_audited_and_changes_the_intent(calendar: Calendar) -> None:
    """For its groups and for no other; each group counts once."""
    calendar.bench.enrol("DEV1")
    group = calendar.group("some", "id-DEV1")
    before = calendar.versions()
    window = calendar.window("w", group, group, reason="quiet hours")
    assert window.group_ids == (group,)
    assert calendar.versions() == before | {group: before[group] + 1}
    entry = last_audit(calendar)
    assert (entry["action"], entry["object_id"], entry["before"]) == (
        "maintenance_window.create",
        window.id,
        None,
    )
    assert entry["after"]["pattern"] == {"type": "weekly", "days": ["sunday"]}
    assert entry["after"]["reason"] == "quiet hours"
    assert "openings" not in entry["after"]


def test_changing_one_tells_old_and_new_groups(calendar: Calendar) -> None:
    """What devices were catching up on is forgotten, and the trail has what differs."""
    calendar.bench.enrol("DEV1")
    one, two = calendar.group("one", "id-DEV1"), calendar.group("two")
    window = calendar.window("w", one, catch_up_hours=12)
    with calendar.bench.database.write() as conn:
        grant_catch_up(conn, 1, SUNDAY + timedelta(hours=4), None)
    assert len(calendar.bench.rows("window_catch_up")) == 1
    before = calendar.versions()
    after = change(calendar, window.id, calendar.define("w", two, catch_up_hours=12))
    assert (after.group_ids, after.created_at) == ((two,), window.created_at)
    assert calendar.versions() == before | {one: before[one] + 1, two: before[two] + 1}
    assert calendar.bench.rows("window_catch_up") == []
    entry = last_audit(calendar)
    assert (entry["action"], entry["before"], entry["after"]) == (
        "maintenance_window.change",
        {"group_ids": [one]},
        {"group_ids": [two]},
    )


def test_changing_nothing_writes_nothing(calendar: Calendar) -> None:
    """Neither the trail nor anybody's intent."""
    window = calendar.window("w", catch_up_hours=1)
    before = calendar.bench.dump()
    change(calendar, window.id, calendar.define("w", catch_up_hours=1))
    assert calendar.bench.dump() == before


def test_deleting_one_frees_its_groups(calendar: Calendar) -> None:
    """Their intent has changed, and the trail has what it was."""
    window = calendar.window("w")
    before = calendar.versions()
    with calendar.bench.database.write() as conn:
        delete_window(conn, ORIGIN, window.id, now=SUNDAY)
    assert calendar.versions()["all-devices"] == before["all-devices"] + 1
    entry = last_audit(calendar)
    assert (entry["action"], entry["before"]["name"], entry["after"]) == (
        "maintenance_window.delete",
        "w",
        None,
    )
    with pytest.raises(NotFound, match="no maintenance window"):
        read(calendar, window.id)
    with calendar.bench.database.write() as conn, pytest.raises(NotFound, match="no maintenance window"):
        delete_window(conn, ORIGIN, window.id, now=SUNDAY)


def test_names_are_taken_once(calendar: Calendar) -> None:
    """When one is made and when one is changed; the other is named."""
    one, two = calendar.window("one"), calendar.window("two")
    with pytest.raises(Conflict) as caught:
        calendar.window("one")
    assert (caught.value.code, caught.value.members) == ("window_exists", {"existing": one.id})
    with pytest.raises(Conflict) as caught:
        change(calendar, two.id, calendar.define("one"))
    assert caught.value.members == {"existing": one.id}


def test_what_is_wrong_or_unknown_makes_none(calendar: Calendar) -> None:
    """An error, and no row."""
    with pytest.raises(NotFound, match="no group 'grp_x'"):
        calendar.window("w", "grp_x")
    with pytest.raises(Invalid):
        calendar.window("w", zone="Nowhere")
    with pytest.raises(NotFound, match="no maintenance window 'win_x'"):
        change(calendar, "win_x", calendar.define())
    window = calendar.window("w")
    with pytest.raises(NotFound, match="no group 'grp_x'"):
        change(calendar, window.id, calendar.define("w", "grp_x"))
    assert [row["name"] for row in calendar.bench.rows("maintenance_window")] == ["w"]


def test_windows_are_listed_by_name(calendar: Calendar) -> None:
    """In pages, each with its groups."""
    group = calendar.group("g")
    for name in ("c", "a", "b"):
        calendar.window(name, group, "all-devices")
    with calendar.bench.database.read() as conn:
        first = list_windows(conn, after=None, limit=2, now=SUNDAY)
        rest = list_windows(conn, after="b", limit=2, now=SUNDAY)
    assert [view.name for view in first] == ["a", "b"]
    assert [(view.name, view.group_ids) for view in rest] == [("c", ("all-devices", group))]


def test_a_group_with_windows_is_not_deleted(calendar: Calendar) -> None:
    """Its devices would get updates at any time, and nobody would know."""
    group = calendar.group("g")
    window = calendar.window("w", group)
    with calendar.bench.database.write() as conn, pytest.raises(Conflict) as caught:
        delete_group(conn, ORIGIN, group, now=SUNDAY)
    assert (caught.value.code, caught.value.members) == ("group_has_windows", {"windows": [window.id]})
    with calendar.bench.database.write() as conn:
        delete_window(conn, ORIGIN, window.id, now=SUNDAY)
        delete_group(conn, ORIGIN, group, now=SUNDAY)
