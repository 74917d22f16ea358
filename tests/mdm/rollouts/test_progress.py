"""How far a stage is, in a sentence an administrator reads first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mdm.rollouts.findings import Evidence
from mdm.rollouts.progress import offered_devices, progress_of
from mdm.rollouts.rings import Gate, Halt, Offer, Ring
from mdm.rollouts.stages import Phase, Rollout, Stage, State

NOW = datetime(2026, 11, 10, 18, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
RING = Ring("pilot", ("g",), soak_hours=24, gate=Gate(95, 10), halt=Halt(percent=5, failures=3))
WAITING = Stage(number=1, ring=RING)
OPEN = replace(
    WAITING,
    phase=Phase.RUNNING,
    opened_at=NOW - HOUR,
    counts_from=NOW - HOUR,
    soaks_from=NOW - HOUR,
    failures_from=NOW - HOUR,
)
EVIDENCE = Evidence(targeted=25, installed=18, failed=1, pending_reboot=1, installable=5)


def rollout(state: State = State.RUNNING) -> Rollout:
    """A rollout in that state; its stages do not matter here."""
    return Rollout(
        id="rol_1",
        name="November",
        plan_id=None,
        rule_id=None,
        state=state,
        state_at=NOW,
        state_by="ann",
        state_reason={"code": "started"},
        created_at=NOW,
        created_by="ann",
        version=1,
        update_ids=("u",),
        stages=(),
    )


GRADUAL = replace(OPEN, ring=replace(RING, offer=Offer(12, devices=5)), slot=2, offered_below=9)


@pytest.mark.parametrize(
    ("stage", "state", "evidence", "text"),
    [
        (
            OPEN,
            State.RUNNING,
            EVIDENCE,
            "18 of 20 installed (90 %), needs 95 % and 10 devices; soak ends 2026-11-11 17:30 UTC",
        ),
        (
            replace(OPEN, soaks_from=NOW - 25 * HOUR),
            State.RUNNING,
            EVIDENCE,
            "18 of 20 installed (90 %), needs 95 % and 10 devices; soak ended 2026-11-10 17:30 UTC",
        ),
        (
            OPEN,
            State.HALTED,
            EVIDENCE,
            "18 of 20 installed (90 %), needs 95 % and 10 devices; soak stands still: the rollout is halted",
        ),
        (
            replace(OPEN, ring=replace(RING, soak_hours=0, gate=Gate(90))),
            State.RUNNING,
            Evidence(targeted=3),
            "no device has taken it up yet, needs 90 % and 1 device",
        ),
        (
            replace(OPEN, ring=replace(RING, soak_hours=0, gate=None)),
            State.RUNNING,
            Evidence(targeted=3, installed=2, delivered=1),
            "2 of 3 installed (66.7 %)",
        ),
        (
            replace(GRADUAL, offered_devices=10),
            State.RUNNING,
            EVIDENCE,
            (
                "18 of 20 installed (90 %), needs 95 % and 10 devices; offered to 10 of 25 devices; "
                "soak ends 2026-11-11 17:30 UTC"
            ),
        ),
        (
            replace(OPEN, promotion="asked", promotion_by="bob", ring=replace(RING, soak_hours=0)),
            State.RUNNING,
            EVIDENCE,
            (
                "18 of 20 installed (90 %), needs 95 % and 10 devices; "
                "bob asks a second person to agree that the next ring begins"
            ),
        ),
        (
            replace(OPEN, phase=Phase.PASSED, passed_at=NOW),
            State.RUNNING,
            EVIDENCE,
            "18 of 20 installed (90 %), needs 95 % and 10 devices; passed 2026-11-10 18:30 UTC",
        ),
        (WAITING, State.RUNNING, EVIDENCE, "opens after the stage before"),
        (
            replace(WAITING, ring=replace(RING, deferral_days=1)),
            State.RUNNING,
            EVIDENCE,
            "opens 1 day after the stage before has passed",
        ),
        (
            replace(WAITING, ring=replace(RING, deferral_days=3)),
            State.RUNNING,
            EVIDENCE,
            "opens 3 days after the stage before has passed",
        ),
        (
            replace(WAITING, opens_at=NOW + HOUR),
            State.RUNNING,
            EVIDENCE,
            "opens 2026-11-10 19:30 UTC at the earliest, when the stage before has passed",
        ),
        (
            replace(WAITING, opens_at=NOW),
            State.RUNNING,
            EVIDENCE,
            "opens as soon as the stage before has passed",
        ),
    ],
)
def test_the_sentence_says_what_is_and_what_is_missing(
    stage: Stage, state: State, evidence: Evidence, text: str
) -> None:
    """Figures, need, and when it goes on."""
    assert progress_of(rollout(state), stage, evidence, NOW).text == text


def test_the_figures_are_those_the_machine_decides_by() -> None:
    """With both limits and what is left to them."""
    progress = progress_of(rollout(), OPEN, EVIDENCE, NOW)
    assert (progress.installed, progress.tried, progress.percent) == (18, 20, 90.0)
    assert (progress.needs_percent, progress.needs_devices, progress.gate_met) == (95, 10, False)
    assert (progress.failed, progress.outcomes, progress.failed_percent) == (1, 20, 5.0)
    assert (progress.halts_at_percent, progress.halts_at_failures) == (5, 3)
    assert progress.too_many_failures
    assert progress.soak_ends_at == NOW + 23 * HOUR
    assert progress.next_offer_at is None


def test_a_ring_that_asks_for_nothing_has_met_it() -> None:
    """No gate, no limit; nothing tried is no percentage."""
    stage = replace(WAITING, ring=Ring("pilot", ("g",)))
    progress = progress_of(rollout(), stage, Evidence(targeted=3), NOW)
    assert progress.gate_met
    assert (progress.percent, progress.failed_percent, progress.needs_percent, progress.needs_devices) == (
        None,
        None,
        None,
        None,
    )
    assert (progress.halts_at_percent, progress.halts_at_failures, progress.too_many_failures) == (
        None,
        None,
        False,
    )


@pytest.mark.parametrize(
    ("stage", "state", "expected"),
    [
        (replace(GRADUAL, offered_devices=10), State.RUNNING, NOW + 23 * HOUR),
        (replace(GRADUAL, offered_devices=10), State.PAUSED, None),
        (replace(GRADUAL, offered_devices=25), State.RUNNING, None),
        (replace(GRADUAL, offered_below=None), State.RUNNING, None),
        (OPEN, State.RUNNING, None),
        (replace(WAITING, ring=GRADUAL.ring, offered_below=0), State.RUNNING, None),
    ],
)
def test_the_next_period_is_told_while_there_is_one(
    stage: Stage, state: State, expected: datetime | None
) -> None:
    """Not while the rollout stands still, and not once all devices have the offer."""
    assert progress_of(rollout(state), stage, EVIDENCE, NOW).next_offer_at == expected


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (WAITING, 0),
        (OPEN, 25),
        (replace(GRADUAL, offered_devices=10), 10),
        (replace(GRADUAL, offered_devices=None), 0),
        (replace(GRADUAL, offered_devices=30), 25),
    ],
)
def test_offered_are_never_more_than_there_are(stage: Stage, expected: int) -> None:
    """None before it opens, all without a gradual offer."""
    assert offered_devices(stage, EVIDENCE) == expected


def test_a_moment_in_another_zone_is_told_in_utc() -> None:
    """The text says UTC, and means it."""
    away = NOW.astimezone(timezone(5 * HOUR))
    stage = replace(WAITING, opens_at=away + HOUR)
    assert "2026-11-10 19:30 UTC" in progress_of(rollout(), stage, EVIDENCE, NOW).text
