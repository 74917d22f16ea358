"""The policies of `Policy/Config/Update` as data, and what may be written into them.

Written with Replace (Windows makes the node), reset with Delete; the default is what an unconfigured device
does and is never sent. Sources: the DDF of the area (2024-06) and Policy CSP Update (2024-09-27).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from csp.errors import InvalidValue, quoted
from csp.tree import Access, Merge, Need, Occurrence
from csp.values import Allowed, Choice, Date, Range, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    "canonical",
    "policy_uri",
    "result_uri",
    "same_value",
    "validate",
    "validate_together",
]

ACCESS: Final = Access.ADD | Access.DELETE | Access.GET | Access.REPLACE
"""Every policy node accepts these."""

OCCURRENCE: Final = Occurrence.ZERO_OR_ONE
"""Every policy node is dynamic and absent until it is set."""

_CONFIG: Final = "./Device/Vendor/MSFT/Policy/Config/Update"
_RESULT: Final = "./Device/Vendor/MSFT/Policy/Result/Update"


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
    description: str
    """What it does, its units and what else must be set, in one sentence for IT."""
    needs: tuple[Need, ...] = ()
    """Policies without which it has no effect; all of them count."""


_LAST, _LOWEST, _HIGHEST = Merge.LAST, Merge.LOWEST, Merge.HIGHEST
_SWITCH: Final = Choice((0, 1))
_WORDS: Final = Text(r"\S(?:.*\S)?", "a text that is not empty and has no blanks around it")
# This keeps out the DDF's default `CorpWSUS`, which is a placeholder of the documentation.
_URL: Final = Text(r"https?://[^\s/]\S*", "an http:// or https:// address")

_DRIVEN: Final = "2004+1202 / 20H2+1202 / 21H1+1202 / 21H2+1288 / 22H2+2130 / Server 2022+371 / W11 21H2"
_DRIVEN_NOTE: Final = (
    "from Windows Update with 0 and from WSUS with 1, and is set together with the other three."
)
_ENGAGED: Final = "in the legacy engaged restart, which AutoRestartDeadline* and ConfigureDeadline* override."
_NOT_ENFORCED: Final = (
    "1507+18818 / 1607+4169 / 1703+2108 / 1709+2166 / 1803+1967 / 1809+1697 / 1903+1316 / 1909+1316 / "
    "2004+746 / 20H2+746 / W11 21H2"
)
_PROXY: Final = (
    "1507+18696 / 1607+3930 / 1703+2500 / 1709+2107 / 1803+1726 / 1809+1457 / 1903+1082 / 1909+1082 / "
    "2004+508 / W11 21H2"
)

_WSUS: Final = (Need("UpdateServiceUrl"),)
_QUALITY_DEADLINE: Final = (Need("ConfigureDeadlineForQualityUpdates"),)
_FEATURE_DEADLINE: Final = (Need("ConfigureDeadlineForFeatureUpdates"),)
_SCHEDULED: Final = (Need("AllowAutoUpdate", (3, 4)),)

# fmt: off
_ROWS: Final = (
    # Offer (Windows Update client policies)
    Policy("AllowNonMicrosoftSignedUpdate", "int", _SWITCH, "1", "1507", _LOWEST,
           "1 also accepts updates signed by the organisation itself, as published locally through WSUS."),
    Policy("AllowOptionalContent", "int", Choice((0, 1, 2, 3)), "0", "21H2+3757", _LOWEST,
           "Installs no optional updates with 0, those with gradual feature rollouts with 1, those without "
           "with 2, and those the user chooses with 3."),
    Policy("AutomaticMaintenanceWakeUp", "int", _SWITCH, "1", "1903", _HIGHEST,
           "1 wakes the device for its daily maintenance."),
    Policy("BranchReadinessLevel", "int", Choice((2, 4, 8, 16, 32, 64, 128)), "16", "1607", _LAST,
           "Channel that updates come from: 2 Dev, 4 Beta, 8 Release Preview, 16 General Availability, "
           "32 Semi-Annual (before 1903), 64 Release Preview quality updates only, 128 Canary."),
    Policy("DeferFeatureUpdatesPeriodInDays", "int", Range(0, 365), "0", "1607", _LAST,
           "Days that a feature update is held back after its release, at most 14 on a pre-release channel."),
    Policy("DeferQualityUpdatesPeriodInDays", "int", Range(0, 30), "0", "1607", _LAST,
           "Days that a quality update is held back after its release, which never delays definition updates."),
    Policy("DisableWUfBSafeguards", "int", _SWITCH, "0",
           "W11 21H2 / 2004+546 / 1909+1110 / 1903+1110 / 1809+1490", _LAST,
           "1 ignores Microsoft's safeguard holds until the next feature update, after which Windows clears it."),
    Policy("ExcludeWUDriversInQualityUpdate", "int", _SWITCH, "0", "1607", _LAST,
           "1 leaves drivers out of quality updates."),
    Policy("ManagePreviewBuilds", "int", Choice((0, 1, 2, 3)), "3", "1709", _LAST,
           "Turns preview builds off with 0, off once the next release is public with 1, on with 2, and leaves "
           "them to the user with 3."),
    # The DDF says 60 days, the policy page 35.
    Policy("PauseFeatureUpdates", "int", _SWITCH, "0", "1607", _LAST,
           "1 pauses feature updates; since 1703 PauseFeatureUpdatesStartTime does it with a date."),
    Policy("PauseFeatureUpdatesStartTime", "chr", Date(), None, "1703", _LAST,
           "Day from which feature updates pause for 35 days; resetting it resumes them."),
    Policy("PauseQualityUpdates", "int", _SWITCH, "0", "1607", _LAST,
           "1 pauses quality updates for 35 days; since 1703 PauseQualityUpdatesStartTime does it with a date."),
    Policy("PauseQualityUpdatesStartTime", "chr", Date(), None, "1703", _LAST,
           "Day from which quality updates pause for 35 days; resetting it resumes them."),
    Policy("ProductVersion", "chr", _WORDS, None, "W11 21H2 / 21H1+1202 / 20H2+1202 / 2004+1202", _LAST,
           "Product to move to or stay on, such as Windows 11, whose licence terms are accepted by setting it."),
    Policy("TargetReleaseVersion", "chr", _WORDS, None,
           "2004 / 1909+836 / 1903+836 / 1809+1217 / 1803+1488", _LAST,
           "Release of the product in ProductVersion to move to or stay on, such as 22H2.",
           (Need("ProductVersion"),)),
    # Source, that is WSUS
    Policy("AllowUpdateService", "int", _SWITCH, "1", "1507", _LOWEST,
           "0 blocks every public update service and the Store on a device that has a WSUS server.", _WSUS),
    Policy("DetectionFrequency", "int", Range(1, 22), "22", "1703", _LAST,
           "Hours between two scans against WSUS, to which Windows adds up to 4 at random.", _WSUS),
    Policy("DoNotEnforceEnterpriseTLSCertPinningForUpdateDetection", "int", _SWITCH, "0", _NOT_ENFORCED, _LAST,
           "1 does not insist on the pinned certificate of the WSUS server."),
    Policy("FillEmptyContentUrls", "int", _SWITCH, "0", "1607", _LAST,
           "1 lets Windows compose download addresses that the metadata lacks, for UpdateServiceUrlAlternate.",
           (Need("UpdateServiceUrlAlternate"),)),
    Policy("SetPolicyDrivenUpdateSourceForDriverUpdates", "int", _SWITCH, "1", _DRIVEN, _LAST,
           f"Takes drivers {_DRIVEN_NOTE}", _WSUS),
    Policy("SetPolicyDrivenUpdateSourceForFeatureUpdates", "int", _SWITCH, "1", _DRIVEN, _LAST,
           f"Takes feature updates {_DRIVEN_NOTE}", _WSUS),
    Policy("SetPolicyDrivenUpdateSourceForOtherUpdates", "int", _SWITCH, "1", _DRIVEN, _LAST,
           f"Takes all other updates {_DRIVEN_NOTE}", _WSUS),
    Policy("SetPolicyDrivenUpdateSourceForQualityUpdates", "int", _SWITCH, "1", _DRIVEN, _LAST,
           f"Takes quality updates {_DRIVEN_NOTE}", _WSUS),
    Policy("SetProxyBehaviorForUpdateDetection", "int", _SWITCH, "0", _PROXY, _LAST,
           "1 allows the user's proxy for scans against a WSUS server that is reached by http."),
    Policy("UpdateServiceUrl", "chr", _URL, "CorpWSUS", "1507", _LAST,
           "Address of the WSUS server; only a reset leads back to Microsoft Update."),
    Policy("UpdateServiceUrlAlternate", "chr", _URL, None, "1607", _LAST,
           "Address of another server to download from, beside the WSUS server.", _WSUS),
    # User experience, schedule, deadlines
    Policy("ActiveHoursEnd", "int", Range(0, 23), "17", "1607", _LAST,
           "Hour of the day at which the active hours end, in which Windows does not restart.",
           (Need("ActiveHoursStart"),)),
    Policy("ActiveHoursMaxRange", "int", Range(8, 18), "18", "1703", _LAST,
           "Hours that the active hours may last at most."),
    Policy("ActiveHoursStart", "int", Range(0, 23), "8", "1607", _LAST,
           "Hour of the day at which the active hours start, in which Windows does not restart.",
           (Need("ActiveHoursEnd"),)),
    Policy("AllowAutoUpdate", "int", Choice((0, 1, 2, 3, 4, 5)), "2", "1507", _LOWEST,
           "0 notifies before the download, 1 installs and lets the user restart, 2 installs and restarts, "
           "3 does so at the scheduled time, 4 does so without control by the user, 5 turns updates off; a "
           "ConfigureDeadline* takes over."),
    Policy("AllowAutoWindowsUpdateDownloadOverMeteredNetwork", "int", _SWITCH, "0", "1709", _LAST,
           "1 downloads over metered networks too."),
    Policy("AllowMUUpdateService", "int", _SWITCH, "0", "1607", _LOWEST,
           "1 also offers updates of other Microsoft products, which a later 0 does not undo."),
    # KB5022913 (22621.1344) in the page.
    Policy("AllowTemporaryEnterpriseFeatureControl", "int", _SWITCH, "0", "W11 22H2+1194", _LAST,
           "1 turns on features that monthly updates bring switched off."),
    Policy("ConfigureDeadlineForFeatureUpdates", "int", Range(0, 30), "2", "1903", _LAST,
           "Days after which a feature update is installed whatever the active hours, in place of the download, "
           "install and restart settings of AllowAutoUpdate."),
    Policy("ConfigureDeadlineForQualityUpdates", "int", Range(0, 30), "7", "1903", _LAST,
           "Days after which a quality update is installed whatever the active hours, in place of the download, "
           "install and restart settings of AllowAutoUpdate."),
    # What the deadline of feature updates falls back on too, so it needs either of the two.
    Policy("ConfigureDeadlineGracePeriod", "int", Range(0, 7), "2", "1903", _LAST,
           "Days between an installation and the restart that its deadline enforces."),
    Policy("ConfigureDeadlineGracePeriodForFeatureUpdates", "int", Range(0, 7), "7",
           "W11 21H2 / 20H2+906 / 2004+906 / 1909+1474 / 1809+1852", _LAST,
           "Days between the installation of a feature update and its enforced restart, for which "
           "ConfigureDeadlineGracePeriod counts while this is unset.", _FEATURE_DEADLINE),
    # In the DDF, no longer in the 2024-09 page: the two below replace it.
    Policy("ConfigureDeadlineNoAutoReboot", "int", _SWITCH, "0", "1903", _HIGHEST,
           "1 does not restart outside the active hours before deadline and grace period are over, up to "
           "Windows 11 23H2."),
    Policy("ConfigureDeadlineNoAutoRebootForFeatureUpdates", "int", _SWITCH, "0", "W11 24H2", _HIGHEST,
           "1 does not restart for a feature update before its deadline and grace period are over.",
           _FEATURE_DEADLINE),
    Policy("ConfigureDeadlineNoAutoRebootForQualityUpdates", "int", _SWITCH, "0", "W11 24H2", _HIGHEST,
           "1 does not restart for a quality update before its deadline and grace period are over.",
           _QUALITY_DEADLINE),
    Policy("ConfigureFeatureUpdateUninstallPeriod", "int", Range(2, 60), "10", "1803", _LAST,
           "Days in which a feature update can be rolled back."),
    Policy("NoUpdateNotificationsDuringActiveHours", "int", _SWITCH, "0", "W11 22H2", _LOWEST,
           "1 holds back, in active hours only, what UpdateNotificationLevel holds back.",
           (Need("UpdateNotificationLevel", (1, 2)),)),
    Policy("ScheduledInstallDay", "int", Choice((0, 1, 2, 3, 4, 5, 6, 7)), "0", "1507", _LOWEST,
           "Day of the scheduled installation, from 1 for Sunday to 7 for Saturday, or 0 for every day.", _SCHEDULED),
    Policy("ScheduledInstallEveryWeek", "int", _SWITCH, "1", "1709", _LOWEST,
           "1 has the scheduled installation in every week.", _SCHEDULED),
    Policy("ScheduledInstallFirstWeek", "int", _SWITCH, "0", "1709", _LOWEST,
           "1 has the scheduled installation on the days 1 to 7 of the month.", _SCHEDULED),
    Policy("ScheduledInstallFourthWeek", "int", _SWITCH, "0", "1709", _LOWEST,
           "1 has the scheduled installation on the days 22 to 31 of the month.", _SCHEDULED),
    Policy("ScheduledInstallSecondWeek", "int", _SWITCH, "0", "1709", _LOWEST,
           "1 has the scheduled installation on the days 8 to 14 of the month.", _SCHEDULED),
    Policy("ScheduledInstallThirdWeek", "int", _SWITCH, "0", "1709", _LOWEST,
           "1 has the scheduled installation on the days 15 to 21 of the month.", _SCHEDULED),
    Policy("ScheduledInstallTime", "int", Range(0, 23), "3", "1507", _LOWEST,
           "Hour of the day of the scheduled installation, kept within about 30 minutes.", _SCHEDULED),
    Policy("SetDisablePauseUXAccess", "int", _SWITCH, "0", "1809", _LAST,
           "1 takes Pause updates away from the user."),
    Policy("SetDisableUXWUAccess", "int", _SWITCH, "0", "1809", _LAST,
           "1 takes scanning, downloading and installing away from the user."),
    Policy("SetEDURestart", "int", _SWITCH, "0", "1703", _LAST,
           "1 skips the checks before a restart, so that devices in carts restart at ScheduledInstallTime."),
    Policy("UpdateNotificationLevel", "int", Choice((0, 1, 2)), "0", "1809", _LAST,
           "Shows the user Windows' own notifications with 0, only restart warnings with 1, and none with 2."),
    # Legacy
    Policy("AutoRestartDeadlinePeriodInDays", "int", Range(2, 30), "7", "1607", _LAST,
           "Days after which a quality update's restart is forced, a legacy setting that ConfigureDeadline* overrides."),
    Policy("AutoRestartDeadlinePeriodInDaysForFeatureUpdates", "int", Range(2, 30), "7", "1809", _LAST,
           "Days after which a feature update's restart is forced, a legacy setting that ConfigureDeadline* overrides."),
    Policy("AutoRestartNotificationSchedule", "int", Choice((15, 30, 60, 120, 240)), "15", "1703", _LAST,
           "Minutes before an automatic restart at which the user is reminded (legacy)."),
    Policy("AutoRestartRequiredNotificationDismissal", "int", Choice((1, 2)), "1", "1703", _LAST,
           "The notice of an automatic restart goes away by itself with 1 and by the user with 2 (legacy)."),
    Policy("DeferUpdatePeriod", "int", Range(0, 4), "0", "1607", _LAST,
           "Weeks that updates are held back, on Windows 10 1511 only."),
    Policy("DeferUpgradePeriod", "int", Range(0, 8), "0", "1607", _LAST,
           "Months that upgrades are held back, on Windows 10 1511 only."),
    Policy("DisableDualScan", "int", _SWITCH, "0", "1607", _LAST,
           "1 scans WSUS only whatever is deferred, a legacy setting that SetPolicyDrivenUpdateSourceFor* replace.",
           _WSUS),
    Policy("EngagedRestartDeadline", "int", Range(2, 30), "14", "1703", _LAST,
           f"Days until a quality update's restart is forced {_ENGAGED}"),
    Policy("EngagedRestartDeadlineForFeatureUpdates", "int", Range(2, 30), "14", "1809", _LAST,
           f"Days until a feature update's restart is forced {_ENGAGED}"),
    Policy("EngagedRestartSnoozeSchedule", "int", Range(1, 3), "3", "1703", _LAST,
           f"Days that the user may put off reminders for a quality update {_ENGAGED}"),
    Policy("EngagedRestartSnoozeScheduleForFeatureUpdates", "int", Range(1, 3), "3", "1809", _LAST,
           f"Days that the user may put off reminders for a feature update {_ENGAGED}"),
    Policy("EngagedRestartTransitionSchedule", "int", Range(0, 30), "7", "1703", _LAST,
           f"Days until the user is asked to schedule a quality update's restart {_ENGAGED}"),
    Policy("EngagedRestartTransitionScheduleForFeatureUpdates", "int", Range(0, 30), "7", "1809", _LAST,
           f"Days until the user is asked to schedule a feature update's restart {_ENGAGED}"),
    Policy("IgnoreMOAppDownloadLimit", "int", _SWITCH, "0", "1703", _LOWEST,
           "1 ignores the operator's limit when apps are downloaded over a cellular network (legacy)."),
    Policy("IgnoreMOUpdateDownloadLimit", "int", _SWITCH, "0", "1703", _LOWEST,
           "1 ignores the operator's limit when updates are downloaded over a cellular network (legacy)."),
    Policy("PauseDeferrals", "int", _SWITCH, "0", "1607", _LAST,
           "1 pauses updates and upgrades, on Windows 10 1511 only."),
    Policy("PhoneUpdateRestrictions", "int", Range(0, 4), "4", "1703", _LOWEST,
           "Restricts updates of phones, and is replaced by RequireUpdateApproval."),
    Policy("RequireDeferUpgrade", "int", _SWITCH, "0", "1607", _LAST,
           "1 takes the device to the Semi-Annual Channel, on Windows 10 1511 only."),
    # Microsoft means it for mobile devices (windows-itpro-docs#7184); it is what gives approvals their effect.
    Policy("RequireUpdateApproval", "int", _SWITCH, "0", "1507", _HIGHEST,
           "1 installs only what is applicable and approved, and 0 installs everything applicable."),
    Policy("ScheduleImminentRestartWarning", "int", Choice((15, 30, 60)), "15", "1703", _LAST,
           "Minutes before an automatic restart at which the user is warned for the last time (legacy)."),
    Policy("ScheduleRestartWarning", "int", Choice((2, 4, 8, 12, 24)), "4", "1703", _LAST,
           "Hours before an automatic restart at which the user is warned (legacy)."),
    Policy("SetAutoRestartNotificationDisable", "int", _SWITCH, "0", "1703", _LAST,
           "1 gives the user no notice of automatic restarts (legacy)."),
    # In the 2024-09 page, not in the DDF, which alone would say how it merges.
    Policy("AlwaysAutoRebootAtScheduledTimeMinutes", "int", Range(15, 180), "15", "W11 22H2", None,
           "Minutes that the user is left to save work before the restart at the scheduled time."),
)
# fmt: on

POLICIES: Final[Mapping[str, Policy]] = MappingProxyType({policy.name: policy for policy in _ROWS})
"""Every policy of the area by name."""

# Rules of the policy page that are about more than one policy beside another.
_ACTIVE_HOURS: Final = ("ActiveHoursStart", "ActiveHoursEnd", "ActiveHoursMaxRange")
_LONGEST: Final = 18
"""Hours; what ActiveHoursMaxRange is while it is not set."""
_HOURS_OF_DAY: Final = 24
_SOURCES: Final = tuple(name for name in POLICIES if name.startswith("SetPolicyDrivenUpdateSourceFor"))
_DEADLINES: Final = ("ConfigureDeadlineForQualityUpdates", "ConfigureDeadlineForFeatureUpdates")
_FOR_ANY_DEADLINE: Final = ("ConfigureDeadlineGracePeriod", "ConfigureDeadlineNoAutoReboot")
_PRE_RELEASE: Final = frozenset({"2", "4", "8", "128"})
_PRE_RELEASE_DAYS: Final = 14
# Format int has at most ten digits; more would only be a way to make int() work.
_NUMBER: Final = re.compile("[+-]?[0-9]{1,20}", re.ASCII)


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


def canonical(name: str, value: str) -> str:
    """The one form of a value, as devices write it in several: a number without zeros before it, no blanks around.

    What is no number stays as it is. Raises InvalidValue for a name that is none of `POLICIES`.
    """
    text = value.strip()
    if _policy(name).format == "int" and _NUMBER.fullmatch(text):
        return str(int(text))
    return text


def same_value(name: str, one: str | None, other: str | None) -> bool:
    """True if both texts stand for one value of the policy; None, no value, is the same as None only.

    Raises InvalidValue for a name that is none of `POLICIES`.
    """
    if one is None or other is None:
        return one is other
    return canonical(name, one) == canonical(name, other)


def validate_together(values: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence for each way in which these values contradict or lack one another.

    Looks only at values that pass `validate` alone, which names the others. Nothing wrong gives ().
    """
    legal = {
        name: value
        for name, value in sorted(values.items())
        if name in POLICIES and POLICIES[name].allowed.objection(value) is None
    }
    return (*_unmet_needs(legal, values), *_missing_partners(legal, values), *_beyond_limits(legal, values))


def _unmet_needs(legal: Mapping[str, str], values: Mapping[str, str]) -> Iterator[str]:
    for name in legal:
        for need in POLICIES[name].needs:
            right = [str(value) for value in need.values]
            if not right and need.name not in values:
                yield f"{name} has no effect without {need.name}."
            elif right and (need.name not in values or legal.get(need.name, right[0]) not in right):
                yield f"{name} has no effect unless {need.name} is {' or '.join(right)}."


def _missing_partners(legal: Mapping[str, str], values: Mapping[str, str]) -> Iterator[str]:
    if not any(name in values for name in _DEADLINES):
        for name in _FOR_ANY_DEADLINE:
            if name in legal:
                yield f"{name} has no effect without {' or '.join(_DEADLINES)}."
    missing = [name for name in _SOURCES if name not in values]
    if 0 < len(missing) < len(_SOURCES):
        yield f"The four update sources belong together, but not set: {', '.join(missing)}."


def _beyond_limits(legal: Mapping[str, str], values: Mapping[str, str]) -> Iterator[str]:
    hours = {"ActiveHoursMaxRange": _LONGEST} if "ActiveHoursMaxRange" not in values else {}
    hours |= {name: int(legal[name]) for name in _ACTIVE_HOURS if name in legal}
    if len(hours) == len(_ACTIVE_HOURS):
        length = (hours["ActiveHoursEnd"] - hours["ActiveHoursStart"]) % _HOURS_OF_DAY
        longest = hours["ActiveHoursMaxRange"]
        if length > longest:
            yield f"Active hours last {length} hours, more than ActiveHoursMaxRange, which is {longest}."
    days = int(legal.get("DeferFeatureUpdatesPeriodInDays", "0"))
    if legal.get("BranchReadinessLevel") in _PRE_RELEASE and days > _PRE_RELEASE_DAYS:
        yield f"DeferFeatureUpdatesPeriodInDays is {days}, but at most {_PRE_RELEASE_DAYS} on a pre-release channel."
