"""All that decides why an update is not installed on a device: a value, read once and explained by `mdm.devices.reasons`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mdm.approvals.decision import Hold, Intent, UpdateFacts
    from mdm.devices.certificate import DeviceCertificate

__all__ = ["Case", "Heard", "Newer", "PolicyAnswer", "Refusal", "Report", "Ring", "RolloutFacts"]

SILENT_AFTER: Final = timedelta(hours=24)
"""A device that was not seen for so long is said not to have been: it polls several times a day."""

_UNSUPPORTED: Final = frozenset({404, 405, 406})
"""Answers of a Windows that has no approval list, or none that may be written (`csp.status`)."""


@dataclass(frozen=True, slots=True)
class Heard:
    """When the device told what, if it did."""

    last_checkin_at: datetime | None = None
    lists_read_at: datetime | None = None
    installed_read_at: datetime | None = None
    scan_time: str | None = None
    """LastSuccessfulScanTime as the device wrote it; "0" means never."""
    unenrolled_at: datetime | None = None
    retire_requested_at: datetime | None = None
    retire_told_at: datetime | None = None
    certificate: DeviceCertificate | None = None
    """What proves it; None for one that proves itself by its messages."""

    @property
    def scanned_at(self) -> datetime | None:
        """The same as a moment, if the device wrote one; without a zone it is taken for UTC."""
        try:
            moment = datetime.fromisoformat(self.scan_time or "")
        except ValueError:
            return None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    @property
    def has_scanned(self) -> bool:
        """True if the device has ever completed a scan."""
        return self.scan_time not in {None, "", "0"}


@dataclass(frozen=True, slots=True)
class Report:
    """What the device says of the update."""

    state: str
    """As in `device_update`: `pending_reboot`, `failed`, `installable`, `installed` or `listed`."""
    since: datetime
    hresult: int | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """How the device refused to take an approval."""

    status: int
    error: str | None

    @property
    def unsupported(self) -> bool:
        """True if its Windows has no approval list."""
        return self.status in _UNSUPPORTED


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """What the device said of RequireUpdateApproval."""

    status: str
    status_code: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Newer:
    """An update that replaces it, and what the device says of that one."""

    update_id: str
    title: str
    state: str | None


@dataclass(frozen=True, slots=True)
class Ring:
    """A stage of a rollout."""

    number: int
    name: str
    state: str
    opens_at: datetime | None
    offered: float | None
    """The part of its devices whose turn has come, 0 to 1; None: all."""
    promotion: str | None


@dataclass(frozen=True, slots=True)
class RolloutFacts:
    """A rollout as far as it explains why something waits."""

    id: str
    name: str
    state_at: datetime
    state_by: str
    state_reason: Mapping[str, object]
    rings: tuple[Ring, ...]
    """In their order."""


@dataclass(frozen=True, slots=True)
class Case:
    """One update on one device at one moment."""

    now: datetime
    update_id: str
    heard: Heard
    report: Report | None = None
    """None: the device does not speak of it."""
    known: UpdateFacts | None = None
    """None: its metadata is not stored."""
    released: datetime | None = None
    """CreationDate of its latest revision."""
    spoken_of: bool = True
    """Some device, or the queue of what the catalogue needs, knows it."""
    not_offered: bool = False
    """No upstream offers its metadata."""
    approvals: tuple[Intent, ...] = ()
    """Those that cover it and hold for the device, gates and times aside."""
    blocks: tuple[Intent, ...] = ()
    held: Mapping[str, Hold] = field(default_factory=dict)
    """As `decide` says it."""
    delivered: bool = False
    """It, or its classification, stands in the device's ApprovedUpdates."""
    delivered_at: datetime | None = None
    """When it took our approval; None for one that it has from others."""
    withdrawal_refused: bool = False
    """Its build of Windows has refused to forget an approval."""
    scans: int | None = None
    """Successful scans since then that it has outlasted, where they are counted."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """By update or classification."""
    enforced: PolicyAnswer | None = None
    newer: tuple[Newer, ...] = ()
    open_eulas: tuple[str, ...] = ()
    """The licences that hold its classification back, in words."""
    blocked_inside: tuple[str, ...] = ()
    """What is blocked in its classification, in words."""
    window_opens: datetime | None = None
    rollouts: Mapping[str, RolloutFacts] = field(default_factory=dict)

    @property
    def shut_out(self) -> DeviceCertificate | None:
        """Its certificate, if that is over: then no session of it is accepted until it is enrolled again."""
        certificate = self.heard.certificate
        return certificate if certificate is not None and certificate.is_over(self.now) else None

    @property
    def state(self) -> str | None:
        """What the device says of it; None for nothing, or only that it was approved."""
        return None if self.report is None or self.report.state == "listed" else self.report.state

    @property
    def targets(self) -> frozenset[str]:
        """What its approvals would deliver: the update, or the GUID of its classification."""
        return frozenset(self.update_id if each.expands else each.target_id for each in self.approvals)

    @property
    def going(self) -> frozenset[str]:
        """Those of them that nothing holds."""
        return self.targets - self.held.keys()

    @property
    def hold(self) -> Hold | None:
        """Why nothing of it goes: the update's own approvals speak before its classification's."""
        if not self.targets or self.going:
            return None
        return self.held[self.held_target]

    @property
    def held_target(self) -> str:
        """What is told of while everything is held."""
        return self.update_id if self.update_id in self.targets else min(self.targets)

    @property
    def refused(self) -> bool:
        """True if the device has refused all that would go."""
        return bool(self.going) and self.going <= self.refusals.keys()

    @property
    def gated(self) -> tuple[Intent, ...]:
        """The approvals that a rollout keeps back."""
        return tuple(each for each in self.approvals if each.gate is not None)
