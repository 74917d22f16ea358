"""What a rollout would come to, before anybody starts it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mdm.approvals.store import create_approval
from mdm.audit import Origin
from mdm.errors import Invalid
from mdm.rollouts.preview import preview_rollout
from mdm.rollouts.rings import Gate, Halt, Offer, Ring

if TYPE_CHECKING:
    from conftest import Fleet

    from mdm.rollouts.preview import RolloutPreview

UPDATE = "11111111-0000-4000-8000-000000000001"
OTHER = "11111111-0000-4000-8000-000000000002"
DAY = timedelta(days=1)
TEST = Ring("test", ("test",), gate=Gate(90, 2))
PILOT = Ring("pilot", ("pilot",), deferral_days=2, offer=Offer(12, devices=4))
BROAD = Ring("broad", ("broad",), after="start", deferral_days=5, offer=Offer(6, percent=30))


def preview(fleet: Fleet, *rings: Ring, updates: tuple[str, ...] = (UPDATE,)) -> RolloutPreview:
    """Try it out, in a transaction that may not write."""
    with fleet.database.read() as connection:
        return preview_rollout(connection, rings, updates, now=fleet.now)


def codes(found: RolloutPreview) -> list[tuple[str, int | str | None]]:
    """The warnings, each with what it is about."""
    return [(each.code, each.stage or each.update_id) for each in found.warnings]


def test_each_ring_says_whom_it_would_reach_and_when(fleet: Fleet) -> None:
    """A device in two rings counts in the earlier; what depends on others has no date."""
    fleet.catalogue()
    testers = fleet.enrol(3, "test", state_read_at=fleet.now)
    fleet.enrol(2, "test", "pilot")
    pilots = fleet.enrol(9, "pilot")
    fleet.enrol(1, "broad")
    fleet.tell(testers[:1], "installable")
    fleet.tell(pilots[:2], "failed")
    fleet.tell(pilots[2:4], "installed")
    found = preview(fleet, TEST, PILOT, BROAD)
    assert [
        (
            each.name,
            each.devices,
            each.in_earlier_rings,
            each.waiting_for_updates,
            each.never_read,
            each.opens_at,
            each.offer_periods,
        )
        for each in found.stages
    ] == [
        ("test", 5, 0, 1, 2, fleet.now, None),
        ("pilot", 9, 2, 2, 9, None, 3),
        ("broad", 1, 0, 0, 1, fleet.now + 5 * DAY, 4),
    ]
    assert codes(found) == [("overlap", 2)]
    assert (found.approvals, found.as_of) == (3, fleet.now)
    assert "no documented command takes that back" in found.final
    assert fleet.rows("rollout") == fleet.rows("approval") == []


def test_gates_and_halts_that_cannot_work_are_told(fleet: Fleet) -> None:
    """Too few devices for the gate, none at all, and a halt that comes after the end."""
    fleet.catalogue()
    fleet.enrol(1, "test")
    rings = (TEST, replace(PILOT, gate=Gate(90)), replace(BROAD, halt=Halt(failures=1)))
    assert codes(preview(fleet, *rings)) == [
        ("gate_out_of_reach", 1),
        ("no_devices", 2),
        ("no_devices", 3),
        ("halt_too_late", 3),
    ]
    fleet.enrol(1, "test")
    assert codes(preview(fleet, TEST)) == []
    soaking = replace(TEST, gate=None, soak_hours=24, halt=Halt(failures=1))
    assert codes(preview(fleet, soaking)) == []


def test_what_stands_in_an_updates_way_is_told(fleet: Fleet) -> None:
    """Withdrawn, licence open, blocked, approved already, in another rollout, unknown."""
    fleet.enrol(3, "test")
    fleet.add("eula", id="eula-1", first_seen_at=fleet.now)
    fleet.catalogue(UPDATE, eula_id="eula-1")
    other = fleet.start(TEST, name="December")
    with fleet.database.write() as connection:
        for action in ("approve", "block"):
            create_approval(
                connection,
                Origin("ann"),
                target_type="update",
                target_id=UPDATE,
                group_ids=["test"],
                action=action,
                reason="INC-1",
                eulas="hold",
                now=fleet.now,
            )
    found = preview(fleet, TEST, updates=(UPDATE, OTHER))
    assert codes(found) == [
        ("eula_not_accepted", UPDATE),
        ("blocked", UPDATE),
        ("rollout_of_same_update", UPDATE),
        ("approved_already", UPDATE),
        ("metadata_unknown", OTHER),
    ]
    first, second = found.updates
    assert first.title == "Update 0001"
    assert first.obstacles == ()
    assert [eula.id for eula in first.eulas] == ["eula-1"]
    assert [(block.action, block.reason) for block in first.blocks] == [("block", "INC-1")]
    assert [approval.rollout_id for approval in first.approvals] == [None]
    assert [(each.id, each.name, each.state) for each in first.rollouts] == [(other, "December", "running")]
    assert (second.title, second.rollouts) == (None, ())
    fleet.act("stop_rollout", other, remark=None)
    assert preview(fleet, TEST).updates[0].rollouts == ()


def test_what_would_refuse_the_start_is_an_obstacle(fleet: Fleet) -> None:
    """A withdrawn update is; an approval of the same groups is none, as a rollout's stand beside it."""
    fleet.catalogue(publication_state="Expired")
    (each,) = preview(fleet, TEST).updates
    assert [obstacle.code for obstacle in each.obstacles] == ["update_expired"]


def test_a_newer_update_is_named(fleet: Fleet) -> None:
    """It would replace this one on the devices."""
    fleet.enrol(2, "test")
    fleet.catalogue(UPDATE)
    fleet.catalogue(OTHER)
    fleet.add(
        "revision_relation",
        update_id=OTHER,
        revision_number=200,
        kind="supersedes",
        clause=0,
        target_id=UPDATE,
    )
    found = preview(fleet, TEST)
    assert codes(found) == [("update_superseded", UPDATE)]
    assert found.updates[0].superseded_by == (OTHER,)


def test_wrong_updates_are_refused_as_by_the_start(fleet: Fleet) -> None:
    """By their place in the list."""
    with pytest.raises(Invalid) as caught:
        preview(fleet, TEST, updates=(UPDATE, UPDATE))
    assert [error.pointer for error in caught.value.errors] == ["/update_ids/1"]
