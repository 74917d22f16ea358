"""When generated updates are published, and the KB and build numbers that follow from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mdm.lab.dice import Dice
    from mdm.lab.products import WindowsLine

__all__ = ["build_revision", "earlier_bundles", "kb_number", "month_index", "patch_tuesdays"]

_TUESDAY = 1
_KB_PER_MONTH = 1_300


def month_index(moment: datetime) -> int:
    """Months since January 2025."""
    return (moment.year - 2025) * 12 + moment.month - 1


def patch_tuesdays(now: datetime, count: int) -> list[datetime]:
    """The last `count` second Tuesdays, 18:00 UTC, not after `now`; oldest first."""
    found: list[datetime] = []
    year, month = now.year, now.month
    while len(found) < count:
        first = datetime(year, month, 1, 18, tzinfo=UTC)
        tuesday = first + timedelta(days=(_TUESDAY - first.weekday()) % 7 + 7)
        if tuesday <= now:
            found.append(tuesday)
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    return found[::-1]


def earlier_bundles(dice: Dice, family: str, day: datetime, count: int) -> tuple[str, ...]:
    """UpdateIDs of the family's bundles of the `count` months before the Patch Tuesday `day`, oldest first.

    They follow from the release keys `<family>/<year>-<month>`, whether the catalogue still has them or not.
    """
    months = patch_tuesdays(day, count + 1)[:-1]
    return tuple(dice.guid(f"{family}/{month:%Y-%m}/bundle") for month in months)


def kb_number(dice: Dice, group: str, day: datetime) -> str:
    """Seven digits that grow from month to month, one number per group of updates and month."""
    first = 5_055_000 + _KB_PER_MONTH * month_index(day)
    return str(first + dice.number(f"kb/{group}/{day:%Y-%m}", 0, _KB_PER_MONTH - 1))


def build_revision(dice: Dice, line: WindowsLine, day: datetime) -> int:
    """The UBR a month's cumulative update brings; it grows, and versions of one branch share it."""
    jitter = dice.number(f"ubr/{line.branch}/{day:%Y-%m}", 0, line.ubr_per_month - 1)
    return line.ubr_at_2025 + line.ubr_per_month * month_index(day) + jitter
