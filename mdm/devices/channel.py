"""Through which channel a device's updates are managed, whether approvals take effect on it, and what we recommend.

The figures are those of `mdm.devices.evidence`; what they mean is said here, once; `mdm.devices.approval_effect` counts
the fleet by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, exists, false, func, or_, select

from mdm.approvals.effective import has_approvals, standing_of
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ApprovalEvidence,
    Device,
    DevicePolicy,
    PolicyAssignment,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

__all__ = [
    "SCANS",
    "STATEMENT",
    "WITH_EVIDENCE",
    "Channel",
    "DeviceChannel",
    "Evidence",
    "Recommendation",
    "Verdict",
    "device_channel",
    "enforced",
    "own_policy",
    "verdict_of",
]

SCANS: Final = 3
"""Successful scans an approved update has to outlast before we say that approvals have no effect: some three days."""

APPROVAL_POLICY: Final = "RequireUpdateApproval"
"""Without it the approval list has no effect: Windows installs whatever applies (update-csp, section 4)."""

_device = table_of(Device)
_evidence = table_of(ApprovalEvidence)
_policy = table_of(DevicePolicy)
_assignment = table_of(PolicyAssignment)


class Channel(StrEnum):
    """How IT manages a device's updates."""

    APPROVALS = "approvals"
    POLICIES = "policies"
    BOTH = "both"
    NONE = "none"

    @classmethod
    def of(cls, *, approvals: bool, policies: bool) -> Channel:
        """The channel of a device that has approvals, or policies, or both."""
        if approvals:
            return cls.BOTH if policies else cls.APPROVALS
        return cls.POLICIES if policies else cls.NONE

    @property
    def approves(self) -> bool:
        """True if approvals are part of it."""
        return self in {Channel.APPROVALS, Channel.BOTH}


class Verdict(StrEnum):
    """Whether approvals take effect on a device that has them."""

    EFFECTIVE = "effective"
    """Windows has installed approved updates, or tried to, and none has been waiting for long since."""
    NO_EFFECT_SEEN = "no_effect_seen"
    """An approved update outlasts scan after scan, and nothing else approved has been installed in the meantime."""
    TOO_EARLY = "too_early"
    """Nothing has happened yet that would tell."""
    NOT_ENFORCED = "not_enforced"
    """RequireUpdateApproval is not in force: Windows installs what applies, approved or not."""


class Recommendation(StrEnum):
    """What we would do about a device."""

    USE_POLICIES = "use_policies"
    """Manage it by policies; approvals do nothing here."""
    ENFORCE = "enforce"
    """Bring RequireUpdateApproval into force, or manage it by policies."""
    WATCH = "watch"
    """Approvals work here; keep an eye on them."""
    WAIT = "wait"
    """Look again after some scans."""
    KEEP = "keep"
    """Nothing to do."""
    MANAGE = "manage"
    """Nobody manages its updates: give it a policy profile."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the device's scans have shown."""

    scans_needed: int
    """Scans after which an update that still waits speaks against approvals."""
    waiting: int
    """Updates that are approved on the device, installable and not installed."""
    scans_waited: int
    """Scans that the one that has waited longest has outlasted."""
    installed: int
    """Updates installed after they had been approved on the device."""
    failed: int
    """Updates that Windows tried to install after that, in vain."""
    acted_at: datetime | None
    """When it last installed one, or tried to."""


@dataclass(frozen=True, slots=True)
class DeviceChannel:
    """What the device's page says of its channel."""

    channel: Channel
    verdict: Verdict | None
    """None for a device without approvals."""
    reason: str
    """Why the verdict is what it is, in a sentence."""
    recommendation: Recommendation
    recommendation_text: str
    evidence: Evidence


STATEMENT: Final = (
    "Microsoft does not recommend ApprovedUpdates for managing desktop devices (Update CSP); it recommends policies: "
    "deferral, deadline and pause."
)

_NOT_DESKTOP: Final = ("holographic", "hololens", "mobile", "iot core", "iotuap")
"""In the names of editions that approvals are meant for."""


def verdict_of(*, enforced: bool, waited: int | None, since_acted: int | None) -> Verdict:
    """What the figures come to.

    `waited` counts the scans that the longest waiting update has outlasted, `since_acted` those since Windows last
    installed an approved update, or tried to; None where there is none.
    """
    if not enforced:
        return Verdict.NOT_ENFORCED
    if waited is not None and waited >= SCANS and (since_acted is None or since_acted >= SCANS):
        return Verdict.NO_EFFECT_SEEN
    return Verdict.TOO_EARLY if since_acted is None else Verdict.EFFECTIVE


def device_channel(connection: Connection, device_pk: int, now: datetime) -> DeviceChannel:
    """Return the channel of one device, with evidence and recommendation."""
    standing = standing_of(connection, device_pk)
    row = connection.execute(
        select(
            _device.c.os_edition,
            _has_policies(_assignment.c.group_id.in_(standing.groups)).label("has_policies"),
            *(_evidence.c[name] for name in _FIGURES),
            _policy.c.status,
            _policy.c.status_code,
            enforced().label("enforced"),
        )
        .select_from(WITH_EVIDENCE)
        .where(_device.c.pk == device_pk)
    ).one()
    channel = Channel.of(approvals=has_approvals(connection, standing, now), policies=bool(row.has_policies))
    evidence = Evidence(
        scans_needed=SCANS,
        waiting=row.waiting or 0,
        scans_waited=0 if row.waiting_from is None else row.scans - row.waiting_from,
        installed=row.installed or 0,
        failed=row.failed or 0,
        acted_at=row.acted_at,
    )
    verdict = _verdict(row) if channel.approves else None
    recommendation = _RECOMMENDED[verdict] if verdict is not None else _WITHOUT_APPROVALS[channel]
    desktop = not any(word in (row.os_edition or "").lower() for word in _NOT_DESKTOP)
    text = _ADVICE[recommendation]
    return DeviceChannel(
        channel=channel,
        verdict=verdict,
        reason=_reason(channel, verdict, evidence, row),
        recommendation=recommendation,
        recommendation_text=f"{text} {STATEMENT}" if verdict is not None and desktop else text,
        evidence=evidence,
    )


_RECOMMENDED: Final[Mapping[Verdict, Recommendation]] = {
    Verdict.EFFECTIVE: Recommendation.WATCH,
    Verdict.NO_EFFECT_SEEN: Recommendation.USE_POLICIES,
    Verdict.TOO_EARLY: Recommendation.WAIT,
    Verdict.NOT_ENFORCED: Recommendation.ENFORCE,
}
_WITHOUT_APPROVALS: Final[Mapping[Channel, Recommendation]] = {
    Channel.POLICIES: Recommendation.KEEP,
    Channel.NONE: Recommendation.MANAGE,
}
_ADVICE: Final[Mapping[Recommendation, str]] = {
    Recommendation.USE_POLICIES: "Manage this device by a policy profile instead of approvals.",
    Recommendation.ENFORCE: (
        "Bring RequireUpdateApproval into force, or manage this device by a policy profile instead of approvals."
    ),
    Recommendation.WATCH: "Approvals do work on this device; look at it again after each feature update.",
    Recommendation.WAIT: f"Look again when the device has scanned {SCANS} times with an approved update.",
    Recommendation.KEEP: "Nothing to do: policies are what Microsoft recommends for desktop devices.",
    Recommendation.MANAGE: "Give this device a policy profile, or approve updates for one of its groups.",
}


def _reason(channel: Channel, verdict: Verdict | None, evidence: Evidence, row: Any) -> str:
    match verdict:
        case None if channel is Channel.NONE:
            words = "Neither approvals nor policies are set for this device: Windows decides by itself."
        case None:
            words = "Its updates are managed by policies, not by approvals."
        case Verdict.NOT_ENFORCED:
            words = f"{_not_enforced(row)} Windows installs every update that applies, approved or not."
        case Verdict.NO_EFFECT_SEEN:
            words = (
                f"{_count(evidence.waiting, 'update is', 'updates are')} approved on the device and installable; the "
                f"one that has waited longest is still not installed after {evidence.scans_waited} successful scans, "
                "and nothing else that was approved has been installed in the meantime."
            )
        case Verdict.EFFECTIVE:
            words = (
                f"Windows has installed {_count(evidence.installed, 'update', 'updates')} after approval and failed to "
                f"install {evidence.failed}, the last at {evidence.acted_at:%Y-%m-%d %H:%M} UTC."
            )
        case Verdict.TOO_EARLY if evidence.waiting == 0:
            words = "No update that was approved on the device has been installable there so far."
        case Verdict.TOO_EARLY:
            words = (
                f"{_count(evidence.waiting, 'update is', 'updates are')} approved on the device and installable, for "
                f"{_count(evidence.scans_waited, 'successful scan', 'successful scans')} so far; {SCANS} are needed "
                "to tell."
            )
    return words


def _not_enforced(row: Any) -> str:
    if row.status is None or row.status == "sent":
        return "The device has not confirmed the policy RequireUpdateApproval yet."
    if row.status == "unsupported":
        return "This build or edition of Windows does not know the policy RequireUpdateApproval."
    if row.status == "failed":
        return f"The device refused the policy RequireUpdateApproval with status {row.status_code}."
    return "The policy RequireUpdateApproval is not in force on the device: something else has overridden it."


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


_FIGURES: Final = (
    *("scans", "waiting", "waiting_from", "installed"),
    *("failed", "acted_scan", "acted_at"),
)
WITH_EVIDENCE: Final = _device.outerjoin(_evidence, _evidence.c.device_pk == _device.c.pk).outerjoin(
    _policy, and_(_policy.c.device_pk == _device.c.pk, _policy.c.name == APPROVAL_POLICY)
)
"""Each device with its evidence and its answer to RequireUpdateApproval, if there are such."""


def _verdict(row: Any) -> Verdict:
    return verdict_of(
        enforced=bool(row.enforced),
        waited=None if row.waiting_from is None else row.scans - row.waiting_from,
        since_acted=None if row.acted_scan is None else row.scans - row.acted_scan,
    )


def enforced() -> ColumnElement[bool]:
    """Return the condition that the device has confirmed RequireUpdateApproval, and shown nothing else since."""
    return func.coalesce(
        and_(_policy.c.status == "set", _policy.c.value == "1", _policy.c.drifted_at.is_(None)), false()
    )


def own_policy() -> ColumnElement[bool]:
    """Return the condition that some other policy of ours stands on the device."""
    other = table_of(DevicePolicy).alias("other_policy")
    return exists().where(
        other.c.device_pk == _device.c.pk, other.c.name != APPROVAL_POLICY, other.c.value.is_not(None)
    )


def _has_policies(assigned: ColumnElement[bool]) -> ColumnElement[bool]:
    return or_(exists().where(assigned), own_policy())
