"""What people do with a rollout, and what that leaves behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from csp.rollback import RollbackKind
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.rollouts.rings import Gate, Halt, Ring
from mdm.rollouts.stages import Phase, State

if TYPE_CHECKING:
    from conftest import Fleet

UPDATE = "11111111-0000-4000-8000-000000000001"
OTHER = "11111111-0000-4000-8000-000000000002"
HOUR = timedelta(hours=1)
TEST = Ring("test", ("test",), gate=Gate(90, 2), halt=Halt(failures=1), promote="approval")
ONLY = replace(TEST, promote="auto")
PILOT = Ring("pilot", ("pilot",), deferral_days=3)


def approvals(fleet: Fleet) -> list[tuple[str, bool]]:
    """Action of each approval, and whether it is revoked."""
    return sorted((row["action"], row["revoked_at"] is not None) for row in fleet.rows("approval"))


def test_a_pause_and_a_resumption_are_looked_at_at_once(fleet: Fleet) -> None:
    """Nobody waits for the next minute."""
    rollout_id = fleet.start(TEST, PILOT)
    assert fleet.look() == 1
    fleet.now += timedelta(seconds=1)
    assert fleet.act("pause_rollout", rollout_id, remark="VPN").state is State.PAUSED
    assert fleet.load(rollout_id).state is State.PAUSED
    fleet.act("resume_rollout", rollout_id, remark=None)
    (row,) = fleet.rows("rollout")
    assert (row["state"], row["look_at"], row["state_by"]) == ("running", fleet.now, "bob")
    assert fleet.events(rollout_id)[-2:] == ["paused:None", "resumed:None"]


def test_what_the_state_forbids_changes_nothing(fleet: Fleet) -> None:
    """A paused rollout cannot be paused, nor promoted."""
    rollout_id = fleet.start(TEST, PILOT)
    fleet.act("pause_rollout", rollout_id, remark=None)
    events = fleet.events(rollout_id)
    for name, values in (
        ("pause_rollout", {"remark": None}),
        ("promote_stage", {"stage": 1, "remark": "x"}),
        ("approve_promotion", {"stage": 1, "remark": "x"}),
    ):
        with pytest.raises(Conflict) as caught:
            fleet.act(name, rollout_id, **values)
        assert caught.value.code == "rollout_state"
    assert fleet.events(rollout_id) == events


def test_a_second_person_lets_the_next_ring_begin(fleet: Fleet) -> None:
    """Who asked cannot; the remark is kept."""
    rollout_id = fleet.start(TEST, PILOT)
    fleet.look()
    fleet.act("promote_stage", rollout_id, stage=1, remark="urgent")
    for actor in ("ann", "bob"):
        with pytest.raises(Forbidden):
            fleet.act("approve_promotion", rollout_id, actor, stage=1, remark="yes")
    done = fleet.act("approve_promotion", rollout_id, "cid", stage=1, remark="seen the pilots")
    assert done.stages[0].phase is Phase.PASSED
    last = fleet.rows("rollout_event", "seq")[-1]
    assert (last["kind"], last["actor"], last["stage"]) == ("passed", "cid", 1)
    assert last["reason"] == {"code": "promotion_approved", "remark": "seen the pilots", "asked_by": "bob"}


def test_a_halted_rollout_goes_on_with_a_remark_only(fleet: Fleet) -> None:
    """And the same failures do not halt it again."""
    devices = fleet.enrol(3, "test")
    rollout_id = fleet.start(TEST, PILOT)
    fleet.look()
    fleet.now += HOUR
    fleet.tell(devices[:1], "failed")
    fleet.look()
    assert fleet.load(rollout_id).state is State.HALTED
    with pytest.raises(Invalid):
        fleet.act("resume_rollout", rollout_id, remark=None)
    fleet.now += HOUR
    fleet.act("resume_rollout", rollout_id, remark="driver removed")
    assert fleet.look() == 0
    fleet.now += HOUR
    fleet.tell(devices[1:2], "failed")
    assert fleet.look() == 1
    assert fleet.load(rollout_id).state is State.HALTED


def test_a_stop_revokes_its_approvals_and_no_others(fleet: Fleet) -> None:
    """It cannot be resumed."""
    rollout_id, other = fleet.start(TEST, PILOT), fleet.start(ONLY)
    fleet.act("stop_rollout", rollout_id, remark="wrong plan")
    assert {
        (row["rollout_id"], row["revoked_at"] is not None, row["revoked_by"])
        for row in fleet.rows("approval")
    } == {(rollout_id, True, "bob"), (other, False, None)}
    with pytest.raises(Conflict):
        fleet.act("resume_rollout", rollout_id, remark="x")
    with pytest.raises(Conflict):
        fleet.act("stop_rollout", rollout_id, remark="x")


def test_a_completed_rollout_can_still_be_stopped(fleet: Fleet) -> None:
    """Else nobody could revoke its approvals any more."""
    rollout_id = fleet.start(Ring("test", ("test",)))
    assert fleet.look() == 3
    assert fleet.load(rollout_id).state is State.COMPLETED
    fleet.act("stop_rollout", rollout_id, remark=None)
    assert approvals(fleet) == [("approve", True)]


def asked(fleet: Fleet) -> list[tuple[int, str]]:
    """The devices that were asked to roll back, each with what came of it until now."""
    return [(row["device_pk"], row["state"]) for row in fleet.rows("rollback_device", "device_pk")]


def test_a_roll_back_stops_blocks_and_asks_those_that_have_it(fleet: Fleet) -> None:
    """Blocks are for all its groups; asked is who installed it in a stage that had opened, and nobody else."""
    testers, pilots = fleet.enrol(4, "test"), fleet.enrol(1, "pilot")
    rollout_id = fleet.start(TEST, PILOT, updates=(UPDATE, OTHER))
    fleet.look()
    fleet.now += HOUR
    fleet.tell([testers[0], *pilots], "installed")
    fleet.tell(testers[1:2], "pending_reboot", OTHER)
    fleet.tell(testers[2:3], "failed")
    fleet.act("roll_back_rollout", rollout_id, reason="INC-4471", kind=RollbackKind.QUALITY)
    assert fleet.load(rollout_id).state is State.STOPPED
    assert approvals(fleet) == [("approve", True)] * 4 + [("block", False)] * 2
    blocks = [row for row in fleet.rows("approval", "target_id") if row["action"] == "block"]
    assert [(row["target_id"], row["reason"], row["rollout_id"]) for row in blocks] == [
        (UPDATE, "INC-4471", None),
        (OTHER, "INC-4471", None),
    ]
    groups = [
        row["group_id"] for row in fleet.rows("approval_group") if row["approval_id"] == blocks[0]["id"]
    ]
    assert sorted(groups) == ["pilot", "test"]
    assert asked(fleet) == [(fleet.devices[name], "waiting") for name in testers[:2]]
    (job,) = fleet.rows("rollback_job")
    assert (job["kind"], job["reason"], job["created_by"]) == ("quality", "INC-4471", "bob")
    assert fleet.events(rollout_id)[-1] == "rolled_back:None"


def test_a_roll_back_may_come_twice_and_after_a_stop(fleet: Fleet) -> None:
    """A block that is there stays as it is; nobody is asked before a stage has opened."""
    fleet.tell(fleet.enrol(1, "test"), "installed")
    rollout_id = fleet.start(ONLY)
    fleet.act("stop_rollout", rollout_id, remark=None)
    for _ in range(2):
        fleet.act("roll_back_rollout", rollout_id, reason="bad", kind=RollbackKind.QUALITY)
    assert approvals(fleet) == [("approve", True), ("block", False)]
    assert asked(fleet) == []


def test_a_roll_back_without_a_kind_asks_no_device(fleet: Fleet) -> None:
    """It stops and blocks."""
    devices = fleet.enrol(1, "test")
    rollout_id = fleet.start(ONLY)
    fleet.look()
    fleet.tell(devices, "installed")
    fleet.act("roll_back_rollout", rollout_id, reason="bad", kind=None)
    assert asked(fleet) == []
    assert approvals(fleet) == [("approve", True), ("block", False)]


def test_a_roll_back_that_finds_no_device_to_ask_still_stops_and_blocks(fleet: Fleet) -> None:
    """In an emergency, that nobody has it yet is no reason to go on delivering it; no empty rollback is left."""
    fleet.enrol(1, "test")
    rollout_id = fleet.start(ONLY)
    fleet.look()
    fleet.act("roll_back_rollout", rollout_id, reason="bad", kind=RollbackKind.QUALITY)
    assert fleet.load(rollout_id).state is State.STOPPED
    assert approvals(fleet) == [("approve", True), ("block", False)]
    assert fleet.rows("rollback_job") == []


def test_a_rollback_that_is_refused_otherwise_undoes_all(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it would be worse than none, and nobody would know."""

    def refuse(*_: object, **__: object) -> None:
        raise Conflict("no", code="conflict")

    rollout_id = fleet.start(ONLY)
    fleet.look()
    monkeypatch.setattr("mdm.rollouts.actions.create_rollback", refuse)
    with pytest.raises(Conflict):
        fleet.act("roll_back_rollout", rollout_id, reason="bad", kind=RollbackKind.QUALITY)
    assert fleet.load(rollout_id).state is State.RUNNING
    assert approvals(fleet) == [("approve", False)]


def test_a_roll_back_of_groups_that_are_gone_blocks_nothing(fleet: Fleet) -> None:
    """There is nobody left to keep it from."""
    rollout_id = fleet.start(ONLY)
    fleet.act("stop_rollout", rollout_id, remark=None)
    with fleet.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM rollout_plan")
        connection.exec_driver_sql("DELETE FROM device_group WHERE id = 'test'")
    fleet.act("roll_back_rollout", rollout_id, reason="bad", kind=RollbackKind.QUALITY)
    assert approvals(fleet) == [("approve", True)]


def test_a_block_that_cannot_be_made_undoes_the_roll_back(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a block that is there already is no error."""

    def refuse(*_: object, **__: object) -> None:
        raise Conflict("no", code="conflict")

    rollout_id = fleet.start(ONLY)
    monkeypatch.setattr("mdm.rollouts.actions.create_approval", refuse)
    with pytest.raises(Conflict):
        fleet.act("roll_back_rollout", rollout_id, reason="bad", kind=None)
    assert fleet.load(rollout_id).state is State.RUNNING


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pause_rollout", {"remark": None}),
        ("resume_rollout", {"remark": None}),
        ("promote_stage", {"stage": 1, "remark": "x"}),
        ("approve_promotion", {"stage": 1, "remark": "x"}),
        ("stop_rollout", {"remark": None}),
        ("roll_back_rollout", {"reason": "x", "kind": None}),
    ],
)
def test_an_unknown_rollout_is_not_found(sqlite_fleet: Fleet, name: str, values: dict[str, Any]) -> None:
    """Whatever is asked of it."""
    with pytest.raises(NotFound):
        sqlite_fleet.act(name, "rol_none", **values)
