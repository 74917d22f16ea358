"""The log of a run: one line per thing an administrator would want to be told, as sync consoles show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import insert, select

from mdm.storage.statements import table_of
from mdm.storage.tables import SyncEvent

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["EventKind", "EventView", "list_events", "log_event"]

EventKind = Literal["started", "in_progress", "done", "failed", "interrupted", "cancelled"]

_event = table_of(SyncEvent)


@dataclass(frozen=True, slots=True)
class EventView:
    """One line of a run's log."""

    seq: int
    run_id: str
    at: datetime
    kind: str
    phase: str | None
    message: str


def log_event(
    connection: Connection,
    run_id: str,
    now: datetime,
    kind: EventKind,
    message: str,
    *,
    phase: str | None = None,
) -> None:
    """Add a line."""
    connection.execute(insert(_event).values(run_id=run_id, at=now, kind=kind, phase=phase, message=message))


def list_events(
    connection: Connection, run_id: str, *, limit: int, after: int | None = None
) -> tuple[EventView, ...]:
    """Return a run's lines, the first one first; `after` is the `seq` of the last one already seen."""
    statement = select(_event).where(_event.c.run_id == run_id).order_by(_event.c.seq).limit(limit)
    if after is not None:
        statement = statement.where(_event.c.seq > after)
    return tuple(EventView(**row) for row in connection.execute(statement).mappings())
