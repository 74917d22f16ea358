"""Approvals as IT makes and revokes them: intent only; what reaches a device `decision` says.

An approval is made whole or not at all. Its rows are never deleted: a revoked one keeps its place in history.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import exists, func, insert, select, text, update
from sqlmodel import col

from mdm.approvals.checks import Proposal, obstacles, refuse_nonsense, refuse_wrong_kind
from mdm.approvals.decision import BLOCK, CLASSIFICATION, EXPANDED, PRODUCT, QUERY, UPDATE
from mdm.approvals.targets import updates_of
from mdm.approvals.versions import intent_changed
from mdm.approvals.views import Warned, get_approval
from mdm.audit import record
from mdm.catalog.queries import get_update
from mdm.devices.groups import lock_groups
from mdm.errors import Conflict
from mdm.queries.store import hold_query
from mdm.storage.tables import (
    ALL_DEVICES,
    Approval,
    ApprovalGroup,
    DeviceUpdate,
    GroupMember,
)
from mdm.storage.tables.devices import APPROVED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.approvals.checks import Action, Delivery, TargetType
    from mdm.approvals.views import ApprovalView
    from mdm.audit import Origin

__all__ = ["Residual", "create_approval", "revoke_approval"]


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
    deadline: datetime | None = None,
    allow_without_metadata: bool = False,
    reason: str | None = None,
    rule_id: str | None = None,
    eulas: Literal["refuse", "hold"] = "refuse",
    now: datetime,
) -> ApprovalView:
    """Approve or block an update (UpdateID), a classification, a product (GUID) or a saved query for groups.

    A classification goes to the devices as it is (`delivery` "device", the default for Definition Updates, of
    which there are several a day), or each of its updates is approved here ("expanded", the default for all
    others), so that licences, blocks and supersedence count for each. Products and saved queries are always expanded.

    Raises Invalid for a GUID known to be something else, a block without a reason, times that make no sense,
    and members that mean nothing for such a target; NotFound `group_not_found`, and Conflict: `approval_conflict` if
    the same is approved or blocked for the same groups, `update_expired`, `eula_not_accepted` naming each EULA (unless
    `eulas` is "hold": then the approval is made, and waits where everybody sees it). An update without stored
    metadata is approved and held, unless `allow_without_metadata`.
    """
    proposal = Proposal(
        target_type=target_type,
        target_id=target_id,
        group_ids=tuple(sorted(set(group_ids))),
        action=action,
        delivery=delivery,
        not_before=not_before,
        expires_at=expires_at,
        deadline=deadline,
        allow_without_metadata=allow_without_metadata,
        reason=reason,
        rule_id=rule_id,
    )
    refuse_nonsense(proposal, now)
    refuse_wrong_kind(conn, proposal)
    lock_groups(
        conn, proposal.group_ids
    )  # also makes two equal requests take turns, so that one sees the other
    if target_type == QUERY:
        hold_query(conn, target_id)  # its matches must not change unseen until this approval can be seen
    for obstacle in obstacles(conn, proposal, now, hold_eulas=eulas == "hold"):
        raise obstacle
    approval_id = f"apr_{secrets.token_hex(10)}"
    members = {
        "action": action,
        "delivery": proposal.how,
        "not_before": not_before,
        "expires_at": expires_at,
        "deadline": deadline,
        "allow_without_metadata": allow_without_metadata,
        "reason": reason,
        "rule_id": rule_id,
    }
    conn.execute(
        insert(Approval).values(
            id=approval_id,
            target_type=target_type,
            target_id=target_id,
            created_at=now,
            created_by=origin.actor,
            **members,
        )
    )
    conn.execute(
        insert(ApprovalGroup),
        [{"approval_id": approval_id, "group_id": group} for group in proposal.group_ids],
    )
    intent_changed(conn, proposal.group_ids)
    record(
        conn,
        origin,
        now=now,
        action="approval.create",
        object_type="approval",
        object_id=approval_id,
        after={
            "target": {"type": target_type, "id": target_id},
            "group_ids": list(proposal.group_ids),
            **members,
        },
    )
    warnings = () if action == BLOCK or target_type != UPDATE else _superseded(conn, target_id)
    return get_approval(conn, approval_id, now=now, warnings=warnings)


def revoke_approval(
    conn: Connection, origin: Origin, approval_id: str, *, now: datetime
) -> tuple[ApprovalView, Residual]:
    """Deliver this approval to no further device; one revoked already stays as it was.

    Windows keeps what it was told: no documented command takes an approval back (Update CSP,
    ApprovedUpdates), so the answer counts the devices that hold it. Raises NotFound, and Conflict `belongs_to_rollout`
    for one that a rollout has made: it can only be stopped as a whole.
    """
    view = get_approval(conn, approval_id, now=now)
    if view.rollout_id is not None:
        raise Conflict(
            f"The rollout {view.rollout_id} made this approval; stop the rollout, or block the update.",
            code="belongs_to_rollout",
            rollout=view.rollout_id,
        )
    if _revoke(conn, origin, view, now):
        view = get_approval(conn, approval_id, now=now)
    return view, _residual(conn, view)


def _revoke(conn: Connection, origin: Origin, view: ApprovalView, now: datetime) -> bool:
    changed = conn.execute(
        update(Approval)
        .where(col(Approval.id) == view.id, col(Approval.revoked_at).is_(None))
        .values(revoked_at=now, revoked_by=origin.actor)
    )
    if not changed.rowcount:
        return False
    intent_changed(conn, view.group_ids)
    record(
        conn,
        origin,
        now=now,
        action="approval.revoke",
        object_type="approval",
        object_id=view.id,
        detail={
            "target": {"type": view.target.type, "id": view.target.id},
            "action": view.action,
            "group_ids": list(view.group_ids),
        },
        before={"revoked_at": None, "revoked_by": None},
        after={"revoked_at": now, "revoked_by": origin.actor},
    )
    return True


def _superseded(conn: Connection, update_id: str) -> tuple[Warned, ...]:
    """A warning naming the published, visible updates that replace this one."""
    known = get_update(conn, update_id)
    newer = () if known is None else known.superseded_by
    if not newer:
        return ()
    return (Warned("update_superseded", "A newer update replaces this one.", newer),)


def _residual(conn: Connection, view: ApprovalView) -> Residual:
    if view.action == BLOCK:
        return Residual(0, "What other approvals of these groups allow is delivered again.")
    held = col(DeviceUpdate.update_id) == view.target.id
    if view.delivery == EXPANDED:
        held = col(DeviceUpdate.update_id).in_(updates_of(view.target.type, view.target.id))
    query = select(func.count(func.distinct(col(DeviceUpdate.device_pk)))).where(held, text(APPROVED))
    if ALL_DEVICES not in view.group_ids:
        # Asked of each device that holds it: those are few, and the members may be everybody.
        query = query.where(
            exists().where(
                col(GroupMember.device_pk) == col(DeviceUpdate.device_pk),
                col(GroupMember.group_id).in_(view.group_ids),
            )
        )
    count = conn.scalar(query) or 0
    what = _WHAT[view.target.type] if view.delivery == EXPANDED else "this approval"
    if count == 0:
        return Residual(0, f"No device holds {what}; none will get it.")
    devices = "1 device holds" if count == 1 else f"{count} devices hold"
    return Residual(
        count,
        f"{devices} {what} already and may still install; the Update CSP documents no way to take it back.",
    )


_WHAT: Final = {
    CLASSIFICATION: "updates of this classification",
    PRODUCT: "updates of this product",
    QUERY: "updates that this query finds",
}
