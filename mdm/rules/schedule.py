"""When a rule runs by the clock: a cron expression, or some days after Patch Tuesday, in a time zone.

    {"cron": "30 3 * * mon-fri", "time_zone": "Europe/Berlin"}
    {"patch_tuesday": {"days": 3, "at": "03:00"}, "time_zone": "Europe/Berlin"}

Without a time zone it is UTC. A cron expression has the five usual fields: minute, hour, day of the month, month and
day of the week, each with lists, ranges, steps and, for the last two, English names; if both days are given, one of
them is enough. A time that the clocks skip is due at the first moment after the gap, one that they show twice at the
first of the two. Pure: the present moment is an argument.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from mdm.documents import each, members, text, whole_number, wrong
from mdm.windows.recurrence import MAX_OFFSET, MIN_DURATION, PatchTuesday, Recurrence, first_moment, is_zone

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AfterPatchTuesday", "Cron", "Schedule", "parse_schedule"]

_PER_HOUR: Final = 4
"""Runs an hour at most: each asks about every update of the catalogue."""

_LEAP_YEAR: Final = 2024
_SUNDAY: Final = 7
_DAY: Final = timedelta(days=1)
_AT: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_PART: Final = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d{1,2}))?", re.ASCII)

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class Cron:
    """At minutes of hours of days that five fields name."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int] | None
    """Of the month; None: any."""
    months: frozenset[int]
    weekdays: frozenset[int] | None
    """ISO weekdays, 7 is Sunday; None: any."""
    zone: str

    def next_after(self, moment: datetime) -> datetime:
        """The first time it is due after the moment, in UTC."""
        zone = ZoneInfo(self.zone)
        # from a day before: what a gap moves past midnight is still that day's
        first = moment.astimezone(zone).date() - _DAY
        return next(
            due
            for day in (first + number * _DAY for number in count())
            if self._names(day.month, day.day, day.isoweekday())
            for hour in self.hours
            for minute in self.minutes
            if (due := first_moment(datetime.combine(day, time(hour, minute)), zone)) > moment
        )

    @property
    def possible(self) -> bool:
        """False for days that no month of these has, such as the 30th of February."""
        if self.days is None or self.weekdays is not None:
            return True
        return min(self.days) <= max(monthrange(_LEAP_YEAR, month)[1] for month in self.months)

    def _names(self, month: int, day: int, weekday: int) -> bool:
        if month not in self.months:
            return False
        if self.days is None:
            return self.weekdays is None or weekday in self.weekdays
        return day in self.days or (self.weekdays is not None and weekday in self.weekdays)


@dataclass(frozen=True, slots=True)
class AfterPatchTuesday:
    """So many days after the second Tuesday of each month."""

    days: int
    at: time
    zone: str

    def next_after(self, moment: datetime) -> datetime:
        """The first time it is due after the moment, in UTC."""
        recurrence = Recurrence(PatchTuesday(self.days), self.at, MIN_DURATION, self.zone)
        # the one that is open at the moment may stand before the one that is meant
        return next(found.opens for found in recurrence.upcoming(moment, 2) if found.opens > moment)


Schedule: TypeAlias = Cron | AfterPatchTuesday


def parse_schedule(document: Any, pointer: str = "/schedule") -> Schedule:
    """Read a schedule from JSON values; raises Invalid that names each wrong member, `pointer` being where it stands."""
    members(document, pointer, ("cron", "patch_tuesday", "time_zone"))
    if ("cron" in document) == ("patch_tuesday" in document):
        raise wrong(pointer, "required", "Give cron or patch_tuesday, and not both.")
    zone = _zone(document.get("time_zone", "UTC"), f"{pointer}/time_zone")
    if "cron" in document:
        return _cron(document["cron"], f"{pointer}/cron", zone)
    return _patch_tuesday(document["patch_tuesday"], f"{pointer}/patch_tuesday", zone)


def _zone(value: Any, pointer: str) -> str:
    name = text(value, pointer)
    if not is_zone(name):
        raise wrong(
            pointer, "unknown_time_zone", "Give a time zone of the IANA database, such as Europe/Berlin."
        )
    return name


def _patch_tuesday(value: Any, pointer: str, zone: str) -> AfterPatchTuesday:
    members(value, pointer, ("days", "at"), required=("days", "at"))
    days = whole_number(value["days"], f"{pointer}/days", 0, MAX_OFFSET)
    at = _AT.fullmatch(text(value["at"], f"{pointer}/at"))
    if at is None:
        raise wrong(f"{pointer}/at", "invalid_value", "Give a time such as 03:00.")
    return AfterPatchTuesday(days, time(int(at[1]), int(at[2])), zone)


# --- cron -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five fields."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()
    """The first is that of `least`."""


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, _SUNDAY, _WEEKDAYS),
)


def _cron(value: Any, pointer: str, zone: str) -> Cron:
    parts = text(value, pointer).casefold().split()
    if len(parts) != len(_FIELDS):
        raise wrong(
            pointer,
            "invalid_value",
            "Give five fields: minute, hour, day of the month, month and day of the week.",
        )
    minutes, hours, days, months, weekdays = each(
        lambda index: _values(_FIELDS[index], parts[index], pointer), range(len(_FIELDS))
    )
    if len(minutes) > _PER_HOUR:
        raise wrong(pointer, "too_often", f"A rule runs {_PER_HOUR} times an hour at most.")
    cron = Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=None if parts[2] == "*" else days,
        months=months,
        weekdays=None if parts[4] == "*" else frozenset(day or _SUNDAY for day in weekdays),
        zone=zone,
    )
    if not cron.possible:
        raise wrong(pointer, "never", "No month of these has such a day.")
    return cron


def _values(field: _Field, written: str, pointer: str) -> frozenset[int]:
    """The numbers that a field names, in a list of parts."""
    return frozenset(number for part in written.split(",") for number in _range(field, part, pointer))


def _range(field: _Field, part: str, pointer: str) -> range:
    refused = wrong(
        pointer,
        "invalid_value",
        f"The {field.name} {part[:40]!r} is wrong: give *, numbers from {field.least} to {field.most}, ranges and steps.",
    )
    found = _PART.fullmatch(part)
    if found is None or (found["first"] == "*" and found["last"] is not None):
        raise refused
    step = 1 if found["step"] is None else int(found["step"])
    if step == 0:
        raise refused
    if found["first"] == "*":
        first, last = field.least, field.most
    else:
        first = _number(field, found["first"], lambda: refused)
        # a step without an end goes on to the last there is
        last = first if found["step"] is None else field.most
        if found["last"] is not None:
            last = _number(field, found["last"], lambda: refused)
    if first > last:
        raise refused
    return range(first, last + 1, step)


def _number(field: _Field, written: str, refused: Callable[[], Exception]) -> int:
    if written in field.names:
        return field.names.index(written) + field.least
    if not (written.isdecimal() and field.least <= int(written) <= field.most):
        raise refused()
    return int(written)
