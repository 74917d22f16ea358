"""When windows are open: patterns, daylight saving time, and what always holds."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.windows.recurrence import (
    EARLIEST,
    LAST,
    LATEST,
    MAX_DURATION,
    MIN_DURATION,
    Monthly,
    Occurrence,
    PatchTuesday,
    Pattern,
    Recurrence,
    Weekly,
    is_zone,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SUNDAY = Weekly(frozenset({7}))
EVERY_DAY = Weekly(frozenset(range(1, 8)))
BERLIN = "Europe/Berlin"


def utc(text: str) -> datetime:
    """`2026-11-21 12:00` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def recurrence(
    pattern: Pattern,
    start: str = "22:00",
    hours: float = 4,
    zone: str = "UTC",
    valid_from: str | None = None,
    valid_until: str | None = None,
) -> Recurrence:
    """A recurrence in short."""
    return Recurrence(
        pattern,
        time.fromisoformat(start),
        hours * HOUR,
        zone,
        None if valid_from is None else utc(valid_from),
        None if valid_until is None else utc(valid_until),
    )


def opened(found: Recurrence, moment: str, limit: int) -> list[str]:
    """When it opens, by the clocks of its zone."""
    zone = ZoneInfo(found.zone)
    return [
        each.opens.astimezone(zone).strftime("%Y-%m-%d %H:%M") for each in found.upcoming(utc(moment), limit)
    ]


# --- patterns -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (Weekly(frozenset({6, 7})), ["2026-11-07", "2026-11-08", "2026-11-14", "2026-11-15"]),
        (EVERY_DAY, ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"]),
        (Monthly(1, 1), ["2026-11-02", "2026-12-07", "2027-01-04", "2027-02-01"]),
        (Monthly(4, 7), ["2026-11-22", "2026-12-27", "2027-01-24", "2027-02-28"]),
        (Monthly(LAST, 7), ["2026-11-29", "2026-12-27", "2027-01-31", "2027-02-28"]),
        (PatchTuesday(), ["2026-11-10", "2026-12-08", "2027-01-12", "2027-02-09"]),
        (PatchTuesday(4), ["2026-11-14", "2026-12-12", "2027-01-16", "2027-02-13"]),
        (PatchTuesday(-7), ["2026-11-03", "2026-12-01", "2027-01-05", "2027-02-02"]),
        # The second Tuesday of October is the 13th.
        (PatchTuesday(27), ["2026-11-09", "2026-12-07", "2027-01-04", "2027-02-08"]),
    ],
    ids=str,
)
def test_the_days_of_each_pattern(pattern: Pattern, expected: list[str]) -> None:
    """As a calendar shows them."""
    found = opened(recurrence(pattern), "2026-11-01 20:00", 5)
    if pattern == Weekly(frozenset({6, 7})):
        # The first of November is a Sunday, and four in the afternoon is before ten.
        assert found.pop(0) == "2026-11-01 22:00"
    assert found[:4] == [f"{day} 22:00" for day in expected]


def test_an_occurrence_covers_its_beginning_and_not_its_end() -> None:
    """Open from the first moment to just before the last."""
    found = recurrence(SUNDAY, "22:00", 4)
    whole = Occurrence(utc("2026-11-22 22:00"), utc("2026-11-23 02:00"))
    assert found.occurrence_at(utc("2026-11-22 21:59")) is None
    assert found.occurrence_at(utc("2026-11-22 22:00")) == whole
    assert found.occurrence_at(utc("2026-11-23 01:59")) == whole
    assert found.occurrence_at(utc("2026-11-23 02:00")) is None
    assert found.next_after(utc("2026-11-22 21:59")) == whole
    assert found.next_after(utc("2026-11-22 22:00")) == Occurrence(
        whole.opens + 7 * DAY, whole.closes + 7 * DAY
    )


def test_the_last_that_ended_within_a_time() -> None:
    """What a device may have missed; what is longer ago is forgotten, and what is open has not ended."""
    found = recurrence(SUNDAY, "22:00", 4)
    whole = Occurrence(utc("2026-11-22 22:00"), utc("2026-11-23 02:00"))
    assert found.last_ended(utc("2026-11-23 01:59"), DAY) is None
    assert found.last_ended(utc("2026-11-23 02:00"), DAY) == whole
    assert found.last_ended(utc("2026-11-24 01:59"), DAY) == whole
    assert found.last_ended(utc("2026-11-24 02:00"), DAY) is None
    assert found.last_ended(utc("2026-11-29 22:30"), 7 * DAY) == whole


# --- daylight saving time -------------------------------------------------------------------------------


def test_a_start_in_the_gap_begins_at_the_first_moment_after_it() -> None:
    """In Berlin clocks went from 2:00 to 3:00 on 29 March 2026: 2:30 was never, 3:00 was 1:00 in UTC."""
    found = recurrence(SUNDAY, "02:30", 2, BERLIN)
    assert found.next_after(utc("2026-03-28 12:00")) == Occurrence(
        utc("2026-03-29 01:00"), utc("2026-03-29 03:00")
    )
    assert opened(found, "2026-03-20 12:00", 3) == [
        "2026-03-22 02:30",
        "2026-03-29 03:00",
        "2026-04-05 02:30",
    ]


def test_a_gap_of_half_an_hour() -> None:
    """On Lord Howe Island clocks went from 2:00 to 2:30 on 4 October 2026."""
    found = recurrence(SUNDAY, "02:15", 1, "Australia/Lord_Howe")
    assert opened(found, "2026-10-03 00:00", 2) == ["2026-10-04 02:30", "2026-10-11 02:15"]


def test_a_day_that_was_skipped() -> None:
    """Samoa had no 30 December 2011: its window and that of midnight after it are one."""
    night = recurrence(EVERY_DAY, "03:00", 2, "Pacific/Apia")
    assert opened(night, "2011-12-29 00:00", 4) == [
        "2011-12-29 03:00",
        "2011-12-31 00:00",
        "2011-12-31 03:00",
        "2012-01-01 03:00",
    ]
    midnight = recurrence(EVERY_DAY, "00:00", 2, "Pacific/Apia")
    assert opened(midnight, "2011-12-29 00:00", 3) == [
        "2011-12-29 00:00",
        "2011-12-31 00:00",
        "2012-01-01 00:00",
    ]


def test_a_start_that_clocks_show_twice_happens_once() -> None:
    """In Berlin 2:30 was at 0:30 and at 1:30 in UTC on 25 October 2026: it begins at the first, and once."""
    found = recurrence(SUNDAY, "02:30", 2, BERLIN)
    first = Occurrence(utc("2026-10-25 00:30"), utc("2026-10-25 02:30"))
    assert found.next_after(utc("2026-10-24 12:00")) == first
    assert found.occurrence_at(utc("2026-10-25 01:30")) == first
    following = found.next_after(first.opens)
    assert following is not None
    assert following.opens == utc("2026-11-01 01:30")


@pytest.mark.parametrize(
    ("day", "closes"), [("2026-03-28", "2026-03-29 03:00"), ("2026-10-24", "2026-10-25 02:00")]
)
def test_the_length_is_elapsed_time(day: str, closes: str) -> None:
    """Six hours are six hours, in the night that has seven or five of them by the clocks."""
    found = recurrence(Weekly(frozenset({6})), "22:00", 6, BERLIN)
    occurrence = found.next_after(utc(f"{day} 12:00"))
    assert occurrence is not None
    assert occurrence.closes - occurrence.opens == 6 * HOUR
    assert occurrence.closes == utc(closes)


def test_local_time_stays_through_the_year() -> None:
    """Ten in the evening is ten in the evening, in summer and in winter."""
    found = recurrence(PatchTuesday(), "22:00", 4, "America/New_York")
    assert {text[-5:] for text in opened(found, "2026-01-01 00:00", 24)} == {"22:00"}


# --- validity -------------------------------------------------------------------------------------------


def test_a_window_is_cut_where_it_begins_and_ceases_to_hold() -> None:
    """Nothing is open outside, and what reaches across is cut."""
    found = recurrence(EVERY_DAY, "22:00", 4, "UTC", "2026-11-21 23:00", "2026-11-23 01:00")
    assert found.upcoming(utc("2026-01-01 00:00"), 9) == (
        Occurrence(utc("2026-11-21 23:00"), utc("2026-11-22 02:00")),
        Occurrence(utc("2026-11-22 22:00"), utc("2026-11-23 01:00")),
    )
    assert found.upcoming(utc("2026-11-23 01:00"), 9) == ()
    assert found.next_after(utc("2030-01-01 00:00")) is None
    assert found.occurrence_at(utc("2026-11-21 22:30")) is None
    assert [
        found.in_force(utc(text))
        for text in ("2026-11-21 22:59", "2026-11-21 23:00", "2026-11-23 00:59", "2026-11-23 01:00")
    ] == [False, True, True, False]
    assert [found.over(utc(text)) for text in ("2026-11-21 22:59", "2026-11-23 01:00")] == [False, True]


def test_validity_between_two_occurrences_has_none() -> None:
    """A Sunday's window that holds from Monday to Tuesday never opens."""
    found = recurrence(SUNDAY, "22:00", 1, "UTC", "2026-11-23 12:00", "2026-11-24 12:00")
    assert found.upcoming(utc("2026-11-01 00:00"), 9) == ()


def test_a_window_longer_than_the_time_between_two_is_always_open() -> None:
    """Each occurrence ends where the next begins."""
    found = recurrence(Weekly(frozenset({1, 2})), "00:00", 7 * 24)
    spans = found.upcoming(utc("2026-11-21 00:00"), 5)
    assert all(one.closes == two.opens for one, two in pairwise(spans))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Europe/Berlin", True),
        ("UTC", True),
        ("Europe", False),
        ("Atlantis/Capital", False),
        ("../etc/passwd", False),
        ("/etc/localtime", False),
        ("localtime", False),
        ("", False),
        ("device", False),
        ("a\0b", False),
    ],
)
def test_names_of_zones(name: str, known: bool) -> None:  # noqa: FBT001 - a column of the table
    """Only those of the database count, and none that differs from machine to machine."""
    assert is_zone(name) is known


# --- what always holds ----------------------------------------------------------------------------------

PATTERNS = (
    st.builds(Weekly, st.frozensets(st.integers(1, 7), min_size=1))
    | st.builds(Monthly, st.sampled_from([1, 2, 3, 4, LAST]), st.integers(1, 7))
    | st.builds(PatchTuesday, st.integers(-7, 27))
)
ZONES = st.sampled_from(
    [
        "UTC",
        BERLIN,
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Asia/Kathmandu",
        "Africa/Cairo",
    ]
)
MOMENTS = st.integers(0, 24 * 365 * 24 * 60 * 60).map(
    lambda seconds: utc("2008-01-01 00:00") + timedelta(seconds=seconds)
)
RECURRENCES = st.builds(
    Recurrence,
    PATTERNS,
    st.times().map(lambda each: each.replace(second=0, microsecond=0)),
    st.integers(int(MIN_DURATION.total_seconds()) // 60, int(MAX_DURATION.total_seconds()) // 60).map(
        lambda minutes: timedelta(minutes=minutes)
    ),
    ZONES,
    st.none() | MOMENTS,
    st.none() | MOMENTS,
)


@given(found=RECURRENCES, moment=MOMENTS)
def test_the_next_opens_after_the_moment_and_is_itself_found(found: Recurrence, moment: datetime) -> None:
    """`next_after` and `occurrence_at` agree, and nothing lies between."""
    following = found.next_after(moment)
    if following is None:
        assert found.valid_until is not None
        return
    assert following.opens > moment
    assert following.opens < following.closes
    assert found.occurrence_at(following.opens) == following
    assert found.occurrence_at(following.closes - timedelta(seconds=1)) == following
    assert found.in_force(following.opens)
    current = found.occurrence_at(moment)
    if current is not None:
        assert current.covers(moment)
        assert current.closes <= following.opens
        middle = current.closes
    else:
        middle = moment
    if middle < following.opens:
        assert found.occurrence_at(middle + (following.opens - middle) / 2) is None


@given(found=RECURRENCES, moment=MOMENTS, steps=st.integers(2, 12))
def test_occurrences_come_in_order_and_never_overlap(found: Recurrence, moment: datetime, steps: int) -> None:
    """One after the other, none longer than asked for, and the same wherever one begins to look."""
    spans = found.upcoming(moment, steps)
    for one, two in pairwise(spans):
        assert one.closes <= two.opens
        assert found.next_after(one.opens) == two
        assert found.last_ended(two.opens, timedelta(days=80)) == one
    for each in spans:
        assert timedelta(0) < each.closes - each.opens <= found.duration


@given(pattern=PATTERNS, start=st.times(), zone=ZONES, day=st.dates(date(2008, 1, 1), date(2032, 1, 1)))
def test_it_opens_at_its_local_time_or_right_after_a_gap(
    pattern: Pattern, start: time, zone: str, day: date
) -> None:
    """By the clocks of the zone: the time asked for, or a later one such that nothing was shown between."""
    start = start.replace(second=0, microsecond=0)
    found = Recurrence(pattern, start, HOUR, zone)
    following = found.next_after(datetime.combine(day, time(), UTC))
    assert following is not None
    local = following.opens.astimezone(ZoneInfo(zone))
    if local.time() != start:
        before = (following.opens - timedelta(seconds=1)).astimezone(ZoneInfo(zone))
        assert before.utcoffset() != local.utcoffset()
        assert before.replace(tzinfo=None) < datetime.combine(before.date(), start) or before.time() < start


def test_the_centuries_at_the_edge_are_counted() -> None:
    """The first and the last moments that may be asked for overflow nothing."""
    for moment in (EARLIEST, LATEST):
        for pattern in (SUNDAY, Monthly(LAST, 5), PatchTuesday(27)):
            assert recurrence(pattern, zone="Pacific/Apia").next_after(moment) is not None
