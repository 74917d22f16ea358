"""When a device polls by itself: the three sets of DMClient's Poll node, one after the other (omadm, polling).

interval 0               the set is left out
interval, count          so many sessions, each that many minutes after the one before
interval, count 0        the same without end; what follows it is never reached
no set without end       Windows adds a session every 24 hours
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["has_schedule", "minutes_to_next"]

_SETS: Final = (
    ("Poll/IntervalForFirstSetOfRetries", "15", "Poll/NumberOfFirstRetries", "10"),
    ("Poll/IntervalForSecondSetOfRetries", "0", "Poll/NumberOfSecondRetries", "0"),
    ("Poll/IntervalForRemainingScheduledRetries", "0", "Poll/NumberOfRemainingScheduledRetries", "0"),
)
"""Interval, what it is when unset, count, what that is when unset (DMClient CSP)."""

_DAILY: Final = 24 * 60


def has_schedule(settings: Mapping[str, str]) -> bool:
    """True if an enrolment or a server has set any of the six numbers; `settings` are below the provider, by path."""
    return any(interval in settings or count in settings for interval, _, count, _ in _SETS)


def minutes_to_next(settings: Mapping[str, str], done: int) -> int:
    """Minutes from one session to the next, after `done` sessions of the schedule."""
    for interval_name, interval_default, count_name, count_default in _SETS:
        interval = int(settings.get(interval_name, interval_default))
        count = int(settings.get(count_name, count_default))
        if not interval:
            continue
        if not count or done < count:
            return interval
        done -= count
    return _DAILY
