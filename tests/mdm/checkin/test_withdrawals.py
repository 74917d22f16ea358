"""Approvals taken back: what is tried on a device, and what is remembered of its build."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from mdm.approvals.versions import facts_changed
from mdm.devices.timeline import list_timeline
from syncml.client import Outcome
from syncml.messages import Item, Location

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
BUILD = "10.0.26100.4652"


def delete(guid: str) -> str:
    """The command that takes a GUID back."""
    return f"Delete ./Vendor/MSFT/Update/ApprovedUpdates/%7b{guid}%7d"


def told(bench: Bench, *guids: str, device_id: str = "DEV1", build: str = BUILD) -> ScriptedDevice:
    """A device of some build that has been told it may install these, and has not."""
    device = bench.enrol(device_id)
    device.answers["./DevDetail/SwV"] = Outcome(200, build_item(build))
    for guid in guids:
        device.installable[guid] = (1, 200)
        if not any(row["update_id"] == guid for row in bench.rows("update_revision")):
            bench.catalogue(guid, classification_id=CLASS)
            bench.approve(guid)
    device.check_in()
    device.check_in()
    assert set(device.approved) == set(guids)
    device.asked.clear()
    return device


def build_item(build: str) -> tuple[Item, ...]:
    """SwV as a device answers it."""
    return (Item(source=Location("./DevDetail/SwV"), data=build),)


def revoke(bench: Bench) -> None:
    """Revoke every approval."""
    with bench.database.write() as connection:
        connection.execute(text("UPDATE approval SET revoked_at = created_at"))
        facts_changed(connection)


def deletes(device: ScriptedDevice) -> list[str]:
    """The approvals it was asked to forget since it was last looked."""
    asked = [each for each in device.asked if each.startswith("Delete") and "ApprovedUpdates" in each]
    device.asked.clear()
    return asked


def events(bench: Bench) -> list[tuple[str, dict[str, object]]]:
    """Kind and detail of what the timeline says of approvals taken back."""
    with bench.database.read() as connection:
        lines = list_timeline(connection, 1, before=None, limit=50)
    return [(line.kind, dict(line.detail)) for line in lines if "withdraw" in line.kind]


def test_what_is_revoked_is_taken_back_where_windows_can(bench: Bench) -> None:
    """Once; afterwards the device holds it no longer, and an approval delivers it again."""
    device = told(bench, A, B)
    device.forgetful = True
    revoke(bench)
    device.check_in()
    assert deletes(device) == [delete(A), delete(B)]
    assert device.approved == []
    assert {row["update_id"]: row["lists"] for row in bench.rows("device_update")} == {A: 1, B: 1}
    assert [(row["build"], row["supported"]) for row in bench.rows("withdrawal_answer")] == [(BUILD, True)]
    assert [kind for kind, _ in events(bench)] == ["approval_withdrawn", "approval_withdrawn"]
    device.check_in()
    assert deletes(device) == []
    bench.approve(A)
    device.check_in()
    assert device.approved == [A]


def test_a_build_that_refuses_is_not_asked_again_for_a_month(bench: Bench) -> None:
    """Neither this device nor another of its build; one of another build is."""
    device = told(bench, A)
    other = told(bench, A, device_id="DEV2")
    newer = told(bench, A, device_id="DEV3", build="10.0.27000.1")
    revoke(bench)
    device.check_in()
    assert deletes(device) == [delete(A)]
    assert device.approved == [A]
    assert events(bench) == [("withdrawal_refused", {"id": A, "status": 405, "error": None})]
    for each, expected in ((device, []), (other, []), (newer, [delete(A)])):
        each.check_in()
        assert deletes(each) == expected
    bench.now += timedelta(days=31)
    device.check_in()
    assert deletes(device) == [delete(A)]


def test_a_passing_refusal_is_tried_in_the_next_session(bench: Bench) -> None:
    """A 500 says nothing of the build."""
    device = told(bench, A)
    revoke(bench)
    device.answers[delete(A).removeprefix("Delete ")] = Outcome(500)
    device.check_in()
    device.check_in()
    assert deletes(device) == [delete(A), delete(A)]
    assert bench.rows("withdrawal_answer") == []


def test_what_others_have_approved_is_left_alone(bench: Bench) -> None:
    """So is what waits only, what is withdrawn by Microsoft, and what is installed by now."""
    device = told(bench, A, B)
    device.forgetful = True
    stranger = "c317dafe-baf4-453f-b232-a7075efae36e"
    device.approved.append(stranger)
    bench.expire(A)
    device.installed[B] = device.installable.pop(B)[1]
    revoke(bench)
    bench.approve(A, not_before=bench.now + timedelta(days=1))
    bench.now += timedelta(hours=1)
    device.check_in()
    device.check_in()
    assert deletes(device) == []
    assert device.approved == [A, B, stranger]


def test_a_block_takes_back(bench: Bench) -> None:
    """Of the update, of its classification, and of a classification whose GUID is on the device."""
    device = told(bench, A)
    device.forgetful = True
    bench.approve(CLASS, "classification")
    device.check_in()
    assert CLASS in device.approved
    bench.approve(A, action="block", reason="INC-1")
    device.check_in()
    assert deletes(device) == [delete(A)]
    assert device.approved == [CLASS]
    bench.approve(CLASS, "classification", action="block", reason="INC-2")
    device.check_in()
    assert deletes(device) == [delete(CLASS)]
    assert device.approved == []


def test_a_classification_that_is_expanded_now_leaves_the_device(bench: Bench) -> None:
    """Its GUID would approve what the bridge decides one by one."""
    device = told(bench)
    device.forgetful = True
    bench.approve(CLASS, "classification")
    device.check_in()
    assert device.approved == [CLASS]
    revoke(bench)
    bench.approve(CLASS, "classification", delivery="expanded")
    device.asked.clear()
    device.check_in()
    assert deletes(device) == [delete(CLASS)]
