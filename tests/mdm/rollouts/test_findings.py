"""What is found about a stage, and in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mdm.rollouts.findings import Evidence, Finding, failing, find, soak_ends
from mdm.rollouts.rings import Gate, Halt, Offer, Ring
from mdm.rollouts.stages import Stage

NOW = datetime(2026, 11, 10, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)
RING = Ring("pilot", ("grp",), soak_hours=24, gate=Gate(95, 10), halt=Halt(percent=5, min_sample=20))
WAITING = Stage(number=2, ring=RING)
OPEN = replace(WAITING, opened_at=NOW - 30 * HOUR, counts_from=NOW - 30 * HOUR, failures_from=NOW - 30 * HOUR)
GOOD = Evidence(targeted=40, installed=39, delivered=1)


def found(stage: Stage, evidence: Evidence) -> Finding:
    """The finding about a stage whose devices told that."""
    return find(stage, {stage.number: (stage.ring.halt, evidence)}, NOW).finding


@pytest.mark.parametrize(
    ("stage", "evidence", "expected"),
    [
        (WAITING, GOOD, Finding.EARLY),
        (replace(WAITING, opens_at=NOW + HOUR), GOOD, Finding.EARLY),
        (replace(WAITING, opens_at=NOW), GOOD, Finding.DUE),
        (OPEN, GOOD, Finding.PROVEN),
        (replace(OPEN, soaks_from=NOW - 24 * HOUR), GOOD, Finding.PROVEN),
        (replace(OPEN, soaks_from=NOW - 23 * HOUR), GOOD, Finding.SOAKING),
        (OPEN, replace(GOOD, installed=9, delivered=0), Finding.FEW),
        (OPEN, replace(GOOD, installed=37, delivered=3), Finding.BELOW),
        (OPEN, replace(GOOD, installed=38, delivered=2), Finding.PROVEN),
        (OPEN, replace(GOOD, failed=2, installed=38, delivered=0), Finding.FAILING),
        (OPEN, replace(GOOD, failed=1, installed=17, delivered=0), Finding.BELOW),
        (OPEN, Evidence(), Finding.FEW),
        (replace(OPEN, ring=replace(RING, gate=None)), Evidence(), Finding.PROVEN),
        (
            replace(OPEN, ring=replace(RING, offer=Offer(1, devices=5)), offered_devices=39),
            GOOD,
            Finding.OFFERING,
        ),
        (replace(OPEN, ring=replace(RING, offer=Offer(1, devices=5))), GOOD, Finding.OFFERING),
        (
            replace(OPEN, ring=replace(RING, offer=Offer(1, devices=5)), offered_devices=40),
            GOOD,
            Finding.PROVEN,
        ),
    ],
)
def test_the_first_finding_that_applies_counts(stage: Stage, evidence: Evidence, expected: Finding) -> None:
    """Failures speak before everything, and a gate is asked last."""
    assert found(stage, evidence) is expected


def test_when_all_have_passed_nothing_else_is_asked() -> None:
    """A rollout that is over does not halt."""
    failed = Evidence(targeted=40, failed=40)
    assert find(None, {1: (Halt(failures=1), failed)}, NOW).finding is Finding.ALL_PASSED


def test_failures_of_an_earlier_stage_keep_the_next_one_from_opening() -> None:
    """The stage that fails is named, with its figures."""
    verdict = find(
        replace(WAITING, opens_at=NOW), {1: (Halt(failures=3), Evidence(targeted=9, failed=3))}, NOW
    )
    assert (verdict.finding, verdict.stage) == (Finding.FAILING, 1)
    assert verdict.reason == {"code": "halted_by_failures", "failed": 3, "outcomes": 3, "limit_failures": 3}


@pytest.mark.parametrize(
    ("halt", "evidence", "code"),
    [
        (None, Evidence(failed=99), None),
        (Halt(failures=3), Evidence(failed=2), None),
        (Halt(failures=3), Evidence(failed=3), "halted_by_failures"),
        (Halt(percent=5, min_sample=20), Evidence(failed=1, installed=18), None),
        (Halt(percent=5, min_sample=20), Evidence(failed=1, installed=19), "halted_by_failure_rate"),
        (Halt(percent=5, min_sample=20), Evidence(failed=1, pending_reboot=19), "halted_by_failure_rate"),
        (Halt(percent=5, min_sample=20), Evidence(failed=1, installed=20), None),
        (Halt(percent=5, min_sample=20), Evidence(failed=1, installed=10, delivered=90), None),
        (Halt(percent=5), Evidence(installed=20), None),
        (Halt(percent=5), Evidence(), None),
        (Halt(percent=50, failures=2), Evidence(failed=2, installed=98), "halted_by_failures"),
    ],
)
def test_either_limit_halts(halt: Halt | None, evidence: Evidence, code: str | None) -> None:
    """The percentage counts outcomes only, and only once there are enough of them."""
    figures = failing(halt, evidence)
    assert (None if figures is None else figures["code"]) == code


def test_soak_is_counted_from_where_the_rollout_ran() -> None:
    """Not from the opening, if it stood still since."""
    assert soak_ends(WAITING) is None
    assert soak_ends(replace(OPEN, soaks_from=NOW)) == NOW + 24 * HOUR
