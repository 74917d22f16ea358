"""Access and accountability: tokens and the audit chain."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, Column, Index
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = ["ApiToken", "AuditEntry", "AuditHead"]


class ApiToken(SQLModel, table=True):
    """A bearer token; only its SHA-256 is kept."""

    __tablename__: ClassVar[str] = "api_token"

    id: str = Field(primary_key=True)
    name: str
    token_sha256: str = Field(unique=True)
    scopes: list[str] = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class AuditEntry(SQLModel, table=True):
    """Who changed what: written in the transaction of the change, chained to the entry before it."""

    __tablename__: ClassVar[str] = "audit_entry"
    __table_args__ = (
        Index("ix_audit_entry_actor_seq", "actor", "seq"),
        Index("ix_audit_entry_action_seq", "action", "seq"),
        Index("ix_audit_entry_object_type_object_id_seq", "object_type", "object_id", "seq"),
        Index("ix_audit_entry_object_id_seq", "object_id", "seq"),
    )

    seq: int | None = Field(default=None, primary_key=True)
    """In commit order; without gaps from the release on that chains (`AuditHead`)."""
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    actor: str
    action: str
    """`approval.create`, `eula.accept`, `device.create`, ..."""
    object_type: str
    object_id: str
    detail: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """The circumstances."""
    before: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """The members that the change gave another value, as they were; NULL for what did not exist."""
    after: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    """The same members as they became; NULL for what exists no longer."""
    request_id: str | None = None
    remote_addr: str | None = None
    hash: str
    """SHA-256 over all of this and the hash of the entry before, in hexadecimal (`mdm.audit_chain`)."""


class AuditHead(SQLModel, table=True):
    """Where the audit chain ends: one row, locked by whoever appends, so that entries have one order."""

    __tablename__: ClassVar[str] = "audit_head"
    __table_args__ = (CheckConstraint("id = 1", name="id"),)

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    seq: int
    """The last entry's; 0 while there is none."""
    hash: str
