"""The policies of `Policy/Config/Update` as data, and what may be written into them.

Written with Replace (Windows makes the node), reset with Delete; the default is what an unconfigured device
does and is never sent. Sources: the DDF of the area (2024-06) and Policy CSP Update (2024-09-27).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from csp.errors import InvalidValue, quoted
from csp.tree import Access, Occurrence

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ACCESS",
    "OCCURRENCE",
    "POLICIES",
    "Allowed",
    "Choice",
    "Date",
    "Merge",
    "Policy",
    "Range",
    "Text",
    "policy_uri",
    "result_uri",
    "validate",
    "validate_together",
]

ACCESS: Final = Access.ADD | Access.DELETE | Access.GET | Access.REPLACE
"""Every policy node accepts these."""

OCCURRENCE: Final = Occurrence.ZERO_OR_ONE
"""Every policy node is dynamic and absent until it is set."""

_CONFIG: Final = "./Device/Vendor/MSFT/Policy/Config/Update"
_RESULT: Final = "./Device/Vendor/MSFT/Policy/Result/Update"

_WHOLE_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Merge(StrEnum):
    """Which value wins when several providers set a policy (DDF ConflictResolution)."""

    LAST = "LastWrite"
    LOWEST = "LowestValueMostSecure"
    HIGHEST = "HighestValueMostSecure"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few whole numbers."""

    values: tuple[int, ...]

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        if _WHOLE_NUMBER.fullmatch(value) and int(value) in self.values:
            return None
        return f"must be one of {', '.join(map(str, self.values))}"


@dataclass(frozen=True, slots=True)
class Range:
    """A whole number between two bounds, both allowed."""

    low: int
    high: int

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        if _WHOLE_NUMBER.fullmatch(value) and self.low <= int(value) <= self.high:
            return None
        return f"must be a whole number from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Date:
    """A calendar day."""

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        if _DATE.fullmatch(value):
            try:
                date.fromisoformat(value)
            except ValueError:
                return "is a day that does not exist"
            return None
        return "must be a date written yyyy-mm-dd"


@dataclass(frozen=True, slots=True)
class Text:
    """Free text of some form."""

    pattern: str
    """Regular expression for the whole value."""
    form: str
    """The form in words, after "must be"."""

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        return None if re.fullmatch(self.pattern, value) else f"must be {self.form}"


Allowed: TypeAlias = Choice | Range | Date | Text


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy of the area."""

    name: str
    format: str
    """Meta Format, `int` or `chr`; the Type is always `text/plain`."""
    allowed: Allowed
    default: str | None
    """What an unconfigured device does, as the DDF writes it; None where it has none. Never to be sent."""
    since: str
    """Windows versions that have it, in the DDF's order; `+n` is the build revision it came with."""
    merge: Merge | None
    """None where the source does not say."""
    note: str
    """Meaning, units and what else must be set, for IT."""


_LAST, _LOWEST, _HIGHEST = Merge.LAST, Merge.LOWEST, Merge.HIGHEST
_SWITCH: Final = Choice((0, 1))
_WORDS: Final = Text(r"\S(?:.*\S)?", "a text that is not empty and has no blanks around it")
# This keeps out the DDF's default `CorpWSUS`, which is a placeholder of the documentation.
_URL: Final = Text(r"https?://[^\s/]\S*", "an http:// or https:// address")

_DRIVEN: Final = "2004+1202 / 20H2+1202 / 21H1+1202 / 21H2+1288 / 22H2+2130 / Server 2022+371 / W11 21H2"
_DRIVEN_NOTE: Final = "from: 0 Windows Update, 1 WSUS. Set all four together; needs UpdateServiceUrl."
_ENGAGED: Final = "Legacy engaged restart; AutoRestartDeadline* and ConfigureDeadline* override it."
_PAUSE_NOTE: Final = "Updates pause for 35 days from this day; reset it to resume."
_SCHEDULE: Final = "Needs AllowAutoUpdate 3 or 4."
_1511: Final = "Windows 10 1511 only."

# fmt: off
_ROWS: Final = (
    # Offer (Windows Update client policies)
    Policy("AllowNonMicrosoftSignedUpdate", "int", _SWITCH, "1", "1507", _LOWEST,
           "1 accepts updates signed by the organisation, for local publishing with WSUS."),
    Policy("AllowOptionalContent", "int", Choice((0, 1, 2, 3)), "0", "21H2+3757", _LOWEST,
           "Optional updates: 0 none, 1 with gradual feature rollouts, 2 without them, 3 the user chooses."),
    Policy("AutomaticMaintenanceWakeUp", "int", _SWITCH, "1", "1903", _HIGHEST,
           "1 wakes the device for maintenance."),
    Policy("BranchReadinessLevel", "int", Choice((2, 4, 8, 16, 32, 64, 128)), "16", "1607", _LAST,
           "Channel: 2 Dev, 4 Beta, 8 Release Preview, 16 General Availability, 32 Semi-Annual (before 1903), "
           "64 Release Preview quality updates only, 128 Canary."),
    Policy("DeferFeatureUpdatesPeriodInDays", "int", Range(0, 365), "0", "1607", _LAST,
           "Days; at most 14 on a pre-release channel."),
    Policy("DeferQualityUpdatesPeriodInDays", "int", Range(0, 30), "0", "1607", _LAST,
           "Days; definition updates are never deferred."),
    Policy("DisableWUfBSafeguards", "int", _SWITCH, "0",
           "W11 21H2 / 2004+546 / 1909+1110 / 1903+1110 / 1809+1490", _LAST,
           "1 ignores safeguard holds; Windows clears it after each feature update."),
    Policy("ExcludeWUDriversInQualityUpdate", "int", _SWITCH, "0", "1607", _LAST, "1 leaves drivers out."),
    Policy("ManagePreviewBuilds", "int", Choice((0, 1, 2, 3)), "3", "1709", _LAST,
           "Preview builds: 0 off, 1 off once the next release is public, 2 on, 3 the user chooses."),
    # The DDF says 60 days, the policy page 35.
    Policy("PauseFeatureUpdates", "int", _SWITCH, "0", "1607", _LAST,
           "1 pauses feature updates; since 1703 use PauseFeatureUpdatesStartTime."),
    Policy("PauseFeatureUpdatesStartTime", "chr", Date(), None, "1703", _LAST, f"Feature updates. {_PAUSE_NOTE}"),
    Policy("PauseQualityUpdates", "int", _SWITCH, "0", "1607", _LAST,
           "1 pauses quality updates for 35 days; since 1703 use PauseQualityUpdatesStartTime."),
    Policy("PauseQualityUpdatesStartTime", "chr", Date(), None, "1703", _LAST, f"Quality updates. {_PAUSE_NOTE}"),
    Policy("ProductVersion", "chr", _WORDS, None, "W11 21H2 / 21H1+1202 / 20H2+1202 / 2004+1202", _LAST,
           "Product to move to or stay on, e.g. Windows 11; setting it accepts its licence terms."),
    Policy("TargetReleaseVersion", "chr", _WORDS, None,
           "2004 / 1909+836 / 1903+836 / 1809+1217 / 1803+1488", _LAST,
           "Release to move to or stay on, e.g. 22H2; needs ProductVersion."),
    # Source, that is WSUS
    Policy("AllowUpdateService", "int", _SWITCH, "1", "1507", _LOWEST,
           "0 blocks every public update service and the Store; needs UpdateServiceUrl."),
    Policy("DetectionFrequency", "int", Range(1, 22), "22", "1703", _LAST,
           "Hours between scans, up to 4 more at random; needs UpdateServiceUrl."),
    Policy("DoNotEnforceEnterpriseTLSCertPinningForUpdateDetection", "int", _SWITCH, "0",
           "1507+18818 / 1607+4169 / 1703+2108 / 1709+2166 / 1803+1967 / 1809+1697 / 1903+1316 / 1909+1316 / "
           "2004+746 / 20H2+746 / W11 21H2", _LAST,
           "1 does not pin the certificate of the WSUS server."),
    Policy("FillEmptyContentUrls", "int", _SWITCH, "0", "1607", _LAST,
           "1 lets the agent compose missing download addresses; needs UpdateServiceUrlAlternate."),
    Policy("SetPolicyDrivenUpdateSourceForDriverUpdates", "int", _SWITCH, "1", _DRIVEN, _LAST,
           f"Drivers come {_DRIVEN_NOTE}"),
    Policy("SetPolicyDrivenUpdateSourceForFeatureUpdates", "int", _SWITCH, "1", _DRIVEN, _LAST,
           f"Feature updates come {_DRIVEN_NOTE}"),
    Policy("SetPolicyDrivenUpdateSourceForOtherUpdates", "int", _SWITCH, "1", _DRIVEN, _LAST,
           f"Other updates come {_DRIVEN_NOTE}"),
    Policy("SetPolicyDrivenUpdateSourceForQualityUpdates", "int", _SWITCH, "1", _DRIVEN, _LAST,
           f"Quality updates come {_DRIVEN_NOTE}"),
    Policy("SetProxyBehaviorForUpdateDetection", "int", _SWITCH, "0",
           "1507+18696 / 1607+3930 / 1703+2500 / 1709+2107 / 1803+1726 / 1809+1457 / 1903+1082 / 1909+1082 / "
           "2004+508 / W11 21H2", _LAST,
           "1 allows the user's proxy for scans against a WSUS over http."),
    Policy("UpdateServiceUrl", "chr", _URL, "CorpWSUS", "1507", _LAST,
           "Address of the WSUS server; unset means Microsoft Update, and only a reset gets back there."),
    Policy("UpdateServiceUrlAlternate", "chr", _URL, None, "1607", _LAST,
           "Address of another server to download from; needs UpdateServiceUrl."),
    # User experience, schedule, deadlines
    Policy("ActiveHoursEnd", "int", Range(0, 23), "17", "1607", _LAST, "Hour of the day; goes with ActiveHoursStart."),
    Policy("ActiveHoursMaxRange", "int", Range(8, 18), "18", "1703", _LAST,
           "Hours that active hours may last."),
    Policy("ActiveHoursStart", "int", Range(0, 23), "8", "1607", _LAST, "Hour of the day; goes with ActiveHoursEnd."),
    Policy("AllowAutoUpdate", "int", Choice((0, 1, 2, 3, 4, 5)), "2", "1507", _LOWEST,
           "0 notify before download, 1 install with a notified restart, 2 install and restart, 3 the same at "
           "the scheduled time, 4 the same without user control, 5 off. A ConfigureDeadline* takes over."),
    Policy("AllowAutoWindowsUpdateDownloadOverMeteredNetwork", "int", _SWITCH, "0", "1709", _LAST,
           "1 downloads over metered networks."),
    Policy("AllowMUUpdateService", "int", _SWITCH, "0", "1607", _LOWEST,
           "1 also offers updates of other Microsoft products; 0 later does not undo the registration."),
    # KB5022913 (22621.1344) in the page.
    Policy("AllowTemporaryEnterpriseFeatureControl", "int", _SWITCH, "0", "W11 22H2+1194", _LAST,
           "1 turns on features that servicing ships switched off."),
    Policy("ConfigureDeadlineForFeatureUpdates", "int", Range(0, 30), "2", "1903", _LAST,
           "Days; download, install and restart settings of AllowAutoUpdate are then ignored."),
    Policy("ConfigureDeadlineForQualityUpdates", "int", Range(0, 30), "7", "1903", _LAST,
           "Days; download, install and restart settings of AllowAutoUpdate are then ignored."),
    Policy("ConfigureDeadlineGracePeriod", "int", Range(0, 7), "2", "1903", _LAST,
           "Days; goes with ConfigureDeadlineForQualityUpdates."),
    Policy("ConfigureDeadlineGracePeriodForFeatureUpdates", "int", Range(0, 7), "7",
           "W11 21H2 / 20H2+906 / 2004+906 / 1909+1474 / 1809+1852", _LAST,
           "Days; goes with ConfigureDeadlineForFeatureUpdates. Unset, ConfigureDeadlineGracePeriod counts."),
    # In the DDF, no longer in the 2024-09 page: the two below replace it.
    Policy("ConfigureDeadlineNoAutoReboot", "int", _SWITCH, "0", "1903", _HIGHEST,
           "1 does not restart on its own before the deadline; up to Windows 11 23H2."),
    Policy("ConfigureDeadlineNoAutoRebootForFeatureUpdates", "int", _SWITCH, "0", "W11 24H2", _HIGHEST,
           "1 does not restart on its own before the deadline of a feature update."),
    Policy("ConfigureDeadlineNoAutoRebootForQualityUpdates", "int", _SWITCH, "0", "W11 24H2", _HIGHEST,
           "1 does not restart on its own before the deadline of a quality update."),
    Policy("ConfigureFeatureUpdateUninstallPeriod", "int", Range(2, 60), "10", "1803", _LAST,
           "Days in which a feature update can be rolled back."),
    Policy("NoUpdateNotificationsDuringActiveHours", "int", _SWITCH, "0", "W11 22H2", _LOWEST,
           "1 holds notifications back in active hours; goes with UpdateNotificationLevel 1 or 2."),
    Policy("ScheduledInstallDay", "int", Choice((0, 1, 2, 3, 4, 5, 6, 7)), "0", "1507", _LOWEST,
           f"0 every day, 1 Sunday to 7 Saturday. {_SCHEDULE}"),
    Policy("ScheduledInstallEveryWeek", "int", _SWITCH, "1", "1709", _LOWEST, _SCHEDULE),
    Policy("ScheduledInstallFirstWeek", "int", _SWITCH, "0", "1709", _LOWEST, f"Days 1 to 7. {_SCHEDULE}"),
    Policy("ScheduledInstallFourthWeek", "int", _SWITCH, "0", "1709", _LOWEST, f"Days 22 to 31. {_SCHEDULE}"),
    Policy("ScheduledInstallSecondWeek", "int", _SWITCH, "0", "1709", _LOWEST, f"Days 8 to 14. {_SCHEDULE}"),
    Policy("ScheduledInstallThirdWeek", "int", _SWITCH, "0", "1709", _LOWEST, f"Days 15 to 21. {_SCHEDULE}"),
    Policy("ScheduledInstallTime", "int", Range(0, 23), "3", "1507", _LOWEST,
           f"Hour of the day, within about 30 minutes. {_SCHEDULE}"),
    Policy("SetDisablePauseUXAccess", "int", _SWITCH, "0", "1809", _LAST, "1 hides Pause updates."),
    Policy("SetDisableUXWUAccess", "int", _SWITCH, "0", "1809", _LAST,
           "1 takes scanning, downloading and installing away from the user."),
    Policy("SetEDURestart", "int", _SWITCH, "0", "1703", _LAST,
           "1 skips restart checks, so that devices in carts restart at ScheduledInstallTime."),
    Policy("UpdateNotificationLevel", "int", Choice((0, 1, 2)), "0", "1809", _LAST,
           "0 Windows' own, 1 restart warnings only, 2 none."),
    # Legacy
    Policy("AutoRestartDeadlinePeriodInDays", "int", Range(2, 30), "7", "1607", _LAST,
           "Legacy; days. ConfigureDeadline* override it."),
    Policy("AutoRestartDeadlinePeriodInDaysForFeatureUpdates", "int", Range(2, 30), "7", "1809", _LAST,
           "Legacy; days. ConfigureDeadline* override it."),
    Policy("AutoRestartNotificationSchedule", "int", Choice((15, 30, 60, 120, 240)), "15", "1703", _LAST,
           "Legacy; minutes."),
    Policy("AutoRestartRequiredNotificationDismissal", "int", Choice((1, 2)), "1", "1703", _LAST,
           "Legacy; the restart notice goes away 1 by itself, 2 by the user."),
    Policy("DeferUpdatePeriod", "int", Range(0, 4), "0", "1607", _LAST, f"Weeks. {_1511}"),
    Policy("DeferUpgradePeriod", "int", Range(0, 8), "0", "1607", _LAST, f"Months. {_1511}"),
    Policy("DisableDualScan", "int", _SWITCH, "0", "1607", _LAST,
           "Legacy; 1 scans WSUS only. Needs UpdateServiceUrl; SetPolicyDriven* replace it."),
    Policy("EngagedRestartDeadline", "int", Range(2, 30), "14", "1703", _LAST, f"Days. {_ENGAGED}"),
    Policy("EngagedRestartDeadlineForFeatureUpdates", "int", Range(2, 30), "14", "1809", _LAST, f"Days. {_ENGAGED}"),
    Policy("EngagedRestartSnoozeSchedule", "int", Range(1, 3), "3", "1703", _LAST, f"Days. {_ENGAGED}"),
    Policy("EngagedRestartSnoozeScheduleForFeatureUpdates", "int", Range(1, 3), "3", "1809", _LAST,
           f"Days. {_ENGAGED}"),
    Policy("EngagedRestartTransitionSchedule", "int", Range(0, 30), "7", "1703", _LAST, f"Days. {_ENGAGED}"),
    Policy("EngagedRestartTransitionScheduleForFeatureUpdates", "int", Range(0, 30), "7", "1809", _LAST,
           f"Days. {_ENGAGED}"),
    Policy("IgnoreMOAppDownloadLimit", "int", _SWITCH, "0", "1703", _LOWEST,
           "Legacy; 1 ignores the cellular limit for apps."),
    Policy("IgnoreMOUpdateDownloadLimit", "int", _SWITCH, "0", "1703", _LOWEST,
           "Legacy; 1 ignores the cellular limit for updates."),
    Policy("PauseDeferrals", "int", _SWITCH, "0", "1607", _LAST, _1511),
    Policy("PhoneUpdateRestrictions", "int", Range(0, 4), "4", "1703", _LOWEST,
           "Deprecated for RequireUpdateApproval."),
    Policy("RequireDeferUpgrade", "int", _SWITCH, "0", "1607", _LAST, _1511),
    # Microsoft means it for mobile devices (windows-itpro-docs#7184); it is what gives approvals their effect.
    Policy("RequireUpdateApproval", "int", _SWITCH, "0", "1507", _HIGHEST,
           "1 installs only what is applicable and approved; 0 installs everything applicable."),
    Policy("ScheduleImminentRestartWarning", "int", Choice((15, 30, 60)), "15", "1703", _LAST, "Legacy; minutes."),
    Policy("ScheduleRestartWarning", "int", Choice((2, 4, 8, 12, 24)), "4", "1703", _LAST, "Legacy; hours."),
    Policy("SetAutoRestartNotificationDisable", "int", _SWITCH, "0", "1703", _LAST,
           "Legacy; 1 gives no notice of automatic restarts."),
    # In the 2024-09 page, not in the DDF, which alone would say how it merges.
    Policy("AlwaysAutoRebootAtScheduledTimeMinutes", "int", Range(15, 180), "15", "W11 22H2", None,
           "Minutes of warning before a restart at the scheduled time."),
)
# fmt: on

POLICIES: Final[Mapping[str, Policy]] = MappingProxyType({policy.name: policy for policy in _ROWS})
"""Every policy of the area by name."""

# A policy that does nothing unless the other is set too (Policy CSP Update).
_NEEDS: Final = (
    ("ActiveHoursEnd", "ActiveHoursStart"),
    ("ActiveHoursStart", "ActiveHoursEnd"),
    ("DetectionFrequency", "UpdateServiceUrl"),
    ("FillEmptyContentUrls", "UpdateServiceUrlAlternate"),
    ("TargetReleaseVersion", "ProductVersion"),
    ("UpdateServiceUrlAlternate", "UpdateServiceUrl"),
)
_HOURS_OF_DAY: Final = 24


def _policy(name: str) -> Policy:
    policy = POLICIES.get(name)
    if policy is None:
        raise InvalidValue(f"{quoted(name)} is not a policy of the area Update.")
    return policy


def policy_uri(name: str) -> str:
    """Where a policy is written; what stands there is this enrolment's value only.

    Raises InvalidValue for a name that is none of `POLICIES`.
    """
    return f"{_CONFIG}/{_policy(name).name}"


def result_uri(name: str) -> str:
    """Where the value in effect is read, merged over all providers (Get only).

    Raises InvalidValue for a name that is none of `POLICIES`.
    """
    return f"{_RESULT}/{_policy(name).name}"


def validate(name: str, value: str) -> None:
    """Pass if the policy may have this value; otherwise InvalidValue says in one sentence what is wrong."""
    objection = _policy(name).allowed.objection(value)
    if objection is not None:
        raise InvalidValue(f"{name} is {quoted(value)}, but {objection}.")


def validate_together(values: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence for each way in which these values contradict or lack one another.

    Looks only at values that pass `validate` alone, which names the others. Nothing wrong gives ().
    """
    problems = [
        f"{name} has no effect without {needed}."
        for name, needed in _NEEDS
        if name in values and needed not in values
    ]
    hours = {
        name: int(values.get(name, default))
        for name, default in (("ActiveHoursStart", ""), ("ActiveHoursEnd", ""), ("ActiveHoursMaxRange", "18"))
        if POLICIES[name].allowed.objection(values.get(name, default)) is None
    }
    if len(hours) == 3:  # noqa: PLR2004 - all of them are set and legal
        length = (hours["ActiveHoursEnd"] - hours["ActiveHoursStart"]) % _HOURS_OF_DAY
        if length > hours["ActiveHoursMaxRange"]:
            problems.append(
                f"Active hours last {length} hours, more than ActiveHoursMaxRange, "
                f"which is {hours['ActiveHoursMaxRange']}.",
            )
    return tuple(problems)
