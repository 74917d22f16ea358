"""What a window would come to, were it made: whom it is for, who has others, and when each could be given updates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, or_, select

from mdm.devices.groups import find_groups
from mdm.devices.scope import in_groups
from mdm.storage.statements import table_of
from mdm.storage.tables import ALL_DEVICES, Device, GroupMember, MaintenanceWindow, WindowGroup
from mdm.windows.definition import check_definition
from mdm.windows.effective import held_window, is_for_device
from mdm.windows.enforcement import Enforcement, enforcement_of
from mdm.windows.state import HeldWindow, state_of
from mdm.windows.store import Opening, openings_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from mdm.windows.definition import WindowDefinition

__all__ = ["AffectedDevice", "WindowPreview", "preview_window"]

SHOWN: Final = 50
"""Devices named in a preview."""

_IMAGINED: Final = ""
"""Id of the window that is only thought of."""

_device: Final = table_of(Device)
_member: Final = table_of(GroupMember)
_window: Final = table_of(MaintenanceWindow)
_group: Final = table_of(WindowGroup)


@dataclass(frozen=True, slots=True)
class AffectedDevice:
    """A device that would have the window."""

    id: str
    device_id: str
    name: str
    other_windows: tuple[str, ...]
    """Windows it has already: it may be given updates while any is open."""
    open_now: bool
    opens_next: datetime | None
    """If it is not open now: from when it could be given updates, with all its windows."""


@dataclass(frozen=True, slots=True)
class WindowPreview:
    """What a definition would come to."""

    devices: int
    overlapping: int
    """Those that have other windows, too."""
    as_of: datetime
    shown: tuple[AffectedDevice, ...]
    """The first of them, in order of enrolment, those with other windows before the rest."""
    openings: tuple[Opening, ...]
    enforcement: Enforcement


def preview_window(
    conn: Connection, definition: WindowDefinition, *, replaces: str | None = None, now: datetime
) -> WindowPreview:
    """Ask what the definition would come to; nothing is written.

    `replaces` is the window that it would be given to, which then does not count as another. Raises Invalid and
    NotFound as `create_window` does.
    """
    recurrence = check_definition(definition)
    find_groups(conn, definition.group_ids)
    affected = in_groups(definition.group_ids)
    others = _has_others(replaces)
    count = select(func.count()).select_from(_device).where(affected)
    rows = _named(conn, affected, others, SHOWN)
    rows += _named(conn, affected, ~others, SHOWN - len(rows))
    held = _windows_of(conn, [row.pk for row in rows], replaces)
    imagined = HeldWindow(_IMAGINED, recurrence, timedelta(hours=definition.catch_up_hours))
    return WindowPreview(
        devices=conn.scalar(count) or 0,
        overlapping=conn.scalar(count.where(others)) or 0,
        as_of=now,
        shown=tuple(_affected(row, imagined, held[row.pk], now) for row in rows),
        openings=openings_of(recurrence, now),
        enforcement=enforcement_of(definition),
    )


def _affected(row: Any, imagined: HeldWindow, held: Sequence[HeldWindow], now: datetime) -> AffectedDevice:
    state = state_of([imagined, *held], now, row.last_checkin_at)
    ids = tuple(window.id for window in held)
    return AffectedDevice(row.id, row.device_id, row.name, ids, not state.closed, state.next_open)


def _has_others(replaces: str | None) -> ColumnElement[bool]:
    """The condition that a device has a window besides the imagined one."""
    links = select(_group.c.window_id).where(_group.c.window_id != (replaces or _IMAGINED))
    by_group = links.join(_member, _member.c.group_id == _group.c.group_id)
    return or_(
        links.where(_group.c.group_id == ALL_DEVICES).exists(),
        by_group.where(_member.c.device_pk == _device.c.pk).correlate(_device).exists(),
    )


def _named(
    conn: Connection, affected: ColumnElement[bool], others: ColumnElement[bool], limit: int
) -> list[Any]:
    columns = (_device.c.pk, _device.c.id, _device.c.device_id, _device.c.name, _device.c.last_checkin_at)
    query = select(*columns).where(affected, others).order_by(_device.c.pk).limit(limit)
    return list(conn.execute(query).all())


def _windows_of(
    conn: Connection, device_pks: Sequence[int], replaces: str | None
) -> dict[int, list[HeldWindow]]:
    """The stored windows of each device, in order of their ids."""
    query = (
        select(_device.c.pk.label("device_pk"), _window)
        .select_from(_device.join(_window, is_for_device(_device.c.pk)))
        .where(_device.c.pk.in_(device_pks), _window.c.id != (replaces or _IMAGINED))
        .order_by(_window.c.id)
    )
    found: dict[int, list[HeldWindow]] = {pk: [] for pk in device_pks}
    for row in conn.execute(query):
        found[row.device_pk].append(held_window(row, None))
    return found
