"""Upstreams: what is asked of them, how far they have been read, and each sync."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, false, text, true
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = [
    "NeededAnswer",
    "NeededRevision",
    "PendingList",
    "QueuedRevision",
    "SyncEvent",
    "SyncRun",
    "Upstream",
    "UpstreamAnchor",
    "UpstreamReplica",
]


class Upstream(SQLModel, table=True):
    """A WSUS or Microsoft Update this bridge syncs from: what it is asked for, and what is remembered of it."""

    __tablename__: ClassVar[str] = "upstream"
    __table_args__ = (CheckConstraint("mode IN ('needed', 'filtered')", name="mode"),)

    url: str = Field(primary_key=True)
    account_guid: str
    """Identity shown to the upstream; stable per installation."""
    name: str | None = None
    """What people call it."""
    listed: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Whether an administrator put it into the list; BRIDGE_UPSTREAM_URL is used without that."""
    position: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Lower ones are asked first."""
    enabled: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    mode: str = Field(default="needed", sa_column_kwargs={"server_default": "needed"})
    """`needed`: what devices report; `filtered`: that, and everything the three lists below select."""
    products: list[str] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    classifications: list[str] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    languages: list[int] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """LCIDs; an empty list asks for every language."""
    replica: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Whether its groups and deployments are read as well."""
    interval_minutes: int | None = None
    """Minutes between two scheduled runs; None is BRIDGE_SYNC_INTERVAL_MINUTES."""
    max_updates_per_request: int | None = None
    last_started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Start of the last run that called the upstream: the hourly limit counts from it."""
    retry_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When to try again after a run that failed; None after one that did not."""


class UpstreamAnchor(SQLModel, table=True):
    """How far one list of an upstream has been read; advanced when all metadata of the list is stored."""

    __tablename__: ClassVar[str] = "upstream_anchor"
    __table_args__ = (
        CheckConstraint("list IN ('config', 'categories', 'updates', 'deployments')", name="list"),
    )

    upstream_url: str = Field(primary_key=True, foreign_key="upstream.url", ondelete="CASCADE")
    list: str = Field(primary_key=True)
    filter_key: str = Field(primary_key=True)
    """Which filter it was read with; empty for a list that has none."""
    anchor: str
    """As received, and sent back so."""
    covers: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """The filter itself: what the anchor says nothing about has to be asked for in full."""
    kept_at: datetime = Field(sa_type=UtcDateTime, index=True)


class PendingList(SQLModel, table=True):
    """An answer of GetRevisionIdList whose revisions are not all stored: its anchor waits here."""

    __tablename__: ClassVar[str] = "pending_list"

    upstream_url: str = Field(primary_key=True, foreign_key="upstream.url", ondelete="CASCADE")
    list: str = Field(primary_key=True)
    filter_key: str
    anchor: str | None = None
    covers: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    listed_at: datetime = Field(sa_type=UtcDateTime)


class QueuedRevision(SQLModel, table=True):
    """A revision that a list named and the store lacks; the row goes when it is stored."""

    __tablename__: ClassVar[str] = "queued_revision"
    __table_args__ = (
        CheckConstraint("list IN ('categories', 'updates', 'closure')", name="list"),
        CheckConstraint("state IN ('queued', 'not_offered', 'failed')", name="state"),
    )

    upstream_url: str = Field(primary_key=True, foreign_key="upstream.url", ondelete="CASCADE")
    list: str = Field(primary_key=True)
    """`closure`: named by a bundle or as a prerequisite."""
    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    """0: any revision; prerequisites name none."""
    state: str
    attempts: int = 0
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error: str | None = None


class UpstreamReplica(SQLModel, table=True):
    """What an upstream's own administrators decided: groups, deployments, hidden updates and accepted EULAs."""

    __tablename__: ClassVar[str] = "upstream_replica"

    upstream_url: str = Field(primary_key=True, foreign_key="upstream.url", ondelete="CASCADE")
    document: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    read_at: datetime = Field(sa_type=UtcDateTime)


class NeededRevision(SQLModel, table=True):
    """A revision some device reported: the fault-in queue, and why a GUID has no title yet."""

    __tablename__: ClassVar[str] = "needed_revision"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'synced', 'not_offered', 'failed')", name="state"),
        Index("ix_needed_revision_state_next_attempt_at", "state", "next_attempt_at"),
    )

    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    """0 when the device's build does not report revisions."""
    state: str
    first_reported_at: datetime = Field(sa_type=UtcDateTime)
    attempts: int = 0
    last_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error: str | None = None


class NeededAnswer(SQLModel, table=True):
    """What one upstream said of a needed revision that it could not give."""

    __tablename__: ClassVar[str] = "needed_answer"
    __table_args__ = (CheckConstraint("state IN ('not_offered', 'failed')", name="state"),)

    upstream_url: str = Field(primary_key=True, foreign_key="upstream.url", ondelete="CASCADE")
    update_id: str = Field(primary_key=True)
    revision_number: int = Field(primary_key=True)
    state: str
    at: datetime = Field(sa_type=UtcDateTime)
    next_attempt_at: datetime = Field(sa_type=UtcDateTime)
    error: str


class SyncRun(SQLModel, table=True):
    """One catalogue sync: asked for, running, or ended with its counts."""

    __tablename__: ClassVar[str] = "sync_run"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"),
    )

    id: str = Field(primary_key=True)
    upstream_url: str
    trigger: str
    """`schedule`, `manual` or `command-line`."""
    requested_by: str
    state: str = Field(index=True)
    phase: str | None = None
    """What it is doing: `cookie`, `config`, `categories`, `updates`, `closure`, `needed`, `deployments`, `eulas`."""
    requested_at: datetime = Field(sa_type=UtcDateTime, index=True)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    heartbeat_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    phase_started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    phase_total: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Revisions this phase has to bring."""
    phase_done: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    categories: int = 0
    needed: int = 0
    fetched: int = 0
    not_offered: int = 0
    failed: int = 0
    eula_texts: int = 0
    new: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Updates of which there was no revision before."""
    revised: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    expired: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    bytes_received: int = Field(default=0, sa_type=BigInteger)
    cancel_requested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    retry_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Of a run that failed: when it is tried again."""
    error: str | None = None


class SyncEvent(SQLModel, table=True):
    """A line of a run's log, as the status messages of other sync consoles; it goes with its run."""

    __tablename__: ClassVar[str] = "sync_event"
    __table_args__ = (Index("ix_sync_event_run_id_seq", "run_id", "seq"),)

    seq: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(foreign_key="sync_run.id", ondelete="CASCADE")
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str
    """`started`, `in_progress`, `done`, `failed`, `interrupted`, `cancelled`."""
    phase: str | None = None
    message: str
    """One sentence."""
