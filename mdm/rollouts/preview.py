"""What a rollout would come to if it were started now; nothing is written.

Each update is asked about with the code that makes approvals, each stage with the code that counts its devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, func, select

from mdm.approvals.checks import Proposal
from mdm.approvals.preview import preview_approval
from mdm.rollouts.evidence import count_shared, count_targeted, devices_of_ring
from mdm.rollouts.stages import State, new_stages
from mdm.rollouts.store import group_ids_of, refuse_updates
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, DeviceUpdate, Rollout, RolloutUpdate, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.approvals.eulas import OpenEula
    from mdm.approvals.preview import Obstacle, Rival
    from mdm.rollouts.rings import Ring
    from mdm.rollouts.stages import Stage

__all__ = ["OtherRollout", "RolloutPreview", "StagePreview", "UpdatePreview", "Warned", "preview_rollout"]

_LIVE: Final = (State.RUNNING.value, State.PAUSED.value, State.HALTED.value)
_NEW: Final = "new"
"""Id of the rollout that is only thought of: no stored one has it."""

_FINAL: Final = (
    "A device that has been told that it may install an update may do so even after the rollout has been paused, "
    "halted or stopped: no documented command takes that back. Telling it accepts the update's licence."
)

_device = table_of(Device)
_rows = table_of(DeviceUpdate)
_revision = table_of(UpdateRevision)
_rollout = table_of(Rollout)
_update = table_of(RolloutUpdate)


@dataclass(frozen=True, slots=True)
class StagePreview:
    """What a ring would come to; a device counts in the earliest ring that has it."""

    number: int
    name: str
    devices: int
    """That it would bring the updates to."""
    in_earlier_rings: int
    """Devices of its groups that an earlier ring has."""
    waiting_for_updates: int
    """Of `devices`: could install one of the updates now, or have failed to."""
    never_read: int
    """Of `devices`: have never said what they could install."""
    opens_at: datetime | None
    """At the earliest; None if that depends on when the ring before passes."""
    offer_periods: int | None
    """Periods until a gradual offer has reached all of them; None without one."""


@dataclass(frozen=True, slots=True)
class OtherRollout:
    """A rollout that has not ended and brings the same update."""

    id: str
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class UpdatePreview:
    """What stands in an update's way, or beside it."""

    update_id: str
    title: str | None
    """None if no metadata is stored: it waits until there is some."""
    obstacles: tuple[Obstacle, ...]
    """Why the rollout would be refused because of it."""
    eulas: tuple[OpenEula, ...]
    """Licences that nobody has accepted: it waits for them."""
    blocks: tuple[Rival, ...]
    """They win over the rollout where they hold."""
    approvals: tuple[Rival, ...]
    """They deliver it to the same groups whatever the rollout's stages say."""
    superseded_by: tuple[str, ...]
    rollouts: tuple[OtherRollout, ...]


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that would not do what somebody may expect."""

    code: str
    stage: int | None
    update_id: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class RolloutPreview:
    """What would come of it."""

    as_of: datetime
    stages: tuple[StagePreview, ...]
    updates: tuple[UpdatePreview, ...]
    warnings: tuple[Warned, ...]
    approvals: int
    """How many would be made: one for each stage and update."""
    final: str
    """What cannot be undone."""


def preview_rollout(
    conn: Connection, rings: Sequence[Ring], update_ids: Sequence[str], *, now: datetime
) -> RolloutPreview:
    """Ask everything that starting it would ask, and count whom it would reach.

    The rings have been checked. Raises Invalid for updates, as starting it would.
    """
    refuse_updates(conn, update_ids)
    stages = new_stages(tuple(rings), now)
    shown = tuple(_stage(conn, stage, rings[: stage.number - 1], update_ids) for stage in stages)
    groups = group_ids_of(stages)
    updates = tuple(_update_of(conn, update_id, groups, now) for update_id in update_ids)
    return RolloutPreview(
        as_of=now,
        stages=shown,
        updates=updates,
        warnings=(*_about_stages(stages, shown), *_about_updates(updates)),
        approvals=len(stages) * len(update_ids),
        final=_FINAL,
    )


def _stage(
    conn: Connection, stage: Stage, earlier: Sequence[Ring], update_ids: Sequence[str]
) -> StagePreview:
    mine = devices_of_ring(stage.ring, earlier)
    devices = count_targeted(conn, stage.ring, earlier)
    waiting = (
        select(func.count(func.distinct(_rows.c.device_pk)))
        .join(_device, _device.c.pk == _rows.c.device_pk)
        .where(_rows.c.update_id.in_(update_ids), _rows.c.state.in_(("installable", "failed")), mine)
    )
    never = select(func.count()).select_from(_device).where(and_(mine, _device.c.state_read_at.is_(None)))
    offer = stage.ring.offer
    return StagePreview(
        number=stage.number,
        name=stage.ring.name,
        devices=devices,
        in_earlier_rings=count_shared(conn, stage.ring, earlier),
        waiting_for_updates=conn.execute(waiting).scalar_one(),
        never_read=conn.execute(never).scalar_one(),
        opens_at=stage.opens_at,
        offer_periods=None if offer is None else offer.periods(devices),
    )


def _update_of(conn: Connection, update_id: str, groups: tuple[str, ...], now: datetime) -> UpdatePreview:
    proposal = Proposal(target_type="update", target_id=update_id, group_ids=groups, rollout_id=_NEW, stage=0)
    found = preview_approval(conn, proposal, now=now)
    title = conn.scalar(
        select(_revision.c.title).where(_revision.c.update_id == update_id, _revision.c.is_latest)
    )
    others = conn.execute(
        select(_rollout.c.id, _rollout.c.name, _rollout.c.state)
        .join(_update, _update.c.rollout_id == _rollout.c.id)
        .where(_update.c.update_id == update_id, _rollout.c.state.in_(_LIVE))
        .order_by(_rollout.c.created_at, _rollout.c.id)
    )
    return UpdatePreview(
        update_id=update_id,
        title=title,
        # An open licence refuses no rollout: the update waits for it.
        obstacles=tuple(each for each in found.obstacles if each.code != "eula_not_accepted"),
        eulas=found.eulas,
        blocks=tuple(rival for rival in found.rivals if rival.wins),
        approvals=tuple(rival for rival in found.rivals if not rival.wins and rival.rollout_id is None),
        superseded_by=found.superseded_by,
        rollouts=tuple(OtherRollout(row.id, row.name, row.state) for row in others),
    )


def _about_stages(stages: Sequence[Stage], shown: Sequence[StagePreview]) -> list[Warned]:
    warnings = []
    for stage, counted in zip(stages, shown, strict=True):
        gate, devices = stage.ring.gate, counted.devices
        if devices == 0:
            text = "It has no devices of its own now"
            text += ", so its gate would never be met." if gate else "."
            warnings.append(Warned("no_devices", stage.number, None, text))
        elif gate is not None and gate.min_devices > devices:
            text = f"Its gate needs {gate.min_devices} devices, and it has {devices}: somebody would have to promote it."
            warnings.append(Warned("gate_out_of_reach", stage.number, None, text))
        ring = stage.ring
        if stage is stages[-1] and ring.halt and not (gate or ring.soak_hours):
            text = "It passes as soon as it opens, which ends the rollout: its failures would halt nothing."
            warnings.append(Warned("halt_too_late", stage.number, None, text))
        if counted.in_earlier_rings:
            text = f"{counted.in_earlier_rings} devices of its groups get the updates with an earlier ring."
            warnings.append(Warned("overlap", stage.number, None, text))
    return warnings


def _about_updates(updates: Sequence[UpdatePreview]) -> list[Warned]:
    warnings = []
    for each in updates:
        found = (
            (
                "metadata_unknown",
                each.title is None,
                "No metadata is stored: it waits until a sync brings some.",
            ),
            ("eula_not_accepted", bool(each.eulas), "It waits until somebody accepts its licence."),
            ("blocked", bool(each.blocks), "A block keeps it from some of these groups."),
            ("update_superseded", bool(each.superseded_by), "A newer update replaces it."),
            (
                "rollout_of_same_update",
                bool(each.rollouts),
                "Another rollout brings it as well: the faster one counts.",
            ),
            (
                "approved_already",
                bool(each.approvals),
                "An approval delivers it without waiting for any stage.",
            ),
        )
        warnings += [Warned(code, None, each.update_id, text) for code, holds, text in found if holds]
    return warnings
