"""A device's updates as IT reads them: every reason sentence, in its order."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mdm.devices.reasons import REASONS
from mdm.devices.updates import DeviceUpdateView, list_device_updates
from syncml.client import Outcome

if TYPE_CHECKING:
    from conftest import Bench

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
C = "c317dafe-baf4-453f-b232-a7075efae36e"
D = "d317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
EULA = "eeeeeeee-0000-4000-8000-000000000001"
HOUR = timedelta(hours=1)
OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"
POLICY = "./Device/Vendor/MSFT/Policy/Config/Update/RequireUpdateApproval"


def only(bench: Bench) -> DeviceUpdateView:
    """The single update of the single device."""
    with bench.database.read() as connection:
        (view,) = list_device_updates(connection, 1, now=bench.now)
    return view


def test_states_and_paging(bench: Bench) -> None:
    """Rows come in UpdateID order, page by page, and can be narrowed to a state."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    device.failed = {B: (-2147024784, 256, 101)}
    device.pending = {C: 3}
    device.installed = {D: 4}
    bench.approve(CLASS, "classification")
    device.check_in()
    with bench.database.read() as connection:
        everything = list_device_updates(connection, 1, now=bench.now)
        first = list_device_updates(connection, 1, limit=2, now=bench.now)
        rest = list_device_updates(connection, 1, after=first[-1].update_id, now=bench.now)
        failed = list_device_updates(connection, 1, state="failed", now=bench.now)
    assert [(v.update_id, v.state, v.reason) for v in everything] == [
        (A, "installable", "not_approved"),
        (B, "failed", "install_failed"),
        (C, "pending_reboot", "pending_reboot"),
        (D, "installed", "installed"),
    ]
    assert first + rest == everything
    (view,) = failed
    assert view.hresult == "0x80070070"
    assert view.hresult_text is not None
    assert view.reason_text.startswith("Windows tried to install it and failed with 0x80070070: ")
    assert view.revision_number == 101


def test_unknown_hresult_and_none(sqlite_bench: Bench) -> None:
    """A failure is told with its code alone when nobody knows its meaning, and without when there is none."""
    device = sqlite_bench.enrol()
    device.failed = {A: (-1, 256, 1)}
    device.check_in()
    assert only(sqlite_bench).reason_text == "Windows tried to install it and failed with 0xFFFFFFFF."
    device.answers["./Vendor/MSFT/Update/FailedUpdates?list=StructData"] = Outcome(
        200, device.read("./Vendor/MSFT/Update/FailedUpdates").items[:2]
    )
    device.check_in()
    view = only(sqlite_bench)
    assert view.hresult is None
    assert view.reason_text == "Windows tried to install it and failed, without saying why."


def test_from_held_to_delivered(bench: Bench) -> None:
    """One update's way: not approved, no metadata, licence, next check-in, delivered."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    device.check_in()
    assert (only(bench).approved, only(bench).reason) == (False, "not_approved")
    bench.approve(A)
    view = only(bench)
    assert (view.approved, view.delivered, view.reason) == (True, False, "metadata_unknown")
    assert view.approval_ids == (bench.rows("approval")[0]["id"],)
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    bench.catalogue(A, eula_id=EULA, title="Windows", kb="5001")
    view = only(bench)
    assert (view.reason, view.title, view.kb) == ("eula_not_accepted", "Windows", "5001")
    assert EULA in view.reason_text
    bench.add(
        "eula_acceptance",
        id="1",
        eula_id=EULA,
        locale="en",
        text_sha256="0" * 64,
        accepted_by="test",
        accepted_at=bench.now,
    )
    assert only(bench).reason == "awaiting_checkin"
    device.check_in()
    view = only(bench)
    assert (view.approved, view.delivered, view.reason) == (True, True, "delivered")
    assert (
        view.reason_text
        == "Approved and delivered on 2026-11-21 12:00 UTC; Windows has not installed it yet."
    )


def test_not_offered_names_the_way_out(sqlite_bench: Bench) -> None:
    """When no upstream has the metadata, the sentence says how to deliver all the same."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    device.check_in()
    sqlite_bench.approve(A)
    with sqlite_bench.database.write() as connection:
        connection.exec_driver_sql("UPDATE needed_revision SET state = 'not_offered'")
    view = only(sqlite_bench)
    assert view.reason == "metadata_not_offered"
    assert "allow_without_metadata" in view.reason_text


def test_expired(sqlite_bench: Bench) -> None:
    """An approved update that Microsoft withdrew says so."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    device.check_in()
    sqlite_bench.catalogue(A, publication_state="Expired")
    sqlite_bench.approve(A)
    assert only(sqlite_bench).reason == "update_expired"


def test_approved_through_the_classification(sqlite_bench: Bench) -> None:
    """An update of an approved classification counts as approved, and as held while the class is."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    sqlite_bench.catalogue(A, classification_id=CLASS)
    sqlite_bench.add("eula", id=EULA, first_seen_at=sqlite_bench.now)
    sqlite_bench.catalogue(B, classification_id=CLASS, eula_id=EULA)
    sqlite_bench.approve(CLASS, "classification")
    device.check_in()
    view = only(sqlite_bench)
    assert (view.approved, view.delivered, view.reason) == (True, False, "eula_not_accepted")
    assert view.reason_text == (
        "Approved with its classification, but held: on the device the classification would accept a licence that "
        f"nobody has accepted (EULA {EULA} of 'Update b317')."
    )
    with sqlite_bench.database.write() as connection:
        connection.exec_driver_sql("UPDATE update_revision SET eula_id = NULL")
    device.check_in()
    assert (only(sqlite_bench).delivered, only(sqlite_bench).reason) == (True, "delivered")


def test_refused_by_the_device(sqlite_bench: Bench) -> None:
    """A refused Add is told with its status and HRESULT."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    uri = f"./Vendor/MSFT/Update/ApprovedUpdates/%7b{A}%7d"
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A)
    device.answers[uri] = Outcome(500, original_error="0x86000002")
    device.check_in()
    assert only(sqlite_bench).reason == "refused_by_device"
    refused = "Approved, but the device refused the approval with status 500"
    again = "It gets it again at its next check-in."
    assert (
        only(sqlite_bench).reason_text == f"{refused} (0x86000002): The device has no such setting. {again}"
    )
    device.answers[uri] = Outcome(500, original_error="0x8F000001")
    device.check_in()
    assert only(sqlite_bench).reason_text == f"{refused} (0x8F000001). {again}"
    device.answers[uri] = Outcome(425)
    device.check_in()
    assert "status 425." in only(sqlite_bench).reason_text
    sqlite_bench.approve(A, action="block", reason="INC-4471")
    assert only(sqlite_bench).reason == "blocked"
    with sqlite_bench.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM approval WHERE action = 'block'")
        connection.exec_driver_sql("UPDATE update_revision SET publication_state = 'Expired'")
    assert only(sqlite_bench).reason == "update_expired"


def test_delivered_but_no_longer_approved(sqlite_bench: Bench) -> None:
    """The Update CSP has no revoke: what the device was told stays, and the sentence says so."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    device.approved = [A]
    device.check_in()
    view = only(sqlite_bench)
    assert (view.approved, view.delivered, view.reason) == (False, True, "delivered")
    assert "No approval holds for it any more" in view.reason_text


def test_device_without_the_policy(sqlite_bench: Bench) -> None:
    """Where RequireUpdateApproval is unsupported, the sentence says that Windows decides by itself."""
    device = sqlite_bench.enrol()
    device.installable = {A: (1, 200)}
    device.answers["./Device/Vendor/MSFT/Policy/Config/Update/RequireUpdateApproval"] = Outcome(405)
    sqlite_bench.catalogue(A)
    sqlite_bench.approve(A)
    device.check_in()
    assert "does not know the policy RequireUpdateApproval" in only(sqlite_bench).reason_text


def test_device_that_refused_the_policy(bench: Bench) -> None:
    """Where RequireUpdateApproval failed, the sentence says with what, and stops saying so once it is set."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    device.answers[POLICY] = Outcome(500, original_error="0x80070005")
    bench.catalogue(A)
    bench.approve(A)
    device.check_in()
    assert only(bench).reason_text == (
        "Approved and delivered; Windows decides by itself when to install, because the device refused the policy "
        "RequireUpdateApproval with status 500 (0x80070005): Access to a file or registry key was denied."
    )
    del device.answers[POLICY]
    device.check_in()
    assert (
        only(bench).reason_text
        == "Approved and delivered on 2026-11-21 12:00 UTC; Windows has not installed it yet."
    )


def installable(bench: Bench, **values: Any) -> None:
    """A device that offers A, and A in the catalogue."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    device.check_in()
    bench.catalogue(A, **{"classification_id": CLASS, "title": "Patch", **values})


def approval_id(bench: Bench, action: str = "approve") -> str:
    """The newest approval or block."""
    return [row["id"] for row in bench.rows("approval", "created_at", "id") if row["action"] == action][-1]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"reason": "breaks VPN."}, "Blocked for this device ({id}): breaks VPN."),
        (
            {"reason": "breaks VPN", "expires_at": HOUR},
            "Blocked for this device until 2026-11-21 13:00 UTC ({id}): breaks VPN.",
        ),
        (
            {"target_id": CLASS, "target_type": "classification", "reason": "not yet"},
            "Its classification is blocked for this device ({id}): not yet.",
        ),
    ],
)
def test_blocked_says_who_why_and_until_when(bench: Bench, values: dict[str, Any], sentence: str) -> None:
    """Approved or not: the block's own words are what an administrator needs."""
    start = bench.now
    installable(bench)
    given = {"target_id": A, "action": "block", **values}
    if "expires_at" in given:
        given["expires_at"] = start + given["expires_at"]
    bench.approve(**given)
    expected = sentence.format(id=approval_id(bench, "block"))
    view = only(bench)
    assert (view.approved, view.reason, view.reason_text, view.approval_ids) == (
        False,
        "blocked",
        expected,
        (),
    )
    bench.approve(A)
    view = only(bench)
    assert (view.approved, view.reason, view.reason_text) == (True, "blocked", expected)


def test_of_several_blocks_the_one_that_lasts_is_told(bench: Bench) -> None:
    """Until it is over, the others make no difference."""
    installable(bench)
    bench.approve(A, action="block", reason="short", expires_at=bench.now + HOUR)
    bench.approve(A, action="block", reason="longer", expires_at=bench.now + 2 * HOUR)
    assert "longer" in only(bench).reason_text
    bench.approve(CLASS, "classification", action="block", reason="for good")
    assert "for good" in only(bench).reason_text


def test_a_block_that_comes_too_late_says_so(bench: Bench) -> None:
    """What the device was told is hard to take back; when the block is over nothing is said of it."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    bench.catalogue(A)
    bench.approve(A)
    device.check_in()
    bench.approve(A, action="block", reason="INC-1", expires_at=bench.now + HOUR)
    view = only(bench)
    assert (view.delivered, view.reason) == (True, "blocked")
    assert view.reason_text.endswith(
        "INC-1. The device may install it until its next check-in, when it is told to forget the approval; not every "
        "Windows does."
    )
    bench.now += HOUR
    assert only(bench).reason == "delivered"


def test_a_failed_update_may_be_blocked_and_an_installed_one_not(sqlite_bench: Bench) -> None:
    """A block explains why nothing more happens; what is installed is installed."""
    device = sqlite_bench.enrol()
    device.failed = {A: (-2147024784, 256, 101)}
    device.check_in()
    sqlite_bench.approve(A, action="block", reason="INC-1")
    assert only(sqlite_bench).reason == "blocked"
    device.failed, device.installed = {}, {A: 101}
    sqlite_bench.now += timedelta(days=2)
    device.check_in()
    assert only(sqlite_bench).reason == "installed"


def test_not_before_says_when(bench: Bench) -> None:
    """The earliest time that is still to come, though another approval's is past and held by something else."""
    installable(bench)
    start = bench.now.replace(second=0)
    bench.approve(A, not_before=start + 3 * HOUR)
    bench.approve(A, not_before=start + 2 * HOUR)
    view = only(bench)
    assert (view.reason, view.reason_text) == (
        "not_before",
        "Approved, but not to be delivered before 2026-11-21 14:00 UTC.",
    )
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    bench.catalogue(B, classification_id=CLASS, eula_id=EULA)
    bench.approve(CLASS, "classification", not_before=start - HOUR)
    assert only(bench).reason_text == view.reason_text
    bench.now = start + 2 * HOUR
    assert only(bench).reason == "awaiting_checkin"


def test_a_classification_on_the_device_may_be_to_come(bench: Bench) -> None:
    """Its time is told for each of its updates."""
    installable(bench)
    bench.approve(CLASS, "classification", not_before=bench.now.replace(second=0) + HOUR)
    assert only(bench).reason_text == "Approved, but not to be delivered before 2026-11-21 13:00 UTC."


def test_awaiting_says_until_when_the_device_must_come(bench: Bench) -> None:
    """If every approval that is due ends, the last end is told; else none."""
    installable(bench)
    end = bench.now.replace(second=0) + HOUR
    bench.approve(A, expires_at=end)
    bench.approve(A, expires_at=end + HOUR)
    bench.approve(A, not_before=end + 5 * HOUR)
    view = only(bench)
    assert (view.reason, view.reason_text) == (
        "awaiting_checkin",
        "Approved; it goes to the device at its next check-in, if that is before 2026-11-21 14:00 UTC.",
    )
    bench.approve(A)
    assert only(bench).reason_text == "Approved; it goes to the device at its next check-in."


def test_superseded_names_what_replaces_it(bench: Bench) -> None:
    """Approved with its classification only it waits for ever; approved by itself it goes."""
    installable(bench)
    bench.approve(CLASS, "classification", delivery="expanded")
    assert only(bench).reason == "awaiting_checkin"
    for newer in (B, C):
        bench.catalogue(newer, title=f"Newer {newer[0]}")
        bench.add(
            "revision_relation",
            update_id=newer,
            revision_number=200,
            kind="supersedes",
            clause=0,
            target_id=A,
        )
    view = only(bench)
    assert (view.approved, view.reason) == (True, "update_superseded")
    assert view.reason_text == (
        f"Approved with its classification, but replaced by 'Newer b' ({B}) and 1 more. "
        "Approve it by itself to deliver it all the same."
    )
    bench.approve(A)
    assert only(bench).reason == "awaiting_checkin"


def test_a_block_inside_the_classification_is_named(bench: Bench) -> None:
    """With the block to look up, and the way out."""
    installable(bench)
    bench.catalogue(B, classification_id=CLASS, title="Culprit")
    bench.approve(CLASS, "classification")
    bench.approve(B, action="block", reason="INC-1")
    view = only(bench)
    assert view.reason == "classification_has_block"
    assert view.reason_text == (
        "Approved with its classification, but held: of the same classification 'Culprit' "
        f"({approval_id(bench, 'block')}) is blocked, and on the device the classification would approve that too. "
        "Approve the classification as expanded."
    )
    bench.approve(CLASS, "classification", delivery="expanded")
    assert only(bench).reason == "awaiting_checkin"


def test_an_expanded_classification_names_the_licence_of_the_update(bench: Bench) -> None:
    """It is the update's own, not any in the classification."""
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    installable(bench, eula_id=EULA)
    bench.approve(CLASS, "classification", delivery="expanded")
    view = only(bench)
    assert (view.reason, view.reason_text) == (
        "eula_not_accepted",
        f"Approved, but held: nobody has accepted its licence (EULA {EULA}).",
    )


def test_a_refused_classification_is_told_with_its_updates(bench: Bench) -> None:
    """Not as if the next check-in would change anything; an approval of the update itself still goes."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    device.answers[f"./Vendor/MSFT/Update/ApprovedUpdates/%7b{CLASS}%7d"] = Outcome(500)
    bench.catalogue(A, classification_id=CLASS)
    bench.approve(CLASS, "classification")
    device.check_in()
    view = only(bench)
    assert (view.approved, view.delivered, view.reason) == (True, False, "refused_by_device")
    bench.approve(A)
    assert only(bench).reason == "awaiting_checkin"
    device.check_in()
    assert only(bench).reason == "delivered"


def test_every_reason_stands_in_the_operations_guide() -> None:
    """Whoever meets a code finds it there, and the guide names none that is gone."""
    text = OPERATIONS.read_text(encoding="utf-8")
    section = text.partition("**An update is approved and nothing happens.**")[2].partition("\n\n**")[0]
    codes = {reason.code for reason in REASONS}
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) - {"reason"} == codes
