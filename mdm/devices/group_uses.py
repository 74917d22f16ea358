"""What names a group, and so keeps it from being deleted: each would silently mean something else without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import or_, select
from sqlmodel import col

from mdm.errors import Conflict
from mdm.storage.tables import (
    Approval,
    ApprovalGroup,
    GroupLink,
    PolicyAssignment,
    RolloutPlanGroup,
    RuleGroup,
    WindowGroup,
)

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Select
    from sqlalchemy.orm import Mapped

__all__ = ["refuse_used"]

_NAMED: Final = 20
"""Approvals, rules and so on named in one answer."""


def refuse_used(conn: Connection, group_id: str, name: str, now: datetime) -> None:
    """Raise Conflict, naming them, if approvals that hold or anything else that lasts names the group.

    `group_in_use`, `group_has_windows`, `group_has_plans`, `group_has_profiles`, `group_has_rules` or `group_named`.
    """
    for use in _uses(now):
        found = conn.scalars(use.query.where(use.group_id == group_id).limit(_NAMED)).all()
        if found:
            raise Conflict(f"{use.who} the group {name!r}.", code=use.code, **{use.member: list(found)})


@dataclass(frozen=True, slots=True)
class _Use:
    """Something that names groups, and would silently mean something else if one of them went."""

    who: str
    """The beginning of the sentence that ends with the group's name."""
    code: str
    member: str
    """Of the problem: it lists their ids."""
    query: Select[str]
    group_id: Mapped[str]


def _uses(now: datetime) -> tuple[_Use, ...]:
    """What may name a group, in the order it is told."""

    def query(model_id: Mapped[str]) -> Select[str]:
        return select(model_id).distinct().order_by(model_id)

    active = (
        query(col(ApprovalGroup.approval_id))
        .join(Approval, col(Approval.id) == col(ApprovalGroup.approval_id))
        .where(
            col(Approval.revoked_at).is_(None),
            or_(col(Approval.expires_at).is_(None), col(Approval.expires_at) > now),
        )
    )
    return (
        _Use("Active approvals name", "group_in_use", "approvals", active, col(ApprovalGroup.group_id)),
        _Use(
            "Maintenance windows are for",
            "group_has_windows",
            "windows",
            query(col(WindowGroup.window_id)),
            col(WindowGroup.group_id),
        ),
        _Use(
            "Ring plans have rings of",
            "group_has_plans",
            "plans",
            query(col(RolloutPlanGroup.plan_id)),
            col(RolloutPlanGroup.group_id),
        ),
        _Use(
            "Policy profiles are for",
            "group_has_profiles",
            "profiles",
            query(col(PolicyAssignment.profile_id)),
            col(PolicyAssignment.group_id),
        ),
        _Use(
            "Rules approve for",
            "group_has_rules",
            "rules",
            query(col(RuleGroup.rule_id)),
            col(RuleGroup.group_id),
        ),
        _Use(
            "Other groups name",
            "group_named",
            "groups",
            query(col(GroupLink.group_id)),
            col(GroupLink.other_id),
        ),
    )
