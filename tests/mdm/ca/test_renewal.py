"""When a certificate is renewed, for each length of life that the setting allows."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mdm.ca.renewal import RenewalPeriod


@pytest.mark.parametrize(
    ("lifetime", "days", "retry"),
    [(1, 1, 1), (2, 1, 1), (3, 1, 1), (7, 3, 3), (30, 15, 4), (83, 41, 4), (84, 42, 4), (365, 42, 4)],
)
def test_it_is_the_second_half_of_a_short_life(lifetime: int, days: int, retry: int) -> None:
    """Half of it, a day at least, 42 days at most."""
    assert RenewalPeriod.of(timedelta(days=lifetime)) == RenewalPeriod(days, retry)


def test_every_setting_leaves_time_to_use_and_to_renew() -> None:
    """No certificate of two days or more is due on its first day, and none is tried again only after its end."""
    for days in range(1, 3651):
        period = RenewalPeriod.of(timedelta(days=days))
        assert 1 <= period.retry_days <= period.days <= max(1, days // 2)
        assert timedelta(0) < period.alarm < period.window == timedelta(days=period.days)
    assert RenewalPeriod.of(timedelta(days=365)).alarm == timedelta(days=14)
    assert RenewalPeriod.of(timedelta(hours=1)) == RenewalPeriod(1, 1)
