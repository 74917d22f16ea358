"""Pauses of quality and feature updates: which policy holds one, and when it is over.

A pause is a day in a policy: Windows offers nothing of the kind for 35 days from it, by the device's own calendar,
and a reset of the policy ends it at once (update-csp 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DAYS", "PAUSES", "Pause", "pause_of", "pause_over_at"]

DAYS: Final = 35
"""How long Windows pauses, counted from the day in the policy."""

PAUSES: Final[Mapping[str, str]] = {
    "quality": "PauseQualityUpdatesStartTime",
    "feature": "PauseFeatureUpdatesStartTime",
}
"""What can be paused, and the policy that does it."""

_LAST_ZONE: Final = time(12, tzinfo=UTC)
"""When a day has begun everywhere on Earth."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause as an administrator sees it."""

    kind: str
    """`quality` or `feature`."""
    since: str
    """First day, yyyy-mm-dd."""
    until: str
    """First day on which updates are offered again."""
    days_left: int
    """0 once it is over; more than 35 if it has not begun."""


def pause_of(kind: str, since: str, now: datetime) -> Pause:
    """The pause that begins on this day (yyyy-mm-dd, a day that exists)."""
    until = _end(since)
    left = (until - now.astimezone(UTC).date()).days
    return Pause(kind, since, until.isoformat(), max(left, 0))


def pause_over_at(since: str) -> datetime:
    """The moment at which the pause that begins on this day is over in every time zone."""
    return datetime.combine(_end(since), _LAST_ZONE)


def _end(since: str) -> date:
    try:
        return date.fromisoformat(since) + timedelta(days=DAYS)
    except OverflowError:
        return date.max
