"""What a rollout comes to on devices that check in: the whole way, through the protocol."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mdm.audit import Origin
from mdm.rollouts.actions import pause_rollout, resume_rollout, stop_rollout
from mdm.rollouts.plans import create_plan
from mdm.rollouts.rings import Halt, Offer, Ring
from mdm.rollouts.store import load, start_rollout
from mdm.rollouts.turns import turn_of
from mdm.rollouts.worker import RolloutWorker

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

UPDATE = "11111111-0000-4000-8000-000000000001"
HOUR = timedelta(hours=1)
TEST = Ring("test", ("test",), soak_hours=24, halt=Halt(failures=1))
ALL = Ring("all", ("all-devices",))
ANN = Origin("ann")


class Fleet:
    """Scripted devices in two rings, and one rollout."""

    def __init__(self, bench: Bench, first: Ring = TEST) -> None:
        """Three devices in the first ring, three in the last; all could install the update."""
        self.bench = bench
        bench.catalogue(UPDATE)
        bench.add("device_group", id="test", name="test", builtin=False, created_at=bench.now)
        self.devices = {f"DEV{number}": bench.enrol(f"DEV{number}") for number in range(6)}
        for device in self.devices.values():
            device.installable = {UPDATE: (0, 200)}
        pks = {row["device_id"]: row["pk"] for row in bench.rows("device")}
        for name in self.testers:
            bench.add("static_member", device_pk=pks[name], group_id="test")
        with bench.database.write() as connection:
            connection.exec_driver_sql("UPDATE groups_version SET version = version + 1")
            plan = create_plan(connection, ANN, name="Rings", rings=(first, ALL), now=bench.now)
            self.rollout_id = start_rollout(
                connection, ANN, plan_id=plan.id, update_ids=[UPDATE], name="November", now=bench.now
            ).id

    testers = ("DEV0", "DEV1", "DEV2")
    others = ("DEV3", "DEV4", "DEV5")

    def look(self) -> None:
        """The worker looks."""
        self.bench.now += timedelta(minutes=2)
        RolloutWorker(self.bench.database, lambda: self.bench.now).run_pending(self.bench.now)

    def check_in(self) -> list[str]:
        """Every device has a session; returns those that hold the approval now."""
        for device in self.devices.values():
            device.check_in()
        return [name for name, device in self.devices.items() if UPDATE in device.approved]

    def install(self, device: ScriptedDevice) -> None:
        """A device installs what it was told."""
        device.installable.pop(UPDATE)
        device.installed[UPDATE] = 200


def test_each_ring_gets_it_when_its_stage_opens(bench: Bench) -> None:
    """Nobody before the first stage opens, the first ring then, all others after it has passed."""
    fleet = Fleet(bench)
    assert fleet.check_in() == []
    fleet.look()
    assert fleet.check_in() == [*fleet.testers]
    bench.now += 24 * HOUR
    fleet.look()
    assert fleet.check_in() == [*fleet.testers, *fleet.others]


def test_a_halted_rollout_is_delivered_to_nobody_new(bench: Bench) -> None:
    """One device fails between two sessions of the others; going on, it is delivered again."""
    fleet = Fleet(bench)
    fleet.look()
    first = fleet.devices["DEV0"]
    first.check_in()
    first.installable.clear()
    first.failed = {UPDATE: (0x80070643, 0, 200)}
    first.check_in()
    fleet.look()
    assert fleet.check_in() == ["DEV0"]
    bench.now += 90 * HOUR
    fleet.look()
    assert fleet.check_in() == ["DEV0"]
    with bench.database.write() as connection:
        resume_rollout(connection, ANN, fleet.rollout_id, remark="that one is broken", now=bench.now)
    assert fleet.check_in() == [*fleet.testers]


@pytest.mark.parametrize("action", [pause_rollout, stop_rollout])
def test_what_is_paused_or_stopped_is_delivered_to_nobody(bench: Bench, action: object) -> None:
    """From the next session on."""
    fleet = Fleet(bench)
    fleet.look()
    fleet.devices["DEV0"].check_in()
    with bench.database.write() as connection:
        action(connection, ANN, fleet.rollout_id, remark=None, now=bench.now)  # type: ignore[operator]
    assert fleet.check_in() == ["DEV0"]


def test_a_gradual_offer_reaches_exactly_as_many_as_it_says(bench: Bench) -> None:
    """One device each period, in the order of their turns."""
    fleet = Fleet(bench, replace(TEST, soak_hours=6, offer=Offer(12, devices=1)))
    turns = sorted(fleet.testers, key=lambda name: turn_of(fleet.rollout_id, f"id-{name}"))
    fleet.look()
    assert fleet.check_in() == []  # only now the bridge knows who is in the ring
    for count in (1, 2, 3):
        fleet.look()
        assert fleet.check_in() == sorted(turns[:count])
        assert fleet.check_in() == sorted(turns[:count])
        bench.now += 12 * HOUR
    fleet.look()
    with bench.database.read() as connection:
        assert load(connection, fleet.rollout_id).state == "completed"
    assert fleet.check_in() == [*fleet.testers, *fleet.others]
