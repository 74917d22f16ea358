"""How often devices come by themselves: two sets of quick sessions after enrolment, then one interval for ever.

It is written as `5x3, 8x15, 480`: five sessions every 3 minutes, eight every 15 minutes, then one every 480 minutes.
The second set may be left out. Only what Windows makes sense of can be written: the quick sets end, the long run does
not, and there is at least one set, because with all three numbers of retries at 0 an enrolment may fail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["PollLoad", "PollSchedule"]

MAX_COUNT: Final = 1_000
"""Sessions of a quick set."""
MAX_QUICK: Final = 1_440
"""Minutes between two sessions of a quick set: a day."""
MAX_LONG: Final = 10_080
"""Minutes between two sessions in the long run: a week."""

_SET: Final = re.compile(r"([0-9]{1,9})\s*x\s*([0-9]{1,9})")
_LONG: Final = re.compile(r"[0-9]{1,9}")
_MAX_PARTS: Final = 3
_FOREVER: Final = 0
_HOUR: Final = 60
_DAY: Final = 1_440


@dataclass(frozen=True, slots=True)
class PollLoad:
    """What a schedule means for the server."""

    devices: int
    minutes: int
    """Between two sessions of a device in the long run."""
    sessions_per_device_and_day: float
    """In the long run."""
    sessions_per_second: float
    """Of all devices, on average, in the long run."""
    sessions_per_newcomer: int
    """Quick sessions of a device that has just been enrolled."""
    newcomer_minutes: int
    """How long those go on."""
    newcomer_seconds: int
    """Between two sessions of a device that has just been enrolled."""

    def newcomers_per_second(self, at_a_time: int) -> float:
        """Sessions a second while so many devices, enrolled at the same time, are in their first set."""
        return at_a_time / self.newcomer_seconds

    def sentences(self, at_a_time: int = 100) -> tuple[str, ...]:
        """The same for people; `at_a_time` devices are thought of as enrolled together."""
        fleet = (
            f"{_devices(self.devices)} every {self.minutes:,} minutes: {_rate(self.sessions_per_second)} sessions/s, "
            f"{_figure(self.sessions_per_device_and_day)} a day from each."
        )
        newcomers = (
            f"{at_a_time:,} enrolments at a time: {_rate(self.newcomers_per_second(at_a_time))} sessions/s at first, "
            f"{self.sessions_per_newcomer:,} sessions from each within {_span(self.newcomer_minutes)}."
        )
        return fleet, newcomers


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """How often a device comes by itself."""

    first_count: int = 5
    first_minutes: int = 3
    second_count: int = 8
    """0 without a second set, and then `second_minutes` is 0, too."""
    second_minutes: int = 15
    minutes: int = 480

    @classmethod
    def parse(cls, text: str) -> PollSchedule:
        """Read what `str` writes; raises ValueError with a sentence that says what is wrong."""
        *sets, last = (part.strip() for part in text.split(","))
        if not 0 < len(sets) < _MAX_PARTS or not _LONG.fullmatch(last):
            raise ValueError(
                "must be one or two sets of quick sessions, written as count x minutes, and the minutes between "
                "sessions from then on, such as 5x3, 8x15, 480"
            )
        minutes = _within(int(last), MAX_LONG, "the minutes between sessions in the long run")
        first, *others = (_quick(each) for each in sets)
        second = others[0] if others else (0, 0)
        return cls(*first, *second, minutes)

    def __str__(self) -> str:
        """As `parse` reads it, in the one spelling that is compared and stored."""
        second = f", {self.second_count}x{self.second_minutes}" if self.second_count else ""
        return f"{self.first_count}x{self.first_minutes}{second}, {self.minutes}"

    @property
    def longest_minutes(self) -> int:
        """The most minutes between two sessions of a device, wherever in the schedule it is."""
        return max(self.first_minutes, self.second_minutes, self.minutes)

    def nodes(self) -> dict[str, int]:
        """The values of the nodes below DMClient's Poll, by name; a count of 0 with an interval means for ever."""
        return {
            "NumberOfFirstRetries": self.first_count,
            "IntervalForFirstSetOfRetries": self.first_minutes,
            "NumberOfSecondRetries": self.second_count,
            "IntervalForSecondSetOfRetries": self.second_minutes,
            "NumberOfRemainingScheduledRetries": _FOREVER,
            "IntervalForRemainingScheduledRetries": self.minutes,
        }

    def load(self, devices: int) -> PollLoad:
        """What so many devices with this schedule come to."""
        return PollLoad(
            devices=devices,
            minutes=self.minutes,
            sessions_per_device_and_day=_DAY / self.minutes,
            sessions_per_second=devices / (self.minutes * 60),
            sessions_per_newcomer=self.first_count + self.second_count,
            newcomer_minutes=self.first_count * self.first_minutes + self.second_count * self.second_minutes,
            newcomer_seconds=self.first_minutes * 60,
        )


def _quick(text: str) -> tuple[int, int]:
    found = _SET.fullmatch(text)
    if found is None:
        raise ValueError(f"has a set of quick sessions {text[:40]!r}, which is not written like 5x3")
    count, minutes = (int(number) for number in found.groups())
    # 0 sessions would mean for ever, and 0 minutes would switch the set off.
    _within(count, MAX_COUNT, "the number of sessions in a set")
    _within(minutes, MAX_QUICK, "the minutes between sessions of a set")
    return count, minutes


def _within(number: int, most: int, what: str) -> int:
    if not 1 <= number <= most:
        raise ValueError(f"has {number} for {what}, which is from 1 to {most}")
    return number


def _devices(number: int) -> str:
    return "1 device" if number == 1 else f"{number:,} devices"


def _rate(number: float) -> str:
    return f"{number:,.2f}" if number >= 0.01 or number == 0 else "less than 0.01"  # noqa: PLR2004 - as it is shown


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"  # noqa: PLR2004 - three figures are enough


def _span(minutes: int) -> str:
    return f"{minutes} minutes" if minutes < 2 * _HOUR else f"{_figure(minutes / _HOUR)} hours"
