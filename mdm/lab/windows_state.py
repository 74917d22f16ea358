"""What a virtual device remembers of its updates and settings: one frozen value, and its JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final

from mdm.lab.catalogue import OfferedUpdate

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIRST_SYNC_VERSION", "Job", "Phase", "UpdateStatus", "WindowsState", "iso_time"]

FIRST_SYNC_VERSION: Final = "1.0"
"""SyncApplicationVersion of a device that no server has told otherwise (DMClient DDF, DefaultValue)."""


class UpdateStatus(IntEnum):
    """Bit values of FailedUpdates/{guid}/State (Update CSP); only those an agent of ours reports."""

    DOWNLOAD_FAILED = 16
    INSTALL_BLOCKED = 128
    INSTALL_FAILED = 256
    COMMIT_FAILED = 2048


class Phase(StrEnum):
    """How far an update got; `mdm.lab.windows` has the table."""

    OFFERED = "offered"
    UNDER_WAY = "under_way"
    PENDING_REBOOT = "pending_reboot"
    INSTALLED = "installed"


@dataclass(frozen=True, slots=True)
class Job:
    """One update the device knows."""

    update: OfferedUpdate
    phase: Phase = Phase.OFFERED
    due: datetime | None = None
    """UNDER_WAY: when it ends; OFFERED: before when it is not tried again."""
    attempts: int = 0
    hresult: int | None = None
    """Of the last attempt, unsigned, while the update has failed and is not installed."""
    failure: int | None = None
    """The UpdateStatus that goes with `hresult`."""
    installed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WindowsState:
    """Everything commands and updates change on a device; JSON by `to_json` and `from_json`."""

    jobs: Mapping[str, Job] = field(default_factory=dict)
    """By UpdateID."""
    approved: Mapping[str, str] = field(default_factory=dict)
    """ApprovedUpdates: GUID to ApprovedTime."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """Policy/Config/Update as this enrolment has set it."""
    foreign: Mapping[str, str] = field(default_factory=dict)
    """The same as somebody else has set it: another management server, or an administrator on the device."""
    last_scan: datetime | None = None
    next_scan: datetime | None = None
    """None: at the first chance."""
    restart_at: datetime | None = None
    rollbacks: Mapping[str, str] = field(default_factory=dict)
    """`quality` and `feature` to the result of the last rollback."""
    sync_version: str = FIRST_SYNC_VERSION
    """SyncApplicationVersion: the session protocol to speak from the next session on."""
    settings: Mapping[str, str] | None = None
    """What stands below DMClient/Provider/{id}, by path; None: no enrolment has set anything yet."""
    leaving: bool = False
    """The management has ended here, and the server has not been told yet."""

    def to_json(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {
            "jobs": [_job_to_json(job) for job in self.jobs.values()],
            "approved": dict(self.approved),
            "policies": dict(self.policies),
            "foreign": dict(self.foreign),
            "last_scan": _text(self.last_scan),
            "next_scan": _text(self.next_scan),
            "restart_at": _text(self.restart_at),
            "rollbacks": dict(self.rollbacks),
            "sync_version": self.sync_version,
            "settings": None if self.settings is None else dict(self.settings),
            "leaving": self.leaving,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WindowsState:
        """Read what `to_json` wrote; KeyError, TypeError or ValueError if it is something else."""
        jobs = [_job_from_json(job) for job in value["jobs"]]
        return cls(
            jobs={job.update.update_id: job for job in jobs},
            approved=dict(value["approved"]),
            policies=dict(value["policies"]),
            # Devices made before others could meddle were left alone.
            foreign=dict(value.get("foreign", {})),
            last_scan=_moment(value["last_scan"]),
            next_scan=_moment(value["next_scan"]),
            restart_at=_moment(value["restart_at"]),
            rollbacks=dict(value["rollbacks"]),
            # Devices made before there was a choice speak what they always did.
            sync_version=value.get("sync_version", FIRST_SYNC_VERSION),
            # Devices made before they could enrol themselves and leave have done neither.
            settings=None if value.get("settings") is None else dict(value["settings"]),
            leaving=value.get("leaving", False),
        )


def iso_time(moment: datetime) -> str:
    """How a device writes Format `time`: ISO 8601 in whole seconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _job_to_json(job: Job) -> dict[str, Any]:
    return {
        "update": asdict(job.update),
        "phase": job.phase.value,
        "due": _text(job.due),
        "attempts": job.attempts,
        "hresult": job.hresult,
        "failure": job.failure,
        "installed_at": _text(job.installed_at),
    }


def _job_from_json(value: Mapping[str, Any]) -> Job:
    update = dict(value["update"])
    return Job(
        update=OfferedUpdate(**update | {"supersedes": tuple(update["supersedes"])}),
        phase=Phase(value["phase"]),
        due=_moment(value["due"]),
        attempts=value["attempts"],
        hresult=value["hresult"],
        failure=value["failure"],
        installed_at=_moment(value["installed_at"]),
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
