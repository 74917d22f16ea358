"""The machine of a rollout, without a database: what a finding leads to, and what people may do in which state.

Both are tables. Every change makes a new `Rollout` and one `Event` that says why; `mdm.rollouts.store` writes them.

A rollout that does not run (paused, halted) stands still: its deferrals, soak times and gradual offers go on, when it
is let go on, where they stopped. Its stages open strictly in order, one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from mdm.errors import Conflict, FieldError, Forbidden, Invalid
from mdm.rollouts.findings import Evidence, Finding, find

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mdm.rollouts.rings import Ring

__all__ = [
    "ACTIONS",
    "EFFECTS",
    "FINDABLE",
    "Action",
    "Effect",
    "Event",
    "Kind",
    "Phase",
    "Place",
    "Rollout",
    "Stage",
    "State",
    "Step",
    "advance",
    "approve_promotion",
    "due_offer",
    "new_stages",
    "offer",
    "pause",
    "promote",
    "resume",
    "stop",
]


class State(StrEnum):
    """Of a rollout."""

    RUNNING = "running"
    PAUSED = "paused"
    """By somebody."""
    HALTED = "halted"
    """By itself: too many devices failed."""
    COMPLETED = "completed"
    """All stages have passed; its approvals go on to hold."""
    STOPPED = "stopped"
    """For good; its approvals are revoked."""


class Phase(StrEnum):
    """Of a stage."""

    WAITING = "waiting"
    RUNNING = "running"
    PASSED = "passed"


class Place(StrEnum):
    """Where a running rollout is: at the first stage that has not passed, and what that one is about."""

    DEFERRED = "deferred"
    OPEN = "open"
    OPEN_ASKS = "open_asks"
    """Open, and a second person has to agree before the next opens."""
    ASKED = "asked"
    """As before, and the second person has been asked."""
    DONE = "done"
    """All have passed."""


class Effect(StrEnum):
    """What a finding leads to."""

    STAY = "stay"
    OPEN = "open"
    MOVE_ON = "move_on"
    """The stage has passed."""
    ASK = "ask"
    HALT = "halt"
    COMPLETE = "complete"


class Kind(StrEnum):
    """Of an event in a rollout's timeline."""

    STARTED = "started"
    OPENED = "opened"
    OFFERED = "offered"
    """A gradual offer has reached more devices."""
    PROMOTION_ASKED = "promotion_asked"
    PASSED = "passed"
    HALTED = "halted"
    PAUSED = "paused"
    RESUMED = "resumed"
    COMPLETED = "completed"
    STOPPED = "stopped"
    ROLLED_BACK = "rolled_back"


class Action(StrEnum):
    """What people may do with a rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    APPROVE = "approve"
    STOP = "stop"
    ROLL_BACK = "roll_back"


_UNPROVEN: Final = (Finding.OFFERING, Finding.SOAKING, Finding.FEW, Finding.BELOW)

EFFECTS: Final[Mapping[tuple[Place, Finding], Effect]] = {
    (Place.DONE, Finding.ALL_PASSED): Effect.COMPLETE,
    (Place.DEFERRED, Finding.FAILING): Effect.HALT,
    (Place.DEFERRED, Finding.EARLY): Effect.STAY,
    (Place.DEFERRED, Finding.DUE): Effect.OPEN,
    (Place.OPEN, Finding.FAILING): Effect.HALT,
    **{(Place.OPEN, finding): Effect.STAY for finding in _UNPROVEN},
    (Place.OPEN, Finding.PROVEN): Effect.MOVE_ON,
    (Place.OPEN_ASKS, Finding.FAILING): Effect.HALT,
    **{(Place.OPEN_ASKS, finding): Effect.STAY for finding in _UNPROVEN},
    (Place.OPEN_ASKS, Finding.PROVEN): Effect.ASK,
    (Place.ASKED, Finding.FAILING): Effect.HALT,
    # Somebody may have asked to skip the gate: what is found then is for the second person to judge.
    **{(Place.ASKED, finding): Effect.STAY for finding in (*_UNPROVEN, Finding.PROVEN)},
}

FINDABLE: Final[Mapping[Place, frozenset[Finding]]] = {
    place: frozenset(finding for where, finding in EFFECTS if where == place) for place in Place
}
"""What can be found where; anything else would be a defect of `mdm.rollouts.findings`."""

ACTIONS: Final[Mapping[tuple[State, Action], State]] = {
    (State.RUNNING, Action.PAUSE): State.PAUSED,
    (State.RUNNING, Action.PROMOTE): State.RUNNING,
    (State.RUNNING, Action.APPROVE): State.RUNNING,
    (State.PAUSED, Action.RESUME): State.RUNNING,
    (State.HALTED, Action.RESUME): State.RUNNING,
    **{(state, Action.STOP): State.STOPPED for state in State if state is not State.STOPPED},
    **{(state, Action.ROLL_BACK): State.STOPPED for state in State},
}
"""What is allowed in which state, and where it leads; what is missing is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A ring of a rollout and how far it has come; the members are those of the table `rollout_stage`."""

    number: int
    ring: Ring
    phase: Phase = Phase.WAITING
    opens_at: datetime | None = None
    opened_at: datetime | None = None
    counts_from: datetime | None = None
    soaks_from: datetime | None = None
    failures_from: datetime | None = None
    passed_at: datetime | None = None
    promotion: str | None = None
    promotion_by: str | None = None
    slot: int = 0
    offered_below: int | None = None
    offered_devices: int | None = None

    @property
    def place(self) -> Place:
        """Where the rollout is while this is its current stage."""
        if self.opened_at is None:
            return Place.DEFERRED
        if self.promotion == "asked":
            return Place.ASKED
        return Place.OPEN_ASKS if self.ring.promote == "approval" else Place.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A rollout; the members are those of the table `rollout`."""

    id: str
    name: str
    plan_id: str | None
    rule_id: str | None
    state: State
    state_at: datetime
    state_by: str
    state_reason: Mapping[str, Any]
    created_at: datetime
    created_by: str
    version: int
    update_ids: tuple[str, ...]
    stages: tuple[Stage, ...]

    @property
    def current(self) -> Stage | None:
        """The first stage that has not passed."""
        return next((stage for stage in self.stages if stage.phase is not Phase.PASSED), None)

    @property
    def opened(self) -> tuple[Stage, ...]:
        """The stages that have opened, passed or not."""
        return tuple(stage for stage in self.stages if stage.opened_at is not None)

    @property
    def watched(self) -> tuple[Stage, ...]:
        """The stages whose devices decide what happens next: the current one, and all that could halt it."""
        current = self.current
        return tuple(stage for stage in self.opened if stage is current or stage.ring.halt is not None)

    def with_stage(self, changed: Stage) -> Rollout:
        """The same with one stage changed."""
        stages = tuple(changed if stage.number == changed.number else stage for stage in self.stages)
        return replace(self, stages=stages)

    def in_state(self, state: State, by: str, reason: Mapping[str, Any], now: datetime) -> Rollout:
        """The same in another state."""
        return replace(self, state=state, state_at=now, state_by=by, state_reason=reason)


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the timeline."""

    kind: Kind
    stage: int | None
    reason: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One change: what the rollout is from now on, and why."""

    rollout: Rollout
    event: Event | None
    """None if it changes nothing for anybody but the one who counts periods."""


def new_stages(rings: tuple[Ring, ...], now: datetime) -> tuple[Stage, ...]:
    """The stages of a rollout that starts now."""
    return tuple(
        Stage(
            number=number,
            ring=ring,
            opens_at=now + ring.deferral if number == 1 or ring.after == "start" else None,
            # Nobody's turn has come before the first period is played, not even for a moment.
            offered_below=None if ring.offer is None else 0,
            offered_devices=None if ring.offer is None else 0,
        )
        for number, ring in enumerate(rings, start=1)
    )


# --- by itself ------------------------------------------------------------------------------------------


def advance(rollout: Rollout, evidence: Mapping[int, Evidence], actor: str, now: datetime) -> Step | None:
    """The next change that evidence and time bring about; None if there is none now.

    `evidence` has an entry for each stage in `rollout.watched`. To be called again with the result, until None.
    """
    if rollout.state is not State.RUNNING:
        return None
    stage = rollout.current
    opened = {each.number: (each.ring.halt, evidence[each.number]) for each in rollout.watched}
    verdict = find(stage, opened, now)
    effect = EFFECTS[Place.DONE if stage is None else stage.place, verdict.finding]
    reason = {"code": verdict.finding.value, **verdict.reason}
    if effect is Effect.STAY:
        return None
    if effect is Effect.HALT:
        halted = rollout.in_state(State.HALTED, actor, reason | {"stage": verdict.stage}, now)
        return Step(halted, Event(Kind.HALTED, verdict.stage, reason))
    if stage is None:
        done = rollout.in_state(State.COMPLETED, actor, reason, now)
        return Step(done, Event(Kind.COMPLETED, None, reason))
    return _CHANGES[effect](rollout, stage, actor, reason, now)


def due_offer(rollout: Rollout, now: datetime) -> tuple[Stage, int] | None:
    """The stage whose gradual offer has to go on, and how many periods of it have begun by now."""
    stage = rollout.current
    if rollout.state is not State.RUNNING or stage is None:
        return None
    if stage.ring.offer is None or stage.counts_from is None:
        return None
    slots = 1 + max(0, (now - stage.counts_from) // stage.ring.offer.period)
    return (stage, slots) if slots > stage.slot else None


def offer(rollout: Rollout, stage: Stage, slots: int, *, below: int, devices: int, now: datetime) -> Step:
    """The gradual offer reaches the devices whose turn is below; never fewer than it has reached.

    The stage soaks anew: the devices that have just got the offer are to prove themselves as well.
    """
    before = stage.offered_below or 0
    reached = replace(stage, slot=slots, offered_below=max(before, below), offered_devices=devices)
    if reached.offered_below == before:
        return Step(rollout.with_stage(reached), None)
    reached = replace(reached, soaks_from=now)
    reason = {"code": "period_begun", "period": slots, "offered": devices}
    return Step(rollout.with_stage(reached), Event(Kind.OFFERED, stage.number, reason))


def _open(rollout: Rollout, stage: Stage, _actor: str, reason: Mapping[str, Any], now: datetime) -> Step:
    opened = replace(
        stage,
        phase=Phase.RUNNING,
        opens_at=stage.opens_at or now,
        opened_at=now,
        counts_from=now,
        soaks_from=now,
        failures_from=now,
    )
    return Step(rollout.with_stage(opened), Event(Kind.OPENED, stage.number, reason))


def _ask(rollout: Rollout, stage: Stage, actor: str, reason: Mapping[str, Any], _now: datetime) -> Step:
    asked = replace(stage, promotion="asked", promotion_by=actor)
    return Step(rollout.with_stage(asked), Event(Kind.PROMOTION_ASKED, stage.number, reason))


def _pass(rollout: Rollout, stage: Stage, _actor: str, reason: Mapping[str, Any], now: datetime) -> Step:
    """The stage has passed: all its devices have the offer from now on, and the next one's deferral begins."""
    passed = replace(stage, phase=Phase.PASSED, passed_at=now, offered_below=None)
    changed = rollout.with_stage(passed)
    following = changed.current
    if following is not None and following.opens_at is None:
        changed = changed.with_stage(replace(following, opens_at=now + following.ring.deferral))
    return Step(changed, Event(Kind.PASSED, stage.number, reason))


_CHANGES: Final = {Effect.OPEN: _open, Effect.ASK: _ask, Effect.MOVE_ON: _pass}


# --- by people ------------------------------------------------------------------------------------------


def pause(rollout: Rollout, actor: str, remark: str | None, now: datetime) -> Step:
    """Deliver nothing more until somebody resumes it. Raises Conflict `rollout_state`."""
    reason = {"code": "paused", "remark": remark}
    return _to_state(rollout, Action.PAUSE, actor, Event(Kind.PAUSED, None, reason), now)


def resume(rollout: Rollout, actor: str, remark: str | None, now: datetime) -> Step:
    """Go on where it stopped; after a halt, failures up to now have been looked at and count no more.

    Raises Conflict `rollout_state`, and Invalid if it had halted and nobody says why it may go on.
    """
    was_halted = rollout.state is State.HALTED
    if was_halted and not remark:
        error = FieldError("/remark", "required", "Say why a rollout may go on that has halted itself.")
        raise Invalid("The rollout had halted: going on needs a remark.", errors=(error,))
    reason = {"code": "resumed", "remark": remark, "after": rollout.state.value}
    step = _to_state(rollout, Action.RESUME, actor, Event(Kind.RESUMED, None, reason), now)
    stood_still = now - rollout.state_at
    stages = []
    for stage in rollout.stages:
        if stage.counts_from is not None and stage.soaks_from is not None:
            moved = replace(
                stage,
                counts_from=stage.counts_from + stood_still,
                soaks_from=stage.soaks_from + stood_still,
                failures_from=now if was_halted else stage.failures_from,
            )
        else:
            opens_at = None if stage.opens_at is None else stage.opens_at + stood_still
            moved = replace(stage, opens_at=opens_at)
        stages.append(moved)
    return Step(replace(step.rollout, stages=tuple(stages)), step.event)


def promote(rollout: Rollout, number: int, actor: str, remark: str, now: datetime) -> Step:
    """Skip what the current stage, which `number` names, still waits for: its deferral, or its gate.

    Where a second person has to agree, that one is asked. Raises Conflict: `rollout_state`, `stage_not_current`, or
    `promotion_asked` if somebody has been asked already.
    """
    _allowed(rollout, Action.PROMOTE)
    stage = _named(rollout, number)
    if stage.place is Place.DEFERRED:
        return _open(rollout, stage, actor, {"code": "deferral_skipped", "remark": remark}, now)
    if stage.place is Place.ASKED:
        raise Conflict(
            f"{stage.promotion_by} has asked for it; a second person's approval is needed now.",
            code="promotion_asked",
        )
    if stage.place is Place.OPEN_ASKS:
        return _ask(rollout, stage, actor, {"code": "gate_to_be_skipped", "remark": remark}, now)
    return _pass(rollout, stage, actor, {"code": "gate_skipped", "remark": remark}, now)


def approve_promotion(rollout: Rollout, number: int, actor: str, remark: str, now: datetime) -> Step:
    """Agree, as a second person, that the stage after the one that `number` names begins.

    Raises Conflict: `rollout_state`, `stage_not_current`, `promotion_not_asked`; and Forbidden
    `second_person_required` for who created the rollout or asked.
    """
    _allowed(rollout, Action.APPROVE)
    stage = _named(rollout, number)
    if stage.place is not Place.ASKED:
        raise Conflict(
            "Nobody has asked for this stage's promotion: its gate is not met.", code="promotion_not_asked"
        )
    if actor in {rollout.created_by, stage.promotion_by}:
        raise Forbidden(
            "Who created the rollout or asked for the promotion cannot be the one who agrees.",
            code="second_person_required",
        )
    reason = {"code": "promotion_approved", "remark": remark, "asked_by": stage.promotion_by}
    agreed = replace(stage, promotion="approved", promotion_by=actor)
    return _pass(rollout, agreed, actor, reason, now)


def stop(
    rollout: Rollout, actor: str, remark: str | None, now: datetime, *, rolled_back: bool = False
) -> Step:
    """End it for good. Raises Conflict `rollout_state`."""
    action, kind = (Action.ROLL_BACK, Kind.ROLLED_BACK) if rolled_back else (Action.STOP, Kind.STOPPED)
    event = Event(kind, None, {"code": kind.value, "remark": remark})
    return _to_state(rollout, action, actor, event, now)


def _to_state(rollout: Rollout, action: Action, actor: str, event: Event, now: datetime) -> Step:
    return Step(rollout.in_state(_allowed(rollout, action), actor, event.reason, now), event)


def _allowed(rollout: Rollout, action: Action) -> State:
    state = ACTIONS.get((rollout.state, action))
    if state is None:
        possible = sorted(each.value for where, each in ACTIONS if where is rollout.state)
        raise Conflict(
            f"The rollout is {rollout.state.value}, so this is not possible.",
            code="rollout_state",
            state=rollout.state.value,
            possible=possible,
        )
    return state


def _named(rollout: Rollout, number: int) -> Stage:
    """The current stage, which must be the one the caller looked at."""
    stage = rollout.current
    if stage is None or stage.number != number:
        raise Conflict(
            f"Stage {number} is not the one the rollout is at.",
            code="stage_not_current",
            current=None if stage is None else stage.number,
        )
    return stage
