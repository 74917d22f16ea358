"""The windows of one device, and what they come to: the check-in's reads.

One indexed read each; a device that no window is for costs nothing beyond it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, or_, select

from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import ALL_DEVICES, GroupMember, MaintenanceWindow, WindowCatchUp, WindowGroup
from mdm.windows.definition import recurrence_of
from mdm.windows.state import UNRESTRICTED, HeldWindow, WindowState, owed_until, state_of

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

__all__ = ["grant_catch_up", "held_window", "is_for_device", "window_state"]

_window: Final = table_of(MaintenanceWindow)
_group: Final = table_of(WindowGroup)
_member: Final = table_of(GroupMember)
_catch_up: Final = table_of(WindowCatchUp)


def is_for_device(device_pk: Any) -> ColumnElement[bool]:
    """The condition that a window is for a device, by its groups."""
    # A device that the statement around them selects from stays the statement's.
    groups = select(_member.c.group_id).where(_member.c.device_pk == device_pk).correlate_except(_member)
    windows = (
        select(_group.c.window_id)
        .where(or_(_group.c.group_id == ALL_DEVICES, _group.c.group_id.in_(groups)))
        .correlate_except(_group)
    )
    return _window.c.id.in_(windows)


_OF_DEVICE: Final = (
    select(
        _window.c.id,
        _window.c.pattern,
        _window.c.start,
        _window.c.duration_minutes,
        _window.c.zone,
        _window.c.fallback_zone,
        _window.c.valid_from,
        _window.c.valid_until,
        _window.c.catch_up_hours,
        _catch_up.c.until,
    )
    .outerjoin(
        _catch_up,
        and_(_catch_up.c.window_id == _window.c.id, _catch_up.c.device_pk == bindparam("device_pk")),
    )
    .where(is_for_device(bindparam("device_pk")))
)
_FORGET: Final = delete(_catch_up).where(
    _catch_up.c.device_pk == bindparam("of_device"),
    _catch_up.c.until <= bindparam("now", type_=_catch_up.c.until.type),
)


def window_state(
    connection: Connection, device_pk: int, now: datetime, last_checkin_at: datetime | None
) -> WindowState:
    """Whether the device may be given updates now, and when that changes by time alone.

    `last_checkin_at` is when it was last seen, as its row says it at this moment (None: never).
    """
    rows = connection.execute(_OF_DEVICE, {"device_pk": device_pk}).all()
    if not rows:
        return UNRESTRICTED
    return state_of([held_window(row, row.until) for row in rows], now, last_checkin_at)


def grant_catch_up(
    connection: Connection, device_pk: int, now: datetime, last_checkin_at: datetime | None
) -> None:
    """Remember, as a session begins, which windows the device missed and may catch up on, and until when.

    `last_checkin_at` is when it was seen before this session. Its later sessions in the same catch-up time find
    it granted, although it has been seen by then.
    """
    granted = [
        {"device_pk": device_pk, "window_id": row.id, "until": until}
        for row in connection.execute(_OF_DEVICE, {"device_pk": device_pk}).all()
        if (until := owed_until(held_window(row, None), now, last_checkin_at)) is not None
    ]
    if granted:
        connection.execute(_FORGET, {"of_device": device_pk, "now": now})
        connection.execute(upsert(_catch_up, connection, update=("until",)), granted)


def held_window(row: Any, granted_until: datetime | None) -> HeldWindow:
    """The window in a row."""
    return HeldWindow(row.id, recurrence_of(row), timedelta(hours=row.catch_up_hours), granted_until)
