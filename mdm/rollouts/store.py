"""Rollouts in the database: starting one, reading one, and writing one step of its machine.

A step is one transaction: the rows, the line of the timeline, the audit entry and the new versions of the groups'
intent are there together or not at all. Whoever writes a step says which version it was worked out from.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select, update

from mdm.approvals.batch import create_for_rollout
from mdm.approvals.checks import Proposal, refuse_wrong_kind
from mdm.approvals.versions import intent_changed
from mdm.audit import record
from mdm.audit_chain import plain
from mdm.devices.groups import lock_groups
from mdm.errors import FieldError, Invalid, NotFound
from mdm.rollouts.plans import get_plan
from mdm.rollouts.rings import read_ring
from mdm.rollouts.stages import Event, Kind, Phase, Rollout, Stage, State, Step, new_stages
from mdm.storage.statements import table_of
from mdm.storage.tables import Approval, RolloutEvent, RolloutStage, RolloutUpdate
from mdm.storage.tables import Rollout as RolloutRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.audit import Origin
    from mdm.rollouts.rings import Ring

__all__ = [
    "MAX_UPDATES",
    "group_ids_of",
    "load",
    "load_locked",
    "read_rows",
    "refuse_updates",
    "rings_of_plan",
    "start_rollout",
    "write_step",
]

MAX_UPDATES: Final = 100
"""Updates in one rollout: each is one approval for each stage."""

_MAX_REASON: Final = 200
"""Characters of an approval's reason."""

_rollout = table_of(RolloutRow)
_stage = table_of(RolloutStage)
_update = table_of(RolloutUpdate)
_event = table_of(RolloutEvent)
_approval = table_of(Approval)


def start_rollout(
    conn: Connection,
    origin: Origin,
    *,
    plan_id: str,
    update_ids: Sequence[str],
    name: str,
    rule_id: str | None = None,
    now: datetime,
) -> Rollout:
    """Start to bring these updates through the rings of a plan, which are copied; the worker opens the first.

    One approval for each stage and update, whatever the fleet's size. Raises Invalid for an unknown plan and for
    updates that are none, repeated or too many, and what `create_for_rollout` raises; a licence that nobody has accepted
    refuses nothing, the update waits for it.
    """
    rings = rings_of_plan(conn, plan_id)
    refuse_updates(conn, update_ids)
    rollout = Rollout(
        id=f"rol_{secrets.token_hex(10)}",
        name=name,
        plan_id=plan_id,
        rule_id=rule_id,
        state=State.RUNNING,
        state_at=now,
        state_by=origin.actor,
        state_reason={"code": "started"},
        created_at=now,
        created_by=origin.actor,
        version=1,
        update_ids=tuple(update_ids),
        stages=new_stages(rings, now),
    )
    lock_groups(conn, group_ids_of(rollout.stages))
    conn.execute(insert(_rollout).values(_rollout_values(rollout) | {"look_at": now}))
    conn.execute(insert(_stage), [_stage_values(rollout.id, stage) for stage in rollout.stages])
    conn.execute(
        insert(_update), [{"rollout_id": rollout.id, "update_id": each} for each in rollout.update_ids]
    )
    reason = {"code": "started", "plan_id": plan_id, "rule_id": rule_id}
    _tell(conn, origin, None, rollout, Event(Kind.STARTED, None, reason), now=now)
    proposals = [
        Proposal(
            target_type="update",
            target_id=update_id,
            group_ids=tuple(sorted(stage.ring.group_ids)),
            reason=f"Rollout {name}, stage {stage.number}: {stage.ring.name}"[:_MAX_REASON],
            rollout_id=rollout.id,
            stage=stage.number,
            rule_id=rule_id,
            deadline=_deadline(stage),
        )
        for stage in rollout.stages
        for update_id in rollout.update_ids
    ]
    create_for_rollout(conn, origin, proposals, now=now)
    return rollout


def load(conn: Connection, rollout_id: str) -> Rollout:
    """The rollout; raises NotFound."""
    return _one(conn, rollout_id, lock=False)


def load_locked(conn: Connection, rollout_id: str) -> Rollout:
    """The rollout, held until the transaction ends; raises NotFound."""
    return _one(conn, rollout_id, lock=True)


def read_rows(conn: Connection, rows: Sequence[Row[Any]]) -> list[Rollout]:
    """The rollouts in rows of the table `rollout`, with their stages and updates."""
    ids = [row.id for row in rows]
    stages: dict[str, tuple[Stage, ...]] = {}
    for stage in conn.execute(
        select(_stage).where(_stage.c.rollout_id.in_(ids)).order_by(_stage.c.rollout_id, _stage.c.number)
    ):
        stages[stage.rollout_id] = (*stages.get(stage.rollout_id, ()), _read_stage(stage))
    updates: dict[str, tuple[str, ...]] = {}
    for rollout_id, update_id in conn.execute(
        select(_update.c.rollout_id, _update.c.update_id)
        .where(_update.c.rollout_id.in_(ids))
        .order_by(_update.c.rollout_id, _update.c.update_id)
    ):
        updates[rollout_id] = (*updates.get(rollout_id, ()), update_id)
    return [
        Rollout(
            id=row.id,
            name=row.name,
            plan_id=row.plan_id,
            rule_id=row.rule_id,
            state=State(row.state),
            state_at=row.state_at,
            state_by=row.state_by,
            state_reason=row.state_reason,
            created_at=row.created_at,
            created_by=row.created_by,
            version=row.version,
            update_ids=updates.get(row.id, ()),
            stages=stages.get(row.id, ()),
        )
        for row in rows
    ]


def write_step(
    conn: Connection,
    origin: Origin,
    before: Rollout,
    step: Step,
    *,
    look_at: datetime | None = None,
    now: datetime,
) -> bool:
    """Write a step worked out from `before`; False, and nothing is written, if that is not the present state.

    `look_at` says when the rollout is to be looked at next, if not when it was going to be anyhow.
    """
    after = replace(step.rollout, version=before.version + 1)
    changed = conn.execute(
        update(_rollout)
        .where(_rollout.c.id == before.id, _rollout.c.version == before.version)
        .values(_rollout_values(after) | ({} if look_at is None else {"look_at": look_at}))
    )
    if not changed.rowcount:
        return False
    moved = [(old, new) for old, new in zip(before.stages, after.stages, strict=True) if old != new]
    for old, new in moved:
        conn.execute(
            update(_stage)
            .where(_stage.c.rollout_id == after.id, _stage.c.number == new.number)
            .values(_stage_values(after.id, new))
        )
        if new.counts_from != old.counts_from:
            _write_deadline(conn, after.id, new)
    if step.event is not None:
        # Of another state of the rollout all its stages' devices want to know, or else those of the stages that moved.
        told = after.stages if before.state != after.state else [new for _, new in moved]
        intent_changed(conn, group_ids_of(told))
        _tell(conn, origin, before, after, step.event, now=now)
    return True


def group_ids_of(stages: Iterable[Stage]) -> tuple[str, ...]:
    """The groups of these stages, each once, in order."""
    return tuple(sorted({group_id for stage in stages for group_id in stage.ring.group_ids}))


def rings_of_plan(conn: Connection, plan_id: str) -> tuple[Ring, ...]:
    """The rings of the plan a rollout names; raises Invalid if there is no such plan."""
    try:
        return get_plan(conn, plan_id).rings
    except NotFound as error:
        raise Invalid(
            "The rollout has no plan.", errors=(FieldError("/plan_id", "unknown_plan", error.detail),)
        ) from None


def refuse_updates(conn: Connection, update_ids: Sequence[str]) -> None:
    """Raise Invalid, naming each, for updates that cannot be rolled out, or not together."""
    errors = []
    if not 1 <= len(update_ids) <= MAX_UPDATES:
        errors.append(
            FieldError("/update_ids", "wrong_number", f"A rollout brings 1 to {MAX_UPDATES} updates.")
        )
    for index, update_id in enumerate(update_ids[:MAX_UPDATES]):
        if update_id in update_ids[:index]:
            errors.append(
                FieldError(f"/update_ids/{index}", "repeated", "The update is in the list already.")
            )
        try:
            refuse_wrong_kind(conn, Proposal(target_type="update", target_id=update_id, group_ids=()))
        except Invalid as wrong:
            errors += [replace(error, pointer=f"/update_ids/{index}") for error in wrong.errors]
    if errors:
        raise Invalid("These updates cannot be rolled out together.", errors=tuple(errors))


def _one(conn: Connection, rollout_id: str, *, lock: bool) -> Rollout:
    query = select(_rollout).where(_rollout.c.id == rollout_id)
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFound(f"There is no rollout {rollout_id!r}.")
    return read_rows(conn, [row])[0]


def _read_stage(row: Row[Any]) -> Stage:
    return Stage(
        number=row.number,
        ring=read_ring(row.rules),
        phase=Phase(row.state),
        opens_at=row.opens_at,
        opened_at=row.opened_at,
        counts_from=row.counts_from,
        soaks_from=row.soaks_from,
        failures_from=row.failures_from,
        passed_at=row.passed_at,
        promotion=row.promotion,
        promotion_by=row.promotion_by,
        slot=row.slot,
        offered_below=row.offered_below,
        offered_devices=row.offered_devices,
    )


def _rollout_values(rollout: Rollout) -> dict[str, Any]:
    values = asdict(rollout)
    del values["stages"], values["update_ids"]
    return values | {"state": rollout.state.value, "state_reason": plain(rollout.state_reason)}


def _stage_values(rollout_id: str, stage: Stage) -> dict[str, Any]:
    values = asdict(stage)
    del values["ring"], values["phase"]
    return values | {
        "rollout_id": rollout_id,
        "name": stage.ring.name,
        "state": stage.phase.value,
        "rules": stage.ring.as_json(),
    }


def _deadline(stage: Stage) -> datetime | None:
    """By when the stage's devices should have installed, as far as that can be said yet."""
    begins = stage.counts_from or stage.opens_at
    if begins is None or stage.ring.deadline_days is None:
        return None
    return begins + timedelta(days=stage.ring.deadline_days)


def _write_deadline(conn: Connection, rollout_id: str, stage: Stage) -> None:
    """Give the stage's approvals the deadline that follows from when it opened."""
    if stage.ring.deadline_days is not None:
        conn.execute(
            update(_approval)
            .where(_approval.c.rollout_id == rollout_id, _approval.c.stage == stage.number)
            .values(deadline=_deadline(stage))
        )


def _tell(
    conn: Connection, origin: Origin, before: Rollout | None, after: Rollout, event: Event, *, now: datetime
) -> None:
    """Keep what happened: in the rollout's timeline and in the audit trail."""
    reason = plain(event.reason)
    conn.execute(
        insert(_event).values(
            rollout_id=after.id,
            at=now,
            kind=event.kind.value,
            stage=event.stage,
            actor=origin.actor,
            reason=reason,
        )
    )
    record(
        conn,
        origin,
        now=now,
        action=f"rollout.{event.kind.value}",
        object_type="rollout",
        object_id=after.id,
        detail={"stage": event.stage, "reason": reason},
        before=None if before is None else _audited(before),
        after=_audited(after),
    )


def _audited(rollout: Rollout) -> dict[str, Any]:
    """What an auditor compares: the rollout's state and each stage's, and at the start what it is made of."""
    members: dict[str, Any] = {
        "name": rollout.name,
        "plan_id": rollout.plan_id,
        "update_ids": list(rollout.update_ids),
        "state": rollout.state.value,
    }
    for stage in rollout.stages:
        values = asdict(stage)
        del values["number"], values["ring"]
        members[f"stage_{stage.number}"] = values | {"phase": stage.phase.value, "ring": stage.ring.as_json()}
    return members
