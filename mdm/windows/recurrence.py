"""When a maintenance window is open: patterns of days, a time of day in a time zone, and an elapsed length.

A time that the clocks skip in spring begins at the first moment after the gap; a time that they show twice in
autumn begins at the first of the two, and only there. The length is elapsed time, whatever the clocks do in it.
Pure: the present moment is an argument.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "EARLIEST",
    "LAST",
    "LATEST",
    "MAX_DURATION",
    "MAX_OFFSET",
    "MIN_DURATION",
    "MIN_OFFSET",
    "Monthly",
    "Occurrence",
    "PatchTuesday",
    "Pattern",
    "Recurrence",
    "Weekly",
    "first_moment",
    "is_zone",
]

MIN_DURATION: Final = timedelta(minutes=15)
MAX_DURATION: Final = timedelta(days=7)
MIN_OFFSET: Final = -7
MAX_OFFSET: Final = 27
"""Days from Patch Tuesday; with more a window would come nearer to the next one."""
LAST: Final = -1
"""As `Monthly.nth`: the last such weekday of the month, be it the fourth or the fifth."""
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Between these a window may begin and cease to hold: calendars of other centuries are nobody's business."""

_WEEK: Final = 7
_TUESDAY: Final = 2
_DAY: Final = timedelta(days=1)
_MONTHS: Final = 12
_SECOND: Final = timedelta(seconds=1)

# A day that can still be open or begin late: the longest length, a day for the zone, a day for a skipped one.
_LOOK_BACK: Final = MAX_DURATION + 3 * _DAY

_NOT_ZONES: Final = frozenset({"localtime", "Factory"})
"""Names in the database of zones that mean another thing on each machine, or nothing."""


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - _NOT_ZONES


def is_zone(name: str) -> bool:
    """True for the name of a time zone in the IANA database, such as `Europe/Berlin`."""
    return name in _zones()


@dataclass(frozen=True, slots=True)
class Weekly:
    """On these days of every week."""

    days: frozenset[int]
    """ISO weekdays: 1 Monday to 7 Sunday."""


@dataclass(frozen=True, slots=True)
class Monthly:
    """On the nth such weekday of every month."""

    nth: int
    """1 to 4, or `LAST`."""
    weekday: int
    """ISO weekday."""


@dataclass(frozen=True, slots=True)
class PatchTuesday:
    """So many days after the second Tuesday of every month, or before it."""

    offset: int = 0
    """-7 to 27 days."""


Pattern: TypeAlias = Weekly | Monthly | PatchTuesday


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time that a window is open: from the first moment to just before the second one."""

    opens: datetime
    closes: datetime

    def covers(self, moment: datetime) -> bool:
        """True if the window is open then."""
        return self.opens <= moment < self.closes


@dataclass(frozen=True, slots=True)
class Recurrence:
    """All the times that a window is open; times in and out are in UTC.

    Occurrences never overlap: one that would reach into the next ends where that begins. Outside of `valid_from`
    to `valid_until` there is none, and one that reaches across either is cut there.
    """

    pattern: Pattern
    start: time
    """Local time of the zone, without one of its own."""
    duration: timedelta
    zone: str
    """IANA name."""
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def in_force(self, moment: datetime) -> bool:
        """True if the window holds at all then, open or closed."""
        return (self.valid_from is None or self.valid_from <= moment) and not self.over(moment)

    def over(self, moment: datetime) -> bool:
        """True if the window will never hold again."""
        return self.valid_until is not None and self.valid_until <= moment

    def occurrence_at(self, moment: datetime) -> Occurrence | None:
        """The occurrence that covers the moment, if any."""
        for occurrence in self._occurrences(moment):
            if occurrence.opens > moment:
                break
            if occurrence.covers(moment):
                return occurrence
        return None

    def next_after(self, moment: datetime) -> Occurrence | None:
        """The first occurrence that opens after the moment; None if there will be none."""
        return next((each for each in self._occurrences(moment) if each.opens > moment), None)

    def upcoming(self, moment: datetime, limit: int) -> tuple[Occurrence, ...]:
        """The occurrence that covers the moment, if any, and those after it: at most `limit` together."""
        found: list[Occurrence] = []
        for occurrence in self._occurrences(moment):
            if len(found) == limit:
                break
            if occurrence.closes > moment:
                found.append(occurrence)
        return tuple(found)

    def last_ended(self, moment: datetime, within: timedelta) -> Occurrence | None:
        """The latest occurrence that was over by then, and for no longer than that."""
        found = None
        for occurrence in self._occurrences(moment - within):
            if occurrence.closes > moment:
                break
            if moment - occurrence.closes < within:
                found = occurrence
        return found

    def _occurrences(self, moment: datetime) -> Iterator[Occurrence]:
        """In order, beginning with some that are over by the moment."""
        if self.valid_from is not None:
            moment = max(moment, self.valid_from)
        before: datetime | None = None
        for opens in self._openings(moment):
            if before is not None:
                yield from self._cut(before, min(before + self.duration, opens))
            before = opens
            if self.over(opens):
                return

    def _cut(self, opens: datetime, closes: datetime) -> Iterator[Occurrence]:
        if self.valid_from is not None:
            opens = max(opens, self.valid_from)
        if self.valid_until is not None:
            closes = min(closes, self.valid_until)
        if opens < closes:
            yield Occurrence(opens, closes)

    def _openings(self, moment: datetime) -> Iterator[datetime]:
        """Without end, each once."""
        zone = ZoneInfo(self.zone)
        before: datetime | None = None
        for day in _days(self.pattern, (moment - _LOOK_BACK).date()):
            opens = first_moment(datetime.combine(day, self.start), zone)
            # Where a whole day is skipped, the time of that day and midnight after it are the same moment.
            if opens != before:
                yield opens
            before = opens


def first_moment(local: datetime, zone: ZoneInfo) -> datetime:
    """The first moment in UTC at which clocks of the zone show this time, or a later one if they skip it.

    `local` has no zone of its own.
    """
    late = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if late.astimezone(zone).replace(tzinfo=None) == local:
        return late
    # In a gap: fold=0 counts with the offset before it and so lies after it, fold=1 the other way round.
    early = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    after = late.astimezone(zone).utcoffset()
    while late - early > _SECOND:
        middle = early + (late - early) // 2 // _SECOND * _SECOND
        if middle.astimezone(zone).utcoffset() == after:
            late = middle
        else:
            early = middle
    return late


def _days(pattern: Pattern, first: date) -> Iterator[date]:
    """The days of the pattern from `first` on, in order and without end."""
    if isinstance(pattern, Weekly):
        for day in map(date.fromordinal, count(first.toordinal())):
            if day.isoweekday() in pattern.days:
                yield day
        return
    # From two months back: Patch Tuesday and 27 days may lie in the next month.
    months = first.year * _MONTHS + first.month - 1
    for number in count(months - 2):
        year, month = number // _MONTHS, number % _MONTHS + 1
        day = _day_of_month(pattern, year, month)
        if day >= first:
            yield day


def _day_of_month(pattern: Monthly | PatchTuesday, year: int, month: int) -> date:
    if isinstance(pattern, PatchTuesday):
        return _nth_weekday(year, month, 2, _TUESDAY) + pattern.offset * _DAY
    return _nth_weekday(year, month, pattern.nth, pattern.weekday)


def _nth_weekday(year: int, month: int, nth: int, weekday: int) -> date:
    if nth == LAST:
        last = date(year, month, monthrange(year, month)[1])
        return last - (last.isoweekday() - weekday) % _WEEK * _DAY
    first = date(year, month, 1)
    return first + ((weekday - first.isoweekday()) % _WEEK + (nth - 1) * _WEEK) * _DAY
