"""A device's timeline: what it told us and what changed, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, select

from csp.hresult import explain
from mdm.storage.statements import table_of
from mdm.storage.tables import DeviceEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["COMMAND_FAILED", "KEPT", "Event", "TimelineEntry", "list_timeline", "record_events"]

KEPT: Final = 1_000
"""Events kept of each device: years for most, and no table that grows for ever."""

COMMAND_FAILED: Final = "command_failed"
"""A command the device did not carry out: `verb`, `loc_uri`, `status` and, where the device told it, `error`."""

_events: Final = table_of(DeviceEvent)


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth remembering about a device."""

    kind: str
    """`alert`, `update_state`, `approval_delivered`, `approval_refused`, `command_failed`, `policy_drift`,
    `rollback`, `distrusted`, `enrolled`, `sync_requested`, `pushed`, `push_failed`, `certificate_renewed`,
    `retire_requested`, `retire_told`, `retire_cancelled` or `unenrolled`."""
    detail: dict[str, Any]
    """JSON values; never a secret."""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """An event with its place and time."""

    seq: int
    at: datetime
    kind: str
    detail: dict[str, Any]
    """As it was recorded, and `error_text` beside an `error` whose meaning is known."""


def record_events(connection: Connection, device_pk: int, events: Sequence[Event], now: datetime) -> None:
    """Add events to a device's timeline and drop what is beyond `KEPT`; nothing to add costs nothing."""
    if not events:
        return
    connection.execute(
        insert(_events),
        [{"device_pk": device_pk, "at": now, "kind": event.kind, "detail": event.detail} for event in events],
    )
    oldest = (
        select(_events.c.seq)
        .where(_events.c.device_pk == device_pk)
        .order_by(_events.c.seq.desc())
        .offset(KEPT)
        .limit(1)
        .scalar_subquery()
    )
    connection.execute(delete(_events).where(_events.c.device_pk == device_pk, _events.c.seq <= oldest))


def told_since(connection: Connection, device_pk: int, kind: str, since: datetime) -> bool:
    """True if the timeline has an event of that kind after `since`: what lasts need not be told each session."""
    event = (
        select(_events.c.seq)
        .where(_events.c.device_pk == device_pk, _events.c.kind == kind, _events.c.at > since)
        .limit(1)
    )
    return connection.scalar(event) is not None


def list_timeline(
    connection: Connection, device_pk: int, *, before: int | None = None, limit: int = 50
) -> list[TimelineEntry]:
    """At most `limit` events of a device, newest first, from the one below `before` on.

    What an HRESULT means is added here and not stored, so that old events are told in today's words.
    """
    statement = (
        select(_events.c.seq, _events.c.at, _events.c.kind, _events.c.detail)
        .where(_events.c.device_pk == device_pk)
        .order_by(_events.c.seq.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(_events.c.seq < before)
    return [
        TimelineEntry(row.seq, row.at, row.kind, _explained(row.detail))
        for row in connection.execute(statement)
    ]


def _explained(detail: dict[str, Any]) -> dict[str, Any]:
    meaning = explain(detail.get("error"))
    return detail if meaning is None else {**detail, "error_text": meaning}
