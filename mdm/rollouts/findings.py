"""What is found when a rollout is looked at: one finding about its current stage, with the figures behind it.

Nothing is changed here; what follows from a finding stands in the table of `mdm.rollouts.stages`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mdm.rollouts.rings import Gate, Halt
    from mdm.rollouts.stages import Stage

__all__ = ["Evidence", "Finding", "Verdict", "failing", "find", "soak_ends"]


class Finding(StrEnum):
    """What is true of a stage now; the first that applies, in this order."""

    ALL_PASSED = "all_passed"
    """No stage is left."""
    FAILING = "failing"
    """Too many devices of an open stage failed."""
    EARLY = "early"
    """Its deferral is not over."""
    DUE = "due"
    """Nothing keeps it from opening."""
    OFFERING = "offering"
    """Some of its devices have not been offered the updates."""
    SOAKING = "soaking"
    """Its last devices have not had the offer for long enough."""
    FEW = "too_few_devices"
    """Too few devices have installed the updates to judge by."""
    BELOW = "below_gate"
    """Too small a part of its devices has installed them."""
    PROVEN = "proven"
    """It has done what was asked of it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the devices of a stage have told; a device in several stages counts in the earliest only.

    The figures below `targeted` add up to it. One device with several updates counts once, where it is worst.
    """

    targeted: int = 0
    """Enrolled devices of its groups."""
    installed: int = 0
    """Installed since the stage opened."""
    had_it: int = 0
    """Installed before."""
    failed: int = 0
    """Failed since the stage opened, or since a halted rollout was let go on."""
    pending_reboot: int = 0
    delivered: int = 0
    """Hold the approval and have not installed; failures that somebody has looked at are among them."""
    installable: int = 0
    """Could install, and do not hold the approval."""
    not_applicable: int = 0
    """Were heard since the stage opened, and named none of the updates."""
    not_seen: int = 0
    """Were not heard since the stage opened: unknown, and never part of success."""
    heard_within_24h: int = 0
    """Of `targeted`."""

    @property
    def tried(self) -> int:
        """Devices that have taken up the offer, whatever came of it."""
        return self.installed + self.failed + self.pending_reboot + self.delivered

    @property
    def outcomes(self) -> int:
        """Devices on which something came of it."""
        return self.installed + self.failed + self.pending_reboot


@dataclass(frozen=True, slots=True)
class Verdict:
    """A finding with its figures, as they go into the timeline."""

    finding: Finding
    stage: int | None
    reason: Mapping[str, Any]


def find(stage: Stage | None, opened: Mapping[int, tuple[Halt | None, Evidence]], now: datetime) -> Verdict:
    """What is true of the current stage (None: all have passed).

    `opened` has, for each stage that has opened, by number, when it halts and what its devices told.
    """
    if stage is None:
        return Verdict(Finding.ALL_PASSED, None, {})
    for number, (halt, evidence) in sorted(opened.items()):
        figures = failing(halt, evidence)
        if figures is not None:
            return Verdict(Finding.FAILING, number, figures)
    if stage.opened_at is None:
        early = stage.opens_at is None or stage.opens_at > now
        return Verdict(Finding.EARLY if early else Finding.DUE, stage.number, {"opens_at": stage.opens_at})
    finding, reason = _progress(stage, opened[stage.number][1], now)
    return Verdict(finding, stage.number, reason)


def failing(halt: Halt | None, evidence: Evidence) -> dict[str, Any] | None:
    """The figures if too many devices failed, else None."""
    if halt is None:
        return None
    failed, outcomes = evidence.failed, evidence.outcomes
    figures = {"failed": failed, "outcomes": outcomes}
    if halt.failures is not None and failed >= halt.failures:
        return {"code": "halted_by_failures", **figures, "limit_failures": halt.failures}
    # In whole numbers: a limit of 5 % is reached by 1 in 20, whatever the machine thinks of 0.05.
    enough = failed > 0 and outcomes >= halt.min_sample
    if halt.percent is not None and enough and failed * 100 >= halt.percent * outcomes:
        return {
            "code": "halted_by_failure_rate",
            **figures,
            "limit_percent": halt.percent,
            "min_sample": halt.min_sample,
        }
    return None


def soak_ends(stage: Stage) -> datetime | None:
    """When an open stage has soaked, if the rollout does not stand still before; None for one that has not opened."""
    return None if stage.soaks_from is None else stage.soaks_from + stage.ring.soak


def _progress(stage: Stage, evidence: Evidence, now: datetime) -> tuple[Finding, dict[str, Any]]:
    """How far an open stage is."""
    figures = {"installed": evidence.installed, "tried": evidence.tried, "targeted": evidence.targeted}
    if stage.ring.offer is not None and (stage.offered_devices or 0) < evidence.targeted:
        return Finding.OFFERING, figures | {"offered": stage.offered_devices or 0}
    ends = soak_ends(stage)
    if ends is not None and ends > now:
        return Finding.SOAKING, figures | {"soak_ends_at": ends}
    return _gate(stage.ring.gate, evidence), figures


def _gate(gate: Gate | None, evidence: Evidence) -> Finding:
    if gate is None or gate.met(evidence.installed, evidence.tried):
        return Finding.PROVEN
    return Finding.FEW if evidence.installed < gate.min_devices else Finding.BELOW
