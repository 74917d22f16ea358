"""Rollbacks as IT asks for them: making, reading, cancelling, and letting updates flow again."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, case, exists, func, insert, literal, select, update

from csp.hresult import explain
from mdm.approvals.versions import intent_changed
from mdm.audit import record
from mdm.devices.groups import lock_groups
from mdm.devices.management import is_managed
from mdm.devices.scope import in_groups
from mdm.errors import Conflict, FieldError, Invalid, NotFound
from mdm.policies.pauses import pause_over_at
from mdm.rollbacks.conditions import pause_day
from mdm.rollbacks.states import (
    CANCELLED,
    EXECUTED,
    FAILED,
    REFUSED,
    ROLLED_BACK,
    SENT,
    UNDER_WAY,
    WAITING,
    as_shown,
)
from mdm.storage.statements import table_of
from mdm.storage.tables import ALL_DEVICES, Device, DeviceUpdate, RollbackDevice, RollbackJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row

    from csp.rollback import RollbackKind
    from mdm.audit import Origin

__all__ = [
    "MAX_DAYS",
    "OutcomeView",
    "RollbackScope",
    "RollbackView",
    "affected",
    "cancel_rollback",
    "create_rollback",
    "get_rollback",
    "is_busy",
    "list_outcomes",
    "list_rollbacks",
    "release_rollback",
]

MAX_DAYS: Final = 34
"""Days a rollback may wait for its devices: the pause that it needs lasts 35, some hours of which are over."""

_STORED: Final = (*UNDER_WAY, ROLLED_BACK, FAILED, REFUSED, CANCELLED)
_TOLD: Final = (SENT, EXECUTED, ROLLED_BACK)

_ENDS: Final = {"cancelled": "rollback.cancel", "released": "rollback.release"}
"""How a rollback may end by IT's word, and what that is called in the audit trail."""

_job: Final = table_of(RollbackJob)
_rows: Final = table_of(RollbackDevice)
_device: Final = table_of(Device)
_told_of: Final = table_of(DeviceUpdate)


@dataclass(frozen=True, slots=True)
class RollbackScope:
    """The devices that are to roll back."""

    group_ids: tuple[str, ...] = ()
    """All members that these groups have when the rollback is asked for, and no later ones."""
    device_ids: tuple[str, ...] = ()
    """Devices by their public ids."""
    holding: tuple[str, ...] = ()
    """Of all these, only those that have installed one of these updates, be it up to a reboot; empty: all."""


@dataclass(frozen=True, slots=True)
class RollbackView:
    """A rollback as an administrator sees it."""

    id: str
    kind: str
    reason: str
    group_ids: tuple[str, ...]
    created_at: datetime
    created_by: str
    ends_at: datetime
    state: str
    """`running` while devices may still be told or asked, `ended`, or `cancelled`."""
    devices: int
    states: Mapping[str, int]
    """Devices by state."""
    pause_from: str
    paused_until: datetime
    """Until then updates of the kind stay paused on devices that were told, unless they are let flow again."""
    cancelled_at: datetime | None
    cancelled_by: str | None
    released_at: datetime | None
    released_by: str | None


@dataclass(frozen=True, slots=True)
class OutcomeView:
    """What has become of one device of a rollback."""

    id: str
    device_id: str
    name: str
    state: str
    """One of `mdm.rollbacks.states.SHOWN`."""
    since: datetime
    sentence: str
    version_before: str | None
    sent_at: datetime | None
    status_code: int | None
    """SyncML status of the command."""
    error: str | None
    error_text: str | None
    status_text: str | None
    """What the device says of it, in its own words."""
    status_at: datetime | None


def create_rollback(
    conn: Connection,
    origin: Origin,
    *,
    kind: RollbackKind,
    scope: RollbackScope,
    reason: str,
    days: int = 14,
    now: datetime,
) -> RollbackView:
    """Ask the devices that the scope has at this moment to roll back their latest update of the kind.

    Raises Invalid for a scope without groups and devices, an unknown device and a wrong number of days, NotFound
    `group_not_found`, and Conflict `rollback_empty` if there is no device that could be told.
    """
    if not 1 <= days <= MAX_DAYS:
        raise Invalid(
            "The number of days is wrong.",
            errors=(FieldError("/days", "invalid_value", f"It must be 1 to {MAX_DAYS}."),),
        )
    condition = affected(conn, scope)
    # All rollbacks are asked for one after the other, so that two of them never get the same device.
    lock_groups(conn, {ALL_DEVICES, *scope.group_ids})
    job_id = f"rbk_{secrets.token_hex(10)}"
    pause_from = pause_day(now)
    conn.execute(
        insert(_job).values(
            id=job_id,
            kind=kind.value,
            reason=reason,
            group_ids=sorted(set(scope.group_ids)),
            created_at=now,
            created_by=origin.actor,
            ends_at=now + timedelta(days=days),
            pause_from=pause_from,
            paused_until=pause_over_at(pause_from),
        )
    )
    _insert_devices(conn, job_id, kind, condition, now)
    view = get_rollback(conn, job_id, now=now)
    if not view.states.get(WAITING):
        raise Conflict(
            "There is no device that could be told to roll back: there is none at all, or each has left "
            "management or is in another rollback of this kind.",
            code="rollback_empty",
        )
    intent_changed(conn, scope.group_ids)
    record(
        conn,
        origin,
        now=now,
        action="rollback.create",
        object_type="rollback",
        object_id=job_id,
        detail={"devices": view.devices, "device_ids": sorted(set(scope.device_ids))},
        after=_audited(view),
    )
    return view


def cancel_rollback(
    conn: Connection, origin: Origin, job_id: str, *, now: datetime
) -> tuple[RollbackView, int]:
    """Tell no further device to roll back; returns the rollback, and how many devices had been told.

    Raises NotFound `rollback_not_found` and Conflict `rollback_over`.
    """
    row = _lock(conn, job_id)
    if row.cancelled_at is not None or row.released_at is not None:
        raise _over()
    return _end(conn, origin, row, "cancelled", now)


def release_rollback(
    conn: Connection, origin: Origin, job_id: str, *, now: datetime
) -> tuple[RollbackView, int]:
    """Let updates of the kind flow again on all its devices, and tell no further device to roll back.

    Returns as `cancel_rollback` does. Raises NotFound `rollback_not_found` and Conflict `rollback_over`.
    """
    row = _lock(conn, job_id)
    if row.released_at is not None:
        raise _over()
    return _end(conn, origin, row, "released", now)


def get_rollback(conn: Connection, job_id: str, *, now: datetime) -> RollbackView:
    """The rollback; raises NotFound `rollback_not_found`."""
    row = conn.execute(select(_job).where(_job.c.id == job_id)).one_or_none()
    if row is None:
        raise _unknown(job_id)
    return _views(conn, [row], now)[0]


def list_rollbacks(
    conn: Connection, *, before: tuple[datetime, str] | None, limit: int, now: datetime
) -> list[RollbackView]:
    """At most `limit` rollbacks older than `before`, newest first."""
    query = select(_job).order_by(_job.c.created_at.desc(), _job.c.id.desc()).limit(limit)
    if before is not None:
        moment, job_id = before
        query = query.where(
            (_job.c.created_at < moment) | and_(_job.c.created_at == moment, _job.c.id < job_id)
        )
    return _views(conn, conn.execute(query).all(), now)


def list_outcomes(
    conn: Connection, job_id: str, *, state: str | None = None, after: int | None, limit: int, now: datetime
) -> list[tuple[int, OutcomeView]]:
    """At most `limit` devices of the rollback with their primary keys, beginning after the key `after`.

    `state` is one of `mdm.rollbacks.states.SHOWN`. Raises NotFound `rollback_not_found`.
    """
    ends_at = get_rollback(conn, job_id, now=now).ends_at
    query = (
        select(_rows, _device.c.id, _device.c.device_id, _device.c.name)
        .join(_device, _device.c.pk == _rows.c.device_pk)
        .where(_rows.c.job_id == job_id)
        .order_by(_rows.c.device_pk)
        .limit(limit)
    )
    if state is not None:
        stored = [each for each in _STORED if as_shown(each, "", ends_at, now)[0] == state]
        query = query.where(_rows.c.state.in_(stored))
    if after is not None:
        query = query.where(_rows.c.device_pk > after)
    return [(row.device_pk, _outcome(row, ends_at, now)) for row in conn.execute(query)]


def affected(conn: Connection, scope: RollbackScope) -> ColumnElement[bool]:
    """The condition that a device is in the scope; raises Invalid for an empty scope and for unknown devices."""
    if not scope.group_ids and not scope.device_ids:
        raise Invalid(
            "Nobody is to roll back.",
            errors=(FieldError("/group_ids", "required", "Name groups or devices."),),
        )
    known = conn.execute(select(_device.c.id, _device.c.pk).where(_device.c.id.in_(scope.device_ids)))
    pks = {row.id: row.pk for row in known}
    errors = tuple(
        FieldError(f"/device_ids/{index}", "unknown_device", f"There is no device {each!r}.")
        for index, each in enumerate(scope.device_ids)
        if each not in pks
    )
    if errors:
        raise Invalid("Some of the devices do not exist.", errors=errors[:20])
    named = in_groups(scope.group_ids) | _device.c.pk.in_(list(pks.values()))
    if not scope.holding:
        return named
    has_one = exists().where(
        _told_of.c.device_pk == _device.c.pk,
        _told_of.c.update_id.in_(scope.holding),
        _told_of.c.state.in_(("installed", "pending_reboot")),
    )
    return named & has_one


def is_busy(kind: RollbackKind, now: datetime) -> ColumnElement[bool]:
    """The condition that another rollback of the kind is under way on a device."""
    return exists().where(
        _rows.c.device_pk == _device.c.pk,
        _rows.c.state.in_(UNDER_WAY),
        _job.c.id == _rows.c.job_id,
        _job.c.kind == kind.value,
        _job.c.ends_at > now,
    )


def _insert_devices(
    conn: Connection, job_id: str, kind: RollbackKind, condition: ColumnElement[bool], now: datetime
) -> None:
    """One statement, however many devices there are."""
    gone, busy = ~is_managed(), is_busy(kind, now)
    state = case((gone | busy, REFUSED), else_=WAITING)
    detail = case(
        (_device.c.unenrolled_at.is_not(None), "The device has left management."),
        (gone, "The device was asked to leave management."),
        (busy, f"Another rollback of {kind} updates is under way on the device."),
        else_="Waits for the next session of the device.",
    )
    columns = ("job_id", "device_pk", "state", "since", "detail", "sends")
    moment = literal(now, _rows.c.since.type)
    devices = select(literal(job_id), _device.c.pk, state, moment, detail, literal(0)).where(condition)
    conn.execute(insert(_rows).from_select(columns, devices))


def _end(
    conn: Connection, origin: Origin, row: Row[Any], how: str, now: datetime
) -> tuple[RollbackView, int]:
    """Tell no further device; `how` names the columns that say when and by whom."""
    before = get_rollback(conn, row.id, now=now)
    values = {f"{how}_at": now, f"{how}_by": origin.actor}
    conn.execute(update(_job).where(_job.c.id == row.id).values(**values))
    conn.execute(
        update(_rows)
        .where(_rows.c.job_id == row.id, _rows.c.state == WAITING)
        .values(state=CANCELLED, since=now, detail="Cancelled before the device was told to roll back.")
    )
    intent_changed(conn, row.group_ids)
    after = get_rollback(conn, row.id, now=now)
    record(
        conn,
        origin,
        now=now,
        action=_ENDS[how],
        object_type="rollback",
        object_id=row.id,
        before=_audited(before),
        after=_audited(after),
    )
    told = select(func.count()).where(_rows.c.job_id == row.id, _rows.c.state.in_(_TOLD))
    return after, conn.scalar(told) or 0


def _views(conn: Connection, rows: Sequence[Row[Any]], now: datetime) -> list[RollbackView]:
    counts: dict[str, dict[str, int]] = {row.id: {} for row in rows}
    for job_id, state, number in conn.execute(
        select(_rows.c.job_id, _rows.c.state, func.count())
        .where(_rows.c.job_id.in_(counts))
        .group_by(_rows.c.job_id, _rows.c.state)
        .order_by(_rows.c.state)
    ):
        counts[job_id][state] = number
    return [_view(row, counts[row.id], now) for row in rows]


def _view(row: Row[Any], counts: Mapping[str, int], now: datetime) -> RollbackView:
    states: dict[str, int] = {}
    for stored, number in counts.items():
        state, _ = as_shown(stored, "", row.ends_at, now)
        states[state] = states.get(state, 0) + number
    state = "running" if states.keys() & set(UNDER_WAY) else "ended"
    members = row._asdict() | {"group_ids": tuple(row.group_ids)}
    return RollbackView(
        **members,
        state=state if row.cancelled_at is None else "cancelled",
        devices=sum(counts.values()),
        states=states,
    )


def _outcome(row: Row[Any], ends_at: datetime, now: datetime) -> OutcomeView:
    state, sentence = as_shown(row.state, row.detail, ends_at, now)
    return OutcomeView(
        id=row.id,
        device_id=row.device_id,
        name=row.name,
        state=state,
        since=row.since,
        sentence=sentence,
        version_before=row.version_before,
        sent_at=row.sent_at,
        status_code=row.status_code,
        error=row.error,
        error_text=explain(row.error),
        status_text=row.status_text,
        status_at=row.status_at,
    )


def _audited(view: RollbackView) -> dict[str, Any]:
    """What IT has decided of it, and how many devices were in which state at that moment."""
    return {name: value for name, value in asdict(view).items() if name not in {"id", "state", "devices"}}


def _lock(conn: Connection, job_id: str) -> Row[Any]:
    # The key is not what is held: a check-in that writes a device's row twice has PostgreSQL look at the job again, and
    # would wait here for whoever waits for that row.
    query = select(_job).where(_job.c.id == job_id).with_for_update(key_share=True)
    row = conn.execute(query).one_or_none()
    if row is None:
        raise _unknown(job_id)
    return row


def _unknown(job_id: str) -> NotFound:
    return NotFound(f"There is no rollback {job_id!r}.", code="rollback_not_found", rollback_id=job_id)


def _over() -> Conflict:
    return Conflict(
        "The rollback was cancelled, or updates flow again on its devices: nothing is left to change.",
        code="rollback_over",
    )
