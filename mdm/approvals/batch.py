"""The approvals of a rollout: made together when it starts, revoked together when it is stopped.

A rollout has one for each stage and update. They are written in a few statements, however many there are, because
nobody else can write while a large rollout starts.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from mdm.approvals.checks import refuse_nonsense
from mdm.approvals.effective import update_facts
from mdm.approvals.versions import intent_changed
from mdm.audit import record
from mdm.errors import Conflict
from mdm.storage.statements import table_of
from mdm.storage.tables import Approval, ApprovalGroup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.approvals.checks import Proposal
    from mdm.audit import Origin

__all__ = ["create_for_rollout", "revoke_for_rollout"]

_approval = table_of(Approval)
_group = table_of(ApprovalGroup)

_BESIDE = ("target_type", "target_id", "group_ids")
"""Members of a proposal that stand elsewhere than in the columns of their names."""


def create_for_rollout(
    conn: Connection, origin: Origin, proposals: Sequence[Proposal], *, now: datetime
) -> None:
    """Approve these updates for a rollout that is being started: all of them, or none.

    The caller holds the groups and has made sure that the targets are updates; nothing can be the twin of what a new
    rollout approves, and an update whose licence nobody has accepted waits for it. Raises Invalid for what cannot be
    meant, and Conflict `update_expired`.
    """
    for proposal in proposals:
        refuse_nonsense(proposal, now)
    for known in update_facts(conn, {proposal.target_id for proposal in proposals}).values():
        if known.expired:
            raise Conflict(f"Microsoft has withdrawn the update {known.title!r}.", code="update_expired")
    made = [(f"apr_{secrets.token_hex(10)}", proposal) for proposal in proposals]
    members: dict[str, dict[str, Any]] = {
        approval_id: {name: value for name, value in asdict(proposal).items() if name not in _BESIDE}
        | {"delivery": proposal.how}
        for approval_id, proposal in made
    }
    conn.execute(
        insert(_approval),
        [
            {
                "id": approval_id,
                "target_type": proposal.target_type,
                "target_id": proposal.target_id,
                "created_at": now,
                "created_by": origin.actor,
                **members[approval_id],
            }
            for approval_id, proposal in made
        ],
    )
    conn.execute(
        insert(_group),
        [
            {"approval_id": approval_id, "group_id": group_id}
            for approval_id, proposal in made
            for group_id in proposal.group_ids
        ],
    )
    intent_changed(conn, {group_id for proposal in proposals for group_id in proposal.group_ids})
    for approval_id, proposal in made:
        record(
            conn,
            origin,
            now=now,
            action="approval.create",
            object_type="approval",
            object_id=approval_id,
            after={
                "target": {"type": proposal.target_type, "id": proposal.target_id},
                "group_ids": list(proposal.group_ids),
                **members[approval_id],
            },
        )


def revoke_for_rollout(conn: Connection, origin: Origin, rollout_id: str, *, now: datetime) -> int:
    """Revoke every approval that a rollout has made; returns how many that were. The caller holds the rollout."""
    mine = (_approval.c.rollout_id == rollout_id, _approval.c.revoked_at.is_(None))
    columns = (_approval.c.id, _approval.c.target_type, _approval.c.target_id, _approval.c.action)
    rows = conn.execute(select(*columns).where(*mine).order_by(_approval.c.id)).all()
    groups: dict[str, list[str]] = {row.id: [] for row in rows}
    for approval_id, group_id in conn.execute(
        select(_group.c.approval_id, _group.c.group_id)
        .join(_approval, _approval.c.id == _group.c.approval_id)
        .where(*mine)
        .order_by(_group.c.approval_id, _group.c.group_id)
    ):
        groups[approval_id].append(group_id)
    conn.execute(update(_approval).where(*mine).values(revoked_at=now, revoked_by=origin.actor))
    intent_changed(conn, {group_id for each in groups.values() for group_id in each})
    for row in rows:
        record(
            conn,
            origin,
            now=now,
            action="approval.revoke",
            object_type="approval",
            object_id=row.id,
            detail={
                "target": {"type": row.target_type, "id": row.target_id},
                "action": row.action,
                "group_ids": groups[row.id],
            },
            before={"revoked_at": None, "revoked_by": None},
            after={"revoked_at": now, "revoked_by": origin.actor},
        )
    return len(rows)
