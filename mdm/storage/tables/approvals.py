"""Approvals and blocks: rows about groups, never about devices."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = ["Approval", "ApprovalGroup"]

_STANDING = "revoked_at IS NULL AND (target_type <> 'update' OR action = 'block')"


class Approval(SQLModel, table=True):
    """IT wants a target on some groups: one row however many devices they hold."""

    __tablename__: ClassVar[str] = "approval"
    __table_args__ = (
        Index("ix_approval_target_type_target_id", "target_type", "target_id"),
        # What each check-in reads: few, however many approvals of single updates there have been.
        Index("ix_approval_standing", "id", sqlite_where=text(_STANDING), postgresql_where=text(_STANDING)),
        CheckConstraint(
            "target_type IN ('update', 'classification', 'product', 'query')", name="target_type"
        ),
        CheckConstraint("action IN ('approve', 'block')", name="action"),
        CheckConstraint("delivery IN ('device', 'expanded')", name="delivery"),
    )

    id: str = Field(primary_key=True)
    target_type: str
    target_id: str
    """UpdateID, GUID of a classification or product, or id of a saved query."""
    action: str
    """`approve`, or `block`, which wins over every approval."""
    allow_without_metadata: bool = False
    """Deliver although no upstream offers the metadata, and so nobody can know of a EULA."""
    reason: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
    created_by: str
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_by: str | None = None
    not_before: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Not delivered before."""
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Holds no longer from then on."""
    delivery: str = Field(default="device", sa_column_kwargs={"server_default": "device"})
    """Of a classification: its GUID goes to the `device`, or it is `expanded` into each of its updates here.

    Products and saved queries are always expanded.
    """
    deadline: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """By when IT wants it installed; what is not is shown as overdue."""
    rollout_id: str | None = Field(default=None, index=True)
    """The rollout that made it, and with `stage` the gate it stands behind."""
    stage: int | None = None
    rule_id: str | None = Field(default=None, index=True)
    """The rule that made it."""


class ApprovalGroup(SQLModel, table=True):
    """A group an approval speaks of."""

    __tablename__: ClassVar[str] = "approval_group"

    approval_id: str = Field(primary_key=True, foreign_key="approval.id", ondelete="CASCADE")
    group_id: str = Field(primary_key=True, foreign_key="device_group.id", ondelete="CASCADE", index=True)
