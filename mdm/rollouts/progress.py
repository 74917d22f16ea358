"""How far a stage is, in figures and in one sentence; the figures are those the machine decides by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from mdm.rollouts.findings import failing, soak_ends
from mdm.rollouts.stages import Place, State

if TYPE_CHECKING:
    from datetime import datetime

    from mdm.rollouts.findings import Evidence
    from mdm.rollouts.stages import Rollout, Stage

__all__ = ["Progress", "offered_devices", "progress_of"]


@dataclass(frozen=True, slots=True)
class Progress:
    """What a stage has reached, what it needs, and the sentence that says both."""

    installed: int
    tried: int
    """Devices that have taken up the offer."""
    percent: float | None
    """None while no device has taken it up."""
    needs_percent: int | None
    needs_devices: int | None
    gate_met: bool
    failed: int
    outcomes: int
    """Devices on which something came of it: what a failure rate is a part of."""
    failed_percent: float | None
    halts_at_percent: int | None
    halts_at_failures: int | None
    too_many_failures: bool
    soak_ends_at: datetime | None
    """None for a stage that has not opened, or if the rollout stands still."""
    next_offer_at: datetime | None
    """When a gradual offer reaches more devices."""
    text: str


def progress_of(rollout: Rollout, stage: Stage, evidence: Evidence, now: datetime) -> Progress:
    """How far the stage is."""
    gate, halt = stage.ring.gate, stage.ring.halt
    runs = rollout.state is State.RUNNING
    return Progress(
        installed=evidence.installed,
        tried=evidence.tried,
        percent=_percent(evidence.installed, evidence.tried),
        needs_percent=None if gate is None else gate.percent,
        needs_devices=None if gate is None else gate.min_devices,
        gate_met=gate is None or gate.met(evidence.installed, evidence.tried),
        failed=evidence.failed,
        outcomes=evidence.outcomes,
        failed_percent=_percent(evidence.failed, evidence.outcomes),
        halts_at_percent=None if halt is None else halt.percent,
        halts_at_failures=None if halt is None else halt.failures,
        too_many_failures=failing(halt, evidence) is not None,
        soak_ends_at=soak_ends(stage) if runs else None,
        next_offer_at=_next_offer(rollout, stage, evidence),
        text=_text(rollout, stage, evidence, now),
    )


def offered_devices(stage: Stage, evidence: Evidence) -> int:
    """How many of the stage's devices have the offer."""
    if stage.opened_at is None:
        return 0
    if stage.offered_below is None:
        return evidence.targeted
    return min(stage.offered_devices or 0, evidence.targeted)


def _next_offer(rollout: Rollout, stage: Stage, evidence: Evidence) -> datetime | None:
    offer, begins = stage.ring.offer, stage.counts_from
    if rollout.state is not State.RUNNING or offer is None or begins is None or stage.offered_below is None:
        return None
    if (stage.offered_devices or 0) >= evidence.targeted:
        return None
    return begins + stage.slot * offer.period


def _text(rollout: Rollout, stage: Stage, evidence: Evidence, now: datetime) -> str:
    if stage.opened_at is None:
        return _waiting(stage, now)
    parts = [_figures(stage, evidence)]
    if stage.passed_at is not None:
        return f"{parts[0]}; passed {_moment(stage.passed_at)}"
    offered = offered_devices(stage, evidence)
    if offered < evidence.targeted:
        parts.append(f"offered to {offered} of {evidence.targeted} devices")
    ends = soak_ends(stage)
    if stage.ring.soak_hours and ends is not None:
        if rollout.state is not State.RUNNING:
            parts.append(f"soak stands still: the rollout is {rollout.state.value}")
        else:
            parts.append(f"soak {'ends' if ends > now else 'ended'} {_moment(ends)}")
    if stage.place is Place.ASKED:
        parts.append(f"{stage.promotion_by} asks a second person to agree that the next ring begins")
    return "; ".join(parts)


def _waiting(stage: Stage, now: datetime) -> str:
    if stage.opens_at is None:
        days = stage.ring.deferral_days
        return (
            f"opens {_days(days)} after the stage before has passed"
            if days
            else "opens after the stage before"
        )
    if stage.opens_at > now:
        return f"opens {_moment(stage.opens_at)} at the earliest, when the stage before has passed"
    return "opens as soon as the stage before has passed"


def _figures(stage: Stage, evidence: Evidence) -> str:
    gate = stage.ring.gate
    share = _percent(evidence.installed, evidence.tried)
    figures = (
        "no device has taken it up yet"
        if share is None
        else f"{evidence.installed} of {evidence.tried} installed ({share:g} %)"
    )
    if gate is None:
        return figures
    return f"{figures}, needs {gate.percent} % and {_devices(gate.min_devices)}"


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _devices(devices: int) -> str:
    return "1 device" if devices == 1 else f"{devices} devices"
