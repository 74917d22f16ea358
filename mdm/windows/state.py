"""Whether a device may be given updates now, by the windows it has: one pure function.

A window holds from its `valid_from` to its `valid_until`; before and after, it is as if it were not there. A device
is closed while windows hold for it and none of them is open. A window is also open to a device that was not seen
while it was, for its catch-up time after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from mdm.windows.recurrence import Recurrence

__all__ = ["UNRESTRICTED", "HeldWindow", "WindowState", "owed_until", "state_of"]

_NO_TIME: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class HeldWindow:
    """A window of a device."""

    id: str
    recurrence: Recurrence
    catch_up: timedelta = _NO_TIME
    granted_until: datetime | None = None
    """Until when the device may catch up on it, having come back in time."""


@dataclass(frozen=True, slots=True)
class WindowState:
    """What a device's windows come to at a moment."""

    closed: bool
    """Windows hold for it, and none is open."""
    next_open: datetime | None
    """While closed: when it will not be any more."""
    changes_at: datetime | None
    """When time alone may change this; None: never."""
    window_ids: tuple[str, ...]
    """The windows that hold for it, in order of their ids."""


UNRESTRICTED: Final = WindowState(closed=False, next_open=None, changes_at=None, window_ids=())


def state_of(
    windows: Iterable[HeldWindow], now: datetime, last_checkin_at: datetime | None = None
) -> WindowState:
    """The state of a device that was last seen then (None: never), before the session that asks.

    For a device inside a session that is its own last message, so that only what was granted at the beginning of
    the session counts; see `mdm.windows.catch_up`.
    """
    coming = [window for window in windows if not window.recurrence.over(now)]
    if not coming:
        return UNRESTRICTED
    holding = [window for window in coming if window.recurrence.in_force(now)]
    ids = tuple(sorted(window.id for window in holding))
    ends = [end for window in holding if (end := _open_until(window, now, last_checkin_at)) is not None]
    if holding and not ends:
        opens = _next_open(coming, now)
        return WindowState(closed=True, next_open=opens, changes_at=opens, window_ids=ids)
    moments = [*ends, *_validity(coming)]
    return WindowState(
        closed=False,
        next_open=None,
        changes_at=min((moment for moment in moments if moment > now), default=None),
        window_ids=ids,
    )


def owed_until(window: HeldWindow, now: datetime, last_checkin_at: datetime | None) -> datetime | None:
    """Until when a device last seen then may catch up on the window; None if it may not, or need not."""
    recurrence = window.recurrence
    if not window.catch_up or not recurrence.in_force(now) or recurrence.occurrence_at(now) is not None:
        return None
    missed = recurrence.last_ended(now, window.catch_up)
    if missed is None or (last_checkin_at is not None and last_checkin_at >= missed.opens):
        return None
    return missed.closes + window.catch_up


def _open_until(window: HeldWindow, now: datetime, last_checkin_at: datetime | None) -> datetime | None:
    """When the window closes, if it is open to the device."""
    occurrence = window.recurrence.occurrence_at(now)
    if occurrence is not None:
        return occurrence.closes
    if window.granted_until is not None and window.granted_until > now:
        return window.granted_until
    return owed_until(window, now, last_checkin_at)


def _next_open(windows: Sequence[HeldWindow], now: datetime) -> datetime | None:
    """The first moment after now at which a window is open, or none holds."""
    following = (window.recurrence.next_after(now) for window in windows)
    moments = {each.opens for each in following if each is not None}
    moments.update(
        window.recurrence.valid_until for window in windows if window.recurrence.valid_until is not None
    )
    return min((moment for moment in moments if not _is_closed(windows, moment)), default=None)


def _is_closed(windows: Sequence[HeldWindow], moment: datetime) -> bool:
    holding = [window.recurrence for window in windows if window.recurrence.in_force(moment)]
    return bool(holding) and all(each.occurrence_at(moment) is None for each in holding)


def _validity(windows: Iterable[HeldWindow]) -> list[datetime]:
    """When windows begin and cease to hold."""
    limits = ((each.recurrence.valid_from, each.recurrence.valid_until) for each in windows)
    return [moment for pair in limits for moment in pair if moment is not None]
