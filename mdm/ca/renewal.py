"""When a certificate is renewed: one answer for the device that is told so, for us who allow it, and for IT who waits.

Microsoft recommends 40 to 60 days before the end. A certificate that lives shorter than twice that would be due from
its first day on, and be renewed each time the device looks; so it is never more than half of its life.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

__all__ = ["RenewalPeriod"]

_LONGEST: Final = 42
_RETRY: Final = 4
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class RenewalPeriod:
    """The last days of a certificate, in which the device renews it by itself (ROBO, MS-MDE2 2.2.9.3)."""

    days: int
    """RenewPeriod: how long before the end it begins."""
    retry_days: int
    """RetryInterval: how long the device waits after an attempt that failed; never longer than `days`."""

    @classmethod
    def of(cls, lifetime: timedelta) -> Self:
        """That of a certificate with this lifetime: half of it, a day at least and 42 days at most."""
        days = max(1, min(_LONGEST, lifetime // _DAY // 2))
        return cls(days, min(_RETRY, days))

    @property
    def window(self) -> timedelta:
        """How long before the end it begins."""
        return timedelta(days=self.days)

    @property
    def alarm(self) -> timedelta:
        """How long before the end somebody has to look why it was not renewed: two weeks of a year's certificate."""
        return self.window / 3
