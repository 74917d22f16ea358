"""Approvals as IT makes, reads and revokes them: intent only; what reaches a device `decision` says.

An approval is made whole or not at all. Its rows are never deleted: a revoked one keeps its place in history.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import and_, func, insert, not_, or_, select, update
from sqlmodel import col

from csp.classifications import CLASSIFICATIONS, DEFINITION_UPDATES
from csp.snapshot import UpdateList
from mdm.approvals.decision import BLOCK, CLASSIFICATION, DEVICE, EXPANDED, decide
from mdm.approvals.effective import facts_needed, intent_of, open_eula_classifications, update_facts
from mdm.approvals.eulas import open_eulas_of_classification, open_eulas_of_update
from mdm.audit import record
from mdm.catalog.queries import get_update
from mdm.devices.groups import lock_groups
from mdm.errors import Conflict, FieldError, Invalid, NotFound
from mdm.storage.tables import (
    ALL_DEVICES,
    Approval,
    ApprovalGroup,
    Category,
    Device,
    DeviceUpdate,
    GroupMember,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.approvals.decision import Intent, UpdateFacts
    from mdm.approvals.eulas import OpenEula
    from mdm.audit import Origin

__all__ = [
    "Action",
    "ApprovalView",
    "Delivery",
    "Residual",
    "Target",
    "TargetType",
    "Warned",
    "create_approval",
    "get_approval",
    "list_approvals",
    "revoke_approval",
]

TargetType = Literal["update", "classification"]
Action = Literal["approve", "block"]
Delivery = Literal["device", "expanded"]


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
    """Of an approved classification: `device` (its GUID goes there) or `expanded` (each update on its own)."""
    group_ids: tuple[str, ...]
    allow_without_metadata: bool
    reason: str | None
    not_before: datetime | None
    expires_at: datetime | None
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    revoked_by: str | None
    requested_state: str
    """`active`, `expired` or `revoked`."""
    effective_state: str
    """`active`, `held`, `expired` or `revoked`."""
    reasons: tuple[str, ...]
    """Why it is held everywhere, as codes of `mdm.approvals.decision.Hold`."""
    warnings: tuple[Warned, ...] = field(default=())
    """Only in the answer that created it."""


@dataclass(frozen=True, slots=True)
class Residual:
    """What a revocation cannot take back."""

    devices: int
    detail: str


def create_approval(
    conn: Connection,
    origin: Origin,
    *,
    target_type: TargetType,
    target_id: str,
    group_ids: Iterable[str],
    action: Action = "approve",
    delivery: Delivery | None = None,
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
    allow_without_metadata: bool = False,
    reason: str | None = None,
    now: datetime,
) -> ApprovalView:
    """Approve or block an update (UpdateID) or a classification for groups.

    A classification goes to the devices as it is (`delivery` "device", the default for Definition Updates, of
    which there are several a day), or each of its updates is approved here ("expanded", the default for all
    others), so that licences, blocks and supersedence count for each.

    Raises Invalid for a GUID known to be something else, a block without a reason, times that make no sense,
    and members that mean nothing for such a target; NotFound `group_not_found`, and Conflict: `approval_conflict` if the same is approved or blocked for the
    same groups, `update_expired`, `eula_not_accepted` naming each EULA. An update without stored metadata is
    approved and held, unless `allow_without_metadata`.
    """
    groups = tuple(sorted(set(group_ids)))
    _refuse_nonsense(
        target_type,
        action,
        delivery,
        reason,
        _Times(now=now, not_before=not_before, expires_at=expires_at),
        blind=allow_without_metadata,
    )
    how = _delivery(target_type, target_id, action, delivery)
    _refuse_wrong_kind(conn, target_type, target_id)
    lock_groups(conn, groups)  # also makes two equal requests take turns, so that one sees the other
    _refuse_twin(conn, (target_type, target_id, action), groups, now)
    if action != BLOCK:
        if target_type == "update":
            _refuse_expired(conn, target_id)
            _refuse_open_eulas(open_eulas_of_update(conn, target_id))
        elif how == DEVICE:
            # Expanded, what has an open licence waits by itself, and visibly.
            _refuse_open_eulas(open_eulas_of_classification(conn, target_id))
    approval_id = f"apr_{secrets.token_hex(10)}"
    conn.execute(
        insert(Approval).values(
            id=approval_id,
            target_type=target_type,
            target_id=target_id,
            action=action,
            delivery=how,
            not_before=not_before,
            expires_at=expires_at,
            allow_without_metadata=allow_without_metadata,
            reason=reason,
            created_at=now,
            created_by=origin.actor,
        )
    )
    conn.execute(insert(ApprovalGroup), [{"approval_id": approval_id, "group_id": group} for group in groups])
    record(
        conn,
        origin,
        now=now,
        action="approval.create",
        object_type="approval",
        object_id=approval_id,
        after={
            "target": {"type": target_type, "id": target_id},
            "action": action,
            "delivery": how,
            "group_ids": list(groups),
            "not_before": None if not_before is None else not_before.isoformat(),
            "expires_at": None if expires_at is None else expires_at.isoformat(),
            "allow_without_metadata": allow_without_metadata,
            "reason": reason,
        },
    )
    warnings = () if action == BLOCK or target_type != "update" else _superseded(conn, target_id)
    return _one(conn, approval_id, now, warnings)


def _delivery(target_type: str, target_id: str, action: str, asked: str | None) -> str:
    if target_type != CLASSIFICATION or action == BLOCK:
        return DEVICE
    return asked or (DEVICE if target_id == DEFINITION_UPDATES else EXPANDED)


@dataclass(frozen=True, slots=True)
class _Times:
    """When an approval is made, and for when."""

    now: datetime
    not_before: datetime | None
    expires_at: datetime | None


def _refuse_nonsense(
    target_type: str, action: str, delivery: str | None, reason: str | None, times: _Times, *, blind: bool
) -> None:
    """Refuse what cannot be meant, naming each member."""
    errors = []
    if action == BLOCK and not reason:
        errors.append(
            FieldError("/reason", "required", "A block needs a reason: whoever meets it will ask for one.")
        )
    if action == BLOCK and times.not_before is not None:
        errors.append(
            FieldError("/not_before", "not_for_blocks", "A block holds from the moment it is made.")
        )
    if delivery is not None and (target_type != CLASSIFICATION or action == BLOCK):
        errors.append(
            FieldError("/delivery", "not_a_classification", "Only approving a classification has a delivery.")
        )
    if blind and (target_type == CLASSIFICATION or action == BLOCK):
        errors.append(
            FieldError(
                "/allow_without_metadata",
                "not_an_update",
                "Only approving an update can do without metadata.",
            )
        )
    earliest = max(times.now, times.not_before or times.now)
    if times.expires_at is not None and times.expires_at <= earliest:
        errors.append(
            FieldError("/expires_at", "too_early", "It would be over before it has held for a moment.")
        )
    if errors:
        raise Invalid("The approval makes no sense as it is.", errors=tuple(errors))


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


def get_approval(conn: Connection, approval_id: str, *, now: datetime) -> ApprovalView:
    """The approval, revoked or not; raises NotFound."""
    return _one(conn, approval_id, now)


def revoke_approval(
    conn: Connection, origin: Origin, approval_id: str, *, now: datetime
) -> tuple[ApprovalView, Residual]:
    """Deliver this approval to no further device; one revoked already stays as it was. Raises NotFound.

    Windows keeps what it was told: no documented command takes an approval back (Update CSP,
    ApprovedUpdates), so the answer counts the devices that hold it.
    """
    changed = conn.execute(
        update(Approval)
        .where(col(Approval.id) == approval_id, col(Approval.revoked_at).is_(None))
        .values(revoked_at=now, revoked_by=origin.actor)
    )
    view = _one(conn, approval_id, now)
    if changed.rowcount:
        record(
            conn,
            origin,
            now=now,
            action="approval.revoke",
            object_type="approval",
            object_id=approval_id,
            detail={
                "target": {"type": view.target.type, "id": view.target.id},
                "action": view.action,
                "group_ids": list(view.group_ids),
            },
            before={"revoked_at": None, "revoked_by": None},
            after={"revoked_at": now, "revoked_by": origin.actor},
        )
    return view, _residual(conn, view)


def _refuse_wrong_kind(conn: Connection, target_type: TargetType, target_id: str) -> None:
    """Refuse a GUID known to be of another kind: a device would take it, and nothing would ever come of it."""
    update_type = conn.scalar(
        select(col(UpdateRevision.update_type)).where(
            col(UpdateRevision.update_id) == target_id, col(UpdateRevision.is_latest).is_(True)
        )
    )
    category = conn.execute(
        select(col(Category.category_type), col(Category.title)).where(col(Category.id) == target_id)
    ).one_or_none()
    if target_type == "update":
        name = CLASSIFICATIONS.get(target_id) if category is None else category.title
        wrong = name is not None or update_type in {"Category", "Detectoid"}
        what = f"the category {name!r}" if name is not None else "not an update"
    else:
        wrong = update_type in {"Software", "Driver"} or (
            category is not None and category.category_type not in {None, "UpdateClassification"}
        )
        what = "an update" if category is None else f"the {category.category_type} {category.title!r}"
    if wrong:
        error = FieldError("/target/id", f"not_{target_type}", f"This GUID is {what}.")
        raise Invalid(f"The target is not of the type {target_type!r}.", errors=(error,))


def _refuse_twin(
    conn: Connection, what: tuple[str, str, str], groups: tuple[str, ...], now: datetime
) -> None:
    target_type, target_id, action = what
    twins = conn.execute(
        select(col(Approval.id), col(ApprovalGroup.group_id))
        .join(ApprovalGroup, col(ApprovalGroup.approval_id) == col(Approval.id))
        .where(
            col(Approval.target_type) == target_type,
            col(Approval.target_id) == target_id,
            col(Approval.action) == action,
            col(Approval.revoked_at).is_(None),
            or_(col(Approval.expires_at).is_(None), col(Approval.expires_at) > now),
        )
    )
    found: dict[str, set[str]] = {}
    for approval_id, group_id in twins:
        found.setdefault(approval_id, set()).add(group_id)
    for approval_id, its_groups in sorted(found.items()):
        if its_groups == set(groups):
            raise Conflict(
                f"{approval_id} already {'blocks' if action == BLOCK else 'approves'} this for these groups.",
                code="approval_conflict",
                existing=approval_id,
            )


def _refuse_expired(conn: Connection, update_id: str) -> None:
    facts = update_facts(conn, [update_id]).get(update_id)
    if facts is not None and facts.expired:
        raise Conflict(f"Microsoft has withdrawn the update {facts.title!r}.", code="update_expired")


def _refuse_open_eulas(eulas: Sequence[OpenEula]) -> None:
    if not eulas:
        return
    first = eulas[0]
    others = f" and {len(eulas) - 1} more" if len(eulas) > 1 else ""
    raise Conflict(
        f"The EULA {first.id} of {first.title!r}{others} must be accepted first: approving accepts it.",
        code="eula_not_accepted",
        eulas=list(eulas),
    )


def _superseded(conn: Connection, update_id: str) -> tuple[Warned, ...]:
    """A warning naming the published, visible updates that replace this one."""
    known = get_update(conn, update_id)
    newer = () if known is None else known.superseded_by
    if not newer:
        return ()
    return (Warned("update_superseded", "A newer update replaces this one.", newer),)


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
    )


def _one(
    conn: Connection, approval_id: str, now: datetime, warnings: tuple[Warned, ...] = ()
) -> ApprovalView:
    rows = conn.execute(_rows().where(col(Approval.id) == approval_id)).all()
    if not rows:
        raise NotFound(f"There is no approval {approval_id!r}.")
    return _views(conn, rows, now, warnings)[0]


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
    intents = {row.id: intent_of(row) for row in rows}
    classes = {intent.target_id for intent in intents.values() if intent.target_type == CLASSIFICATION}
    facts = update_facts(conn, facts_needed(intents.values(), ()))
    blocks = _blocks_of(conn, facts, {row.target_id for row in rows}, now)
    inside = {block.target_id for block, _ in blocks if block.target_type != CLASSIFICATION}
    titles: dict[str, str | None] = {**CLASSIFICATIONS, **_category_titles(conn, classes)}
    titles |= {update_id: known.title for update_id, known in facts.items()}
    facts |= update_facts(conn, inside - facts.keys())
    open_classes = open_eula_classifications(conn, classes)
    views = []
    for row in rows:
        its_groups = groups.get(row.id, ())
        # The one decision of the check-in, asked about this approval and the blocks that hold wherever it does.
        covering = [
            block for block, blocked in blocks if ALL_DEVICES in blocked or blocked >= set(its_groups)
        ]
        decision = decide([intents[row.id], *covering], facts, open_classes, now=now)
        holds = tuple(hold.value for hold in decision.held.values())
        views.append(
            _view(
                row,
                group_ids=its_groups,
                title=titles.get(row.target_id),
                holds=holds,
                now=now,
                warnings=warnings,
            )
        )
    return views


def _blocks_of(
    conn: Connection, facts: Mapping[str, UpdateFacts], target_ids: set[str], now: datetime
) -> list[tuple[Intent, set[str]]]:
    """The active blocks that can hold these targets back, each with its groups.

    They are of the targets themselves, of the classifications of those that are updates, and of updates in
    those that are classifications.
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
            or_(col(Approval.target_id).in_(named), col(Approval.target_id).in_(inside)),
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
        delivery=row.delivery if row.target_type == CLASSIFICATION and row.action != BLOCK else None,
        group_ids=group_ids,
        allow_without_metadata=row.allow_without_metadata,
        reason=row.reason,
        not_before=row.not_before,
        expires_at=row.expires_at,
        created_at=row.created_at,
        created_by=row.created_by,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
        requested_state=requested,
        effective_state="held" if held else requested,
        reasons=holds if held else (),
        warnings=warnings,
    )


def _category_titles(conn: Connection, category_ids: Iterable[str]) -> dict[str, str]:
    rows = conn.execute(
        select(col(Category.id), col(Category.title)).where(col(Category.id).in_(list(category_ids)))
    )
    return {category_id: title for category_id, title in rows}  # noqa: C416 - a Row is not typed as a pair


def _residual(conn: Connection, view: ApprovalView) -> Residual:
    if view.action == BLOCK:
        return Residual(0, "What other approvals of these groups allow is delivered again.")
    held = col(DeviceUpdate.update_id) == view.target.id
    if view.delivery == EXPANDED:
        held = col(DeviceUpdate.update_id).in_(
            select(col(UpdateRevision.update_id)).where(
                col(UpdateRevision.is_latest).is_(True),
                col(UpdateRevision.classification_id) == view.target.id,
            )
        )
    query = (
        select(func.count(func.distinct(col(DeviceUpdate.device_pk))))
        .join(Device, col(Device.pk) == col(DeviceUpdate.device_pk))
        .where(held, col(DeviceUpdate.lists).bitwise_and(int(UpdateList.APPROVED)) != 0)
    )
    if ALL_DEVICES not in view.group_ids:
        members = select(col(GroupMember.device_pk)).where(col(GroupMember.group_id).in_(view.group_ids))
        query = query.where(col(DeviceUpdate.device_pk).in_(members))
    count = conn.scalar(query) or 0
    what = "updates of this classification" if view.delivery == EXPANDED else "this approval"
    if count == 0:
        return Residual(0, f"No device holds {what}; none will get it.")
    devices = "1 device holds" if count == 1 else f"{count} devices hold"
    return Residual(
        count,
        f"{devices} {what} already and may still install; the Update CSP documents no way to take it back.",
    )
