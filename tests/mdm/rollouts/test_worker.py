"""The worker: what it does follows from the database and the time, however often it is killed and however many run."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.errors import Unavailable
from mdm.rollouts import worker as module
from mdm.rollouts.rings import Gate, Halt, Offer, Ring
from mdm.rollouts.stages import State
from mdm.rollouts.turns import turn_of
from mdm.rollouts.worker import RolloutWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Fleet

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TEST = Ring("test", ("test",), gate=Gate(90, 2), halt=Halt(percent=20, min_sample=5))
PILOT = Ring("pilot", ("pilot",), deferral_days=2, soak_hours=24, offer=Offer(12, devices=4))
ALL = Ring("all", ("all-devices",), deferral_days=1)


def offered(fleet: Fleet, rollout_id: str, number: int, devices: list[str]) -> int:
    """How many of these devices a check-in would let it through to."""
    below = fleet.load(rollout_id).stages[number - 1].offered_below
    return sum(below is None or turn_of(rollout_id, device) < below for device in devices)


def test_a_rollout_goes_through_its_rings_by_itself(fleet: Fleet) -> None:
    """Gate, deferral, gradual offer, soak, and the end, each at its time."""
    testers, pilots = fleet.enrol(4, "test"), fleet.enrol(10, "pilot")
    rollout_id = fleet.start(TEST, PILOT, ALL)
    assert fleet.look() == 1
    fleet.now += HOUR
    fleet.tell(testers, "installed")
    assert fleet.look() == 1
    assert fleet.look(2 * DAY - MINUTE) == 0
    assert fleet.look(2 * MINUTE) == 2
    assert offered(fleet, rollout_id, 2, pilots) == 4
    assert fleet.look(11 * HOUR) == 0
    assert fleet.look(HOUR) == 1
    assert offered(fleet, rollout_id, 2, pilots) == 8
    assert fleet.look(12 * HOUR) == 1
    assert fleet.look(DAY - HOUR) == 0  # the last two soak as long as the first
    assert fleet.look(HOUR) == 1
    assert fleet.look(DAY) == 3
    assert fleet.events(rollout_id) == [
        "started:None",
        "opened:1",
        "passed:1",
        "opened:2",
        "offered:2",
        "offered:2",
        "offered:2",
        "passed:2",
        "opened:3",
        "passed:3",
        "completed:None",
    ]
    assert fleet.load(rollout_id).state is State.COMPLETED
    assert fleet.look(DAY) == 0


def test_a_bad_update_halts_and_reaches_nobody_else(fleet: Fleet) -> None:
    """Whatever time brings, until somebody lets it go on."""
    testers, pilots = fleet.enrol(10, "test"), fleet.enrol(10, "pilot")
    rollout_id = fleet.start(replace(TEST, gate=None), replace(PILOT, deferral_days=0), ALL)
    fleet.look()
    before = offered(fleet, rollout_id, 2, pilots)
    assert before == 4
    fleet.now += HOUR
    fleet.tell(testers[:8], "installed")
    fleet.tell(testers[8:], "failed")
    assert fleet.look() == 1
    rollout = fleet.load(rollout_id)
    assert rollout.state is State.HALTED
    assert rollout.state_by == f"rollout:{rollout_id}"
    assert rollout.state_reason == {
        "code": "halted_by_failure_rate",
        "failed": 2,
        "outcomes": 10,
        "limit_percent": 20,
        "min_sample": 5,
        "stage": 1,
    }
    assert fleet.look(30 * DAY) == 0
    assert offered(fleet, rollout_id, 2, pilots) == before


def test_after_an_outage_a_gradual_offer_is_where_time_has_got_to(fleet: Fleet) -> None:
    """In one step, not one for each period that nobody played; and none is played twice."""
    pilots = fleet.enrol(20, "pilot")
    rollout_id = fleet.start(replace(PILOT, deferral_days=0))
    assert fleet.look() == 2
    assert fleet.look(37 * HOUR) == 1
    assert offered(fleet, rollout_id, 1, pilots) == 16
    assert fleet.load(rollout_id).stages[0].slot == 4
    assert fleet.look(MINUTE) == 0
    assert fleet.events(rollout_id) == ["started:None", "opened:1", "offered:1", "offered:1"]


def test_periods_that_reach_nobody_new_are_told_to_nobody(fleet: Fleet) -> None:
    """Counted, but neither in the timeline nor for the devices."""
    fleet.enrol(3, "pilot")
    rollout_id = fleet.start(replace(PILOT, deferral_days=0, gate=Gate(90)))
    fleet.look()
    versions, events = fleet.versions(), fleet.events(rollout_id)
    assert fleet.look(13 * HOUR) == 0
    assert fleet.load(rollout_id).stages[0].slot == 2
    assert (fleet.versions(), fleet.events(rollout_id)) == (versions, events)


def test_nothing_passes_while_nobody_knows_who_is_in_a_ring(fleet: Fleet) -> None:
    """A group has just been defined: stages open, but none passes and no period is played; failures still halt."""
    testers = fleet.enrol(2, "test")
    rollout_id = fleet.start(
        Ring("test", ("test",), halt=Halt(failures=1), offer=Offer(12, devices=1)), PILOT
    )
    fleet.enrol(3, membership_version=0)
    assert fleet.look() == 1
    assert fleet.look(HOUR) == 0
    assert fleet.events(rollout_id) == ["started:None", "opened:1"]
    with fleet.database.write() as connection:
        connection.exec_driver_sql("UPDATE device SET membership_version = 1")
    assert fleet.look(HOUR) == 1
    assert fleet.events(rollout_id)[-1] == "offered:1"
    fleet.now += HOUR
    fleet.tell(testers[:1], "failed")
    with fleet.database.write() as connection:
        connection.exec_driver_sql("UPDATE device SET membership_version = 0")
    assert fleet.look(HOUR) == 1
    assert fleet.load(rollout_id).state is State.HALTED


class Killed(BaseException):
    """What happens to a process between two statements."""


@pytest.mark.parametrize("after_commit", [False, True])
def test_killed_at_any_step_it_ends_as_if_it_had_not_been(
    fleet: Fleet,
    monkeypatch: pytest.MonkeyPatch,
    after_commit: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Another worker goes on with what is in the database: the same changes in the same order, each once."""
    fleet.enrol(9, "pilot")
    rings = (replace(PILOT, deferral_days=0), replace(ALL, deferral_days=0))
    quiet = fleet.start(*rings, name="quiet")
    shaken = fleet.start(*rings, name="shaken")
    real = module.write_step
    kills = []

    def write_step(connection: Any, origin: Any, before: Any, step: Any, **values: Any) -> bool:
        written = real(connection, origin, before, step, **values)
        if before.id == shaken and before.version not in kills:
            kills.append(before.version)
            if not after_commit:
                raise Killed
            connection.commit()
            raise Killed
        return written

    monkeypatch.setattr(module, "write_step", write_step)
    for _ in range(200):
        try:
            fleet.look(MINUTE)
        except Killed:
            fleet.now += MINUTE
        else:
            fleet.now += HOUR
    assert kills
    assert fleet.events(shaken) == fleet.events(quiet)
    assert fleet.events(shaken)[-1] == "completed:None"
    one, other = fleet.load(shaken), fleet.load(quiet)
    assert one.version == other.version
    assert [stage.slot for stage in one.stages] == [stage.slot for stage in other.stages]


def test_many_workers_make_each_change_once(fleet: Fleet) -> None:
    """Eight look at the same moment, at several rollouts."""
    fleet.enrol(5, "pilot")
    rollouts = [fleet.start(replace(PILOT, deferral_days=0), ALL, name=f"r{n}") for n in range(4)]
    barrier = threading.Barrier(8)

    def look(_: int) -> int:
        barrier.wait(10)
        return fleet.worker.run_pending(fleet.now)

    with ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(look, range(8)))
    assert done == 8
    for rollout_id in rollouts:
        assert fleet.events(rollout_id) == ["started:None", "opened:1", "offered:1"]


def test_of_two_that_look_all_the_same_one_changes_something(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody paused it between the reading and the writing: what was worked out is thrown away."""
    rollout_id = fleet.start(TEST)
    real = module.load

    def load(connection: Any, wanted: str) -> Any:
        seen = real(connection, wanted)
        monkeypatch.setattr(module, "load", real)
        fleet.act("pause_rollout", rollout_id, remark=None)
        return seen

    monkeypatch.setattr(module, "load", load)
    assert fleet.look() == 0
    assert fleet.load(rollout_id).state is State.PAUSED
    assert fleet.events(rollout_id) == ["started:None", "paused:None"]


def test_a_rollout_paused_after_it_was_claimed_is_left_alone(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read again after the claim."""
    rollout_id = fleet.start(TEST)
    worker = fleet.worker
    claim = worker._claim

    def claim_and_lose(now: Any) -> str | None:
        claimed = claim(now)
        if claimed is not None:
            fleet.act("pause_rollout", rollout_id, remark=None)
        return claimed

    monkeypatch.setattr(worker, "_claim", claim_and_lose)
    assert worker.run_pending(fleet.now) == 0


def test_what_another_has_claimed_meanwhile_is_not_looked_at(
    sqlite_fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the cheap question and the claim another may have been faster."""
    fleet = sqlite_fleet
    fleet.start(TEST)
    first = fleet.worker
    asked = fleet.database.read

    @contextmanager
    def read() -> Iterator[Any]:
        with asked() as connection:
            yield connection
        monkeypatch.setattr(fleet.database, "read", asked)
        assert fleet.worker.run_pending(fleet.now) == 1

    monkeypatch.setattr(fleet.database, "read", read)
    assert first.run_pending(fleet.now) == 0


def test_the_thread_looks_by_itself_and_survives_what_goes_wrong(
    sqlite_fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is away, then a defect, then work."""
    fleet = sqlite_fleet
    rollout_id = fleet.start(TEST)
    problems: list[Exception] = [Unavailable("away"), ValueError("defect")]
    opened = threading.Event()
    worker = RolloutWorker(fleet.database, lambda: fleet.now, poll_seconds=0.01)
    run = worker.run_pending

    def run_pending(now: Any) -> int:
        if problems:
            raise problems.pop(0)
        done = run(now)
        opened.set()
        return done

    monkeypatch.setattr(worker, "run_pending", run_pending)
    worker.start()
    assert opened.wait(10)
    worker.stop()
    assert fleet.events(rollout_id) == ["started:None", "opened:1"]


def test_a_worker_that_was_stopped_does_nothing(sqlite_fleet: Fleet) -> None:
    """Neither claims, nor looks; stopping one that has no thread is nothing."""
    fleet = sqlite_fleet
    rollout_id = fleet.start(TEST)
    worker = fleet.worker
    worker.stop()
    assert worker.run_pending(fleet.now) == 0
    assert worker._look(rollout_id, fleet.now) == 0
    assert fleet.events(rollout_id) == ["started:None"]
