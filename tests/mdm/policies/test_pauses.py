"""Pauses last 35 days from a day, and are over when that is so everywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from csp.policy import POLICIES, Date
from mdm.policies.pauses import PAUSES, Pause, pause_of, pause_over_at

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until", "left"),
    [
        ("2026-11-21", "2026-12-26", 35),
        ("2026-11-20", "2026-12-25", 34),
        ("2026-10-18", "2026-11-22", 1),
        ("2026-10-17", "2026-11-21", 0),
        ("2020-02-29", "2020-04-04", 0),
        ("2026-12-01", "2027-01-05", 45),
        ("9999-12-31", "9999-12-31", 2912118),
    ],
)
def test_days_left_are_counted_in_utc(since: str, until: str, left: int) -> None:
    """From the first day to the first on which updates come again; a pause that is over has none left."""
    assert pause_of("quality", since, NOON) == Pause("quality", since, until, left)


def test_the_day_is_that_of_utc_whatever_the_zone_of_the_clock() -> None:
    """A clock in another time zone says the same."""
    east = timezone(timedelta(hours=13))
    assert pause_of("feature", "2026-11-21", NOON.astimezone(east)).days_left == 35


def test_a_pause_is_over_at_noon_when_the_day_has_begun_everywhere() -> None:
    """Twelve hours behind UTC the day begins last; the last day there is ends no calculation."""
    assert pause_over_at("2026-11-21") == datetime(2026, 12, 26, 12, 0, tzinfo=UTC)
    assert pause_over_at("9999-12-31") == datetime(9999, 12, 31, 12, 0, tzinfo=UTC)


def test_what_pauses_is_a_policy_that_takes_a_day() -> None:
    """The names are those of csp.policy."""
    assert all(isinstance(POLICIES[name].allowed, Date) for name in PAUSES.values())
