"""Whether a device's windows are open, and when that changes."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.windows.recurrence import Monthly, Recurrence, Weekly
from mdm.windows.state import UNRESTRICTED, HeldWindow, WindowState, owed_until, state_of

HOUR = timedelta(hours=1)


def utc(text: str) -> datetime:
    """`2026-11-21 12:00` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


SATURDAY = utc("2026-11-21 12:00")


def sundays(name: str = "sundays", start: str = "22:00", hours: int = 4, **more: Any) -> HeldWindow:
    """A window on Sundays."""
    granted, catch_up = more.pop("granted_until", None), more.pop("catch_up", 0)
    recurrence = Recurrence(Weekly(frozenset({7})), time.fromisoformat(start), hours * HOUR, "UTC", **more)
    return HeldWindow(name, recurrence, catch_up * HOUR, granted)


def test_without_windows_nothing_is_closed() -> None:
    """And nothing will change it."""
    assert state_of([], SATURDAY) == UNRESTRICTED


def test_closed_until_the_next_opening() -> None:
    """Then open until the end."""
    opens, closes = utc("2026-11-22 22:00"), utc("2026-11-23 02:00")
    assert state_of([sundays()], SATURDAY) == WindowState(
        closed=True, next_open=opens, changes_at=opens, window_ids=("sundays",)
    )
    assert state_of([sundays()], opens) == WindowState(
        closed=False, next_open=None, changes_at=closes, window_ids=("sundays",)
    )
    assert state_of([sundays()], closes).next_open == utc("2026-11-29 22:00")


def test_open_if_any_is_open() -> None:
    """The others do not close it; the first change is told."""
    both = [sundays("b", "20:00", 4), sundays("a", "22:00", 4)]
    assert state_of(both, utc("2026-11-22 21:00")) == WindowState(
        closed=False, next_open=None, changes_at=utc("2026-11-23 00:00"), window_ids=("a", "b")
    )
    assert not state_of(both, utc("2026-11-23 00:00")).closed
    assert state_of(both, SATURDAY).next_open == utc("2026-11-22 20:00")


def test_a_window_holds_only_while_it_is_valid() -> None:
    """Before and after it restricts nobody, and is not among those that hold."""
    begins, ends = utc("2026-11-23 00:00"), utc("2026-11-27 00:00")
    window = sundays("w", valid_from=begins, valid_until=ends)
    assert state_of([window], SATURDAY) == WindowState(
        closed=False, next_open=None, changes_at=begins, window_ids=()
    )
    # It is cut at its beginning, and what is left of its only opening ends at two.
    assert state_of([window], begins).changes_at == utc("2026-11-23 02:00")
    assert state_of([window], utc("2026-11-23 03:00")) == WindowState(
        closed=True, next_open=ends, changes_at=ends, window_ids=("w",)
    )
    assert state_of([window], ends) == UNRESTRICTED


def test_one_that_comes_may_open_before_one_that_holds() -> None:
    """Both are looked at for the next opening."""
    monthly = HeldWindow("m", Recurrence(Monthly(1, 1), time(1), HOUR, "UTC"))
    coming = sundays("s", valid_from=utc("2026-11-23 12:00"))
    assert state_of([monthly, coming], SATURDAY).next_open == utc("2026-11-29 22:00")
    ending = sundays("e", valid_until=utc("2026-11-22 12:00"))
    assert state_of([monthly, ending], SATURDAY).next_open == utc("2026-12-07 01:00")


@pytest.mark.parametrize(
    ("seen", "until"),
    [
        (None, "2026-11-23 14:00"),
        ("2026-11-22 21:59", "2026-11-23 14:00"),
        ("2026-11-22 22:00", None),
        ("2026-11-23 02:30", None),
    ],
)
def test_a_device_that_missed_the_window_may_catch_up(seen: str | None, until: str | None) -> None:
    """For the hours after it, if it was not seen since the window had opened."""
    window = sundays(catch_up=12)
    now = utc("2026-11-23 10:00")
    last = None if seen is None else utc(seen)
    expected = None if until is None else utc(until)
    assert owed_until(window, now, last) == expected
    state = state_of([window], now, last)
    assert state.closed is (expected is None)
    assert state.changes_at == (expected or utc("2026-11-29 22:00"))


def test_nothing_is_owed_otherwise() -> None:
    """While it is open, once the hours are over, without hours, and when it does not hold any more."""
    window = sundays(catch_up=12)
    assert owed_until(window, utc("2026-11-22 23:00"), None) is None
    assert owed_until(window, utc("2026-11-23 14:00"), None) is None
    assert owed_until(sundays(), utc("2026-11-23 10:00"), None) is None
    over = sundays(catch_up=12, valid_until=utc("2026-11-23 09:00"))
    assert owed_until(over, utc("2026-11-23 10:00"), None) is None


def test_what_was_granted_holds_although_the_device_has_been_seen() -> None:
    """Until its end."""
    until = utc("2026-11-23 14:00")
    window = sundays(catch_up=12, granted_until=until)
    now = utc("2026-11-23 10:00")
    assert state_of([window], now, now) == WindowState(
        closed=False, next_open=None, changes_at=until, window_ids=("sundays",)
    )
    assert state_of([window], until, now).closed


MOMENTS = st.integers(0, 44 * 24 * 60).map(
    lambda minutes: utc("2026-11-01 00:00") + timedelta(minutes=minutes)
)
WINDOWS = st.lists(
    st.builds(
        lambda name, day, hour, hours, begins, ends: HeldWindow(
            name, Recurrence(Weekly(frozenset({day})), time(hour), hours * HOUR, "UTC", begins, ends)
        ),
        st.sampled_from("abc"),
        st.integers(1, 7),
        st.integers(0, 23),
        st.integers(1, 48),
        st.none() | MOMENTS,
        st.none() | MOMENTS,
    ),
    max_size=3,
)


@given(windows=WINDOWS, now=MOMENTS, share=st.floats(0, 0.999))
def test_nothing_changes_before_it_is_said_to(windows: list[HeldWindow], now: datetime, share: float) -> None:
    """Between now and `changes_at` the answer stays; a closed device is open at `next_open`."""
    state = state_of(windows, now)
    horizon = state.changes_at or now + timedelta(days=30)
    assert horizon > now
    assert state_of(windows, now + (horizon - now) * share).closed is state.closed
    assert state.closed is (state.next_open is not None)
    if state.next_open is not None:
        assert not state_of(windows, state.next_open).closed
