"""The audit trail: each change of the service's own state writes one row in the transaction of the change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select
from sqlmodel import col

from mdm.storage.tables import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["AuditView", "Origin", "list_entries", "record"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks for a change, and through which request."""

    actor: str
    """`client:<token name>` over REST, `command-line` for the program's own commands."""
    token_id: str | None = None
    """Tells apart tokens of the same name."""
    request_id: str | None = None
    remote_addr: str | None = None


@dataclass(frozen=True, slots=True)
class AuditView:
    """One row of the trail."""

    seq: int
    at: datetime
    actor: str
    action: str
    object_type: str
    object_id: str
    detail: Mapping[str, Any]
    request_id: str | None
    remote_addr: str | None


def record(
    conn: Connection,
    origin: Origin,
    *,
    now: datetime,
    action: str,
    object_type: str,
    object_id: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write one row; `detail` holds JSON values and never a secret."""
    members = dict(detail or {})
    if origin.token_id is not None:
        members["token_id"] = origin.token_id
    conn.execute(
        insert(AuditEntry).values(
            at=now,
            actor=origin.actor,
            action=action,
            object_type=object_type,
            object_id=object_id,
            detail=members,
            request_id=origin.request_id,
            remote_addr=origin.remote_addr,
        )
    )


def list_entries(
    conn: Connection,
    *,
    before: int | None,
    limit: int,
    action: str | None = None,
    object_type: str | None = None,
    object_id: str | None = None,
) -> list[AuditView]:
    """At most `limit` rows older than the sequence number `before`, newest first."""
    query = select(
        col(AuditEntry.seq),
        col(AuditEntry.at),
        col(AuditEntry.actor),
        col(AuditEntry.action),
        col(AuditEntry.object_type),
        col(AuditEntry.object_id),
        col(AuditEntry.detail),
        col(AuditEntry.request_id),
        col(AuditEntry.remote_addr),
    )
    if before is not None:
        query = query.where(col(AuditEntry.seq) < before)
    for column, wanted in (
        (col(AuditEntry.action), action),
        (col(AuditEntry.object_type), object_type),
        (col(AuditEntry.object_id), object_id),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    rows = conn.execute(query.order_by(col(AuditEntry.seq).desc()).limit(limit))
    return [AuditView(**row) for row in rows.mappings()]
