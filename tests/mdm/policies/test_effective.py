"""What a device should have of policies, and what of that needs no command."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from mdm.policies.effective import DesiredPolicies, desired_policies
from mdm.policies.merge import Wanted

if TYPE_CHECKING:
    from conftest import Fleet

AUTO = "AllowAutoUpdate"
DEFER = "DeferQualityUpdatesPeriodInDays"
APPROVAL = "RequireUpdateApproval"
BUILD: dict[str, Any] = {"os_version": "10.0.26100.1", "os_edition": "Windows 11 Enterprise"}
DAY = timedelta(days=1)


def wanted(fleet: Fleet, pk: int = 1, **options: Any) -> DesiredPolicies:
    """What the device should have now."""
    with fleet.bench.database.read() as connection:
        return desired_policies(connection, pk, fleet.now, **{"approvals": False, **options})


def values(desired: DesiredPolicies) -> dict[str, str]:
    """The values alone."""
    return {name: each.value for name, each in desired.values.items()}


def test_profiles_come_through_groups(fleet: Fleet) -> None:
    """Of its own groups and of the one of all devices, by rank; other groups do not count."""
    fleet.add_device(1, "sales")
    fleet.add_device(2, "other")
    fleet.add_profile("prf_1", {AUTO: "1", DEFER: "9"}, everybody=100)
    fleet.add_profile("prf_2", {AUTO: "2"}, sales=10)
    assert wanted(fleet).values == {AUTO: Wanted("2", "prf_2"), DEFER: Wanted("9", "prf_1")}
    assert values(wanted(fleet, 2)) == {AUTO: "1", DEFER: "9"}
    assert wanted(fleet) == DesiredPolicies(wanted(fleet).values, frozenset(), {}, frozenset(), None)


def test_a_device_without_profiles_costs_two_reads(sqlite_fleet: Fleet) -> None:
    """Nothing is asked of its build; with a profile whose policy it has not taken, that is the third."""
    sqlite_fleet.add_device(1)
    statements: list[str] = []
    with sqlite_fleet.bench.database.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *args: statements.append(args[2]))
        desired_policies(connection, 1, sqlite_fleet.now, approvals=False)
    assert len(statements) == 2
    sqlite_fleet.add_profile("prf_1", {AUTO: "2"}, everybody=1)
    with sqlite_fleet.bench.database.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *args: statements.append(args[2]))
        desired_policies(connection, 1, sqlite_fleet.now, approvals=False)
    assert len(statements) == 5


def test_what_the_device_took_stands_until_it_is_no_longer_wanted(fleet: Fleet) -> None:
    """Set: nothing to do. Unassigned: what we set goes, and only that."""
    fleet.add_device(1, "sales", **BUILD)
    fleet.add_profile("prf_1", {AUTO: "2"}, sales=1)
    fleet.hear(1, ("Replace", AUTO, 200, "2"), ("Get", AUTO, 200, "2"))
    desired = wanted(fleet)
    assert (desired.reported, desired.remove, desired.until) == ({AUTO: "2"}, frozenset(), None)
    fleet.unassign()
    desired = wanted(fleet)
    assert (desired.values, desired.remove) == ({}, {AUTO})
    fleet.hear(1, ("Delete", AUTO, 404))
    assert wanted(fleet).remove == set()


def test_a_removal_that_failed_is_tried_again_but_not_one_that_cannot_be(fleet: Fleet) -> None:
    """500 is tried in the next session; 405 in a month."""
    fleet.add_device(1, **BUILD)
    fleet.hear(1, ("Replace", AUTO, 200, "2"), ("Replace", DEFER, 200, "3"))
    fleet.hear(1, ("Delete", AUTO, 500), ("Delete", DEFER, 405))
    desired = wanted(fleet)
    assert desired.remove == {AUTO}
    assert desired.until is not None
    fleet.now = desired.until
    assert wanted(fleet).remove == {AUTO, DEFER}


def test_approvals_need_their_policy_and_take_it_along(fleet: Fleet) -> None:
    """With approvals it wins over profiles; without any it is reset if we set it; unmanaged it is left alone."""
    fleet.add_device(1, "sales", **BUILD)
    fleet.add_profile("prf_1", {APPROVAL: "0"}, sales=1)
    assert wanted(fleet, approvals=True).values == {APPROVAL: Wanted("1", "approvals")}
    assert values(wanted(fleet, approvals=False)) == {APPROVAL: "0"}
    fleet.unassign()
    assert wanted(fleet, approvals=False).remove == set()
    fleet.hear(1, ("Replace", APPROVAL, 200, "1"))
    assert wanted(fleet, approvals=True).remove == set()
    assert wanted(fleet, approvals=False).remove == {APPROVAL}
    assert wanted(fleet, approvals=None).remove == set()


def test_overlays_stand_above_and_below(fleet: Fleet) -> None:
    """A rollback's pause wins over all but approvals' own; a window's schedule fills gaps."""
    fleet.add_device(1, "sales")
    fleet.add_profile("prf_1", {AUTO: "2"}, sales=1)
    desired = wanted(
        fleet,
        approvals=True,
        above={APPROVAL: Wanted("0", "rbk_1"), DEFER: Wanted("0", "rbk_1")},
        below={AUTO: Wanted("3", "win_1"), "ScheduledInstallTime": Wanted("4", "win_1")},
    )
    assert desired.values == {
        APPROVAL: Wanted("1", "approvals"),
        DEFER: Wanted("0", "rbk_1"),
        AUTO: Wanted("2", "prf_1"),
        "ScheduledInstallTime": Wanted("4", "win_1"),
    }


def test_drift_is_repaired_or_reported_as_the_profile_says(fleet: Fleet) -> None:
    """Report leaves it; repair writes at once, then daily."""
    fleet.add_device(1, "sales", "kiosks", **BUILD)
    fleet.add_profile("prf_1", {AUTO: "2"}, drift="report", sales=1)
    fleet.add_profile("prf_2", {DEFER: "3"}, kiosks=1)
    for name, value in ((AUTO, "2"), (DEFER, "3")):
        fleet.hear(1, ("Replace", name, 200, value), ("Get", name, 200, "0"))
    assert wanted(fleet).reported == {AUTO: "2"}
    fleet.hear(1, ("Replace", DEFER, 200, "3"), ("Get", DEFER, 200, "0"))
    desired = wanted(fleet)
    assert desired.reported == {AUTO: "2", DEFER: "3"}
    assert desired.until == fleet.now + DAY
    fleet.now = desired.until
    assert wanted(fleet).reported == {AUTO: "2"}


def test_what_is_not_read_back_is_written_daily(fleet: Fleet) -> None:
    """A device whose Policy/Result cannot be read."""
    fleet.add_device(1, "sales", **BUILD)
    fleet.add_profile("prf_1", {AUTO: "2"}, sales=1)
    fleet.hear(1, ("Replace", AUTO, 200, "2"), ("Get", AUTO, 405))
    until: datetime | None = wanted(fleet).until
    assert wanted(fleet).reported == {AUTO: "2"}
    assert until == fleet.now + DAY
    fleet.now = until
    assert wanted(fleet).reported == {}


def test_what_a_build_lacks_is_not_asked_of_its_other_devices(fleet: Fleet) -> None:
    """Remembered for the build and edition for a month; other builds and editions are asked."""
    fleet.add_profile("prf_1", {AUTO: "2", DEFER: "3"}, everybody=1)
    fleet.add_device(1, **BUILD)
    fleet.add_device(2, **BUILD)
    fleet.add_device(3, **BUILD | {"os_version": "10.0.26100.2"})
    fleet.add_device(4, **BUILD | {"os_edition": None})
    fleet.add_device(5)
    fleet.hear(1, ("Replace", DEFER, 405), ("Replace", AUTO, 200, "2"))
    for pk, lacking in ((1, {DEFER}), (2, {DEFER}), (3, set()), (4, set()), (5, set())):
        assert wanted(fleet, pk).unsupported == lacking, pk
    until = wanted(fleet, 2).until
    assert until == fleet.now + 30 * DAY
    # an upgrade forgets it at once
    fleet.run("UPDATE device SET os_version = '10.0.26100.2' WHERE pk = 1")
    assert wanted(fleet, 1).unsupported == set()
    fleet.now = until
    assert wanted(fleet, 2).unsupported == set()


def test_one_odd_device_does_not_speak_for_its_build(fleet: Fleet) -> None:
    """Once any device of a build has taken a policy, another's refusal is its own."""
    fleet.add_profile("prf_1", {AUTO: "2"}, everybody=1)
    for pk in (1, 2, 3):
        fleet.add_device(pk, **BUILD)
    fleet.hear(1, ("Replace", AUTO, 200, "2"))
    fleet.hear(2, ("Replace", AUTO, 404))
    assert wanted(fleet, 2).unsupported == {AUTO}
    assert wanted(fleet, 3).unsupported == set()


def test_approvals_do_not_hang_on_what_another_device_said(fleet: Fleet) -> None:
    """RequireUpdateApproval is asked of each device: one that lacks it must not switch off the others' approvals."""
    for pk in (1, 2):
        fleet.add_device(pk, **BUILD)
    fleet.hear(1, ("Replace", APPROVAL, 405, "1"))
    assert wanted(fleet, 1, approvals=True).unsupported == {APPROVAL}
    assert wanted(fleet, 2, approvals=True).unsupported == set()


def test_the_other_way_round_a_success_corrects_the_memory(fleet: Fleet) -> None:
    """A device that was asked before the first refusal takes it after all."""
    fleet.add_profile("prf_1", {AUTO: "2"}, everybody=1)
    for pk in (1, 2, 3):
        fleet.add_device(pk, **BUILD)
    fleet.hear(1, ("Replace", AUTO, 406))
    assert wanted(fleet, 3).unsupported == {AUTO}
    fleet.hear(2, ("Replace", AUTO, 200, "2"))
    assert wanted(fleet, 3).unsupported == set()
    assert wanted(fleet, 2).unsupported == set()


def test_a_device_of_unknown_build_remembers_for_itself(fleet: Fleet) -> None:
    """It has nobody to share with."""
    fleet.add_profile("prf_1", {AUTO: "2"}, everybody=1)
    fleet.add_device(1)
    fleet.add_device(2)
    fleet.hear(1, ("Replace", AUTO, 405))
    assert fleet.bench.rows("policy_support") == []
    assert wanted(fleet, 1).unsupported == {AUTO}
    assert wanted(fleet, 2).unsupported == set()
    fleet.now += 30 * DAY
    assert wanted(fleet, 1).unsupported == set()


def test_a_policy_of_a_newer_release_is_left_alone(fleet: Fleet) -> None:
    """It cannot be named, so it cannot be reset."""
    fleet.add_device(1)
    fleet.bench.add(
        "device_policy",
        device_pk=1,
        name="NotYetKnown",
        status="set",
        value="1",
        status_code=200,
        at=fleet.now,
    )
    assert wanted(fleet).remove == set()


def test_the_end_of_a_pause_is_told(fleet: Fleet) -> None:
    """So that the planner comes back at that moment, and the pause is reset then."""
    fleet.add_device(1, "sales", **BUILD)
    fleet.add_profile("prf_1", {"PauseQualityUpdatesStartTime": "2026-11-20"}, sales=1)
    name = "PauseQualityUpdatesStartTime"
    fleet.hear(1, ("Replace", name, 200, "2026-11-20"), ("Get", name, 200, "2026-11-20"))
    until = wanted(fleet).until
    assert until is not None
    assert until.date().isoformat() == "2026-12-25"
    fleet.now = until
    assert wanted(fleet).remove == {name}
