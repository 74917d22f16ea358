"""Presets: documented sets of values to start a profile from; nothing refers to one once a profile is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """A set of values, and what it is for."""

    name: str
    title: str
    description: str
    settings: Mapping[str, int | str]


_DAYTIME: Final = {"ActiveHoursStart": 7, "ActiveHoursEnd": 19}
_SATURDAY: Final = 7

PRESETS: Final = (
    Preset(
        "test",
        "Test",
        "A few devices of IT itself: every update on its day, restarts within two days, other Microsoft products "
        "included, and a month to go back from a feature update.",
        {
            "BranchReadinessLevel": 16,
            "DeferQualityUpdatesPeriodInDays": 0,
            "DeferFeatureUpdatesPeriodInDays": 0,
            "AllowMUUpdateService": 1,
            "ConfigureDeadlineForQualityUpdates": 1,
            "ConfigureDeadlineForFeatureUpdates": 2,
            "ConfigureDeadlineGracePeriod": 1,
            "ConfigureFeatureUpdateUninstallPeriod": 30,
        },
    ),
    Preset(
        "pilot",
        "Pilot",
        "Volunteers of every department: quality updates after three days, feature updates after a month, and no "
        "restart in working hours before the deadline.",
        {
            **_DAYTIME,
            "BranchReadinessLevel": 16,
            "DeferQualityUpdatesPeriodInDays": 3,
            "DeferFeatureUpdatesPeriodInDays": 30,
            "AllowMUUpdateService": 1,
            "ConfigureDeadlineForQualityUpdates": 2,
            "ConfigureDeadlineForFeatureUpdates": 5,
            "ConfigureDeadlineGracePeriod": 2,
            "ConfigureFeatureUpdateUninstallPeriod": 30,
        },
    ),
    Preset(
        "broad",
        "Broad",
        "Everybody else: quality updates after ten days, feature updates after three months, users cannot pause, and "
        "the deadline leaves them most of a week.",
        {
            **_DAYTIME,
            "BranchReadinessLevel": 16,
            "DeferQualityUpdatesPeriodInDays": 10,
            "DeferFeatureUpdatesPeriodInDays": 90,
            "AllowMUUpdateService": 1,
            "ConfigureDeadlineForQualityUpdates": 3,
            "ConfigureDeadlineForFeatureUpdates": 7,
            "ConfigureDeadlineGracePeriod": 2,
            "ConfigureFeatureUpdateUninstallPeriod": 20,
            "SetDisablePauseUXAccess": 1,
        },
    ),
    Preset(
        "kiosk",
        "Kiosk",
        "Devices without a user of their own: installation and restart at three in the morning, no drivers, and "
        "nothing of Windows Update on the screen.",
        {
            "AllowAutoUpdate": 4,
            "ScheduledInstallDay": 0,
            "ScheduledInstallTime": 3,
            "DeferQualityUpdatesPeriodInDays": 7,
            "DeferFeatureUpdatesPeriodInDays": 180,
            "ExcludeWUDriversInQualityUpdate": 1,
            "SetDisablePauseUXAccess": 1,
            "SetDisableUXWUAccess": 1,
            "UpdateNotificationLevel": 2,
        },
    ),
    Preset(
        "server",
        "Server",
        "Devices that serve others: installation and restart only in the night of the Saturday from the 15th to the "
        "21st, which follows Patch Tuesday, no drivers, and no feature update for a year.",
        {
            "AllowAutoUpdate": 3,
            "ScheduledInstallDay": _SATURDAY,
            "ScheduledInstallTime": 3,
            "ScheduledInstallEveryWeek": 0,
            "ScheduledInstallThirdWeek": 1,
            "DeferQualityUpdatesPeriodInDays": 0,
            "DeferFeatureUpdatesPeriodInDays": 365,
            "ExcludeWUDriversInQualityUpdate": 1,
            "SetDisablePauseUXAccess": 1,
        },
    ),
)
"""In the order of a roll-out, then those for special devices."""
