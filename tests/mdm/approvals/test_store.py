"""Approvals: what can be approved, what is held and why, and what a revocation leaves behind."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from csp.classifications import DEFINITION_UPDATES
from mdm.approvals.eulas import OpenEula
from mdm.approvals.store import create_approval, revoke_approval
from mdm.approvals.views import ApprovalView, get_approval, list_approvals
from mdm.audit import Origin
from mdm.devices.groups import add_member, create_group
from mdm.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from conftest import Bench

ORIGIN = Origin(actor="client:ops")
A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
C = "c317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
PRODUCT = "72e7624a-5b00-45d2-b92f-e561c0a6a160"
EULA = "eeeeeeee-0000-4000-8000-000000000001"
HOUR = timedelta(hours=1)


def approve(bench: Bench, target_id: str = A, **values: Any) -> ApprovalView:
    """Approve in a transaction of its own, for all devices unless told."""
    given: dict[str, Any] = {
        "target_type": "update",
        "group_ids": ["all-devices"],
        "now": bench.now,
        **values,
    }
    with bench.database.write() as conn:
        return create_approval(conn, ORIGIN, target_id=target_id, **given)


def block(bench: Bench, target_id: str = A, **values: Any) -> ApprovalView:
    """Block in a transaction of its own, for all devices unless told."""
    return approve(bench, target_id, **{"action": "block", "reason": "INC-4471", **values})


def read(bench: Bench, view: ApprovalView) -> ApprovalView:
    """The same approval as it is now."""
    with bench.database.read() as conn:
        return get_approval(conn, view.id, now=bench.now)


def group(bench: Bench, name: str, *device_ids: str) -> str:
    """A group with members."""
    with bench.database.write() as conn:
        made = create_group(conn, ORIGIN, name=name, now=bench.now)
        for device_id in device_ids:
            add_member(conn, ORIGIN, made.id, device_id, now=bench.now)
    return made.id


def accept(bench: Bench, eula_id: str = EULA) -> None:
    """An acceptance in the ledger."""
    bench.add(
        "eula_acceptance",
        id=f"acc-{eula_id}",
        eula_id=eula_id,
        locale="en",
        text_sha256="0" * 64,
        accepted_by="client:legal",
        accepted_at=bench.now,
    )


def test_a_known_update_is_approved(bench: Bench) -> None:
    """Everything asked for is stored, and the update's title shown."""
    bench.catalogue(A, title="2026-11 Cumulative")
    pilots = group(bench, "pilots")
    view = approve(bench, group_ids=[pilots, "all-devices", pilots], reason="patch day")
    assert (view.target.type, view.target.id, view.target.title) == ("update", A, "2026-11 Cumulative")
    assert view.group_ids == tuple(sorted(["all-devices", pilots]))
    assert (view.action, view.reason, view.created_by, view.created_at) == (
        "approve",
        "patch day",
        "client:ops",
        bench.now,
    )
    assert (view.requested_state, view.effective_state, view.reasons) == ("active", "active", ())
    with bench.database.read() as conn:
        assert get_approval(conn, view.id, now=bench.now) == view
    entry = bench.rows("audit_entry", "seq")[-1]
    assert (entry["action"], entry["object_id"]) == ("approval.create", view.id)
    assert entry["after"] == {
        "target": {"type": "update", "id": A},
        "action": "approve",
        "delivery": "device",
        "group_ids": list(view.group_ids),
        "not_before": None,
        "expires_at": None,
        "deadline": None,
        "allow_without_metadata": False,
        "reason": "patch day",
        "rule_id": None,
    }


def test_an_unknown_update_is_held_until_its_metadata_comes(bench: Bench) -> None:
    """Held for metadata, then for the EULA the metadata brings, then active: nothing is stored for it."""
    view = approve(bench)
    assert (view.effective_state, view.reasons, view.target.title) == ("held", ("metadata_unknown",), None)
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    bench.catalogue(A, eula_id=EULA)
    with bench.database.read() as conn:
        assert get_approval(conn, view.id, now=bench.now).reasons == ("eula_not_accepted",)
    accept(bench)
    with bench.database.read() as conn:
        assert get_approval(conn, view.id, now=bench.now).effective_state == "active"


def test_metadata_can_be_waived(bench: Bench) -> None:
    """`allow_without_metadata` delivers what no upstream describes."""
    view = approve(bench, allow_without_metadata=True)
    assert (view.effective_state, view.allow_without_metadata) == ("active", True)


def test_an_open_eula_stands_in_the_way(bench: Bench) -> None:
    """The conflict names it, nothing is written, and accepting it clears the way."""
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    bench.catalogue(A, eula_id=EULA, title=".NET")
    before = bench.dump()
    with pytest.raises(Conflict) as caught:
        approve(bench, allow_without_metadata=True)
    assert caught.value.code == "eula_not_accepted"
    assert caught.value.members == {"eulas": [OpenEula(EULA, ".NET")]}
    assert EULA in caught.value.detail
    assert bench.dump() == before
    accept(bench)
    assert approve(bench).effective_state == "active"


def test_every_open_eula_of_a_classification_is_named(bench: Bench) -> None:
    """One unaccepted EULA anywhere in the class keeps its GUID from devices; expired updates do not."""
    other = EULA.replace("1", "2")
    for number, (update_id, eula_id) in enumerate(((A, EULA), (B, other))):
        bench.add("eula", id=eula_id, first_seen_at=bench.now)
        bench.catalogue(update_id, eula_id=eula_id, classification_id=CLASS, title=f"U{number}")
    with pytest.raises(Conflict) as caught:
        approve(bench, CLASS, target_type="classification", delivery="device")
    assert caught.value.code == "eula_not_accepted"
    assert [eula.id for eula in caught.value.members["eulas"]] == [EULA, other]
    assert "and 1 more" in caught.value.detail
    accept(bench)
    accept(bench, other)
    view = approve(bench, CLASS, target_type="classification", delivery="device")
    assert (view.effective_state, view.target.title) == ("active", "Security Updates")
    third = EULA.replace("1", "3")
    bench.add("eula", id=third, first_seen_at=bench.now)
    bench.catalogue(C, eula_id=third, classification_id=CLASS)
    with bench.database.read() as conn:
        held = get_approval(conn, view.id, now=bench.now)
    assert (held.effective_state, held.reasons) == ("held", ("eula_not_accepted",))


def test_a_classification_has_the_title_of_the_category_list(bench: Bench) -> None:
    """The upstream's name wins over ours, and an unknown GUID has none."""
    bench.add(
        "category", id=CLASS, revision_number=1, category_type="UpdateClassification", title="Sicherheit"
    )
    assert approve(bench, CLASS, target_type="classification").target.title == "Sicherheit"
    assert approve(bench, C, target_type="classification").target.title is None


def test_an_expired_update_is_refused_and_holds_what_was_approved(bench: Bench) -> None:
    """Before: a conflict. Afterwards: the approval says that it no longer reaches anybody."""
    bench.catalogue(A, publication_state="Expired", title="Old")
    with pytest.raises(Conflict) as caught:
        approve(bench)
    assert caught.value.code == "update_expired"
    held = approve(bench, B)
    bench.catalogue(B, publication_state="Expired")
    with bench.database.read() as conn:
        assert get_approval(conn, held.id, now=bench.now).reasons == ("update_expired",)


def test_superseded_updates_are_approved_with_a_warning(bench: Bench) -> None:
    """The warning names the newer update, in the answer that creates the approval only."""
    bench.catalogue(A)
    bench.catalogue(B)
    bench.add("revision_relation", update_id=B, revision_number=200, kind="supersedes", clause=0, target_id=A)
    view = approve(bench)
    (warning,) = view.warnings
    assert (warning.code, warning.superseded_by) == ("update_superseded", (B,))
    assert approve(bench, B).warnings == ()
    with bench.database.read() as conn:
        assert get_approval(conn, view.id, now=bench.now).warnings == ()


@pytest.mark.parametrize("target_type", ["update", "classification"])
def test_the_same_again_is_a_conflict(bench: Bench, target_type: str) -> None:
    """Same target and same groups: the existing one is named. Other groups, or a revoked one, are no conflict."""
    pilots = group(bench, "pilots")
    first = approve(bench, A, target_type=target_type)
    with pytest.raises(Conflict) as caught:
        approve(bench, A, target_type=target_type, reason="because", expires_at=bench.now + HOUR)
    assert caught.value.code == "approval_conflict"
    assert caught.value.members == {"existing": first.id}
    assert caught.value.detail == f"{first.id} already approves this for these groups."
    both = approve(bench, A, target_type=target_type, group_ids=["all-devices", pilots])
    assert approve(bench, A, target_type=target_type, group_ids=[pilots]).id != both.id
    with bench.database.write() as conn:
        revoke_approval(conn, ORIGIN, first.id, now=bench.now)
    assert approve(bench, A, target_type=target_type).id != first.id


def test_equal_requests_at_the_same_moment(bench: Bench) -> None:
    """Of eight threads approving the same for the same groups one succeeds."""
    bench.catalogue(A)
    barrier = threading.Barrier(8)
    outcomes: list[str] = []

    def run() -> None:
        barrier.wait()
        try:
            approve(bench)
        except Conflict as error:
            outcomes.append(error.code)
        else:
            outcomes.append("made")

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["approval_conflict"] * 7 + ["made"]


def test_groups_must_exist(bench: Bench) -> None:
    """The unknown group is named, and nothing is written."""
    before = bench.dump()
    with pytest.raises(NotFound) as caught:
        approve(bench, group_ids=["all-devices", "grp_x"])
    assert (caught.value.code, caught.value.members) == ("group_not_found", {"group_id": "grp_x"})
    assert bench.dump() == before


@pytest.mark.parametrize(
    ("target_type", "target_id", "code", "words"),
    [
        ("update", CLASS, "not_update", "category 'Security Updates'"),
        ("update", PRODUCT, "not_update", "category 'Windows 11'"),
        ("update", C, "not_update", "not an update"),
        ("classification", A, "not_classification", "an update"),
        ("classification", PRODUCT, "not_classification", "Product 'Windows 11'"),
    ],
)
def test_a_guid_of_another_kind_is_refused(
    bench: Bench, target_type: str, target_id: str, code: str, words: str
) -> None:
    """A product or detectoid cannot be approved as an update, nor an update as a classification."""
    bench.catalogue(A)
    bench.catalogue(C, update_type="Detectoid")
    bench.add("category", id=PRODUCT, revision_number=1, category_type="Product", title="Windows 11")
    with pytest.raises(Invalid) as caught:
        approve(bench, target_id, target_type=target_type)
    (error,) = caught.value.errors
    assert (error.pointer, error.code) == ("/target/id", code)
    assert words in error.detail


def test_untyped_categories_may_be_classifications(bench: Bench) -> None:
    """295 of 470 real categories have no type: they are given the benefit of the doubt."""
    bench.add("category", id=C, revision_number=1, category_type=None, title="Who knows")
    assert approve(bench, C, target_type="classification").target.title == "Who knows"


def test_lists_are_newest_first_and_filtered(bench: Bench) -> None:
    """Pages join, ties are broken by id, and filters hold."""
    made = [approve(bench, target) for target in (A, B, C)]
    bench.now += timedelta(seconds=1)
    newest = approve(bench, A, group_ids=[group(bench, "pilots")])
    with bench.database.write() as conn:
        revoke_approval(conn, ORIGIN, made[0].id, now=bench.now)
    with bench.database.read() as conn:
        everything = list_approvals(conn, before=None, limit=10, now=bench.now)
        paged: list[ApprovalView] = []
        before = None
        while page := list_approvals(conn, before=before, limit=1, now=bench.now):
            paged += page
            before = (page[0].created_at, page[0].id)
        active = list_approvals(conn, active=True, before=None, limit=10, now=bench.now)
        revoked = list_approvals(conn, active=False, before=None, limit=10, now=bench.now)
        of_a = list_approvals(conn, target_id=A, before=None, limit=10, now=bench.now)
    assert everything[0].id == newest.id
    assert {view.id for view in everything} == {view.id for view in [*made, newest]}
    assert paged == everything
    assert [view.id for view in revoked] == [made[0].id]
    assert len(active) == 3
    assert [view.id for view in of_a] == [newest.id, made[0].id]


def test_revoking(bench: Bench) -> None:
    """The approval keeps its place in history; revoking again changes nothing."""
    view = approve(bench)
    later = bench.now + timedelta(hours=1)
    with bench.database.write() as conn:
        revoked, residual = revoke_approval(conn, ORIGIN, view.id, now=later)
    assert (revoked.revoked_at, revoked.revoked_by) == (later, "client:ops")
    assert (revoked.requested_state, revoked.effective_state, revoked.reasons) == ("revoked", "revoked", ())
    assert (residual.devices, residual.detail.startswith("No device")) == (0, True)
    before = bench.dump()
    with bench.database.write() as conn:
        again, _ = revoke_approval(conn, Origin("client:other"), view.id, now=later + timedelta(hours=1))
    assert again == revoked
    assert bench.dump() == before


def test_what_devices_keep_is_counted(bench: Bench) -> None:
    """Devices of the approval's groups that hold it in ApprovedUpdates; others do not count."""
    for number in range(1, 4):
        bench.enrol(f"DEV{number}")
        bench.add(
            "device_update",
            device_pk=number,
            update_id=A,
            lists=17 if number != 3 else 1,
            state="installable",
            since=bench.now,
        )
    pilots = group(bench, "pilots", "id-DEV1", "id-DEV3")
    everybody, some = approve(bench), approve(bench, group_ids=[pilots])
    with bench.database.write() as conn:
        _, residual = revoke_approval(conn, ORIGIN, everybody.id, now=bench.now)
        assert residual.devices == 2
        assert residual.detail.startswith("2 devices hold this")
        _, residual = revoke_approval(conn, ORIGIN, some.id, now=bench.now)
        assert residual.devices == 1
        assert residual.detail.startswith("1 device holds this")


def test_an_unknown_approval(sqlite_bench: Bench) -> None:
    """Neither read nor revoked."""
    with sqlite_bench.database.write() as conn:
        with pytest.raises(NotFound):
            get_approval(conn, "apr_x", now=sqlite_bench.now)
        with pytest.raises(NotFound):
            revoke_approval(conn, ORIGIN, "apr_x", now=sqlite_bench.now)


# --- how a classification is delivered --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("class_id", "asked", "delivery"),
    [
        (DEFINITION_UPDATES, None, "device"),
        (CLASS, None, "expanded"),
        (C, None, "expanded"),
        (DEFINITION_UPDATES, "expanded", "expanded"),
        (CLASS, "device", "device"),
    ],
)
def test_a_classification_is_expanded_unless_it_is_definitions(
    bench: Bench, class_id: str, asked: str | None, delivery: str
) -> None:
    """Left out, the recommended way is taken; asked for, either is."""
    view = approve(bench, class_id, target_type="classification", delivery=asked)
    assert (view.delivery, view.effective_state) == (delivery, "active")
    assert read(bench, view) == view
    assert bench.rows("audit_entry", "seq")[-1]["after"]["delivery"] == delivery


def test_an_update_has_no_delivery(bench: Bench) -> None:
    """Nor has a block of a classification."""
    assert approve(bench).delivery is None
    assert block(bench, CLASS, target_type="classification").delivery is None


def test_an_expanded_classification_waits_for_no_licence(bench: Bench) -> None:
    """Each update of it waits for its own, so that the approval can be made before."""
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    bench.catalogue(A, eula_id=EULA, classification_id=CLASS)
    assert approve(bench, CLASS, target_type="classification").effective_state == "active"


# --- blocks ---------------------------------------------------------------------------------------------


def test_a_block_is_made_and_read(bench: Bench) -> None:
    """With its reason and its end; it is active, and never held."""
    bench.catalogue(A, title="2026-11 Cumulative")
    view = block(bench, reason="breaks VPN, INC-4471", expires_at=bench.now + HOUR)
    assert (view.action, view.reason, view.expires_at) == (
        "block",
        "breaks VPN, INC-4471",
        bench.now + HOUR,
    )
    assert (view.requested_state, view.effective_state, view.reasons) == ("active", "active", ())
    assert view.target.title == "2026-11 Cumulative"
    assert read(bench, view) == view
    made = bench.rows("audit_entry", "seq")[-1]["after"]
    assert (made["action"], made["reason"]) == ("block", "breaks VPN, INC-4471")
    assert made["expires_at"] == "2026-11-21T13:00:00Z"


def test_anything_can_be_blocked(bench: Bench) -> None:
    """What is unknown, withdrawn, superseded, or under an open licence; and without a warning."""
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    bench.catalogue(A, eula_id=EULA, publication_state="Expired", classification_id=CLASS)
    bench.catalogue(B, eula_id=EULA, classification_id=CLASS)
    bench.add("revision_relation", update_id=B, revision_number=200, kind="supersedes", clause=0, target_id=A)
    for target in (A, B, C):
        assert block(bench, target).warnings == ()
    assert block(bench, CLASS, target_type="classification").effective_state == "active"


def test_a_block_holds_the_approval_of_the_same(bench: Bench) -> None:
    """As long as it holds: not before it is made, nor once it is revoked or over."""
    bench.catalogue(A)
    view = approve(bench)
    assert view.effective_state == "active"
    first = block(bench)
    held = read(bench, view)
    assert (held.requested_state, held.effective_state, held.reasons) == ("active", "held", ("blocked",))
    with bench.database.write() as conn:
        revoke_approval(conn, ORIGIN, first.id, now=bench.now)
    assert read(bench, view).effective_state == "active"
    block(bench, expires_at=bench.now + HOUR)
    assert read(bench, view).reasons == ("blocked",)
    bench.now += HOUR
    assert read(bench, view).effective_state == "active"


def test_a_block_of_some_groups_holds_what_is_for_no_others(bench: Bench) -> None:
    """An approval is held if a block holds wherever it does, and not if it still reaches somebody."""
    bench.catalogue(A)
    one, two = group(bench, "one"), group(bench, "two")
    everywhere, both, first = (approve(bench, group_ids=ids) for ids in (["all-devices"], [one, two], [one]))
    block(bench, group_ids=[one])
    assert [read(bench, view).effective_state for view in (everywhere, both, first)] == [
        "active",
        "active",
        "held",
    ]
    block(bench, group_ids=[one, two])
    assert [read(bench, view).effective_state for view in (everywhere, both, first)] == [
        "active",
        "held",
        "held",
    ]


def test_a_block_of_the_classification_holds_its_updates(bench: Bench) -> None:
    """The approval of an update says so, and that of one in another classification does not."""
    bench.catalogue(A, classification_id=CLASS)
    bench.catalogue(B, classification_id=DEFINITION_UPDATES)
    views = [approve(bench, A), approve(bench, B)]
    block(bench, CLASS, target_type="classification")
    assert [read(bench, view).reasons for view in views] == [("blocked",), ()]


def test_a_block_holds_the_classification_on_the_device_only(bench: Bench) -> None:
    """Its GUID would bring the blocked update; expanded, all others still go."""
    bench.catalogue(A, classification_id=CLASS)
    bench.catalogue(B, classification_id=DEFINITION_UPDATES)
    one = group(bench, "one")
    device = approve(bench, CLASS, target_type="classification", delivery="device")
    expanded = approve(bench, CLASS, target_type="classification", group_ids=[one])
    other = approve(bench, DEFINITION_UPDATES, target_type="classification")
    block(bench, A)
    assert [read(bench, view).reasons for view in (device, expanded, other)] == [
        ("classification_has_block",),
        (),
        (),
    ]
    block(bench, CLASS, target_type="classification")
    assert [read(bench, view).reasons for view in (device, expanded, other)] == [
        ("blocked",),
        ("blocked",),
        (),
    ]


@pytest.mark.parametrize("target_type", ["update", "classification"])
def test_twins_are_told_apart_by_their_action(bench: Bench, target_type: str) -> None:
    """An approval and a block of the same may stand side by side; two blocks may not."""
    approve(bench, target_type=target_type)
    first = block(bench, target_type=target_type)
    with pytest.raises(Conflict) as caught:
        block(bench, target_type=target_type, reason="another")
    assert (caught.value.code, caught.value.members) == ("approval_conflict", {"existing": first.id})
    assert caught.value.detail == f"{first.id} already blocks this for these groups."


def test_revoking_a_block_leaves_nothing_behind(bench: Bench) -> None:
    """Devices hold no block; what they may install of it again is said, and the ledger says what was revoked."""
    bench.enrol()
    bench.add("device_update", device_pk=1, update_id=A, lists=17, state="installable", since=bench.now)
    view = block(bench)
    with bench.database.write() as conn:
        revoked, residual = revoke_approval(conn, ORIGIN, view.id, now=bench.now)
    assert (revoked.requested_state, revoked.effective_state) == ("revoked", "revoked")
    assert (residual.devices, "delivered again" in residual.detail) == (0, True)
    assert bench.rows("audit_entry", "seq")[-1]["detail"] == {
        "target": {"type": "update", "id": A},
        "action": "block",
        "group_ids": ["all-devices"],
    }


def test_devices_with_updates_of_an_expanded_classification_are_counted(bench: Bench) -> None:
    """They hold no GUID of it, but its updates."""
    for number, update_id in enumerate((A, A, B, C), start=1):
        bench.enrol(f"DEV{number}")
        lists = 17 if number != 2 else 1
        bench.add(
            "device_update",
            device_pk=number,
            update_id=update_id,
            lists=lists,
            state="installable",
            since=bench.now,
        )
    bench.catalogue(A, classification_id=CLASS)
    bench.catalogue(B, classification_id=CLASS)
    bench.catalogue(C, classification_id=DEFINITION_UPDATES)
    views = [approve(bench, each, target_type="classification") for each in (CLASS, DEFINITION_UPDATES)]
    with bench.database.write() as conn:
        residuals = [revoke_approval(conn, ORIGIN, view.id, now=bench.now)[1] for view in views]
    assert [residual.devices for residual in residuals] == [2, 0]
    assert residuals[0].detail.startswith("2 devices hold updates of this classification already")
    assert residuals[1].detail == "No device holds this approval; none will get it."


# --- times ----------------------------------------------------------------------------------------------


def test_an_approval_waits_for_its_time(bench: Bench) -> None:
    """Held until then, whatever it is of; active from that very moment on."""
    bench.catalogue(A)
    begins = bench.now + HOUR
    views = [
        approve(bench, not_before=begins),
        approve(bench, CLASS, target_type="classification", not_before=begins),
        approve(bench, DEFINITION_UPDATES, target_type="classification", not_before=begins),
    ]
    assert [(view.effective_state, view.reasons) for view in views] == [("held", ("not_before",))] * 3
    bench.now = begins
    assert [read(bench, view).effective_state for view in views] == ["active"] * 3
    assert bench.rows("audit_entry", "seq")[-1]["after"]["not_before"] == "2026-11-21T13:00:00Z"


def test_an_approval_comes_to_its_end(bench: Bench) -> None:
    """From that very moment it is expired: no twin, not in the active list, and still in the other."""
    bench.catalogue(A)
    view = approve(bench, expires_at=bench.now + HOUR)
    lasting = approve(bench, B)
    bench.now += HOUR
    over = read(bench, view)
    assert (over.requested_state, over.effective_state, over.reasons) == ("expired", "expired", ())
    with bench.database.read() as conn:
        active, inactive = (
            [each.id for each in list_approvals(conn, active=flag, before=None, limit=9, now=bench.now)]
            for flag in (True, False)
        )
    assert (active, inactive) == ([lasting.id], [view.id])
    again = approve(bench)
    assert again.effective_state == "active"
    with bench.database.write() as conn:
        revoked, _ = revoke_approval(conn, ORIGIN, view.id, now=bench.now)
    assert (revoked.requested_state, revoked.effective_state) == ("revoked", "revoked")


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"action": "block"}, [("/reason", "required")]),
        ({"action": "block", "reason": ""}, [("/reason", "required")]),
        ({"action": "block", "reason": "x", "not_before": 2}, [("/not_before", "not_for_blocks")]),
        (
            {"action": "block", "reason": "x", "allow_without_metadata": True},
            [("/allow_without_metadata", "not_an_update")],
        ),
        (
            {"target_type": "classification", "allow_without_metadata": True},
            [("/allow_without_metadata", "not_an_update")],
        ),
        ({"delivery": "device"}, [("/delivery", "not_a_classification")]),
        ({"delivery": "expanded"}, [("/delivery", "not_a_classification")]),
        (
            {"target_type": "classification", "action": "block", "reason": "x", "delivery": "device"},
            [("/delivery", "not_a_classification")],
        ),
        ({"expires_at": 0}, [("/expires_at", "too_early")]),
        ({"expires_at": -1}, [("/expires_at", "too_early")]),
        ({"not_before": 2, "expires_at": 1}, [("/expires_at", "too_early")]),
        ({"not_before": 2, "expires_at": 2}, [("/expires_at", "too_early")]),
        ({"not_before": -2, "expires_at": -1}, [("/expires_at", "too_early")]),
        (
            {"action": "block", "not_before": 2, "delivery": "device", "expires_at": 1},
            [
                ("/reason", "required"),
                ("/not_before", "not_for_blocks"),
                ("/delivery", "not_a_classification"),
                ("/expires_at", "too_early"),
            ],
        ),
    ],
    ids=str,
)
def test_nonsense_is_refused(
    sqlite_bench: Bench, values: dict[str, Any], wrong: list[tuple[str, str]]
) -> None:
    """Every wrong member is named at once, and nothing is written. Times are in hours from now."""
    before = sqlite_bench.dump()
    given = {
        name: sqlite_bench.now + value * HOUR if name in {"not_before", "expires_at"} else value
        for name, value in values.items()
    }
    with pytest.raises(Invalid) as caught:
        approve(sqlite_bench, **given)
    assert [(error.pointer, error.code) for error in caught.value.errors] == wrong
    assert sqlite_bench.dump() == before


def test_times_in_the_past_are_no_nonsense(bench: Bench) -> None:
    """A beginning that is past is a beginning; an end behind it may be the next second."""
    bench.catalogue(A)
    view = approve(bench, not_before=bench.now - HOUR, expires_at=bench.now + timedelta(seconds=1))
    assert view.effective_state == "active"
