"""What check-ins write down of policies, statement by statement and over whole sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.policies.merge import Wanted
from mdm.policies.state import due_queries, note_sent
from syncml.client import Outcome
from syncml.exchange import Request

if TYPE_CHECKING:
    from conftest import Bench, Fleet

AUTO = "AllowAutoUpdate"
DEFER = "DeferQualityUpdatesPeriodInDays"
APPROVAL = "RequireUpdateApproval"
CONFIG = "./Device/Vendor/MSFT/Policy/Config/Update/"
RESULT = "./Device/Vendor/MSFT/Policy/Result/Update/"
DAY = timedelta(days=1)


def row(bench: Bench, name: str = AUTO) -> dict[str, Any]:
    """The row of one policy."""
    (found,) = [each for each in bench.rows("device_policy") if each["name"] == name]
    return found


def test_a_refused_policy_keeps_its_error_until_it_is_set(fleet: Fleet) -> None:
    """The HRESULT behind a refusal stays with the policy, and a success clears it; its value outlasts a refusal."""
    fleet.add_device(1)
    for told, expected in (
        (("Replace", AUTO, 500, "1", "0x80070005"), ("failed", None, 500, "0x80070005")),
        (("Replace", AUTO, 405, "1", "0x86000011"), ("unsupported", None, 405, "0x86000011")),
        (("Replace", AUTO, 500, "1", "x" * 300), ("failed", None, 500, "x" * 256)),
        (("Replace", AUTO, 425, "1"), ("failed", None, 425, None)),
        (("Replace", AUTO, 500, "1", "0x80070005"), ("failed", None, 500, "0x80070005")),
        (("Replace", AUTO, None, "1"), ("failed", None, 500, "0x80070005")),
        (("Replace", AUTO, 401, "1"), ("failed", None, 500, "0x80070005")),
        (("Replace", AUTO, 200, "1", "0x00000000"), ("set", "1", 200, None)),
        (("Replace", AUTO, 500, "2"), ("failed", "1", 500, None)),
    ):
        fleet.hear(1, told)
        found = row(fleet.bench)
        assert (found["status"], found["value"], found["status_code"], found["error"]) == expected


def test_answers_about_other_things_change_nothing(sqlite_fleet: Fleet) -> None:
    """And cost nothing."""
    sqlite_fleet.add_device(1)
    assert not sqlite_fleet.hear(1, ("Replace", "NotAPolicy", 200, "1"), ("Get", AUTO, None))
    assert not sqlite_fleet.hear(1)
    assert sqlite_fleet.bench.rows("device_policy") == []


def test_a_new_plan_is_due_only_if_something_changed(fleet: Fleet) -> None:
    """A daily reading that finds what was found before leaves the plan as it is."""
    fleet.add_device(1, plan_key="x")
    for told, changed in (
        (("Replace", AUTO, 200, "2"), True),
        (("Get", AUTO, 200, "2"), True),
        (("Get", AUTO, 200, "2"), False),
        (("Get", AUTO, 200, "02"), False),
        (("Get", AUTO, 200, "4"), True),
        (("Get", AUTO, 200, "4"), False),
        (("Delete", AUTO, 200), True),
        (("Delete", AUTO, 404), False),
    ):
        fleet.run("UPDATE device SET plan_key = 'x'")
        assert fleet.hear(1, told) is changed, told
        (device,) = fleet.bench.rows("device")
        assert device["plan_key"] == (None if changed else "x")


def test_drift_is_told_once_on_the_timeline(fleet: Fleet) -> None:
    """When it begins; not while it lasts, and again after it was gone."""
    fleet.add_device(1)
    fleet.hear(1, ("Replace", AUTO, 200, "2"), ("Get", AUTO, 200, "4"))
    fleet.hear(1, ("Get", AUTO, 200, "5"))
    fleet.hear(1, ("Replace", AUTO, 200, "2"))
    fleet.hear(1, ("Get", AUTO, 200, "2"))
    fleet.hear(1, ("Get", AUTO, 404))
    events = [(each["kind"], each["detail"]) for each in fleet.bench.rows("device_event", "seq")]
    assert events == [
        ("policy_drift", {"name": AUTO, "set": "2", "shown": "4"}),
        ("policy_drift", {"name": AUTO, "set": "2", "shown": None}),
    ]


def test_what_is_due_is_asked_and_nothing_else(fleet: Fleet) -> None:
    """After a write, then daily; not what the device did not take, nor what this release cannot name."""
    fleet.add_device(1)

    def due() -> list[str]:
        (device,) = fleet.bench.rows("device")
        with fleet.bench.database.read() as connection:
            return [request.loc_uri for request in due_queries(connection, Row(device), fleet.now)]

    assert due() == []
    fleet.hear(1, ("Replace", DEFER, 200, "2"), ("Replace", AUTO, 200, "2"), ("Replace", APPROVAL, 500, "1"))
    assert due() == [RESULT + AUTO, RESULT + DEFER]
    fleet.hear(1, ("Get", DEFER, 200, "2"))
    assert due() == [RESULT + AUTO, RESULT + DEFER]
    fleet.hear(1, ("Get", AUTO, 405))
    assert due() == []
    fleet.now += DAY
    assert due() == [RESULT + AUTO, RESULT + DEFER]
    fleet.run("UPDATE device_policy SET name = 'NotYetKnown' WHERE name = 'AllowAutoUpdate'")
    assert due() == [RESULT + DEFER]
    fleet.hear(1, ("Delete", DEFER, 200))
    fleet.run("DELETE FROM device_policy")
    fleet.hear(1, ("Delete", DEFER, 200))
    (device,) = fleet.bench.rows("device")
    assert device["policies_due_at"] is None


class Row:
    """A row of `device`, as SQLAlchemy gives it."""

    def __init__(self, values: dict[str, Any]) -> None:
        """With these columns."""
        self.__dict__.update(values)


def test_what_goes_out_is_kept_before_it_is_answered(fleet: Fleet) -> None:
    """With whom it comes from; an earlier value stays known, and Deletes and Gets leave no trace."""
    fleet.add_device(1)
    fleet.hear(1, ("Replace", AUTO, 200, "2"))
    requests = (
        Request("Replace", CONFIG + AUTO, data="3"),
        Request("Replace", CONFIG + DEFER, data="4"),
        Request("Replace", "./Vendor/MSFT/DMClient/Provider/X/SyncApplicationVersion", data="3.0"),
        Request("Delete", CONFIG + APPROVAL),
        Request("Get", RESULT + AUTO),
    )
    values = {AUTO: Wanted("3", "prf_1"), DEFER: Wanted("4", "prf_2")}
    with fleet.bench.database.write() as connection:
        note_sent(connection, 1, requests, values, fleet.now)
        note_sent(connection, 1, (), values, fleet.now)
    found = [
        (each["name"], each["status"], each["value"], each["source"])
        for each in fleet.bench.rows("device_policy", "name")
    ]
    assert found == [(AUTO, "sent", "2", "prf_1"), (DEFER, "sent", None, "prf_2")]


# --- whole sessions -------------------------------------------------------------------------------------


def profile(bench: Bench, settings: dict[str, str], drift: str = "repair") -> None:
    """A profile for all devices."""
    bench.add(
        "policy_profile",
        id="prf_1",
        name="Profile",
        settings=settings,
        drift=drift,
        created_at=bench.now,
        changed_at=bench.now,
    )
    bench.add("policy_assignment", profile_id="prf_1", group_id="all-devices", rank=1)
    touched(bench)


def touched(bench: Bench) -> None:
    """What a write through the API does: devices are planned for anew."""
    with bench.database.write() as connection:
        connection.exec_driver_sql("UPDATE device_group SET intent_version = intent_version + 1")


def unassign(bench: Bench) -> None:
    """The profile is for nobody any more."""
    with bench.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM policy_assignment")
    touched(bench)


def about_policies(asked: list[str]) -> list[str]:
    """The commands of a session that are about policies."""
    found = [each for each in asked if "/Policy/" in each]
    asked.clear()
    return found


def test_assigned_set_read_back_drifted_repaired_unassigned_reset(bench: Bench) -> None:
    """The life of a policy; a session without news has no command about it."""
    device = bench.enrol()
    device.policies["ScheduledInstallTime"] = "5"
    profile(bench, {AUTO: "3", DEFER: "4"})
    device.check_in()
    assert about_policies(device.asked) == [f"Replace {CONFIG}{AUTO}", f"Replace {CONFIG}{DEFER}"]
    assert (row(bench)["status"], row(bench)["value"], row(bench)["source"]) == ("set", "3", "prf_1")
    device.check_in()
    assert about_policies(device.asked) == [f"Get {RESULT}{AUTO}", f"Get {RESULT}{DEFER}"]
    device.check_in()
    assert about_policies(device.asked) == []
    # somebody changes it there
    device.policies[AUTO] = "5"
    bench.now += DAY
    device.check_in()
    assert about_policies(device.asked) == [
        f"Get {RESULT}{AUTO}",
        f"Get {RESULT}{DEFER}",
        f"Replace {CONFIG}{AUTO}",
    ]
    device.check_in()
    assert about_policies(device.asked) == [f"Get {RESULT}{AUTO}", f"Get {RESULT}{DEFER}"]
    assert (row(bench)["drifted_at"], row(bench)["repairs"]) == (None, 0)
    unassign(bench)
    device.check_in()
    assert about_policies(device.asked) == [f"Delete {CONFIG}{AUTO}", f"Delete {CONFIG}{DEFER}"]
    assert device.policies == {"ScheduledInstallTime": "5"}
    assert bench.rows("device_policy") == []
    device.check_in()
    assert about_policies(device.asked) == []


def test_drift_that_is_only_reported_stays(sqlite_bench: Bench) -> None:
    """It is read daily and never written."""
    device = sqlite_bench.enrol()
    profile(sqlite_bench, {AUTO: "3"}, drift="report")
    device.check_in()
    device.policies[AUTO] = "5"
    for _ in range(3):
        device.asked.clear()
        device.check_in()
        assert about_policies(device.asked) == [f"Get {RESULT}{AUTO}"]
        sqlite_bench.now += DAY
    assert row(sqlite_bench)["drifted_at"] is not None


def test_a_setting_that_another_server_wins_is_not_fought_over_in_each_session(sqlite_bench: Bench) -> None:
    """One repair a day."""
    device = sqlite_bench.enrol()
    device.answers[RESULT + AUTO] = Outcome(404)
    profile(sqlite_bench, {AUTO: "3"})
    for _ in range(6):
        device.check_in()
    assert device.asked.count(f"Replace {CONFIG}{AUTO}") == 2
    assert row(sqlite_bench)["repairs"] == 1
    sqlite_bench.now += DAY
    for _ in range(6):
        device.check_in()
    assert device.asked.count(f"Replace {CONFIG}{AUTO}") == 3


def test_a_value_whose_answer_was_lost_is_reset_when_nobody_wants_it(bench: Bench) -> None:
    """The device may have carried it out: a Delete goes, and its 404 would be fine too."""
    device = bench.enrol()
    profile(bench, {AUTO: "3"})
    message, state = device.begin("1")
    turn = device.say(message, state)
    message, state = device.answer(turn)
    turn = device.say(message, state)
    device.answer(turn)  # carried out, and never posted
    assert device.policies == {AUTO: "3"}
    assert (row(bench)["status"], row(bench)["value"]) == ("sent", None)
    unassign(bench)
    device.asked.clear()
    device.sessions = 1
    device.check_in()
    assert about_policies(device.asked) == [f"Delete {CONFIG}{AUTO}"]
    assert device.policies == {}
    assert bench.rows("device_policy") == []


def test_revoking_the_last_approval_resets_what_we_set_for_it(bench: Bench) -> None:
    """RequireUpdateApproval comes with the first and goes with the last."""
    device = bench.enrol()
    bench.approve("e0789628-ce08-4437-be74-2495b842f43b", "classification")
    device.check_in()
    assert device.policies == {APPROVAL: "1"}
    assert row(bench, APPROVAL)["source"] == "approvals"
    with bench.database.write() as connection:
        connection.exec_driver_sql("UPDATE approval SET revoked_at = created_at, revoked_by = 'test'")
    touched(bench)
    device.check_in()
    assert device.policies == {}


def test_one_that_somebody_else_set_stays(sqlite_bench: Bench) -> None:
    """Without approvals nothing is said about a policy that is not ours."""
    device = sqlite_bench.enrol()
    device.policies[APPROVAL] = "1"
    device.check_in()
    assert device.policies == {APPROVAL: "1"}
    assert about_policies(device.asked) == []


@pytest.mark.parametrize("status", [404, 405, 406])
def test_a_policy_a_device_lacks_is_asked_once(sqlite_bench: Bench, status: int) -> None:
    """And the others are set all the same."""
    device = sqlite_bench.enrol()
    device.answers[CONFIG + AUTO] = Outcome(status)
    profile(sqlite_bench, {AUTO: "3", DEFER: "4"})
    for _ in range(3):
        device.check_in()
    assert device.asked.count(f"Replace {CONFIG}{AUTO}") == 1
    assert device.policies == {DEFER: "4"}
