"""The preview of an approval: it says what making it would do, counts each device once, and writes nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.approvals.checks import Proposal
from mdm.approvals.preview import ApprovalPreview, Reach, preview_approval
from mdm.approvals.store import create_approval
from mdm.audit import Origin
from mdm.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from conftest import Bench

ORIGIN = Origin(actor="client:ops")
A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
C = "c317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
PRODUCT = "a3c2375d-0c8a-42f9-bce0-28333e198407"
EULA = "eeeeeeee-0000-4000-8000-000000000001"


def preview(bench: Bench, target_id: str = A, **values: Any) -> ApprovalPreview:
    """What a proposal for all devices would come to."""
    given: dict[str, Any] = {"target_type": "update", "group_ids": ("all-devices",), **values}
    before = bench.dump()
    with bench.database.read() as connection:
        found = preview_approval(connection, Proposal(target_id=target_id, **given), now=bench.now)
    assert bench.dump() == before
    return found


def make(bench: Bench, target_id: str = A, **values: Any) -> str:
    """Approve or block for all devices unless told; its id."""
    given: dict[str, Any] = {"target_type": "update", "group_ids": ["all-devices"], **values}
    with bench.database.write() as connection:
        return create_approval(connection, ORIGIN, target_id=target_id, now=bench.now, **given).id


def devices(bench: Bench) -> None:
    """One device for each thing that an update can mean to it."""
    bench.catalogue(A, title="2026-11 Cumulative", classification_id=CLASS)
    offered, told, restarting, has_it, without, _silent = (
        bench.enrol(name) for name in ("OFFERED", "TOLD", "RESTARTING", "HAS", "WITHOUT", "SILENT")
    )
    for device in (offered, told):
        device.installable = {A: (1, 200)}
    told.approved = [A]
    restarting.pending = {A: 200}
    has_it.installed = {A: 200}
    for device in (offered, told, restarting, has_it, without):
        device.check_in()


def test_each_device_is_counted_once_by_what_it_said(bench: Bench) -> None:
    """Who has never said anything is unknown, and never among those that do not need it."""
    devices(bench)
    found = preview(bench)
    assert found.reach == Reach(
        devices=6, offered=1, told=1, pending_reboot=1, installed=1, not_offered=1, unknown=1
    )
    assert [(each.update_id, each.title, each.devices) for each in found.updates] == [
        (A, "2026-11 Cumulative", 2)
    ]
    assert (found.obstacles, found.eulas, found.rivals, found.superseded_by) == ((), (), (), ())
    assert found.as_of == bench.now
    assert "accepts its licence" in found.final


def test_devices_that_leave_are_not_counted(bench: Bench) -> None:
    """Those that have left, and those that are told to: neither gets anything."""
    devices(bench)
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET unenrolled_at = created_at WHERE device_id = 'OFFERED'")
        conn.exec_driver_sql("UPDATE device SET retire_requested_at = created_at WHERE device_id = 'TOLD'")
    found = preview(bench)
    assert (found.reach.devices, found.reach.offered, found.reach.told) == (4, 0, 0)
    assert found.updates == ()
    bench.add("device_group", id="pilot", name="Pilot", builtin=False, created_at=bench.now)
    bench.add("group_member", device_pk=1, group_id="pilot")
    bench.add("group_member", device_pk=3, group_id="pilot")
    assert preview(bench, group_ids=("pilot",)).reach.devices == 1


def test_of_many_updates_what_is_left_to_do_counts(bench: Bench) -> None:
    """A device that has one update of a classification and could install another is offered something."""
    for update_id in (A, B):
        bench.catalogue(update_id, classification_id=CLASS)
    bench.catalogue(C)
    device = bench.enrol()
    device.installed = {A: 200}
    device.installable = {B: (1, 200), C: (1, 200)}
    device.check_in()
    found = preview(bench, CLASS, target_type="classification")
    assert (found.reach.offered, found.reach.installed) == (1, 0)
    assert [each.update_id for each in found.updates] == [B]
    assert found.delivery == "expanded"
    on_device = preview(bench, CLASS, target_type="classification", delivery="device")
    assert "whatever Microsoft publishes" in on_device.final


def test_only_the_groups_of_the_proposal(bench: Bench) -> None:
    """Others are not counted."""
    devices(bench)
    bench.add("device_group", id="pilot", name="Pilot", builtin=False, created_at=bench.now)
    bench.add("group_member", device_pk=1, group_id="pilot")
    found = preview(bench, group_ids=("pilot",))
    assert (found.reach.devices, found.reach.offered, found.reach.unknown) == (1, 1, 0)
    assert [each.devices for each in found.updates] == [1]


def test_products_and_queries(bench: Bench) -> None:
    """What they hold now."""
    bench.catalogue(A, classification_id=CLASS)
    family = "6964aab4-c5b5-43bd-a17d-ffb4346a8e1d"
    bench.add("category", id=family, revision_number=1, category_type="ProductFamily", title="Windows")
    bench.add(
        "category",
        id=PRODUCT,
        revision_number=1,
        category_type="Product",
        title="Windows 11",
        parent_id=family,
    )
    bench.add("revision_category", update_id=A, revision_number=200, category_id=PRODUCT)
    device = bench.enrol()
    device.installable = {A: (1, 200), B: (1, 200)}
    device.check_in()
    found = preview(bench, PRODUCT, target_type="product")
    assert (found.delivery, found.reach.offered, [each.update_id for each in found.updates]) == (
        "expanded",
        1,
        [A],
    )
    of_family = preview(bench, family, target_type="product")
    assert (of_family.reach.offered, [each.update_id for each in of_family.updates]) == (1, [A])
    blocked = make(bench, PRODUCT, target_type="product", action="block", reason="INC-1")
    assert [(each.approval_id, each.wins) for each in preview(bench, A).rivals] == [(blocked, True)]
    assert [(each.approval_id, each.wins) for each in preview(bench, B).rivals] == []


def test_what_stands_in_the_way_is_all_named(bench: Bench) -> None:
    """The twin and the licence, where making it would stop at the first."""
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    bench.catalogue(A, eula_id=EULA, title="Licensed")
    twin = make(bench, eulas="hold")
    found = preview(bench)
    assert [each.code for each in found.obstacles] == ["approval_conflict", "eula_not_accepted"]
    assert found.obstacles[0].members == {"existing": twin}
    assert [(each.id, each.title) for each in found.eulas] == [(EULA, "Licensed")]
    with pytest.raises(Conflict, match=twin):
        make(bench)


def test_withdrawn_and_superseded(bench: Bench) -> None:
    """One stands in the way, the other is only told."""
    for update_id in (A, B):
        bench.catalogue(update_id)
    bench.add("revision_relation", update_id=B, revision_number=200, kind="supersedes", clause=0, target_id=A)
    assert preview(bench).superseded_by == (B,)
    bench.expire(B)
    assert preview(bench).superseded_by == ()
    assert [each.code for each in preview(bench, B).obstacles] == ["update_expired"]


def test_who_wins(bench: Bench) -> None:
    """A block wins over everything that speaks of the same, nearer or farther; what is over or elsewhere is no rival."""
    bench.catalogue(A, classification_id=CLASS)
    bench.add("device_group", id="pilot", name="Pilot", builtin=False, created_at=bench.now)
    bench.add("device_group", id="other", name="Other", builtin=False, created_at=bench.now)
    of_class = make(bench, CLASS, target_type="classification")
    block = make(bench, action="block", reason="INC-1", group_ids=["pilot"])
    make(bench, action="block", reason="INC-2", group_ids=["other"])
    make(bench, group_ids=["pilot"], expires_at=bench.now + timedelta(hours=1))
    bench.now += timedelta(hours=2)
    found = preview(bench, group_ids=("pilot",))
    assert [(each.approval_id, each.action, each.wins, each.group_ids) for each in found.rivals] == [
        (block, "block", True, ("pilot",)),
        (of_class, "approve", False, ("all-devices",)),
    ]
    assert len(preview(bench).rivals) == 3
    blocking = preview(bench, CLASS, target_type="classification", action="block", reason="INC-3")
    assert {each.approval_id for each in blocking.rivals} > {of_class, block}
    assert "takes nothing from a device" in blocking.final


def test_what_cannot_be_meant_is_refused(sqlite_bench: Bench) -> None:
    """As making it would be."""
    with pytest.raises(Invalid):
        preview(sqlite_bench, action="block")
    with pytest.raises(Invalid):
        preview(sqlite_bench, CLASS)
    with pytest.raises(NotFound):
        preview(sqlite_bench, group_ids=("nowhere",))
