"""Approvals as IT reads them: what was asked for, and what is real."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, not_, or_, select
from sqlmodel import col

from csp.classifications import CLASSIFICATIONS
from mdm.approvals.decision import BLOCK, CLASSIFICATION, PRODUCT, QUERY, UPDATE, decide
from mdm.approvals.effective import class_facts, gate_of, intent_of, update_facts
from mdm.errors import NotFound
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ALL_DEVICES,
    Approval,
    ApprovalGroup,
    Category,
    Rollout,
    RolloutStage,
    SavedQuery,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.approvals.decision import Intent, UpdateFacts

__all__ = ["ApprovalView", "Target", "Warned", "get_approval", "list_approvals"]


@dataclass(frozen=True, slots=True)
class Target:
    """What is approved, with its name if we know it."""

    type: str
    id: str
    title: str | None


@dataclass(frozen=True, slots=True)
class Warned:
    """Something IT should know about an approval that was made all the same."""

    code: str
    detail: str
    superseded_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """An approval: what was asked for, and what is real (`effective_state` with its reasons)."""

    id: str
    target: Target
    action: str
    """`approve` or `block`."""
    delivery: str | None
    """Of what holds many updates: `device` (a classification's GUID goes there) or `expanded` (each on its own)."""
    group_ids: tuple[str, ...]
    rollout_id: str | None
    """The rollout that made it; only there it can be paused or stopped."""
    stage: int | None
    """The rollout's stage it belongs to."""
    rule_id: str | None
    """The rule that made it."""
    allow_without_metadata: bool
    reason: str | None
    not_before: datetime | None
    expires_at: datetime | None
    deadline: datetime | None
    """By when it should be installed."""
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    revoked_by: str | None
    requested_state: str
    """`active`, `expired` or `revoked`."""
    effective_state: str
    """`active`, `held`, `expired` or `revoked`."""
    reasons: tuple[str, ...]
    """Why it is held on every device, as codes of `mdm.approvals.decision.Hold`."""
    warnings: tuple[Warned, ...] = field(default=())
    """Only in the answer that created it."""


def list_approvals(
    conn: Connection,
    *,
    active: bool | None = None,
    target_id: str | None = None,
    before: tuple[datetime, str] | None,
    limit: int,
    now: datetime,
) -> list[ApprovalView]:
    """At most `limit` approvals, newest first, from the one behind `before` (its `created_at` and id) on.

    `active` leaves out, or picks, those that are revoked or over.
    """
    query = _rows()
    if active is not None:
        holds = and_(
            col(Approval.revoked_at).is_(None),
            or_(col(Approval.expires_at).is_(None), col(Approval.expires_at) > now),
        )
        query = query.where(holds if active else not_(holds))
    if target_id is not None:
        query = query.where(col(Approval.target_id) == target_id)
    if before is not None:
        moment, approval_id = before
        query = query.where(
            or_(
                col(Approval.created_at) < moment,
                and_(col(Approval.created_at) == moment, col(Approval.id) < approval_id),
            )
        )
    query = query.order_by(col(Approval.created_at).desc(), col(Approval.id).desc()).limit(limit)
    return _views(conn, conn.execute(query).all(), now)


def get_approval(
    conn: Connection, approval_id: str, *, now: datetime, warnings: tuple[Warned, ...] = ()
) -> ApprovalView:
    """The approval, revoked or not, with what is to be said of it besides; raises NotFound."""
    rows = conn.execute(_rows().where(col(Approval.id) == approval_id)).all()
    if not rows:
        raise NotFound(f"There is no approval {approval_id!r}.")
    return _views(conn, rows, now, warnings)[0]


_approval, _rollout, _stage = table_of(Approval), table_of(Rollout), table_of(RolloutStage)

_APPROVALS: Final = _approval.outerjoin(_rollout, _rollout.c.id == _approval.c.rollout_id).outerjoin(
    _stage, and_(_stage.c.rollout_id == _approval.c.rollout_id, _stage.c.number == _approval.c.stage)
)


def _rows() -> Any:
    return select(
        col(Approval.id),
        col(Approval.target_type),
        col(Approval.target_id),
        col(Approval.action),
        col(Approval.allow_without_metadata),
        col(Approval.reason),
        col(Approval.created_at),
        col(Approval.created_by),
        col(Approval.revoked_at),
        col(Approval.revoked_by),
        col(Approval.delivery),
        col(Approval.not_before),
        col(Approval.expires_at),
        col(Approval.deadline),
        col(Approval.rollout_id),
        col(Approval.stage),
        col(Approval.rule_id),
        col(Rollout.state).label("rollout_state"),
        col(RolloutStage.state).label("stage_state"),
    ).select_from(_APPROVALS)


def _views(
    conn: Connection, rows: Sequence[Row[Any]], now: datetime, warnings: tuple[Warned, ...] = ()
) -> list[ApprovalView]:
    groups: dict[str, tuple[str, ...]] = {}
    for approval_id, group_id in conn.execute(
        select(col(ApprovalGroup.approval_id), col(ApprovalGroup.group_id))
        .where(col(ApprovalGroup.approval_id).in_([row.id for row in rows]))
        .order_by(col(ApprovalGroup.approval_id), col(ApprovalGroup.group_id))
    ):
        groups[approval_id] = (*groups.get(approval_id, ()), group_id)
    intents = {row.id: intent_of(row, gate_of(row)) for row in rows}
    singles = {intent.target_id for intent in intents.values() if intent.target_type == UPDATE}
    facts = update_facts(conn, singles)
    blocks = _blocks_of(conn, facts, {row.target_id for row in rows}, now)
    inside = {block.target_id for block, _ in blocks if block.target_type == UPDATE}
    titles = _titles(conn, {row.target_id for row in rows})
    titles |= {update_id: known.title for update_id, known in facts.items()}
    facts = update_facts(conn, singles | inside, [block for block, _ in blocks])
    views = []
    for row in rows:
        its_groups = groups.get(row.id, ())
        holds = [_held_in(conn, group_id, intents[row.id], blocks, facts, now=now) for group_id in its_groups]
        views.append(
            _view(
                row,
                group_ids=its_groups,
                title=titles.get(row.target_id),
                holds=tuple(dict.fromkeys(chain.from_iterable(holds))) if all(holds) else (),
                now=now,
                warnings=warnings,
            )
        )
    return views


def _held_in(
    conn: Connection,
    group_id: str,
    intent: Intent,
    blocks: list[tuple[Intent, set[str]]],
    facts: Mapping[str, UpdateFacts],
    *,
    now: datetime,
) -> tuple[str, ...]:
    """Why it goes to no device of a group: the one decision of the check-in, with the blocks that hold there."""
    intents = [intent, *(block for block, groups in blocks if not groups.isdisjoint({ALL_DEVICES, group_id}))]
    classes = [intent.target_id] if intent.target_type == CLASSIFICATION else []
    decision = decide(intents, facts, class_facts(conn, intents, classes), now=now)
    return tuple(hold.value for hold in decision.held.values())


def _blocks_of(
    conn: Connection, facts: Mapping[str, UpdateFacts], target_ids: set[str], now: datetime
) -> list[tuple[Intent, set[str]]]:
    """The active blocks that can hold these targets back, each with its groups.

    They are of the targets themselves, of the classifications of those that are updates, of updates in those that are
    classifications, and of any product or saved query: whether that matters, the facts will tell.
    """
    named = target_ids | {each.classification_id for each in facts.values() if each.classification_id}
    inside = select(col(UpdateRevision.update_id)).where(
        col(UpdateRevision.is_latest).is_(True), col(UpdateRevision.classification_id).in_(target_ids)
    )
    rows = conn.execute(
        _rows()
        .add_columns(col(ApprovalGroup.group_id))
        .join(ApprovalGroup, col(ApprovalGroup.approval_id) == col(Approval.id))
        .where(
            col(Approval.action) == BLOCK,
            or_(
                col(Approval.target_id).in_(named),
                col(Approval.target_id).in_(inside),
                col(Approval.target_type).in_((PRODUCT, QUERY)),
            ),
            col(Approval.revoked_at).is_(None),
            or_(col(Approval.expires_at).is_(None), col(Approval.expires_at) > now),
        )
    )
    found: dict[str, tuple[Intent, set[str]]] = {}
    for row in rows:
        found.setdefault(row.id, (intent_of(row), set()))[1].add(row.group_id)
    return list(found.values())


def _view(
    row: Row[Any],
    *,
    group_ids: tuple[str, ...],
    title: str | None,
    holds: tuple[str, ...],
    now: datetime,
    warnings: tuple[Warned, ...],
) -> ApprovalView:
    over = row.expires_at is not None and row.expires_at <= now
    requested = "revoked" if row.revoked_at is not None else "expired" if over else "active"
    held = requested == "active" and bool(holds)
    return ApprovalView(
        id=row.id,
        target=Target(row.target_type, row.target_id, title),
        action=row.action,
        delivery=None if row.target_type == UPDATE or row.action == BLOCK else row.delivery,
        group_ids=group_ids,
        allow_without_metadata=row.allow_without_metadata,
        reason=row.reason,
        not_before=row.not_before,
        expires_at=row.expires_at,
        deadline=row.deadline,
        rollout_id=row.rollout_id,
        stage=row.stage,
        rule_id=row.rule_id,
        created_at=row.created_at,
        created_by=row.created_by,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
        requested_state=requested,
        effective_state="held" if held else requested,
        reasons=holds if held else (),
        warnings=warnings,
    )


def _titles(conn: Connection, target_ids: set[str]) -> dict[str, str | None]:
    """What classifications, products and saved queries are called."""
    ids = list(target_ids)
    titles: dict[str, str | None] = {each: CLASSIFICATIONS[each] for each in ids if each in CLASSIFICATIONS}
    for name, key in ((Category.title, Category.id), (SavedQuery.name, SavedQuery.id)):
        titles |= {row.key: row.name for row in conn.execute(_named(name, key, ids))}
    return titles


def _named(name: Any, key: Any, ids: list[str]) -> Any:
    return select(col(key).label("key"), col(name).label("name")).where(col(key).in_(ids))
