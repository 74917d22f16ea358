"""Rollbacks: what IT asked for, and how far each device has got with it."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import JSON, CheckConstraint, Column, Index
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = ["RollbackDevice", "RollbackJob"]


class RollbackJob(SQLModel, table=True):
    """Some devices are to take back their latest quality or feature update."""

    __tablename__: ClassVar[str] = "rollback_job"
    __table_args__ = (CheckConstraint("kind IN ('quality', 'feature')", name="kind"),)

    id: str = Field(primary_key=True)
    kind: str
    reason: str
    group_ids: list[str] = Field(sa_column=Column(JSON, nullable=False))
    """The groups it was asked for; which devices those were stands in `rollback_device`."""
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
    created_by: str
    ends_at: datetime = Field(sa_type=UtcDateTime)
    """No device is told to roll back from then on."""
    pause_from: str
    """`yyyy-mm-dd`: the value of the pause policy, from which Windows counts 35 days."""
    paused_until: datetime = Field(sa_type=UtcDateTime)
    """When that pause is over everywhere."""
    cancelled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    cancelled_by: str | None = None
    released_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When IT let updates flow again on its devices."""
    released_by: str | None = None


class RollbackDevice(SQLModel, table=True):
    """How far one device has got with a rollback; `mdm.rollbacks.states` has the states."""

    __tablename__: ClassVar[str] = "rollback_device"
    __table_args__ = (
        Index("ix_rollback_device_device_pk_state", "device_pk", "state"),
        CheckConstraint(
            "state IN ('waiting', 'sent', 'executed', 'rolled_back', 'failed', 'refused', 'cancelled')",
            name="state",
        ),
    )

    job_id: str = Field(primary_key=True, foreign_key="rollback_job.id", ondelete="CASCADE")
    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    state: str
    since: datetime = Field(sa_type=UtcDateTime)
    """When `state` last changed."""
    detail: str
    """The same in a sentence."""
    status_before: str | None = None
    """What the device said of its last rollback before this one; empty: nothing. None: not asked yet."""
    version_before: str | None = None
    """Its build when it was told to roll back."""
    sends: int = 0
    """How often the command went out; more than once only where the device said that it did not look at it."""
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    status_code: int | None = None
    """SyncML status of the command."""
    error: str | None = None
    """msft:originalerror of that status."""
    status_text: str | None = None
    """What the device says of this rollback, in its own words."""
    status_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
