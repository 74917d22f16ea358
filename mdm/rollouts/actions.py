"""What people do with a rollout; each is one transaction that holds the rollout's row, so that two take turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from mdm.approvals.batch import revoke_for_rollout
from mdm.approvals.store import create_approval
from mdm.errors import Conflict
from mdm.rollbacks.store import RollbackScope, create_rollback
from mdm.rollouts import stages
from mdm.rollouts.store import group_ids_of, load_locked, write_step
from mdm.storage.statements import table_of
from mdm.storage.tables import DeviceGroup

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection

    from csp.rollback import RollbackKind
    from mdm.audit import Origin
    from mdm.rollouts.stages import Rollout, Step

__all__ = [
    "approve_promotion",
    "pause_rollout",
    "promote_stage",
    "resume_rollout",
    "roll_back_rollout",
    "stop_rollout",
]

_group = table_of(DeviceGroup)


def pause_rollout(
    conn: Connection, origin: Origin, rollout_id: str, *, remark: str | None, now: datetime
) -> Rollout:
    """Deliver nothing more until somebody resumes it. Raises NotFound, and Conflict `rollout_state`."""
    before = load_locked(conn, rollout_id)
    return _write(conn, origin, before, stages.pause(before, origin.actor, remark, now), now)


def resume_rollout(
    conn: Connection, origin: Origin, rollout_id: str, *, remark: str | None, now: datetime
) -> Rollout:
    """Let a paused or halted rollout go on where it stopped.

    Raises NotFound, Conflict `rollout_state`, and Invalid if it had halted and there is no remark.
    """
    before = load_locked(conn, rollout_id)
    return _write(conn, origin, before, stages.resume(before, origin.actor, remark, now), now)


def promote_stage(
    conn: Connection, origin: Origin, rollout_id: str, *, stage: int, remark: str, now: datetime
) -> Rollout:
    """Skip what the current stage still waits for, or ask a second person to agree to that.

    Raises NotFound, and Conflict: `rollout_state`, `stage_not_current`, `promotion_asked`.
    """
    before = load_locked(conn, rollout_id)
    return _write(conn, origin, before, stages.promote(before, stage, origin.actor, remark, now), now)


def approve_promotion(
    conn: Connection, origin: Origin, rollout_id: str, *, stage: int, remark: str, now: datetime
) -> Rollout:
    """Agree, as a second person, that the next stage begins.

    Raises NotFound, Conflict: `rollout_state`, `stage_not_current`, `promotion_not_asked`; Forbidden
    `second_person_required`.
    """
    before = load_locked(conn, rollout_id)
    return _write(
        conn, origin, before, stages.approve_promotion(before, stage, origin.actor, remark, now), now
    )


def stop_rollout(
    conn: Connection, origin: Origin, rollout_id: str, *, remark: str | None, now: datetime
) -> Rollout:
    """End it for good and revoke its approvals. Raises NotFound, and Conflict `rollout_state`.

    What devices were told before they keep: no documented command takes an approval back.
    """
    before = load_locked(conn, rollout_id)
    step = stages.stop(before, origin.actor, remark, now)
    return _end(conn, origin, before, step, now)


def roll_back_rollout(
    conn: Connection,
    origin: Origin,
    rollout_id: str,
    *,
    reason: str,
    kind: RollbackKind | None,
    now: datetime,
) -> Rollout:
    """End it for good, block its updates for the groups of all its stages, and ask devices to take them off again.

    Asked are the devices of the stages that have opened which have installed one of its updates, for the kind of update
    that `kind` says; with None none is. A block that is there already stays as it is. Raises NotFound.
    """
    before = load_locked(conn, rollout_id)
    step = stages.stop(before, origin.actor, reason, now, rolled_back=True)
    after = _end(conn, origin, before, step, now)
    groups = _existing(conn, group_ids_of(before.stages))
    for update_id in before.update_ids if groups else ():
        try:
            create_approval(
                conn,
                origin,
                target_type="update",
                target_id=update_id,
                group_ids=groups,
                action="block",
                reason=reason,
                now=now,
            )
        except Conflict as conflict:
            if conflict.code != "approval_conflict":
                raise
    reached = _existing(conn, group_ids_of(before.opened))
    if kind is not None and reached:
        # Whoever has not got it would take off the update before, which is a good one.
        scope = RollbackScope(group_ids=reached, holding=before.update_ids)
        try:
            with conn.begin_nested():
                create_rollback(conn, origin, kind=kind, scope=scope, reason=reason, now=now)
        except Conflict as conflict:
            # That no device needs to be asked is no reason to go on delivering it.
            if conflict.code != "rollback_empty":
                raise
    return after


def _end(conn: Connection, origin: Origin, before: Rollout, step: Step, now: datetime) -> Rollout:
    after = _write(conn, origin, before, step, now)
    revoke_for_rollout(conn, origin, before.id, now=now)
    return after


def _write(conn: Connection, origin: Origin, before: Rollout, step: Step, now: datetime) -> Rollout:
    """Write a step of a rollout whose row is held, so that nobody can have changed it since it was read."""
    write_step(conn, origin, before, step, look_at=now, now=now)
    return step.rollout


def _existing(conn: Connection, group_ids: Iterable[str]) -> tuple[str, ...]:
    """Those that have not been deleted since."""
    rows = conn.scalars(select(_group.c.id).where(_group.c.id.in_(list(group_ids))).order_by(_group.c.id))
    return tuple(rows)
