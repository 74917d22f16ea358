"""The pauses that a device's rollbacks need: before the command, and after it, lest Windows installs the same again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, or_, select

from csp.rollback import PAUSED_BY, RollbackKind
from mdm.rollbacks.states import PAUSING, WAITING
from mdm.storage.statements import table_of
from mdm.storage.tables import RollbackDevice, RollbackJob
from mdm.windows.policies import NOTHING, Overlay, Value

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["pauses", "rollback_policies", "rollbacks_of"]

_rows: Final = table_of(RollbackDevice)
_job: Final = table_of(RollbackJob)

_NOW: Final = bindparam("now", type_=_job.c.ends_at.type)
_OF_DEVICE: Final = (
    select(
        _rows.c.job_id,
        _rows.c.state,
        _rows.c.detail,
        _rows.c.status_before,
        _rows.c.version_before,
        _rows.c.sends,
        _rows.c.sent_at,
        _rows.c.status_text,
        _rows.c.status_at,
        _job.c.kind,
        _job.c.ends_at,
        _job.c.pause_from,
        _job.c.paused_until,
        _job.c.released_at,
    )
    .join(_job, _job.c.id == _rows.c.job_id)
    .where(
        _rows.c.device_pk == bindparam("device_pk"),
        _rows.c.state.in_(PAUSING),
        or_(_job.c.paused_until > _NOW, _job.c.ends_at > _NOW),
    )
    .order_by(_job.c.created_at, _job.c.id)
)


def rollbacks_of(connection: Connection, device_pk: int, now: datetime) -> list[Any]:
    """The device's rollbacks that still mean something, with their jobs, oldest first: one indexed read."""
    return list(connection.execute(_OF_DEVICE, {"device_pk": device_pk, "now": now}))


def rollback_policies(connection: Connection, device_pk: int, now: datetime) -> Overlay:
    """The pauses that the device's rollbacks need, whatever profiles say; nothing is written."""
    return pauses(((row, row.state) for row in rollbacks_of(connection, device_pk, now)), now)


def pauses(rows: Iterable[tuple[Any, str]], now: datetime) -> Overlay:
    """The pauses that rows of `rollbacks_of` need, each in the state beside it; of two the later rollback's counts."""
    values: dict[str, Value] = {}
    ends: list[datetime] = []
    for row, state in rows:
        # One that was never told and will not be any more needs no pause.
        until = min(row.ends_at, row.paused_until) if state == WAITING else row.paused_until
        if state in PAUSING and row.released_at is None and now < until:
            values[PAUSED_BY[RollbackKind(row.kind)]] = Value(row.pause_from, row.job_id)
            ends.append(until)
    return Overlay(values, min(ends)) if values else NOTHING
