"""A device's policies as IT reads them: one status and one sentence for each situation."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.policies.merge import Wanted
from mdm.policies.view import ClaimView, PolicyView, device_policies

if TYPE_CHECKING:
    from conftest import Fleet

AUTO = "AllowAutoUpdate"
DEFER = "DeferQualityUpdatesPeriodInDays"
HIGHEST = "AutomaticMaintenanceWakeUp"
APPROVAL = "RequireUpdateApproval"
BUILD: dict[str, Any] = {"os_version": "10.0.26100.1", "os_edition": "Windows 11 Enterprise"}


def views(fleet: Fleet, pk: int = 1, **options: Any) -> dict[str, PolicyView]:
    """The device's policies by name."""
    with fleet.bench.database.read() as connection:
        shown = device_policies(connection, pk, fleet.now, **{"approvals": False, **options})
    return {each.name: each for each in shown.policies}


def test_winner_and_losers_are_named(fleet: Fleet) -> None:
    """With value, profile, rank and group; and what is wrong about all of them together."""
    fleet.add_device(1, "sales")
    fleet.add_profile("prf_1", {AUTO: "1", "ScheduledInstallDay": "2"}, everybody=100)
    fleet.add_profile("prf_2", {AUTO: "2"}, sales=10)
    with fleet.bench.database.read() as connection:
        shown = device_policies(
            connection, 1, fleet.now, approvals=True, below={"ScheduledInstallTime": Wanted("3", "win_1")}
        )
    found = {each.name: each for each in shown.policies}
    assert list(found) == [AUTO, APPROVAL, "ScheduledInstallDay", "ScheduledInstallTime"]
    assert found[AUTO].wanted == ClaimView(2, "prf_2", "Profile prf_2", 10, "sales")
    assert found[AUTO].losers == (ClaimView(1, "prf_1", "Profile prf_1", 100, "all-devices"),)
    assert [each.name for each in shown.policies if each.conflict] == [AUTO]
    assert found[APPROVAL].wanted == ClaimView(1, "approvals", None, None, None)
    assert found["ScheduledInstallTime"].wanted == ClaimView(3, "win_1", None, None, None)
    assert shown.problems == (
        "ScheduledInstallDay has no effect unless AllowAutoUpdate is 3 or 4.",
        "ScheduledInstallTime has no effect unless AllowAutoUpdate is 3 or 4.",
    )
    assert shown.until is None


@pytest.mark.parametrize(
    ("told", "status", "sentence"),
    [
        ([], "waiting", "The device is told in its next session."),
        (
            [("Replace", AUTO, 213, "2")],
            "waiting",
            "The device is told in its next session.",
        ),
        (
            [("Replace", AUTO, 200, "2")],
            "set",
            "The device took the value; whether it is in effect is read in its next session.",
        ),
        ([("Replace", AUTO, 200, "2"), ("Get", AUTO, 200, "02")], "in_force", None),
        ([("Replace", AUTO, 200, "4")], "waiting", "The device is told in its next session."),
        (
            [("Replace", AUTO, 500, "2", "0x80070005")],
            "failed",
            "The device answered 500; it is told again in its next session.",
        ),
        (
            [("Replace", AUTO, 405, "2")],
            "unsupported",
            "The device's Windows does not have this policy: it answered 405.",
        ),
        (
            [("Replace", AUTO, 200, "2"), ("Get", AUTO, 200, "5")],
            "drifted",
            "The device took 2 and shows 5. It is told again in its next session.",
        ),
        (
            [
                ("Replace", AUTO, 200, "2"),
                ("Get", AUTO, 404),
                ("Replace", AUTO, 200, "2"),
                ("Get", AUTO, 404),
            ],
            "drifted",
            (
                "The device took 2 and shows no value. Writing it again has not helped so far (1): another management "
                "server or a local setting seems to win. Of several servers' values Windows takes the lowest value."
            ),
        ),
    ],
)
def test_each_situation_has_a_status_and_a_sentence(
    fleet: Fleet, told: list[tuple[Any, ...]], status: str, sentence: str | None
) -> None:
    """Only what the device has shown is in force."""
    fleet.add_device(1, **BUILD)
    fleet.add_profile("prf_1", {AUTO: "2"}, everybody=1)
    for each in told:
        fleet.hear(1, each)
    view = views(fleet)[AUTO]
    assert (view.status, view.reason_text, view.in_force) == (status, sentence, sentence is None)


def test_what_the_device_said_is_shown_with_its_time(fleet: Fleet) -> None:
    """The HRESULT in words, the value as a number, when it was read."""
    fleet.add_device(1, **BUILD)
    fleet.add_profile("prf_1", {AUTO: "2"}, everybody=1)
    fleet.hear(1, ("Replace", AUTO, 200, "2"))
    answered = fleet.now
    fleet.hear(1, ("Get", AUTO, 200, "5"))
    view = views(fleet)[AUTO]
    assert (view.set_value, view.shown_value, view.read_at, view.drifted_since) == (
        2,
        5,
        fleet.now,
        fleet.now,
    )
    assert (view.status_code, view.error, view.error_text, view.answered_at, view.repairs) == (
        200,
        None,
        None,
        answered,
        0,
    )
    fleet.hear(1, ("Replace", AUTO, 500, "2", "0x80070005"))
    view = views(fleet)[AUTO]
    assert (view.status_code, view.error) == (500, "0x80070005")
    assert view.error_text == "Access to a file or registry key was denied."


def test_what_was_told_and_not_answered_says_so(sqlite_fleet: Fleet) -> None:
    """It may be on the device or not."""
    sqlite_fleet.add_device(1)
    sqlite_fleet.add_profile("prf_1", {AUTO: "2"}, everybody=1)
    sqlite_fleet.bench.add(
        "device_policy", device_pk=1, name=AUTO, status="sent", source="prf_1", at=sqlite_fleet.now
    )
    view = views(sqlite_fleet)[AUTO]
    assert (view.status, view.set_source, view.answered_at) == ("sent", "prf_1", None)
    assert (
        view.reason_text == "The device was told and has not answered; it is told again in its next session."
    )


def test_drift_that_is_to_be_reported_says_so(sqlite_fleet: Fleet) -> None:
    """Nobody will repair it."""
    sqlite_fleet.add_device(1)
    sqlite_fleet.add_profile("prf_1", {AUTO: "2"}, drift="report", everybody=1)
    sqlite_fleet.hear(1, ("Replace", AUTO, 200, "2"), ("Get", AUTO, 200, "5"))
    assert views(sqlite_fleet)[AUTO].reason_text == (
        "The device took 2 and shows 5. Its profile says to report that, and not to repair it."
    )


def test_a_policy_whose_merging_nobody_documents_has_no_sentence_about_it(sqlite_fleet: Fleet) -> None:
    """AlwaysAutoRebootAtScheduledTimeMinutes is in no DDF."""
    name = "AlwaysAutoRebootAtScheduledTimeMinutes"
    sqlite_fleet.add_device(1)
    sqlite_fleet.add_profile("prf_1", {name: "15", HIGHEST: "1"}, everybody=1)
    for _ in range(2):
        sqlite_fleet.hear(1, ("Replace", name, 200, "15"), ("Replace", HIGHEST, 200, "1"))
        sqlite_fleet.hear(1, ("Get", name, 200, "30"), ("Get", HIGHEST, 200, "0"))
    found = views(sqlite_fleet)
    assert str(found[name].reason_text).endswith("seems to win.")
    assert str(found[HIGHEST].reason_text).endswith("takes the highest value.")


def test_another_device_of_the_build_speaks_for_it(fleet: Fleet) -> None:
    """It was not asked, and the sentence says why."""
    fleet.add_profile("prf_1", {AUTO: "2"}, everybody=1)
    fleet.add_device(1, **BUILD)
    fleet.add_device(2, **BUILD)
    fleet.hear(1, ("Replace", AUTO, 404, "2"))
    view = views(fleet, 2)[AUTO]
    assert view.status == "unsupported"
    assert str(view.reason_text).startswith("Another device with the same build and edition of Windows")


def test_what_nobody_wants_any_more_is_on_its_way_out(fleet: Fleet) -> None:
    """Until the device has confirmed that; a refusal is told."""
    fleet.add_device(1, **BUILD)
    fleet.hear(1, ("Replace", AUTO, 200, "2"), ("Replace", DEFER, 405))
    found = views(fleet)
    assert list(found) == [AUTO]
    assert (found[AUTO].status, found[AUTO].wanted, found[AUTO].set_value) == ("resetting", None, 2)
    assert found[AUTO].reason_text == (
        "Nobody wants a value any more; the device is told to reset it in its next session."
    )
    fleet.hear(1, ("Delete", AUTO, 500))
    assert str(views(fleet)[AUTO].reason_text).endswith("It answered 500 last.")
    fleet.hear(1, ("Delete", AUTO, 200))
    assert views(fleet) == {}


def test_a_policy_that_is_left_alone_is_not_shown(sqlite_fleet: Fleet) -> None:
    """With approvals unmanaged, RequireUpdateApproval is nobody's business."""
    sqlite_fleet.add_device(1)
    sqlite_fleet.hear(1, ("Replace", APPROVAL, 200, "1"))
    assert views(sqlite_fleet, approvals=None) == {}
    assert list(views(sqlite_fleet)) == [APPROVAL]
    sqlite_fleet.add_profile("prf_1", {APPROVAL: "1"}, everybody=1)
    assert list(views(sqlite_fleet, approvals=None)) == [APPROVAL]


def test_an_upgrade_makes_an_unsupported_policy_wait_again(sqlite_fleet: Fleet) -> None:
    """The next session asks."""
    sqlite_fleet.add_device(1, **BUILD)
    sqlite_fleet.add_profile("prf_1", {AUTO: "2"}, everybody=1)
    sqlite_fleet.hear(1, ("Replace", AUTO, 405, "2"))
    sqlite_fleet.run("UPDATE device SET os_version = '10.0.26200.1'")
    assert views(sqlite_fleet)[AUTO].status == "waiting"
    sqlite_fleet.now += timedelta(days=1)
