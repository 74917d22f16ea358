"""The Windows Update agent of a virtual device: what it is offered, may install, installs, fails and restarts for.

    phase           in the lists                          ends
    -----           ------------                          ----
    OFFERED         InstallableUpdates (FailedUpdates)    when it may be installed
    UNDER_WAY       InstallableUpdates (FailedUpdates)    after `Pace.install`
    PENDING_REBOOT  PendingRebootUpdates                  at the restart
    INSTALLED       InstalledUpdates                      never

The agent reads no clock: `advance(now)` lets everything happen that is due, each thing at its own moment, so
that one long step and many short ones come to the same state. The state is one frozen value; taking it back
is assigning the old one. Sources: Update CSP, policy RequireUpdateApproval, Windows Update error codes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from csp.classifications import CLASSIFICATIONS, DEFINITION_UPDATES
from csp.policy import POLICIES, Merge
from mdm.lab.dice import Dice
from mdm.lab.windows_state import FIRST_SYNC_VERSION, Job, Phase, UpdateStatus, WindowsState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from mdm.lab.catalogue import OfferedUpdate

__all__ = ["QUICK", "REQUIRE_UPDATE_APPROVAL", "TYPICAL", "Habits", "Pace", "Windows"]

REQUIRE_UPDATE_APPROVAL: Final = "RequireUpdateApproval"
"""1: only what ApprovedUpdates names is installed; anything else: whatever applies."""

_UPGRADES: Final = next(guid for guid, name in CLASSIFICATIONS.items() if name == "Upgrades")
_PAUSED_BY: Final = {
    "quality": ("PauseQualityUpdatesStartTime", "PauseQualityUpdates"),
    "feature": ("PauseFeatureUpdatesStartTime", "PauseFeatureUpdates"),
}
_UNINSTALL_PERIOD: Final = "ConfigureFeatureUpdateUninstallPeriod"
_UNINSTALL_DAYS: Final = 10
"""How long a feature update can be uninstalled without that policy."""


_FAILURES: Final[Mapping[int, UpdateStatus]] = {
    0x80070070: UpdateStatus.DOWNLOAD_FAILED,
    0x80246007: UpdateStatus.DOWNLOAD_FAILED,
    0x80D02002: UpdateStatus.DOWNLOAD_FAILED,
    0x80240017: UpdateStatus.INSTALL_BLOCKED,
    0x80240016: UpdateStatus.INSTALL_BLOCKED,
    0x800F0922: UpdateStatus.INSTALL_FAILED,
    0x80073712: UpdateStatus.INSTALL_FAILED,
    0x80070643: UpdateStatus.INSTALL_FAILED,
    0x80242016: UpdateStatus.COMMIT_FAILED,
}
"""HRESULTs a failing update may have, with how far it got; an HRESULT not listed failed to install."""

_MOST_FAILURES: Final = 2
"""Attempts of an update that fail, at most, before one succeeds."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take."""

    scan: timedelta
    """Between two scans."""
    install: timedelta
    """From the moment an update may be installed to its end; each takes up to as long again."""
    restart: timedelta
    """From the first update that waits for a restart to the restart."""
    retry: timedelta
    """From a failure to the next attempt."""


TYPICAL: Final = Pace(
    scan=timedelta(hours=22),
    install=timedelta(hours=1),
    restart=timedelta(hours=10),
    retry=timedelta(hours=22),
)
"""An office device: a scan a day, an hour or two for an update, a restart overnight."""

QUICK: Final = Pace(
    scan=timedelta(seconds=30),
    install=timedelta(seconds=5),
    restart=timedelta(seconds=20),
    retry=timedelta(seconds=60),
)
"""The same in seconds, for people who watch."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How a device behaves; the same for its whole life."""

    pace: Pace = TYPICAL
    seed: int = 0
    """Two devices with different seeds fail at different updates."""
    failure_percent: int = 0
    """Share of updates whose first attempts fail."""
    failing: Mapping[str, int] = field(default_factory=dict)
    """UpdateID to the HRESULT its first attempt fails with, besides the share above."""
    broken: Mapping[str, int] = field(default_factory=dict)
    """UpdateID to the HRESULT that every attempt fails with, for as long as it stands here."""
    names_properties: bool = True
    """Results of `?prop=` repeat that suffix; False: they name the node alone. Servers meet both."""
    undoes_atomics: bool = True
    """False: what an Atomic did before it failed cannot be undone, stays, and is answered 516."""
    stops_sequences: bool = False
    """True: a Sequence ends at any failure. False: only at an alert that nobody confirms."""
    push_channel: str | None = None
    """Where push notifications reach the device, once its server has set Push/PFN; None: it gets no channel."""


class Windows:
    """The agent: a state, and what changes it."""

    def __init__(
        self,
        offers: Callable[[datetime], Iterable[OfferedUpdate]],
        habits: Habits,
        state: WindowsState | None = None,
    ) -> None:
        """`offers` is asked at each scan, with its moment, for what applies to the device."""
        self.habits = habits
        self.state = state or WindowsState()
        self._offers = offers
        self._dice = Dice(habits.seed)

    # --- what the lists show ----------------------------------------------------------------------------

    def installable(self) -> list[Job]:
        """Applicable and not installed, approved or not, failed before or not."""
        return self._in(Phase.OFFERED, Phase.UNDER_WAY)

    def failed(self) -> list[Job]:
        """Those of the installable whose last attempt failed."""
        return [job for job in self.installable() if job.hresult is not None]

    def pending_reboot(self) -> list[Job]:
        """Installed, but not before the next restart."""
        return self._in(Phase.PENDING_REBOOT)

    def installed(self) -> list[Job]:
        """Installed for good."""
        return self._in(Phase.INSTALLED)

    def _in(self, *phases: Phase) -> list[Job]:
        return [job for _, job in sorted(self.state.jobs.items()) if job.phase in phases]

    # --- what happens to it -----------------------------------------------------------------------------

    def preinstall(self, updates: Iterable[OfferedUpdate], at: datetime) -> None:
        """The updates the device comes with."""
        jobs = {
            update.update_id: Job(update, Phase.INSTALLED, attempts=1, installed_at=at) for update in updates
        }
        self.state = replace(self.state, jobs={**self.state.jobs, **jobs})

    def advance(self, now: datetime) -> None:
        """Let everything happen that is due by `now`, in the order of its moments."""
        if self.state.next_scan is None:
            self.scan(now)
        while (moment := self._next_moment()) is not None and moment <= now:
            self._happen(moment)

    def scan(self, now: datetime) -> None:
        """Ask what applies, take it into the list, drop what is offered no more or superseded here."""
        found = {update.update_id: update for update in self._offers(now)}
        gone = self._superseded()
        jobs: dict[str, Job] = {}
        for update_id, job in self.state.jobs.items():
            if job.phase is not Phase.OFFERED:
                jobs[update_id] = job
            elif update_id in found and update_id not in gone:
                jobs[update_id] = replace(job, update=found[update_id])
        for update_id, update in found.items():
            if update_id not in gone:
                jobs.setdefault(update_id, Job(update))
        self.state = replace(self.state, jobs=jobs, last_scan=now, next_scan=now + self.habits.pace.scan)
        self._start(now)

    def approve(self, guid: str, approved_time: str, now: datetime) -> None:
        """Put an UpdateID or a classification into ApprovedUpdates."""
        self.state = replace(self.state, approved={**self.state.approved, guid: approved_time})
        self._start(now)

    def policy(self, name: str) -> str | None:
        """The value in effect, as Windows merges those of all who set it; None if nobody does."""
        ours, theirs = self.state.policies.get(name), self.state.foreign.get(name)
        if ours is None or theirs is None:
            return theirs if ours is None else ours
        merge = POLICIES[name].merge
        if merge is Merge.LOWEST:
            return min(ours, theirs, key=int)
        # Of those that the last writer wins ours is only there because theirs came later: see `set_policy`.
        return max(ours, theirs, key=int) if merge is Merge.HIGHEST else theirs

    def set_policy(self, name: str, value: str, now: datetime) -> None:
        """Write a policy; it holds at once, over what others wrote before if the last writer wins."""
        others = {
            key: theirs
            for key, theirs in self.state.foreign.items()
            if key != name or POLICIES[name].merge in {Merge.LOWEST, Merge.HIGHEST}
        }
        policies = {**self.state.policies, name: value}
        self.state = replace(self.state, policies=policies, foreign=others)
        self._start(now)

    def meddle(self, name: str, value: str, now: datetime) -> None:
        """Somebody else writes a policy: what is in effect may differ from then on from what this server set."""
        self.state = replace(self.state, foreign={**self.state.foreign, name: value})
        self._start(now)

    def unset_policy(self, name: str, now: datetime) -> None:
        """Take a policy back to what an unconfigured device does."""
        policies = {key: value for key, value in self.state.policies.items() if key != name}
        self.state = replace(self.state, policies=policies)
        self._start(now)

    def set_sync_version(self, version: str) -> None:
        """Write SyncApplicationVersion; sessions that are open go on as they began."""
        self.state = replace(self.state, sync_version=version)

    @property
    def settings(self) -> Mapping[str, str]:
        """What stands below DMClient/Provider/{id}, by path."""
        return self.state.settings or {}

    def provision(self, settings: Mapping[str, str], sync_version: str | None) -> None:
        """Take over what an enrolment says, in place of what an earlier one did; None leaves the version as it is."""
        self.state = replace(
            self.state,
            settings=dict(settings),
            sync_version=self.state.sync_version if sync_version is None else sync_version,
            leaving=False,
        )

    def set_setting(self, name: str, value: str) -> None:
        """Write a setting of the management server, by its path as the DDF spells it."""
        self.state = replace(self.state, settings={**self.settings, name: value})

    def unset_setting(self, name: str) -> None:
        """Remove a setting of the management server."""
        kept = {key: value for key, value in self.settings.items() if key != name}
        self.state = replace(self.state, settings=kept)

    def leave(self) -> None:
        """End the management by this server, which is still to be told (MS-MDM 3.2.5.1.3)."""
        self.state = replace(self.state, leaving=True)

    def forget_management(self, now: datetime) -> None:
        """Be as an unmanaged device: nothing of what the server set is left, and what is installed stays.

        Whether Windows keeps ApprovedUpdates is not published; without RequireUpdateApproval they mean nothing.
        """
        self.state = replace(
            self.state,
            policies={},
            approved={},
            sync_version=FIRST_SYNC_VERSION,
            settings=None,
            leaving=False,
        )
        self._start(now)

    def restart(self, now: datetime) -> None:
        """Restart the device: what waited for it is installed."""
        jobs = dict(self.state.jobs)
        for job in self.pending_reboot():
            jobs[job.update.update_id] = replace(job, phase=Phase.INSTALLED, installed_at=now)
        self.state = replace(self.state, jobs=jobs, restart_at=None)

    def hurry(self, now: datetime) -> None:
        """End at once what is under way, for those who cannot wait for it."""
        for job in self._in(Phase.UNDER_WAY):
            self._put(replace(job, due=now))
        self.advance(now)

    def roll_back(self, kind: str, now: datetime) -> None:
        """Take back the latest `quality` or `feature` update, if the conditions of the Update CSP are met.

        Updates of that kind are paused, none of them that replaces the latest is offered, and a feature update is
        not older than its uninstall period. The texts of the result are ours, since Microsoft documents none.
        """
        latest = max(
            (job for job in self.installed() if _kind(job.update) == kind),
            key=lambda job: (job.installed_at or now, job.update.update_id),
            default=None,
        )
        if not self._paused(kind):
            result = "0x80004005 Not rolled back: updates of this kind are not paused"
        elif latest is None:
            result = "0x80240017 Not rolled back: there is no update of this kind"
        elif any(latest.update.update_id in job.update.supersedes for job in self.installable()):
            result = "0x80240017 Not rolled back: a newer update of this kind is offered"
        elif kind == "feature" and self._past_uninstalling(latest, now):
            result = "0x80004005 Not rolled back: the uninstall period is over"
        else:
            result = "Rolled back"
            self._put(Job(latest.update, due=now + self.habits.pace.retry))
        self.state = replace(self.state, rollbacks={**self.state.rollbacks, kind: result})

    # --- how ---------------------------------------------------------------------------------------------

    def may_install(self, update: OfferedUpdate) -> bool:
        """True unless updates of its kind are paused, or approval is required and it has none.

        An approval names the update or its classification.
        """
        kind = _kind(update)
        if kind is not None and self._paused(kind):
            return False
        if self.policy(REQUIRE_UPDATE_APPROVAL) != "1":
            return True
        return bool({update.update_id, update.classification_id} & self.state.approved.keys())

    def _paused(self, kind: str) -> bool:
        # The end of a pause after 35 days is not counted: nobody runs a virtual device that long.
        return any((self.policy(name) or "0") != "0" for name in _PAUSED_BY[kind])

    def _past_uninstalling(self, job: Job, now: datetime) -> bool:
        days = int(self.state.policies.get(_UNINSTALL_PERIOD, _UNINSTALL_DAYS))
        return job.installed_at is not None and now - job.installed_at > timedelta(days=days)

    def _next_moment(self) -> datetime | None:
        moments = [self.state.next_scan, self.state.restart_at]
        moments += [
            job.due
            for job in self.state.jobs.values()
            if job.phase is Phase.UNDER_WAY or (job.phase is Phase.OFFERED and self.may_install(job.update))
        ]
        return min((moment for moment in moments if moment is not None), default=None)

    def _happen(self, moment: datetime) -> None:
        """What is due first: ends of installations before the restart, the restart before a scan."""
        for job in self._in(Phase.UNDER_WAY):
            if job.due is not None and job.due <= moment:
                self._finish(job, moment)
        if self.state.restart_at is not None and self.state.restart_at <= moment:
            self.restart(moment)
        if self.state.next_scan is not None and self.state.next_scan <= moment:
            self.scan(moment)
        self._start(moment)

    def _start(self, now: datetime) -> None:
        for job in self._in(Phase.OFFERED):
            if self.may_install(job.update) and (job.due is None or job.due <= now):
                self._put(replace(job, phase=Phase.UNDER_WAY, due=now + self._duration(job)))

    def _finish(self, job: Job, now: datetime) -> None:
        if not self.may_install(job.update):
            # The approval has become necessary meanwhile: what was downloaded is not installed.
            self._put(replace(job, phase=Phase.OFFERED, due=None))
            return
        job = replace(job, attempts=job.attempts + 1, due=None, hresult=None, failure=None)
        hresult = self._failure_of(job)
        if hresult is not None:
            failure = _FAILURES.get(hresult, UpdateStatus.INSTALL_FAILED)
            due = now + self.habits.pace.retry
            self._put(replace(job, phase=Phase.OFFERED, due=due, hresult=hresult, failure=failure))
            return
        if job.update.needs_reboot:
            self._put(replace(job, phase=Phase.PENDING_REBOOT, installed_at=now))
            restart_at = self.state.restart_at or now + self.habits.pace.restart
            self.state = replace(self.state, restart_at=restart_at)
        else:
            self._put(replace(job, phase=Phase.INSTALLED, installed_at=now))
        gone = self._superseded()
        kept = {
            update_id: other
            for update_id, other in self.state.jobs.items()
            if other.phase is not Phase.OFFERED or update_id not in gone
        }
        self.state = replace(self.state, jobs=kept)

    def _superseded(self) -> set[str]:
        """UpdateIDs that an update on this device, waiting for a restart or not, supersedes."""
        done = self._in(Phase.PENDING_REBOOT, Phase.INSTALLED)
        return {update_id for job in done for update_id in job.update.supersedes}

    def _put(self, job: Job) -> None:
        self.state = replace(self.state, jobs={**self.state.jobs, job.update.update_id: job})

    def _duration(self, job: Job) -> timedelta:
        percent = self._dice.number(f"duration/{job.update.update_id}/{job.attempts}", 0, 100)
        return self.habits.pace.install * (1 + percent / 100)

    def _failure_of(self, job: Job) -> int | None:
        """The HRESULT this attempt ends with, or None: the same update fails the same way each time."""
        update_id = job.update.update_id
        if update_id in self.habits.broken:
            return self.habits.broken[update_id]
        if update_id in self.habits.failing:
            return self.habits.failing[update_id] if job.attempts == 1 else None
        if self._dice.number(f"fails/{update_id}", 0, 99) >= self.habits.failure_percent:
            return None
        if job.attempts > self._dice.number(f"failures/{update_id}", 1, _MOST_FAILURES):
            return None
        return tuple(_FAILURES)[self._dice.number(f"hresult/{update_id}", 0, len(_FAILURES) - 1)]


def _kind(update: OfferedUpdate) -> str | None:
    if update.classification_id == DEFINITION_UPDATES:
        return None
    return "feature" if update.classification_id == _UPGRADES else "quality"
