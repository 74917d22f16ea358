"""A device's updates as IT reads them: every reason sentence, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def only(bench: Bench) -> DeviceUpdateView:
    """The single update of the single device."""
    with bench.database.read() as connection:
        (view,) = list_device_updates(connection, 1)
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
        everything = list_device_updates(connection, 1)
        first = list_device_updates(connection, 1, limit=2)
        rest = list_device_updates(connection, 1, after=first[-1].update_id)
        failed = list_device_updates(connection, 1, state="failed")
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
    assert view.reason_text == "Approved and delivered; Windows has not installed it yet."


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
    assert view.reason_text == "Approved, but held: nobody has accepted its licence (EULA)."
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
    assert "status 500 (0x86000002)" in only(sqlite_bench).reason_text
    device.answers[uri] = Outcome(425)
    device.check_in()
    assert "status 425." in only(sqlite_bench).reason_text


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
