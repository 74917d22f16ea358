"""Rollouts as an administrator sees them: what was asked, what is real, and the live figures of each stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select

from mdm.rollouts.evidence import read_evidence
from mdm.rollouts.progress import Progress, offered_devices, progress_of
from mdm.rollouts.stages import State
from mdm.rollouts.store import load, read_rows
from mdm.storage.statements import table_of
from mdm.storage.tables import Rollout as RolloutRow
from mdm.storage.tables import RolloutEvent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.rollouts.findings import Evidence
    from mdm.rollouts.rings import Ring
    from mdm.rollouts.stages import Rollout, Stage

__all__ = [
    "EventView",
    "RolloutLine",
    "RolloutView",
    "StageLine",
    "StageView",
    "get_rollout",
    "list_events",
    "list_rollouts",
]

_rollout = table_of(RolloutRow)
_event = table_of(RolloutEvent)


@dataclass(frozen=True, slots=True)
class StageLine:
    """A stage in a list: where it stands, without figures that cost a query."""

    number: int
    name: str
    state: str
    """`waiting`, `running` or `passed`."""
    opens_at: datetime | None
    opened_at: datetime | None
    passed_at: datetime | None


@dataclass(frozen=True, slots=True)
class RolloutLine:
    """A rollout in a list."""

    id: str
    name: str
    plan_id: str | None
    rule_id: str | None
    update_ids: tuple[str, ...]
    requested_state: str
    """What people want: `running`, `paused` or `stopped`."""
    effective_state: str
    """What is: also `halted` or `completed`."""
    reasons: tuple[str, ...]
    """Why the two differ, as codes."""
    state_at: datetime
    state_by: str
    created_at: datetime
    created_by: str
    stages: tuple[StageLine, ...]


@dataclass(frozen=True, slots=True)
class StageView:
    """A stage with its figures."""

    number: int
    ring: Ring
    """As it was in the plan when the rollout began."""
    state: str
    opens_at: datetime | None
    opened_at: datetime | None
    passed_at: datetime | None
    promotion: str | None
    """`asked` while a second person has to agree, `approved` once one has."""
    promotion_by: str | None
    offered_devices: int
    devices: Evidence
    progress: Progress


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout with the figures of each stage."""

    id: str
    name: str
    plan_id: str | None
    rule_id: str | None
    update_ids: tuple[str, ...]
    requested_state: str
    effective_state: str
    reasons: tuple[str, ...]
    state_reason: Mapping[str, Any]
    """The figures or the remark behind the state."""
    state_at: datetime
    state_by: str
    created_at: datetime
    created_by: str
    stages: tuple[StageView, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True)
class EventView:
    """A line of a rollout's timeline."""

    seq: int
    at: datetime
    kind: str
    stage: int | None
    actor: str
    reason: Mapping[str, Any]


def list_rollouts(
    conn: Connection,
    *,
    state: str | None = None,
    rule_id: str | None = None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[RolloutLine]:
    """At most `limit` rollouts, newest first, from the one behind `before` (its `created_at` and id) on."""
    query = select(_rollout)
    if state is not None:
        query = query.where(_rollout.c.state == state)
    if rule_id is not None:
        query = query.where(_rollout.c.rule_id == rule_id)
    if before is not None:
        moment, rollout_id = before
        query = query.where(
            or_(
                _rollout.c.created_at < moment,
                and_(_rollout.c.created_at == moment, _rollout.c.id < rollout_id),
            )
        )
    rows = conn.execute(query.order_by(_rollout.c.created_at.desc(), _rollout.c.id.desc()).limit(limit)).all()
    return [_line(rollout) for rollout in read_rows(conn, rows)]


def get_rollout(conn: Connection, rollout_id: str, *, now: datetime) -> RolloutView:
    """The rollout with what its devices have told until now; raises NotFound."""
    rollout = load(conn, rollout_id)
    return RolloutView(
        id=rollout.id,
        name=rollout.name,
        plan_id=rollout.plan_id,
        rule_id=rollout.rule_id,
        update_ids=rollout.update_ids,
        requested_state=_requested(rollout),
        effective_state=rollout.state.value,
        reasons=_reasons(rollout),
        state_reason=rollout.state_reason,
        state_at=rollout.state_at,
        state_by=rollout.state_by,
        created_at=rollout.created_at,
        created_by=rollout.created_by,
        stages=tuple(
            _stage_view(rollout, stage, read_evidence(conn, rollout, stage, now), now)
            for stage in rollout.stages
        ),
        as_of=now,
    )


def list_events(conn: Connection, rollout_id: str, *, before: int | None, limit: int) -> list[EventView]:
    """At most `limit` lines of the rollout's timeline, newest first, older than the one with the number `before`.

    The rollout must exist.
    """
    query = select(_event).where(_event.c.rollout_id == rollout_id).order_by(_event.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(_event.c.seq < before)
    return [
        EventView(row.seq, row.at, row.kind, row.stage, row.actor, row.reason) for row in conn.execute(query)
    ]


def _line(rollout: Rollout) -> RolloutLine:
    return RolloutLine(
        id=rollout.id,
        name=rollout.name,
        plan_id=rollout.plan_id,
        rule_id=rollout.rule_id,
        update_ids=rollout.update_ids,
        requested_state=_requested(rollout),
        effective_state=rollout.state.value,
        reasons=_reasons(rollout),
        state_at=rollout.state_at,
        state_by=rollout.state_by,
        created_at=rollout.created_at,
        created_by=rollout.created_by,
        stages=tuple(
            StageLine(
                number=stage.number,
                name=stage.ring.name,
                state=stage.phase.value,
                opens_at=stage.opens_at,
                opened_at=stage.opened_at,
                passed_at=stage.passed_at,
            )
            for stage in rollout.stages
        ),
    )


def _stage_view(rollout: Rollout, stage: Stage, evidence: Evidence, now: datetime) -> StageView:
    return StageView(
        number=stage.number,
        ring=stage.ring,
        state=stage.phase.value,
        opens_at=stage.opens_at,
        opened_at=stage.opened_at,
        passed_at=stage.passed_at,
        promotion=stage.promotion,
        promotion_by=stage.promotion_by,
        offered_devices=offered_devices(stage, evidence),
        devices=evidence,
        progress=progress_of(rollout, stage, evidence, now),
    )


def _requested(rollout: Rollout) -> str:
    return rollout.state.value if rollout.state in {State.PAUSED, State.STOPPED} else State.RUNNING.value


def _reasons(rollout: Rollout) -> tuple[str, ...]:
    if rollout.state.value == _requested(rollout):
        return ()
    return (str(rollout.state_reason["code"]),)
