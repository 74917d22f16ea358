"""Saved queries and what they match; rules that approve, their runs, and what each run found."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, UniqueConstraint, text
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = [
    "ApprovalRule",
    "QueryMatch",
    "RuleGroup",
    "RuleNotice",
    "RuleResult",
    "RuleRun",
    "SavedQuery",
]


class SavedQuery(SQLModel, table=True):
    """A question to the catalogue under a name, to be approved, blocked or used by rules."""

    __tablename__: ClassVar[str] = "saved_query"

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    description: str | None = None
    criteria: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """As `mdm.queries.criteria` reads it."""
    version: int = Field(default=1, sa_column_kwargs={"server_default": text("1")})
    """Raised with each change of `criteria`."""
    matched_version: int | None = None
    """`version` that `query_match` was last worked out with, from beginning to end; None: never."""
    matched_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """The moment for which that was done."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str
    changed_at: datetime = Field(sa_type=UtcDateTime)


class QueryMatch(SQLModel, table=True):
    """A listed update that a saved query matches, as far as that is worked out."""

    __tablename__: ClassVar[str] = "query_match"

    query_id: str = Field(primary_key=True, foreign_key="saved_query.id", ondelete="CASCADE")
    update_id: str = Field(primary_key=True, index=True)


class ApprovalRule(SQLModel, table=True):
    """What is to be done, by itself, with updates that criteria or a saved query match."""

    __tablename__: ClassVar[str] = "approval_rule"
    __table_args__ = (
        CheckConstraint("action IN ('approve', 'rollout', 'notify')", name="action"),
        CheckConstraint("(criteria IS NULL) <> (query_id IS NULL)", name="one_question"),
    )

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    description: str | None = None
    enabled: bool
    criteria: dict[str, Any] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    """As `mdm.queries.criteria` reads it; None: those of the query."""
    query_id: str | None = Field(default=None, foreign_key="saved_query.id", index=True)
    action: str
    """`approve` for its groups, start a `rollout` from a plan, or `notify` only."""
    plan_id: str | None = Field(default=None, index=True)
    """The rollout plan of action `rollout`."""
    deadline_days: int | None = None
    """After the approval."""
    not_before_days: int | None = None
    """After the approval."""
    after_sync: bool
    """Runs after each sync that succeeded."""
    schedule: dict[str, Any] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    """As `mdm.rules.schedule` reads it."""
    next_due_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    """The next slot of the schedule; None: none, or not enabled."""
    version: int = Field(default=1, sa_column_kwargs={"server_default": text("1")})
    """Raised with each change, so that a run ends that began before it."""
    armed_at: datetime = Field(sa_type=UtcDateTime)
    """When it was last enabled or changed: syncs before that are not for it."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str
    changed_at: datetime = Field(sa_type=UtcDateTime)


class RuleGroup(SQLModel, table=True):
    """A group that a rule approves for."""

    __tablename__: ClassVar[str] = "rule_group"

    rule_id: str = Field(primary_key=True, foreign_key="approval_rule.id", ondelete="CASCADE")
    group_id: str = Field(primary_key=True, foreign_key="device_group.id", index=True)


class RuleRun(SQLModel, table=True):
    """One run of a rule: asked for, running, or ended with its counts."""

    __tablename__: ClassVar[str] = "rule_run"
    __table_args__ = (
        UniqueConstraint("rule_id", "slot"),
        Index("ix_rule_run_rule_id_requested_at", "rule_id", "requested_at"),
        CheckConstraint("trigger IN ('sync', 'schedule', 'manual')", name="trigger"),
        CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed')", name="state"),
    )

    id: str = Field(primary_key=True)
    rule_id: str = Field(foreign_key="approval_rule.id", ondelete="CASCADE")
    slot: str
    """What it runs for, so that of any number of processes one runs it: `sync:ID`, `schedule:TIME`, `manual:ID`."""
    trigger: str
    requested_by: str
    state: str = Field(index=True)
    requested_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    heartbeat_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    definition: dict[str, Any] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    """The rule as it was when the run began."""
    examined: int = 0
    """Updates that the rule was asked about."""
    matched: int = 0
    outcomes: dict[str, int] = Field(sa_column=Column(JSON, nullable=False))
    """How many updates came to what (`rule_result.outcome`)."""
    waiting_for_eula: int = 0
    """Of those that it approved, how many had a licence that nobody had accepted."""
    rollout_id: str | None = None
    """The rollout it started."""
    error: str | None = None


class RuleResult(SQLModel, table=True):
    """What a run made of one update, and why."""

    __tablename__: ClassVar[str] = "rule_result"

    run_id: str = Field(primary_key=True, foreign_key="rule_run.id", ondelete="CASCADE")
    update_id: str = Field(primary_key=True)
    position: int = Field(sa_type=BigInteger)
    """`listed_update.position` then: the newest first."""
    title: str
    outcome: str
    """As `mdm.rules.verdicts.Outcome` names it."""
    reason: str
    """One sentence."""
    approval_id: str | None = None
    """The approval it made, or the one that explains the outcome."""
    eula_id: str | None = None
    """The licence that what it approved waits for."""


class RuleNotice(SQLModel, table=True):
    """An update that a rule has told of, so that it tells of it once."""

    __tablename__: ClassVar[str] = "rule_notice"

    rule_id: str = Field(primary_key=True, foreign_key="approval_rule.id", ondelete="CASCADE")
    update_id: str = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
