"""A preview says what a change would come to, writes nothing, and agrees with what then happens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from csp.policy import POLICIES
from mdm.errors import Invalid, NotFound
from mdm.policies.consequences import irreversible
from mdm.policies.effective import desired_policies
from mdm.policies.preview import (
    Change,
    ConflictView,
    Preview,
    ProblemView,
    UnsupportedView,
    imagine,
    preview_profile,
)
from mdm.policies.view import ClaimView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Fleet

AUTO = "AllowAutoUpdate"
DEFER = "DeferQualityUpdatesPeriodInDays"
BUILD: dict[str, Any] = {"os_version": "10.0.26100.1", "os_edition": "Windows 11 Enterprise"}


def preview(
    fleet: Fleet,
    profile_id: str | None = None,
    settings: dict[str, int | str] | None = None,
    ranks: Sequence[tuple[str, int]] | None = None,
) -> Preview:
    """What the change would come to."""
    with fleet.bench.database.read() as connection:
        imagined = imagine(connection, profile_id, settings=settings, ranks=ranks)
        return preview_profile(connection, imagined, fleet.now)


def three_devices(fleet: Fleet) -> None:
    """Two in sales, one of them also a kiosk, and one in neither."""
    fleet.add_device(1, "sales", **BUILD)
    fleet.add_device(2, "sales", "kiosks", **BUILD)
    fleet.add_device(3, os_version="10.0.19045.1")


def test_a_new_profile_for_a_group(fleet: Fleet) -> None:
    """Its members get its values; nothing is stored."""
    three_devices(fleet)
    before = fleet.bench.dump()
    shown = preview(fleet, settings={AUTO: 2, DEFER: 3}, ranks=[("sales", 5)])
    assert fleet.bench.dump() == before
    new = {name: ClaimView(value, "new", "new", 5, "sales") for name, value in ((AUTO, 2), (DEFER, 3))}
    assert shown == Preview(
        devices=2,
        devices_affected=2,
        changes=(Change(AUTO, None, new[AUTO], 2), Change(DEFER, None, new[DEFER], 2)),
        conflicts=(),
        problems=(),
        cannot_be_undone={DEFER: "What is installed meanwhile stays when the value is changed back."},
        unsupported=(),
        as_of=fleet.now,
    )


def test_winners_that_change_are_counted_by_what_they_change(fleet: Fleet) -> None:
    """A device on which another profile wins keeps its value."""
    three_devices(fleet)
    fleet.add_profile("prf_1", {AUTO: "1"}, sales=10)
    fleet.add_profile("prf_2", {AUTO: "4"}, kiosks=1)
    shown = preview(fleet, "prf_1", {AUTO: 2})
    old, new = (ClaimView(value, "prf_1", "Profile prf_1", 10, "sales") for value in (1, 2))
    assert (shown.devices, shown.devices_affected) == (2, 1)
    assert shown.changes == (Change(AUTO, old, new, 1),)
    winner = ClaimView(4, "prf_2", "Profile prf_2", 1, "kiosks")
    assert shown.conflicts == (ConflictView(AUTO, winner, (new,), tied=False, devices=1),)


def test_taking_a_profile_back_shows_what_is_reset(fleet: Fleet) -> None:
    """None wins after it, or another profile."""
    three_devices(fleet)
    fleet.add_profile("prf_1", {AUTO: "1"}, sales=10)
    fleet.add_profile("prf_2", {AUTO: "4"}, kiosks=99)
    shown = preview(fleet, "prf_1", ranks=[])
    old = ClaimView(1, "prf_1", "Profile prf_1", 10, "sales")
    kiosk = ClaimView(4, "prf_2", "Profile prf_2", 99, "kiosks")
    assert (shown.devices, shown.devices_affected) == (2, 2)
    assert set(shown.changes) == {Change(AUTO, old, None, 1), Change(AUTO, old, kiosk, 1)}


def test_a_profile_for_everybody_counts_everybody(fleet: Fleet) -> None:
    """With devices that are in no group at all; a tie is told."""
    three_devices(fleet)
    fleet.add_profile("prf_1", {AUTO: "1"}, sales=10)
    shown = preview(fleet, settings={AUTO: 2}, ranks=[("all-devices", 10)])
    assert (shown.devices, shown.devices_affected) == (3, 3)
    assert [(change.devices, change.after and change.after.value) for change in shown.changes] == [
        (2, 2),
        (1, 2),
    ]
    (conflict,) = shown.conflicts
    assert (conflict.tied, conflict.devices) == (True, 2)


def test_values_that_do_not_go_together_on_a_device_are_told(fleet: Fleet) -> None:
    """Each profile is right alone."""
    three_devices(fleet)
    fleet.add_profile("prf_1", {AUTO: "3", "ScheduledInstallDay": "1"}, sales=10)
    shown = preview(fleet, settings={AUTO: 2}, ranks=[("kiosks", 1)])
    assert shown.problems == (
        ProblemView("ScheduledInstallDay has no effect unless AllowAutoUpdate is 3 or 4.", 1),
    )


def test_builds_that_lack_a_policy_are_named(fleet: Fleet) -> None:
    """Of the groups concerned, as far as a device of that build has said so."""
    three_devices(fleet)
    fleet.add_device(4, **BUILD)
    fleet.hear(1, ("Replace", DEFER, 405, "3"))
    settings: dict[str, int | str] = {AUTO: 2, DEFER: 3}
    expected = UnsupportedView(DEFER, "10.0.26100.1", "Windows 11 Enterprise", 2, answered=True)
    assert preview(fleet, settings=settings, ranks=[("sales", 5)]).unsupported == (expected,)
    (everybody,) = preview(fleet, settings=settings, ranks=[("all-devices", 5)]).unsupported
    assert everybody.devices == 3
    assert preview(fleet, settings={AUTO: 2}, ranks=[("sales", 5)]).unsupported == ()


def test_a_policy_that_came_with_a_later_windows_is_named(fleet: Fleet) -> None:
    """As Microsoft describes it, until a device says otherwise; a build that cannot be read is left out."""
    name = "AllowOptionalContent"
    for pk, build in enumerate(("10.0.19044.1", "10.0.19044.3757", "10.0.26100.1", "beta", None), 1):
        fleet.add_device(pk, "sales", os_version=build)
    shown = preview(fleet, settings={name: 1}, ranks=[("sales", 5)])
    assert shown.unsupported == (UnsupportedView(name, "10.0.19044.1", "", 1, answered=False),)
    fleet.hear(1, ("Replace", name, 200, "1"))
    assert preview(fleet, settings={name: 1}, ranks=[("sales", 5)]).unsupported == ()
    fleet.hear(2, ("Replace", name, 405, "1"))
    (view,) = preview(fleet, settings={name: 1}, ranks=[("sales", 5)]).unsupported
    assert (view.build, view.answered) == ("10.0.19044.3757", True)
    fleet.now += timedelta(days=31)
    assert preview(fleet, settings={name: 1}, ranks=[("sales", 5)]).unsupported == ()


def test_the_preview_agrees_with_what_happens(fleet: Fleet) -> None:
    """For each device the values after the change are those the preview counted."""
    three_devices(fleet)
    fleet.add_profile("prf_1", {AUTO: "1", DEFER: "1"}, sales=10)
    fleet.add_profile("prf_2", {AUTO: "4"}, kiosks=1)
    shown = preview(fleet, "prf_1", {AUTO: 2}, [("all-devices", 3)])
    before, after = {}, {}
    with fleet.bench.database.write() as connection:
        for pk in (1, 2, 3):
            before[pk] = desired_policies(connection, pk, fleet.now, approvals=False).values
        connection.exec_driver_sql("DELETE FROM policy_assignment WHERE profile_id = 'prf_1'")
        connection.exec_driver_sql("DELETE FROM policy_profile WHERE id = 'prf_1'")
    fleet.add_profile("prf_1", {AUTO: "2"}, everybody=3)
    counted: dict[tuple[str, str | None, str | None], int] = {}
    with fleet.bench.database.read() as connection:
        for pk in (1, 2, 3):
            after[pk] = desired_policies(connection, pk, fleet.now, approvals=False).values
            for name in before[pk].keys() | after[pk].keys():
                change = tuple(each[pk][name].value if name in each[pk] else None for each in (before, after))
                if change[0] != change[1]:
                    key = (name, *change)
                    counted[key] = counted.get(key, 0) + 1
    assert counted == {
        (
            change.name,
            None if change.before is None else str(change.before.value),
            None if change.after is None else str(change.after.value),
        ): change.devices
        for change in shown.changes
    }
    assert shown.devices_affected == 3


def test_an_unassigned_profile_keeps_its_settings_in_a_preview(sqlite_fleet: Fleet) -> None:
    """Only the groups are thought of."""
    three_devices(sqlite_fleet)
    sqlite_fleet.add_profile("prf_1", {AUTO: "1"})
    shown = preview(sqlite_fleet, "prf_1", ranks=[("kiosks", 3)])
    assert [(change.name, change.devices) for change in shown.changes] == [(AUTO, 1)]
    assert preview(sqlite_fleet, "prf_1").devices == 0
    assert preview(sqlite_fleet).changes == ()


def test_what_cannot_be_imagined_is_named(sqlite_fleet: Fleet) -> None:
    """Wrong values, unknown groups, one group twice, no such profile."""
    sqlite_fleet.add_group("sales")
    for settings, ranks, pointer, code in (
        ({AUTO: 9}, None, f"/settings/{AUTO}", "invalid_value"),
        (None, [("grp_x", 1)], "/assignments/0/group_id", "unknown_group"),
        (None, [("sales", 1), ("sales", 2)], "/assignments/1/group_id", "repeated"),
    ):
        with pytest.raises(Invalid) as refused:
            preview(sqlite_fleet, None, settings, ranks)
        assert [(each.pointer, each.code) for each in refused.value.errors] == [(pointer, code)]
    with pytest.raises(NotFound) as missing:
        preview(sqlite_fleet, "prf_x")
    assert missing.value.code == "profile_not_found"


def test_every_consequence_is_of_a_policy_there_is() -> None:
    """By name, a sentence each, and none for what leaves no trace."""
    found = irreversible(POLICIES)
    assert list(found) == sorted(found)
    assert found.keys() < POLICIES.keys()
    assert all(text.endswith(".") for text in found.values())
    assert irreversible(["ActiveHoursStart", "Unknown"]) == {}
