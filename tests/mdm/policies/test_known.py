"""What each answer changes, as a table; when a value is written again, and when it is read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from csp.policy_results import PolicyAnswer
from csp.status import Outcome
from mdm.policies.known import READ_EVERY, REMEMBERED, Known, after, next_read

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
NAME = "AllowAutoUpdate"
BUILD = "10.0.26100.4652"

SENT = Known(NAME, "sent", NOW, source="prf_1")
SET = Known(NAME, "set", NOW, value="2", status_code=200, source="prf_1", build=BUILD)
CONFIRMED = replace(SET, read_value="2", read_status=200, read_at=LATER)
DRIFTED = replace(SET, read_value="4", read_status=200, read_at=LATER, drifted_at=LATER)


def told(outcome: Outcome, status: int, value: str = "2", error: str | None = None) -> PolicyAnswer:
    """An answer to a Replace."""
    return PolicyAnswer(NAME, "Replace", outcome, status, value, error)


def reset(outcome: Outcome, status: int) -> PolicyAnswer:
    """An answer to a Delete."""
    return PolicyAnswer(NAME, "Delete", outcome, status, None, None)


def shown(value: str | None, status: int = 200, outcome: Outcome = Outcome.DONE) -> PolicyAnswer:
    """An answer to a Get on Policy/Result."""
    return PolicyAnswer(NAME, "Get", outcome, status, value, None)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("before", "answer", "expected"),
    [
        # set
        (SENT, told(Outcome.DONE, 200), replace(SET, at=LATER)),
        (None, told(Outcome.DONE, 200), replace(SET, at=LATER, source=None)),
        (replace(SENT, error="0x1", status_code=500), told(Outcome.DONE, 200), replace(SET, at=LATER)),
        # declined, with and without an earlier value
        (
            SENT,
            told(Outcome.RETRY, 500, error="x" * 300),
            replace(SENT, status="failed", status_code=500, error="x" * 256, build=BUILD, at=LATER),
        ),
        (
            replace(SET, status="sent"),
            told(Outcome.REFUSED, 425, "3"),
            replace(SET, status="failed", status_code=425, at=LATER),
        ),
        (
            SENT,
            told(Outcome.UNSUPPORTED, 405),
            replace(SENT, status="unsupported", status_code=405, build=BUILD, at=LATER),
        ),
        # not carried out for sure
        (SENT, told(Outcome.UNKNOWN, 213), SENT),
        (None, told(Outcome.UNKNOWN, 101), None),
        # a repair counts, another value begins anew
        (replace(DRIFTED, status="sent"), told(Outcome.DONE, 200), replace(DRIFTED, at=LATER, repairs=1)),
        (
            replace(DRIFTED, status="sent", repairs=3),
            told(Outcome.DONE, 200, "3"),
            replace(DRIFTED, value="3", at=LATER, drifted_at=None, repairs=0),
        ),
        # reset
        (SET, reset(Outcome.DONE, 200), None),
        (SENT, reset(Outcome.ALREADY_DONE, 404), None),
        (SET, reset(Outcome.RETRY, 500), replace(SET, status="failed", status_code=500, at=LATER)),
        (SET, reset(Outcome.UNSUPPORTED, 405), replace(SET, status="unsupported", status_code=405, at=LATER)),
        (SET, reset(Outcome.UNKNOWN, 213), SET),
        (None, reset(Outcome.DONE, 200), None),
        (None, reset(Outcome.RETRY, 500), None),
        # read
        (None, shown("2"), None),
        (SET, shown("2"), replace(CONFIRMED, read_at=LATER)),
        (SET, shown("4"), DRIFTED),
        (SET, shown("4" * 700), replace(DRIFTED, read_value="4" * 600)),
        (SET, shown(None, 404), replace(DRIFTED, read_value=None, read_status=404)),
        (SET, shown(None), replace(DRIFTED, read_value=None)),
        (
            replace(DRIFTED, drifted_at=NOW, repairs=2),
            shown("5"),
            replace(DRIFTED, read_value="5", drifted_at=NOW, repairs=2),
        ),
        (replace(DRIFTED, repairs=2), shown("2"), CONFIRMED),
        # what cannot be read tells nothing
        (DRIFTED, shown(None, 405, Outcome.UNSUPPORTED), replace(DRIFTED, read_value=None, read_status=405)),
        (SET, shown(None, 500, Outcome.RETRY), replace(SET, read_status=500, read_at=LATER)),
        # of what the device did not take there is nothing to compare
        (
            replace(SET, status="failed"),
            shown("4"),
            replace(SET, status="failed", read_value="4", read_status=200, read_at=LATER),
        ),
    ],
)
def test_an_answer_changes_what_is_known(
    before: Known | None, answer: PolicyAnswer, expected: Known | None
) -> None:
    """Every kind of answer in every state that matters."""
    assert after(before, answer, BUILD, LATER) == expected


def test_the_same_number_written_otherwise_is_no_drift() -> None:
    """A status does not flap because a device writes zeros."""
    assert after(SET, shown("02"), BUILD, LATER) == replace(CONFIRMED, read_value="02")


@pytest.mark.parametrize(
    ("known", "ours"),
    [
        (SENT, True),
        (SET, True),
        (replace(SENT, status="failed"), True),
        (replace(SENT, status="unsupported"), False),
        (replace(SET, status="unsupported"), True),
    ],
)
def test_what_may_stand_on_the_device_is_ours(known: Known, ours: bool) -> None:  # noqa: FBT001 - the expectation
    """Only a policy the device does not have cannot stand there, unless it had it before."""
    assert known.ours is ours


def test_what_is_confirmed_was_read_after_it_was_written() -> None:
    """An older reading, one that failed, or another value confirm nothing."""
    assert CONFIRMED.confirmed
    for known in (
        SET,
        DRIFTED,
        replace(CONFIRMED, at=LATER + HOUR),
        replace(CONFIRMED, read_value=None, read_status=405),
        replace(CONFIRMED, status="sent"),
    ):
        assert not known.confirmed


@pytest.mark.parametrize("status", ["sent", "failed", "unsupported"])
def test_what_the_device_has_not_taken_does_not_stand(status: str) -> None:
    """It is told again."""
    assert replace(CONFIRMED, status=status).stands(NOW, repair=True) == (False, None)


def test_a_confirmed_value_stands_for_good() -> None:
    """It is read daily, and need not be written."""
    assert CONFIRMED.stands(NOW + 365 * READ_EVERY, repair=True) == (True, None)


def test_what_cannot_be_read_back_is_written_daily() -> None:
    """In case somebody changed it."""
    for known in (SET, replace(SET, read_status=405, read_at=LATER)):
        again = known.at + READ_EVERY
        assert known.stands(again - HOUR, repair=True) == (True, again)
        assert known.stands(again, repair=True) == (False, None)


def test_drift_is_repaired_at_once_and_then_daily_or_not_at_all() -> None:
    """A repair that does not help is no reason to write in each session."""
    assert DRIFTED.stands(LATER, repair=True) == (False, None)
    assert DRIFTED.stands(LATER + 9 * READ_EVERY, repair=False) == (True, None)
    tried = replace(DRIFTED, repairs=1, at=LATER)
    again = LATER + READ_EVERY
    assert tried.stands(again - HOUR, repair=True) == (True, again)
    assert tried.stands(again, repair=True) == (False, None)


def test_what_a_build_lacks_is_tried_again_later_and_on_another_build() -> None:
    """30 days on this build; at once after an upgrade."""
    known = replace(SENT, status="unsupported", build=BUILD)
    until = NOW + REMEMBERED
    assert known.lacks(BUILD, until - HOUR) == until
    assert known.lacks(BUILD, until) is None
    assert known.lacks("10.0.26100.5000", NOW) is None
    assert replace(known, status="failed").lacks(BUILD, NOW) is None


def test_what_was_written_is_read_in_the_next_session_and_then_daily() -> None:
    """And only what the device took."""
    assert next_read(SENT) is None
    assert next_read(SET) == NOW
    assert next_read(CONFIRMED) == LATER + READ_EVERY
    assert next_read(replace(CONFIRMED, at=LATER + HOUR)) == LATER + HOUR
