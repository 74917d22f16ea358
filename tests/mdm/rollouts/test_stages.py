"""The machine of a rollout: its two tables are whole, and no order of events makes it offer what it should not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mdm.errors import BridgeError, Conflict, Forbidden, Invalid
from mdm.rollouts.findings import Evidence, Finding
from mdm.rollouts.rings import Gate, Halt, Offer, Ring
from mdm.rollouts.stages import (
    ACTIONS,
    EFFECTS,
    FINDABLE,
    Action,
    Effect,
    Kind,
    Phase,
    Place,
    Rollout,
    Stage,
    State,
    Step,
    advance,
    approve_promotion,
    due_offer,
    new_stages,
    offer,
    pause,
    promote,
    resume,
    stop,
)
from mdm.rollouts.turns import turn_of

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 10, 18, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TEST = Ring("test", ("a",), gate=Gate(90, 2), halt=Halt(failures=2))
PILOT = Ring("pilot", ("b",), deferral_days=2, soak_hours=24)
BROAD = Ring("broad", ("c",), after="start", deferral_days=7)
GOOD = Evidence(targeted=10, installed=10)
BAD = Evidence(targeted=10, failed=2)


def started(*rings: Ring) -> Rollout:
    """A rollout that somebody has just started."""
    return Rollout(
        id="rol_1",
        name="November",
        plan_id="pln_1",
        rule_id=None,
        state=State.RUNNING,
        state_at=NOW,
        state_by="ann",
        state_reason={"code": "started"},
        created_at=NOW,
        created_by="ann",
        version=1,
        update_ids=("u",),
        stages=new_stages(rings or (TEST, PILOT, BROAD), NOW),
    )


def settle(rollout: Rollout, evidence: Evidence, now: datetime) -> tuple[Rollout, list[str]]:
    """The rollout when nothing follows any more, and `kind:stage` of each change."""
    kinds: list[str] = []
    while True:
        step = advance(rollout, {stage.number: evidence for stage in rollout.opened}, "rollout:rol_1", now)
        if step is None:
            return rollout, kinds
        assert step.event is not None
        kinds.append(f"{step.event.kind.value}:{step.event.stage}")
        rollout = step.rollout


# --- tables ---------------------------------------------------------------------------------------------


def test_every_finding_at_every_place_is_listed_or_cannot_be() -> None:
    """What cannot be found somewhere is said by name, so that a new finding has to be thought about."""
    impossible = {
        (place, finding)
        for place, finding in product(Place, Finding)
        if (finding is Finding.ALL_PASSED) != (place is Place.DONE)
        or (place is Place.DEFERRED and finding not in {Finding.FAILING, Finding.EARLY, Finding.DUE})
        or (place is not Place.DEFERRED and finding in {Finding.EARLY, Finding.DUE})
    }
    assert EFFECTS.keys() == set(product(Place, Finding)) - impossible
    assert {(place, finding) for place in Place for finding in FINDABLE[place]} == EFFECTS.keys()


def test_failing_halts_wherever_it_is_found() -> None:
    """No place lets a failing rollout go on, and only failing halts."""
    assert {finding for (_, finding), effect in EFFECTS.items() if effect is Effect.HALT} == {Finding.FAILING}
    assert {effect for (_, finding), effect in EFFECTS.items() if finding is Finding.FAILING} == {Effect.HALT}


def test_every_action_in_every_state_is_listed_or_refused() -> None:
    """In each state the actions that are listed do what the table says, all others are refused."""
    do = {
        Action.PAUSE: lambda rollout: pause(rollout, "bob", "why", NOW),
        Action.RESUME: lambda rollout: resume(rollout, "bob", "why", NOW),
        Action.PROMOTE: lambda rollout: promote(rollout, 1, "bob", "why", NOW),
        Action.APPROVE: lambda rollout: approve_promotion(rollout, 1, "bob", "why", NOW),
        Action.STOP: lambda rollout: stop(rollout, "bob", None, NOW),
        Action.ROLL_BACK: lambda rollout: stop(rollout, "bob", "why", NOW, rolled_back=True),
    }
    asking = replace(TEST, promote="approval")
    opened, _ = settle(started(asking, PILOT), Evidence(), NOW)
    asked = promote(opened, 1, "eve", "why", NOW).rollout
    for state, action in product(State, Action):
        rollout = replace(asked if action is Action.APPROVE else opened, state=state)
        if action is Action.PROMOTE:
            rollout = replace(started(TEST), state=state)
        wanted = ACTIONS.get((state, action))
        if wanted is None:
            with pytest.raises(Conflict) as caught:
                do[action](rollout)
            assert caught.value.code == "rollout_state"
            assert caught.value.members["possible"] == sorted(
                each.value for where, each in ACTIONS if where is state
            )
        else:
            assert do[action](rollout).rollout.state is wanted


# --- by itself ------------------------------------------------------------------------------------------


def test_it_goes_from_ring_to_ring() -> None:
    """A ring opens when the one before has passed and its deferral is over, and the last one ends it."""
    rollout, kinds = settle(started(), Evidence(targeted=10), NOW)
    assert kinds == ["opened:1"]
    rollout, kinds = settle(rollout, GOOD, NOW + DAY)
    assert kinds == ["passed:1"]
    assert rollout.stages[1].opens_at == NOW + 3 * DAY
    assert settle(rollout, GOOD, NOW + 3 * DAY - HOUR)[1] == []
    rollout, kinds = settle(rollout, GOOD, NOW + 3 * DAY)
    assert kinds == ["opened:2"]
    assert settle(rollout, GOOD, NOW + 4 * DAY - HOUR)[1] == []
    rollout, kinds = settle(rollout, GOOD, NOW + 4 * DAY)
    assert kinds == ["passed:2"]
    rollout, kinds = settle(rollout, GOOD, NOW + 7 * DAY)
    assert kinds == ["opened:3", "passed:3", "completed:None"]
    assert (rollout.state, rollout.state_by) == (State.COMPLETED, "rollout:rol_1")


def test_a_deferral_from_the_start_still_waits_for_the_ring_before() -> None:
    """A ring whose gate is not met holds all that follow, whatever the calendar says."""
    opened, _ = settle(started(), Evidence(targeted=10), NOW)
    assert settle(opened, Evidence(targeted=10, installed=5, delivered=5), NOW + 30 * DAY)[1] == []


def test_after_an_outage_it_goes_on_from_what_is_true_then() -> None:
    """Nobody looked for a month: what is due opens now, and soaks from now."""
    rollout, kinds = settle(started(PILOT, PILOT), GOOD, NOW + 30 * DAY)
    assert kinds == ["opened:1"]
    assert rollout.stages[0].counts_from == NOW + 30 * DAY


def test_too_many_failures_halt_it() -> None:
    """The event names the ring and the figures, and nothing follows any more."""
    rollout, _ = settle(started(), Evidence(targeted=10), NOW)
    step = advance(rollout, {1: BAD}, "rollout:rol_1", NOW + HOUR)
    assert step is not None
    assert step.event is not None
    assert (step.event.kind, step.event.stage) == (Kind.HALTED, 1)
    assert step.rollout.state_reason == {
        "code": "halted_by_failures",
        "failed": 2,
        "outcomes": 2,
        "limit_failures": 2,
        "stage": 1,
    }
    assert advance(step.rollout, {1: GOOD}, "rollout:rol_1", NOW + 9 * DAY) is None


def test_an_earlier_ring_can_still_halt_it() -> None:
    """Failures that come late, in a ring that has passed, stop the one that is open."""
    rollout, _ = settle(started(TEST, replace(PILOT, deferral_days=0)), GOOD, NOW)
    assert [stage.phase for stage in rollout.stages] == [Phase.PASSED, Phase.RUNNING]
    assert [stage.number for stage in rollout.watched] == [1, 2]
    step = advance(rollout, {1: BAD, 2: GOOD}, "rollout:rol_1", NOW + HOUR)
    assert step is not None
    assert step.rollout.state is State.HALTED


def test_only_what_can_decide_something_is_watched() -> None:
    """A ring that has passed and never halts costs no query any more."""
    rollout, _ = settle(started(replace(TEST, halt=None), replace(PILOT, deferral_days=0)), GOOD, NOW)
    assert [stage.number for stage in rollout.watched] == [2]
    assert [stage.number for stage in rollout.opened] == [1, 2]


# --- gradual offers -------------------------------------------------------------------------------------

GRADUAL = replace(TEST, offer=Offer(12, devices=10))


def test_a_gradual_offer_begins_with_nobody() -> None:
    """Between the opening and the first period no device has its turn."""
    rollout, kinds = settle(started(GRADUAL), Evidence(targeted=30), NOW)
    assert kinds == ["opened:1"]
    assert rollout.stages[0].offered_below == 0


def test_periods_follow_the_time_elapsed_and_none_is_played_twice() -> None:
    """After an outage of days the offer is where it would have been."""
    rollout, _ = settle(started(GRADUAL), Evidence(targeted=30), NOW)
    for moment, slots in ((NOW, 1), (NOW + 12 * HOUR, 2), (NOW + 12 * HOUR + 3 * DAY, 8)):
        due = due_offer(rollout, moment)
        assert due is not None
        stage, count = due
        assert count == slots
        step = offer(rollout, stage, count, below=count * 1_000, devices=count * 10, now=moment)
        rollout = step.rollout
        assert step.event is not None
        assert step.event.reason == {"code": "period_begun", "period": slots, "offered": slots * 10}
        assert due_offer(rollout, moment) is None
        assert due_offer(rollout, moment - DAY) is None
    assert rollout.stages[0].offered_below == 8_000


def test_an_offer_never_shrinks() -> None:
    """Devices that left the ring give their turn to nobody, but none loses it; that is no event."""
    rollout, _ = settle(started(GRADUAL), Evidence(targeted=30), NOW)
    first = offer(rollout, rollout.stages[0], 1, below=5_000, devices=10, now=NOW).rollout
    step = offer(first, first.stages[0], 2, below=4_000, devices=9, now=NOW)
    assert step.event is None
    assert step.rollout.stages[0].offered_below == 5_000
    assert step.rollout.stages[0].slot == 2


def test_a_ring_soaks_anew_with_each_period() -> None:
    """The devices that got the offer last have their time to fail, too."""
    rings = (replace(GRADUAL, soak_hours=24, gate=None), PILOT)
    rollout, _ = settle(started(*rings), Evidence(targeted=20), NOW)
    first = offer(rollout, rollout.stages[0], 1, below=1_000, devices=10, now=NOW).rollout
    later = NOW + 12 * HOUR
    second = offer(first, first.stages[0], 2, below=2_000, devices=20, now=later).rollout
    silent = offer(second, second.stages[0], 3, below=2_000, devices=20, now=later + 12 * HOUR).rollout
    all_well = Evidence(targeted=20, installed=20)
    assert settle(silent, all_well, later + 23 * HOUR)[1] == []
    assert settle(silent, all_well, later + 24 * HOUR)[1] == ["passed:1"]


def test_a_ring_that_has_passed_offers_to_all() -> None:
    """A device that joins it later waits for no period."""
    rollout, _ = settle(started(GRADUAL, PILOT), Evidence(targeted=30), NOW)
    reached = offer(rollout, rollout.stages[0], 1, below=5_000, devices=30, now=NOW).rollout
    passed, kinds = settle(reached, Evidence(targeted=30, installed=30), NOW)
    assert kinds == ["passed:1"]
    assert passed.stages[0].offered_below is None
    assert due_offer(passed, NOW + 9 * DAY) is None


def test_a_ring_without_a_gradual_offer_has_no_periods() -> None:
    """Nor has one that has not opened, nor a rollout that does not run."""
    rollout, _ = settle(started(), Evidence(targeted=10), NOW)
    assert due_offer(rollout, NOW) is None
    assert due_offer(started(GRADUAL), NOW) is None
    opened, _ = settle(started(GRADUAL), Evidence(targeted=10), NOW)
    assert due_offer(pause(opened, "bob", None, NOW).rollout, NOW) is None
    assert due_offer(replace(opened, stages=()), NOW) is None


# --- people ---------------------------------------------------------------------------------------------


def test_a_pause_stops_the_clock() -> None:
    """Deferral, soak and periods go on where they stopped."""
    rings = (replace(GRADUAL, soak_hours=24), PILOT, BROAD)
    rollout, _ = settle(started(*rings), Evidence(targeted=30), NOW)
    reached = offer(rollout, rollout.stages[0], 1, below=5_000, devices=10, now=NOW).rollout
    paused = pause(reached, "bob", "VPN", NOW + HOUR).rollout
    assert (paused.state, paused.state_by) == (State.PAUSED, "bob")
    assert paused.state_reason == {"code": "paused", "remark": "VPN"}
    resumed = resume(paused, "bob", None, NOW + 10 * DAY).rollout
    stood_still = 10 * DAY - HOUR
    assert resumed.stages[0].counts_from == NOW + stood_still
    assert resumed.stages[0].soaks_from == NOW + stood_still
    assert resumed.stages[0].failures_from == NOW
    assert resumed.stages[1].opens_at is None
    assert resumed.stages[2].opens_at == NOW + 7 * DAY + stood_still
    assert due_offer(resumed, NOW + 10 * DAY) is None
    assert due_offer(resumed, NOW + stood_still + 12 * HOUR) is not None


def test_going_on_after_a_halt_needs_a_remark_and_forgets_the_failures_so_far() -> None:
    """Else it would halt again at once, and nobody would have said anything."""
    rollout, _ = settle(started(), BAD, NOW)
    assert rollout.state is State.HALTED
    with pytest.raises(Invalid) as caught:
        resume(rollout, "bob", None, NOW + HOUR)
    assert [error.pointer for error in caught.value.errors] == ["/remark"]
    resumed = resume(rollout, "bob", "driver removed", NOW + HOUR)
    assert resumed.event is not None
    assert resumed.event.reason == {"code": "resumed", "remark": "driver removed", "after": "halted"}
    assert resumed.rollout.stages[0].failures_from == NOW + HOUR


def test_one_person_may_skip_a_gate_and_a_deferral() -> None:
    """Where no second person is asked for; the stage that is promoted has to be named."""
    rollout, _ = settle(started(), Evidence(targeted=10), NOW)
    step = promote(rollout, 1, "bob", "urgent", NOW)
    assert step.event is not None
    assert (step.event.kind, step.event.reason) == (Kind.PASSED, {"code": "gate_skipped", "remark": "urgent"})
    with pytest.raises(Conflict) as caught:
        promote(step.rollout, 1, "bob", "urgent", NOW)
    assert (caught.value.code, caught.value.members) == ("stage_not_current", {"current": 2})
    opened = promote(step.rollout, 2, "bob", "urgent", NOW)
    assert opened.event is not None
    assert opened.event.reason == {"code": "deferral_skipped", "remark": "urgent"}
    assert opened.rollout.stages[1].phase is Phase.RUNNING


def test_a_stage_nobody_knows_when_to_open_can_be_opened_by_hand() -> None:
    """Its time to open is when somebody opened it."""
    rollout = started(replace(TEST, after="start"))
    never = rollout.with_stage(replace(rollout.stages[0], opens_at=None))
    assert promote(never, 1, "bob", "urgent", NOW).rollout.stages[0].opens_at == NOW


def test_a_rollout_without_stages_left_has_nothing_to_promote() -> None:
    """Between the last passing and the end there is a moment."""
    rollout = replace(started(), stages=())
    with pytest.raises(Conflict) as caught:
        promote(rollout, 1, "bob", "urgent", NOW)
    assert caught.value.members == {"current": None}


ASKS = replace(TEST, promote="approval")


def test_a_met_gate_asks_a_second_person() -> None:
    """It stays asked even if the figures fall back, and only once."""
    rollout, kinds = settle(started(ASKS, PILOT), GOOD, NOW)
    assert kinds == ["opened:1", "promotion_asked:1"]
    assert rollout.stages[0].promotion_by == "rollout:rol_1"
    assert settle(rollout, Evidence(targeted=10, installed=5, delivered=5), NOW)[1] == []
    with pytest.raises(Forbidden) as caught:
        approve_promotion(rollout, 1, "ann", "looks good", NOW)
    assert caught.value.code == "second_person_required"
    step = approve_promotion(rollout, 1, "bob", "looks good", NOW)
    assert step.event is not None
    assert step.event.reason == {
        "code": "promotion_approved",
        "remark": "looks good",
        "asked_by": "rollout:rol_1",
    }
    assert (step.rollout.stages[0].promotion, step.rollout.stages[0].promotion_by) == ("approved", "bob")
    assert step.rollout.stages[0].phase is Phase.PASSED


def test_who_asks_to_skip_a_gate_cannot_agree() -> None:
    """Nor ask twice; and there is nothing to agree to before somebody has asked."""
    rollout, _ = settle(started(ASKS, PILOT), Evidence(targeted=10), NOW)
    with pytest.raises(Conflict) as caught:
        approve_promotion(rollout, 1, "bob", "yes", NOW)
    assert caught.value.code == "promotion_not_asked"
    asked = promote(rollout, 1, "bob", "urgent", NOW).rollout
    assert asked.stages[0].phase is Phase.RUNNING
    with pytest.raises(Conflict) as caught:
        promote(asked, 1, "cid", "urgent", NOW)
    assert caught.value.code == "promotion_asked"
    for actor in ("bob", "ann"):
        with pytest.raises(Forbidden):
            approve_promotion(asked, 1, actor, "yes", NOW)
    assert approve_promotion(asked, 1, "cid", "yes", NOW).rollout.stages[0].phase is Phase.PASSED


def test_asked_or_not_failures_halt() -> None:
    """A second person's slowness protects nobody."""
    rollout, _ = settle(started(ASKS, PILOT), GOOD, NOW)
    halted, _ = settle(rollout, BAD, NOW + HOUR)
    assert halted.state is State.HALTED


def test_stopping_and_rolling_back_are_told_apart() -> None:
    """Both end it for good."""
    for rolled_back, kind in ((False, Kind.STOPPED), (True, Kind.ROLLED_BACK)):
        step = stop(started(), "bob", "bad", NOW, rolled_back=rolled_back)
        assert step.event is not None
        assert (step.event.kind, step.rollout.state) == (kind, State.STOPPED)


# --- any order of events --------------------------------------------------------------------------------


@dataclass
class Machine:
    """A virtual device."""

    name: str
    ring: int
    state: str = "installable"
    since: datetime = NOW


RINGS = st.lists(
    st.builds(
        Ring,
        st.just("ring"),
        st.just(("g",)),
        st.sampled_from(["start", "previous"]),
        st.integers(0, 3),
        st.integers(0, 30),
        st.none() | st.builds(Gate, st.integers(50, 100), st.integers(1, 3)),
        st.none()
        | st.builds(Halt, failures=st.integers(1, 4))
        | st.builds(Halt, percent=st.integers(20, 80)),
        st.none()
        | st.builds(Offer, st.integers(1, 20), devices=st.integers(1, 4))
        | st.builds(Offer, st.integers(1, 20), percent=st.integers(5, 60)),
        st.none(),
        st.sampled_from(["auto", "approval"]),
    ),
    min_size=1,
    max_size=4,
)
PEOPLE = st.sampled_from(["ann", "bob", "cid"])


class AnyOrder(RuleBasedStateMachine):
    """A fleet of twenty devices, three people and a clock do what they like with one rollout."""

    @initialize(rings=RINGS)
    def begin(self, rings: list[Ring]) -> None:
        """Start a rollout through any rings."""
        self.now = NOW
        self.rollout = started(*rings)
        self.fleet = [Machine(f"dev_{n}", 1 + n % len(rings)) for n in range(20)]
        self.offered: set[str] = set()
        self.asked_by: str | None = None

    def evidence(self, stage: Stage) -> Evidence:
        """What the devices of a stage told, in plain words instead of SQL."""
        mine = [device for device in self.fleet if device.ring == stage.number]
        opened_at, failures_from = stage.opened_at or self.now, stage.failures_from or self.now
        failed = sum(device.state == "failed" and device.since >= failures_from for device in mine)
        installed = sum(device.state == "installed" and device.since >= opened_at for device in mine)
        held = sum(device.name in self.offered for device in mine) - failed - installed
        return Evidence(targeted=len(mine), installed=installed, failed=failed, delivered=max(0, held))

    def reachable(self, rollout: Rollout) -> set[str]:
        """The devices that a check-in would let it through to now."""
        if rollout.state is not State.RUNNING and rollout.state is not State.COMPLETED:
            return set()
        found = set()
        for device in self.fleet:
            stage = rollout.stages[device.ring - 1]
            below = stage.offered_below
            if stage.phase is not Phase.WAITING and (
                below is None or turn_of(rollout.id, device.name) < below
            ):
                found.add(device.name)
        return found

    def take(self, step: Step) -> None:
        """Write a step, and check what no step may do."""
        before, after = self.rollout, step.rollout
        assert after.id == before.id
        for old, new in zip(before.stages, after.stages, strict=True):
            assert list(Phase).index(new.phase) >= list(Phase).index(old.phase)
            if old.offered_below is None:
                assert new.offered_below is None
            elif new.offered_below is not None:
                assert new.offered_below >= old.offered_below
        if before.state is after.state is State.RUNNING:
            assert self.reachable(before) <= self.reachable(after)
        self.rollout = after

    @rule()
    def look(self) -> None:
        """The worker looks until nothing follows; looking again finds nothing."""
        for _ in range(40):
            step = self.next_step()
            if step is None:
                break
            self.take(step)
        assert self.next_step() is None

    def next_step(self) -> Step | None:
        """What the worker does."""
        evidence = {stage.number: self.evidence(stage) for stage in self.rollout.watched}
        step = advance(self.rollout, evidence, "rollout:rol_1", self.now)
        if step is not None:
            return step
        due = due_offer(self.rollout, self.now)
        if due is None:
            return None
        stage, slots = due
        assert stage.ring.offer is not None
        turns = sorted(
            turn_of(self.rollout.id, device.name) for device in self.fleet if device.ring == stage.number
        )
        wanted = stage.ring.offer.wanted(slots, len(turns))
        below = max(turns[wanted - 1] + 1 if wanted else 0, stage.offered_below or 0)
        return offer(
            self.rollout, stage, slots, below=below, devices=sum(turn < below for turn in turns), now=self.now
        )

    @rule(hours=st.integers(0, 100))
    def wait(self, hours: int) -> None:
        """Time goes by."""
        self.now += hours * HOUR

    @rule(number=st.integers(0, 19), outcome=st.sampled_from(["installed", "installed", "failed"]))
    def check_in(self, number: int, outcome: str) -> None:
        """A device takes what it is offered, and says what came of it."""
        device = self.fleet[number]
        if device.name in self.reachable(self.rollout):
            self.offered.add(device.name)
        if device.name in self.offered:
            device.state, device.since = outcome, self.now

    def person(self, step: Step | BridgeError) -> None:
        """Take what a person did, unless it was refused."""
        if isinstance(step, Step):
            self.take(step)

    @rule(actor=PEOPLE)
    def pause(self, actor: str) -> None:
        """Somebody pauses."""
        self.person(attempt(pause, self.rollout, actor, None, self.now))

    @rule(actor=PEOPLE)
    def resume(self, actor: str) -> None:
        """Somebody lets it go on."""
        self.person(attempt(resume, self.rollout, actor, "why not", self.now))

    @rule(actor=PEOPLE, number=st.integers(1, 4))
    def promote(self, actor: str, number: int) -> None:
        """Somebody skips what a stage waits for."""
        self.person(attempt(promote, self.rollout, number, actor, "now", self.now))

    @rule(actor=PEOPLE, number=st.integers(1, 4))
    def approve(self, actor: str, number: int) -> None:
        """Somebody agrees; never who started it or asked."""
        stage = self.rollout.current
        asked_by = None if stage is None else stage.promotion_by
        done = attempt(approve_promotion, self.rollout, number, actor, "yes", self.now)
        if isinstance(done, Step):
            assert actor not in {"ann", asked_by}
        self.person(done)

    @precondition(lambda self: self.now > NOW + 20 * DAY)
    @rule(actor=PEOPLE)
    def stop(self, actor: str) -> None:
        """Somebody ends it, late enough for something to have happened."""
        self.person(attempt(stop, self.rollout, actor, None, self.now))

    @invariant()
    def stages_open_in_order(self) -> None:
        """All before an open one have passed, and one is open at most."""
        phases = [stage.phase for stage in self.rollout.stages]
        order = [Phase.PASSED, Phase.RUNNING, Phase.WAITING]
        assert [order.index(phase) for phase in phases] == sorted(order.index(phase) for phase in phases)
        assert phases.count(Phase.RUNNING) <= 1

    @invariant()
    def nothing_new_while_it_stands_still(self) -> None:
        """A paused, halted or stopped rollout makes no step and reaches no device."""
        if self.rollout.state in {State.PAUSED, State.HALTED, State.STOPPED}:
            assert self.reachable(self.rollout) == set()
            assert self.next_step() is None

    @invariant()
    def no_waiting_stage_reaches_a_device(self) -> None:
        """Nor does an open one reach more devices than its periods have offered."""
        for stage in self.rollout.stages:
            mine = {device.name for device in self.fleet if device.ring == stage.number}
            reached = len(mine & self.reachable(self.rollout))
            if stage.phase is Phase.WAITING:
                assert reached == 0
            elif stage.phase is Phase.RUNNING and stage.ring.offer is not None:
                assert reached <= stage.ring.offer.wanted(stage.slot, len(mine))

    @invariant()
    def it_is_complete_only_when_all_have_passed(self) -> None:
        """And then it offers to all."""
        if self.rollout.state is State.COMPLETED:
            assert self.rollout.current is None


def attempt(act: Callable[..., Step], *arguments: Any) -> Step | BridgeError:
    """What came of an action: a step, or the error it was refused with."""
    try:
        return act(*arguments)
    except BridgeError as error:
        return error


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(stateful_step_count=40)
