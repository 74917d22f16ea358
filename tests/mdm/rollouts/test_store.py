"""Rollouts in the database: a start is whole or nothing, a step is written once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mdm.audit import Origin, list_entries
from mdm.errors import Conflict, Invalid, NotFound
from mdm.rollouts import stages
from mdm.rollouts.plans import delete_plan
from mdm.rollouts.rings import Gate, Offer, Ring
from mdm.rollouts.stages import Phase, State
from mdm.rollouts.store import load, load_locked, start_rollout, write_step

if TYPE_CHECKING:
    from conftest import Fleet

UPDATE = "11111111-0000-4000-8000-000000000001"
OTHER = "11111111-0000-4000-8000-000000000002"
CRITICAL = "e6cf1350-c01b-414d-a61f-263d14d133b4"
DAY = timedelta(days=1)
TEST = Ring("test", ("test",), gate=Gate(95, 3), offer=Offer(12, devices=5), deadline_days=2)
PILOT = Ring("pilot", ("pilot", "broad"), after="start", deferral_days=3, deadline_days=7)
LAST = Ring("all", ("all-devices",), deadline_days=14)
ANN = Origin("ann")


def test_a_start_makes_one_approval_for_each_stage_and_update(fleet: Fleet) -> None:
    """However many devices there are; each knows its rollout, its stage and, where it can be known, its deadline."""
    fleet.enrol(20, "test")
    rollout_id = fleet.start(TEST, PILOT, LAST, updates=(UPDATE, OTHER))
    approvals = fleet.rows("approval", "stage", "target_id")
    assert [
        (row["target_id"], row["stage"], row["rollout_id"], row["action"], row["deadline"])
        for row in approvals
    ] == [
        (update_id, stage, rollout_id, "approve", deadline)
        for stage, deadline in ((1, fleet.now + 2 * DAY), (2, fleet.now + 10 * DAY), (3, None))
        for update_id in (UPDATE, OTHER)
    ]
    groups = {(row["approval_id"], row["group_id"]) for row in fleet.rows("approval_group")}
    assert {group for approval, group in groups if approval == approvals[2]["id"]} == {"pilot", "broad"}
    assert len(fleet.rows("rollout_stage")) == 3
    assert fleet.events(rollout_id) == ["started:None"]


def test_a_start_is_read_back_as_it_is(fleet: Fleet) -> None:
    """With copies of the rings: the plan may change or go."""
    plan_id = fleet.plan(TEST, PILOT)
    with fleet.database.write() as connection:
        made = start_rollout(
            connection,
            ANN,
            plan_id=plan_id,
            update_ids=[UPDATE],
            name="November",
            rule_id="rul_1",
            now=fleet.now,
        )
        delete_plan(connection, ANN, plan_id, now=fleet.now)
    assert fleet.load(made.id) == made
    assert (made.state, made.rule_id, made.plan_id) == (State.RUNNING, "rul_1", plan_id)
    assert [stage.ring for stage in made.stages] == [TEST, PILOT]
    assert [stage.offered_below for stage in made.stages] == [0, None]
    assert {row["rule_id"] for row in fleet.rows("approval")} == {"rul_1"}
    with fleet.database.read() as connection:
        entries = {entry.action: entry for entry in list_entries(connection, before=None, limit=9)}
    after = entries["rollout.started"].after
    assert after is not None
    assert after["stage_1"]["ring"]["gate"] == {"percent": 95, "min_devices": 3}


def test_a_start_tells_the_devices_of_every_stage(fleet: Fleet) -> None:
    """Their plans are made anew: some will learn that they wait."""
    before = fleet.versions()
    fleet.start(TEST, replace(PILOT, group_ids=("pilot",)))
    after = fleet.versions()
    assert {group for group in after if after[group] != before[group]} == {"test", "pilot"}


@pytest.mark.parametrize(
    ("updates", "pointers"),
    [
        ([], ["/update_ids"]),
        ([f"11111111-0000-4000-8000-{number:012}" for number in range(101)], ["/update_ids"]),
        ([UPDATE, OTHER, UPDATE], ["/update_ids/2"]),
        ([UPDATE, CRITICAL], ["/update_ids/1"]),
    ],
)
def test_updates_that_cannot_be_rolled_out_are_named(
    fleet: Fleet, updates: list[str], pointers: list[str]
) -> None:
    """None, too many, one twice, and the GUID of a classification."""
    with pytest.raises(Invalid) as caught:
        fleet.start(TEST, updates=updates)
    assert [error.pointer for error in caught.value.errors] == pointers
    assert fleet.rows("rollout") == fleet.rows("approval") == []


def test_a_rollout_needs_a_plan(fleet: Fleet) -> None:
    """One that is not there is named."""
    with pytest.raises(Invalid) as caught, fleet.database.write() as connection:
        start_rollout(connection, ANN, plan_id="pln_x", update_ids=[UPDATE], name="x", now=fleet.now)
    assert [(error.pointer, error.code) for error in caught.value.errors] == [("/plan_id", "unknown_plan")]


def test_a_withdrawn_update_starts_nothing(fleet: Fleet) -> None:
    """Not even for the others: a start is whole or nothing."""
    fleet.catalogue(OTHER, publication_state="Expired")
    with pytest.raises(Conflict) as caught:
        fleet.start(TEST, updates=(UPDATE, OTHER))
    assert caught.value.code == "update_expired"
    assert fleet.rows("rollout") == fleet.rows("approval") == fleet.rows("rollout_event") == []


def test_an_open_licence_refuses_nothing(fleet: Fleet) -> None:
    """The update waits for it, visibly, while the others go."""
    fleet.add("eula", id="eula-1", first_seen_at=fleet.now)
    fleet.catalogue(UPDATE, eula_id="eula-1")
    fleet.start(TEST)
    assert len(fleet.rows("approval")) == 1


def test_a_rollout_that_is_not_there_is_not_found(fleet: Fleet) -> None:
    """Read or held."""
    for read in (load, load_locked):
        with pytest.raises(NotFound), fleet.database.write() as connection:
            read(connection, "rol_none")


def test_of_two_that_worked_out_the_same_step_one_writes_it(fleet: Fleet) -> None:
    """The other finds another version, and leaves no trace at all."""
    rollout_id = fleet.start(TEST)
    seen = fleet.load(rollout_id)
    step = stages.advance(seen, {}, "rollout:x", fleet.now)
    assert step is not None
    with fleet.database.write() as connection:
        assert write_step(connection, Origin("rollout:x"), seen, step, now=fleet.now)
    rows = {
        table: fleet.rows(table) for table in ("rollout", "rollout_stage", "rollout_event", "audit_entry")
    }
    versions = fleet.versions()
    with fleet.database.write() as connection:
        assert not write_step(connection, Origin("rollout:x"), seen, step, now=fleet.now)
    assert {table: fleet.rows(table) for table in rows} == rows
    assert fleet.versions() == versions
    assert fleet.load(rollout_id).version == seen.version + 1


def test_a_stage_that_opens_tells_its_own_devices(fleet: Fleet) -> None:
    """Those of other stages have nothing new to be told, until the rollout's own state changes."""
    rollout_id = fleet.start(replace(TEST, offer=None), PILOT)
    before = fleet.versions()
    fleet.look()
    opened = fleet.versions()
    assert {group for group in opened if opened[group] != before[group]} == {"test"}
    fleet.act("pause_rollout", rollout_id, remark=None)
    paused = fleet.versions()
    assert {group for group in paused if paused[group] != opened[group]} == {"test", "pilot", "broad"}


def test_deadlines_are_counted_from_the_opening(fleet: Fleet) -> None:
    """And are later by as long as the rollout stood still."""
    rollout_id = fleet.start(replace(TEST, soak_hours=99, gate=None, offer=None), LAST)
    fleet.now += DAY
    fleet.look()
    opened = fleet.now

    def deadlines() -> list[object]:
        return [row["deadline"] for row in fleet.rows("approval", "stage")]

    assert deadlines() == [opened + 2 * DAY, None]
    fleet.act("pause_rollout", rollout_id, remark=None)
    fleet.now += 5 * DAY
    fleet.act("resume_rollout", rollout_id, remark=None)
    assert deadlines() == [opened + 7 * DAY, None]


def test_a_stage_without_a_deadline_gets_none(fleet: Fleet) -> None:
    """Also when it opens."""
    rollout_id = fleet.start(replace(TEST, deadline_days=None, offer=None))
    fleet.look()
    assert fleet.load(rollout_id).stages[0].phase is Phase.RUNNING
    assert [row["deadline"] for row in fleet.rows("approval")] == [None]


def test_each_change_is_in_the_audit_trail_with_before_and_after(fleet: Fleet) -> None:
    """By the rollout itself, and by people."""
    rollout_id = fleet.start(replace(TEST, offer=None))
    fleet.look()
    fleet.act("pause_rollout", rollout_id, remark="VPN")
    with fleet.database.read() as connection:
        paused, opened, *_ = list_entries(connection, before=None, limit=9)
    assert (opened.actor, opened.action) == (f"rollout:{rollout_id}", "rollout.opened")
    assert opened.before is not None
    assert opened.after is not None
    assert (opened.before["stage_1"]["phase"], opened.after["stage_1"]["phase"]) == ("waiting", "running")
    assert opened.detail["stage"] == 1
    assert (paused.actor, paused.action) == ("bob", "rollout.paused")
    assert (paused.before, paused.after) == ({"state": "running"}, {"state": "paused"})
    assert paused.detail == {"stage": None, "reason": {"code": "paused", "remark": "VPN"}}
