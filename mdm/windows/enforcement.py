"""A window's schedule in Windows' own policies, where they can say exactly the same.

ScheduledInstallDay, -Time and -…Week are what Windows keeps by itself, in the local time of the device. They know
whole hours, one day of the week or all of them, and the weeks of the month that are days 1-7, 8-14, 15-21 and
22-31; they know no length (update-csp, section 5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mdm.windows.definition import DEVICE_ZONE, read_pattern
from mdm.windows.recurrence import LAST, PatchTuesday, Weekly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mdm.windows.recurrence import Monthly, Pattern

__all__ = ["Enforcement", "enforcement_of"]

_WEEKS: Final = {
    1: "ScheduledInstallFirstWeek",
    2: "ScheduledInstallSecondWeek",
    3: "ScheduledInstallThirdWeek",
    4: "ScheduledInstallFourthWeek",
}
_EVERY_DAY: Final = 0
_WEEK: Final = 7
_FOURTH: Final = 4
_TUESDAY: Final = 2
_TUESDAYS: Final = {-7: 1, 0: 2, 7: 3}
"""Days from Patch Tuesday that are the first, second and third Tuesday of each month."""


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What a device itself can keep of a window."""

    possible: bool
    sentence: str
    """What it comes to, or why it is not possible."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """Values of `Policy/Config/Update` by name; none if it is not possible."""


def enforcement_of(window: Any) -> Enforcement:
    """What the policies make of a checked definition, or of a row of `maintenance_window`."""
    hour, minute = (int(part) for part in window.start.split(":"))
    if window.zone != DEVICE_ZONE:
        return _not(
            f"Windows keeps its schedule in the device's own local time, and the window is in {window.zone}: "
            f"give it the zone {DEVICE_ZONE!r}."
        )
    if minute:
        return _not(f"Windows' schedule knows whole hours only, and the window begins at {window.start}.")
    found = _day_and_week(read_pattern(window.pattern))
    if isinstance(found, str):
        return _not(found)
    day, week = found
    weeks = {name: "1" if number == week else "0" for number, name in _WEEKS.items()}
    return Enforcement(
        possible=True,
        sentence=(
            f"Each device installs at {window.start} of its own time, on the same days. Windows knows no end "
            "of its schedule: what has begun by then is finished."
        ),
        policies={
            "AllowAutoUpdate": str(window.allow_auto_update),
            "ScheduledInstallDay": str(day),
            "ScheduledInstallEveryWeek": "1" if week is None else "0",
            "ScheduledInstallTime": str(hour),
            **weeks,
        },
    )


def _day_and_week(pattern: Pattern) -> tuple[int, int | None] | str:
    """ScheduledInstallDay and the week of the month (None: every week); a sentence where they cannot say it."""
    if isinstance(pattern, Weekly):
        if len(pattern.days) == _WEEK:
            return _EVERY_DAY, None
        if len(pattern.days) == 1:
            return _day(*pattern.days), None
        return "Windows' schedule knows one day of the week or all of them, and the window is on several."
    if isinstance(pattern, PatchTuesday):
        if pattern.offset not in _TUESDAYS:
            return (
                "Windows' schedule knows weeks of the month only: of days counted from Patch Tuesday it can say 0, "
                "and 7 before or after it."
            )
        return _day(_TUESDAY), _TUESDAYS[pattern.offset]
    return _week_of_month(pattern)


def _week_of_month(pattern: Monthly) -> tuple[int, int | None] | str:
    if pattern.nth == LAST:
        return "Windows' schedule does not know the last week of a month."
    if pattern.nth == _FOURTH:
        return (
            "Windows' fourth week has the days 22 to 31: in months with five such days the device would install "
            "on the fifth, too."
        )
    return _day(pattern.weekday), pattern.nth


def _day(weekday: int) -> int:
    """An ISO weekday as ScheduledInstallDay has it: 1 Sunday to 7 Saturday."""
    return weekday % _WEEK + 1


def _not(sentence: str) -> Enforcement:
    return Enforcement(possible=False, sentence=sentence)
