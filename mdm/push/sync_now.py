"""Sync now: the wish that devices check in at once, and what can be promised of it.

The wish is kept with the device, and the first session after it asks everything that is otherwise asked daily. A
notification goes out to devices that take any, after the transaction, by `mdm.push.worker`; whether one comes by it is
up to Windows, so each answer says when the device comes by itself at the latest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import select, update

from csp.push import push_words
from mdm.audit import record
from mdm.devices.groups import get_group
from mdm.devices.timeline import Event, record_events
from mdm.enrolment.poll_schedule import PollSchedule
from mdm.errors import Conflict, FieldError, Invalid, NotFound
from mdm.storage.statements import table_of
from mdm.storage.tables import ALL_DEVICES, Device, GroupMember

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Row

    from mdm.audit import Origin

__all__ = ["MAX_DEVICES", "SYNC_REQUESTED", "SyncWish", "in_group", "request_sync", "request_syncs"]

MAX_DEVICES: Final = 500
"""Devices that one wish may be for: each gets an entry in the audit trail."""

SYNC_REQUESTED: Final = "sync_requested"
"""Event of a timeline: somebody (`by`) wanted the device to check in at once."""

_NAMED: Final = 20
"""Wrong devices named in one answer."""

_device: Final = table_of(Device)
_member: Final = table_of(GroupMember)


@dataclass(frozen=True, slots=True)
class SyncWish:
    """The answer to one wish."""

    id: str
    sync_requested_at: datetime
    push: Literal["queued", "not_possible"]
    """`queued`: a notification goes out now, and the timeline tells what became of it (`pushed`, `push_failed`)."""
    push_why: str
    """The same as a sentence."""
    expected_by: datetime | None
    """When the device comes by itself at the latest, by its schedule; None where nobody knows here."""
    expected_why: str
    """The same as a sentence."""


def request_sync(
    conn: Connection, origin: Origin, public_id: str, *, pushing: bool, now: datetime
) -> SyncWish:
    """Want one device to check in at once; raises NotFound, and Conflict `device_left` if it has left management.

    `pushing` says whether notifications are set up. To want it again moves the wish to now.
    """
    (row,) = _locked(conn, [public_id]) or (None,)
    if row is None:
        raise NotFound(f"There is no device {public_id!r}.")
    if row.unenrolled_at is not None:
        raise Conflict("The device has left management and does not check in any more.", code="device_left")
    return _wish(conn, origin, [row], pushing=pushing, now=now)[0]


def request_syncs(
    conn: Connection, origin: Origin, public_ids: Sequence[str], *, pushing: bool, now: datetime
) -> list[SyncWish]:
    """Want these devices, at most `MAX_DEVICES`, to check in at once; in order of enrolment.

    Those that have left management are left out. Raises Invalid that names the ones that do not exist.
    """
    rows = _locked(conn, public_ids)
    known = {row.id for row in rows}
    errors = tuple(
        FieldError(f"/devices/{index}", "unknown_device", "There is no such device.")
        for index, public_id in enumerate(public_ids)
        if public_id not in known
    )
    if errors:
        raise Invalid("Some of the devices do not exist; nothing was asked for.", errors=errors[:_NAMED])
    staying = [row for row in rows if row.unenrolled_at is None]
    return _wish(conn, origin, staying, pushing=pushing, now=now)


def in_group(conn: Connection, group_id: str) -> list[str]:
    """The devices of a group that have not left management.

    Raises NotFound for an unknown group, and Invalid for more than `MAX_DEVICES`.
    """
    get_group(conn, group_id)
    query = select(_device.c.id).where(_device.c.unenrolled_at.is_(None))
    if group_id != ALL_DEVICES:
        query = query.join(_member, _member.c.device_pk == _device.c.pk).where(_member.c.group_id == group_id)
    found = list(conn.scalars(query.order_by(_device.c.pk).limit(MAX_DEVICES + 1)))
    if len(found) > MAX_DEVICES:
        detail = f"The group has more than {MAX_DEVICES} devices, which would all come at once; name a smaller one."
        raise Invalid("The group is too large.", errors=(FieldError("/group", "too_many_devices", detail),))
    return found


def _locked(conn: Connection, public_ids: Iterable[str]) -> Sequence[Row[Any]]:
    # In one order, so that two wishes for the same devices cannot wait for each other.
    return conn.execute(
        select(_device).where(_device.c.id.in_(set(public_ids))).order_by(_device.c.pk).with_for_update()
    ).all()


def _wish(
    conn: Connection, origin: Origin, rows: Sequence[Row[Any]], *, pushing: bool, now: datetime
) -> list[SyncWish]:
    chosen = _device.c.pk.in_([row.pk for row in rows])
    conn.execute(update(_device).where(chosen).values(sync_requested_at=now))
    # What is in effect of our policies is read daily, too; a device that has none stays without.
    conn.execute(update(_device).where(chosen, _device.c.policies_due_at > now).values(policies_due_at=now))
    for row in rows:
        record_events(conn, row.pk, [Event(SYNC_REQUESTED, {"by": origin.actor})], now)
        record(
            conn,
            origin,
            now=now,
            action="device.sync",
            object_type="device",
            object_id=row.id,
            before={"sync_requested_at": row.sync_requested_at},
            after={"sync_requested_at": now},
        )
    return [_answer(row, pushing=pushing, now=now) for row in rows]


def _answer(row: Row[Any], *, pushing: bool, now: datetime) -> SyncWish:
    obstacle = _obstacle(row, pushing=pushing)
    expected_by, expected_why = _expected(row, now)
    return SyncWish(
        id=row.id,
        sync_requested_at=now,
        push="queued" if obstacle is None else "not_possible",
        push_why=obstacle or "A notification goes out now; whether Windows acts on it is not certain.",
        expected_by=expected_by,
        expected_why=expected_why,
    )


def _obstacle(row: Row[Any], *, pushing: bool) -> str | None:
    if not pushing:
        return (
            "Push notifications are not set up (BRIDGE_WNS_PFN), so the device comes when it comes by itself."
        )
    if row.push_channel is None:
        return f"The device has no channel for notifications. {push_words(row.push_status)}"
    return None


def _expected(row: Row[Any], now: datetime) -> tuple[datetime | None, str]:
    if row.last_checkin_at is None:
        return None, "The device has never checked in, so nobody knows when it will."
    if row.poll_schedule is None:
        return None, "The bridge has not given the device its poll schedule and does not know when it comes."
    at: datetime = row.last_checkin_at + timedelta(
        minutes=PollSchedule.parse(row.poll_schedule).longest_minutes
    )
    if at < now:
        return at, "The device is overdue: it may be switched off, asleep or without network."
    return at, "The device comes by itself until then, if it is switched on and has network."
