"""Ring plans, and rollouts that go through their rings one after the other.

A check-in reads `rollout.state` and one `rollout_stage`, whatever the fleet's size: nothing here is said of a device.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, text
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = [
    "Rollout",
    "RolloutEvent",
    "RolloutPlan",
    "RolloutPlanGroup",
    "RolloutStage",
    "RolloutUpdate",
]


class RolloutPlan(SQLModel, table=True):
    """Rings in order, with what each waits for; a rollout copies them, so that a change touches none under way."""

    __tablename__: ClassVar[str] = "rollout_plan"

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    rings: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))
    """As `mdm.rollouts.rings` reads them, groups included."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str
    changed_at: datetime = Field(sa_type=UtcDateTime)
    changed_by: str


class RolloutPlanGroup(SQLModel, table=True):
    """A plan has a ring of this group, which therefore cannot be deleted."""

    __tablename__: ClassVar[str] = "rollout_plan_group"

    plan_id: str = Field(primary_key=True, foreign_key="rollout_plan.id", ondelete="CASCADE")
    group_id: str = Field(primary_key=True, foreign_key="device_group.id", index=True)


class Rollout(SQLModel, table=True):
    """Some updates on their way through the rings of a plan."""

    __tablename__: ClassVar[str] = "rollout"
    __table_args__ = (
        Index("ix_rollout_state_look_at", "state", "look_at"),
        CheckConstraint("state IN ('running', 'paused', 'halted', 'completed', 'stopped')", name="state"),
    )

    id: str = Field(primary_key=True)
    name: str
    plan_id: str | None = None
    """The plan its stages were copied from, which may have changed or gone since."""
    rule_id: str | None = Field(default=None, index=True)
    """The rule that started it."""
    state: str
    state_at: datetime = Field(sa_type=UtcDateTime)
    """Since when it is in that state."""
    state_by: str
    state_reason: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """Why, as data: a code and the figures behind it."""
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
    created_by: str
    version: int = Field(default=1, sa_column_kwargs={"server_default": text("1")})
    """Raised by each change: who worked out a change from an older one starts again."""
    look_at: datetime = Field(sa_type=UtcDateTime)
    """When a running one is to be looked at next; who looks puts this off first, so that no other does as well."""


class RolloutStage(SQLModel, table=True):
    """A ring of a rollout, as it was in the plan, and how far it has come."""

    __tablename__: ClassVar[str] = "rollout_stage"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'running', 'passed')", name="state"),
        CheckConstraint("promotion IN ('asked', 'approved')", name="promotion"),
    )

    rollout_id: str = Field(primary_key=True, foreign_key="rollout.id", ondelete="CASCADE")
    number: int = Field(primary_key=True)
    """From 1 on, in the order of the rings."""
    name: str
    state: str
    rules: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """The ring, as `mdm.rollouts.rings` reads it."""
    opens_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When its deferral is over; None until that is known. It opens then if the stage before has passed."""
    opened_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    counts_from: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """`opened_at`, later by each time the rollout stood still: what the periods of a gradual offer are counted from."""
    soaks_from: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When devices were last offered it for the first time, later by each time the rollout stood still since."""
    failures_from: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Failures count that began from then on: `opened_at`, or when somebody let a halted rollout go on."""
    passed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    promotion: str | None = None
    """`asked` while a second person has to agree that the next stage opens, `approved` once one has."""
    promotion_by: str | None = None
    """Who asked, or agreed."""
    slot: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Periods of a gradual offer that have been played."""
    offered_below: int | None = Field(default=None, sa_type=BigInteger)
    """Devices whose turn (`mdm.rollouts.turns`) is below have been offered it; None: all of them."""
    offered_devices: int | None = None
    """How many those were in the last period; None without a gradual offer."""


class RolloutUpdate(SQLModel, table=True):
    """An update that a rollout brings."""

    __tablename__: ClassVar[str] = "rollout_update"

    rollout_id: str = Field(primary_key=True, foreign_key="rollout.id", ondelete="CASCADE")
    update_id: str = Field(primary_key=True, index=True)


class RolloutEvent(SQLModel, table=True):
    """A rollout's timeline: each change of its state or of a stage's, and why."""

    __tablename__: ClassVar[str] = "rollout_event"
    __table_args__ = (Index("ix_rollout_event_rollout_id_seq", "rollout_id", "seq"),)

    seq: int | None = Field(default=None, primary_key=True)
    rollout_id: str = Field(foreign_key="rollout.id", ondelete="CASCADE")
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str
    """A value of `mdm.rollouts.stages.Kind`."""
    stage: int | None = None
    actor: str
    reason: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """The figures or the remark behind it."""
