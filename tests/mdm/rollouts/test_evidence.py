"""What devices told, counted by SQL: each device once, in its earliest ring, where it is worst."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mdm.rollouts.evidence import (
    count_shared,
    count_targeted,
    reach,
    read_all_evidence,
    read_evidence,
)
from mdm.rollouts.findings import Evidence
from mdm.rollouts.rings import Halt, Offer, Ring
from mdm.rollouts.turns import turn_of

if TYPE_CHECKING:
    from conftest import Fleet

UPDATE = "11111111-0000-4000-8000-000000000001"
OTHER = "11111111-0000-4000-8000-000000000002"
HOUR = timedelta(hours=1)
TEST, PILOT = Ring("test", ("test",)), Ring("pilot", ("pilot",))
ALL = Ring("all", ("all-devices",))
INSTALLABLE, APPROVED = 1, 16


def evidence(fleet: Fleet, rollout_id: str, number: int = 1) -> Evidence:
    """The evidence of a stage now."""
    rollout = fleet.load(rollout_id)
    with fleet.database.read() as connection:
        return read_evidence(connection, rollout, rollout.stages[number - 1], fleet.now)


def test_each_device_counts_once_and_all_of_them_count(fleet: Fleet) -> None:
    """Every state a device can be in, in one ring."""
    had = fleet.enrol(1, "test")
    fleet.tell(had, "installed")
    old = fleet.enrol(1, "test")
    fleet.tell(old, "failed")
    silent = fleet.enrol(1, "test")
    fleet.tell(silent, "installable")
    fleet.enrol(1, "test", unenrolled_at=fleet.now)
    fleet.enrol(1, "test", retire_requested_at=fleet.now)
    rollout_id = fleet.start(replace(TEST, halt=Halt(failures=9)), PILOT)
    fleet.look(HOUR)
    fleet.now += HOUR
    fleet.tell(fleet.enrol(5, "test"), "installed")
    fleet.tell(fleet.enrol(4, "test"), "failed")
    fleet.tell(fleet.enrol(3, "test"), "pending_reboot")
    fleet.tell(fleet.enrol(2, "test"), "installable", lists=INSTALLABLE | APPROVED)
    fleet.tell(fleet.enrol(2, "test"), "installable", lists=INSTALLABLE)
    fleet.tell(fleet.enrol(1, "test"), "listed")
    fleet.enrol(2, "test")
    fleet.enrol(1, "pilot")
    fleet.enrol(1, "test", last_checkin_at=None)
    found = evidence(fleet, rollout_id)
    assert found == Evidence(
        targeted=23,
        installed=5,
        had_it=1,
        failed=4,
        pending_reboot=3,
        delivered=2,
        installable=2,
        not_applicable=3,
        not_seen=3,
        heard_within_24h=22,
    )
    assert (found.tried, found.outcomes) == (14, 12)
    fleet.now += 25 * HOUR
    fleet.tell(old, "failed")
    assert evidence(fleet, rollout_id).heard_within_24h == 1


def test_a_device_with_several_updates_counts_where_it_is_worst(fleet: Fleet) -> None:
    """Failed before waiting for a reboot, that before delivered, that before installed."""
    rollout_id = fleet.start(TEST, updates=(UPDATE, OTHER))
    fleet.act("promote_stage", rollout_id, stage=1, remark="open it")
    fleet.now += HOUR
    for first, second in (
        ("installed", "failed"),
        ("pending_reboot", "installed"),
        ("installable", "installed"),
        ("installed", "installed"),
    ):
        device = fleet.enrol(1, "test")
        fleet.tell(device, first)
        fleet.tell(device, second, OTHER)
    assert evidence(fleet, rollout_id) == Evidence(
        targeted=4, installed=1, failed=1, pending_reboot=1, delivered=1, heard_within_24h=4
    )


def test_other_updates_say_nothing(fleet: Fleet) -> None:
    """A failure of something else is no failure of the rollout."""
    rollout_id = fleet.start(TEST)
    fleet.act("promote_stage", rollout_id, stage=1, remark="open it")
    fleet.now += HOUR
    fleet.tell(fleet.enrol(1, "test"), "failed", OTHER)
    assert evidence(fleet, rollout_id) == Evidence(targeted=1, not_applicable=1, heard_within_24h=1)


def test_a_device_belongs_to_its_earliest_ring(fleet: Fleet) -> None:
    """Also of all devices, and a ring behind that one has none."""
    fleet.enrol(2, "test")
    fleet.enrol(3, "test", "pilot")
    fleet.enrol(4, "pilot")
    fleet.enrol(5)
    rollout_id = fleet.start(TEST, PILOT, ALL)
    assert [evidence(fleet, rollout_id, number) for number in (1, 2, 3)] == [
        Evidence(targeted=count, not_seen=count, heard_within_24h=count) for count in (5, 4, 5)
    ]
    with fleet.database.read() as connection:
        assert count_targeted(connection, PILOT, [ALL]) == 0
        assert count_shared(connection, TEST, []) == 0
        assert count_shared(connection, PILOT, [TEST]) == 3
        assert count_shared(connection, ALL, [TEST, PILOT]) == 9


def test_failures_that_were_looked_at_count_as_delivered(fleet: Fleet) -> None:
    """They halt no more, and still keep the gate from being met."""
    devices = fleet.enrol(3, "test")
    rollout_id = fleet.start(replace(TEST, soak_hours=48, halt=Halt(failures=1)))
    fleet.look()
    fleet.now += HOUR
    fleet.tell(devices[:1], "failed")
    fleet.tell(devices[1:], "installed")
    with fleet.database.read() as connection:
        assert read_all_evidence(connection, fleet.load(rollout_id), fleet.now)[1].failed == 1
    assert fleet.look() == 1
    fleet.now += HOUR
    fleet.act("resume_rollout", rollout_id, remark="seen")
    assert evidence(fleet, rollout_id) == Evidence(targeted=3, installed=2, delivered=1, heard_within_24h=3)


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        (Offer(12, devices=3), [3, 6, 9, 10, 10]),
        (Offer(12, percent=25), [3, 5, 8, 10, 10]),
        (None, [10, 10, 10, 10, 10]),
    ],
)
def test_exactly_as_many_devices_as_wanted_have_their_turn(
    fleet: Fleet, offer: Offer | None, expected: list[int]
) -> None:
    """Those of the ring with the lowest turns, and no others."""
    fleet.enrol(10, "pilot")
    fleet.enrol(7, "pilot", "test")
    fleet.enrol(3, "pilot", unenrolled_at=fleet.now)
    rollout = fleet.load(fleet.start(TEST, replace(PILOT, offer=offer)))
    mine = sorted(turn_of(rollout.id, f"dev_{number}") for number in range(1, 11))
    with fleet.database.read() as connection:
        for slots, wanted in enumerate(expected, start=1):
            below, devices = reach(connection, rollout, rollout.stages[1], slots)
            assert devices == wanted
            assert [turn < below for turn in mine] == [True] * wanted + [False] * (10 - wanted)


def test_an_empty_ring_gives_nobody_a_turn(fleet: Fleet) -> None:
    """A device that joins it before the next period waits for that."""
    rollout = fleet.load(fleet.start(replace(TEST, offer=Offer(12, devices=3))))
    with fleet.database.read() as connection:
        assert reach(connection, rollout, rollout.stages[0], 1) == (0, 0)


def test_a_turn_once_given_is_not_taken_away(fleet: Fleet) -> None:
    """Devices with a lower turn join: those that had the offer keep it, and are counted."""
    fleet.enrol(4, "test")
    rollout = fleet.load(fleet.start(replace(TEST, offer=Offer(12, devices=2))))
    stage = rollout.stages[0]
    with fleet.database.read() as connection:
        below, _ = reach(connection, rollout, stage, 1)
        before = replace(stage, slot=1, offered_below=below, offered_devices=2)
    fleet.enrol(50, "test")
    with fleet.database.read() as connection:
        again, devices = reach(connection, rollout, before, 1)
    assert again == below
    assert devices == sum(turn_of(rollout.id, name) < below for name in fleet.devices)
    assert devices > 2


def test_pieces_of_a_large_ring_are_put_together(
    sqlite_fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pieces the devices are read in."""
    sqlite_fleet.enrol(10, "test")
    rollout = sqlite_fleet.load(sqlite_fleet.start(TEST))
    found = set()
    for piece in (3, 5, 10, 11):
        monkeypatch.setattr("mdm.rollouts.evidence._PIECE", piece)
        with sqlite_fleet.database.read() as connection:
            found.add(reach(connection, rollout, rollout.stages[0], 1))
    assert {devices for _, devices in found} == {10}
    assert len(found) == 1
