"""Maintenance windows in the database: making, changing, reading and deleting them."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import delete, insert, select, update

from mdm.approvals.versions import intent_changed
from mdm.audit import record
from mdm.devices.groups import lock_groups
from mdm.errors import Conflict, NotFound
from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import MaintenanceWindow, WindowCatchUp, WindowGroup
from mdm.windows.definition import (
    WindowDefinition,
    check_definition,
    pattern_json,
    read_pattern,
    recurrence_of,
)
from mdm.windows.enforcement import Enforcement, enforcement_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.audit import Origin
    from mdm.windows.recurrence import Recurrence

__all__ = [
    "Opening",
    "WindowView",
    "change_window",
    "create_window",
    "delete_window",
    "get_window",
    "list_windows",
    "openings_of",
]

_OPENINGS: Final = 5
"""Openings shown of each window."""

_window: Final = table_of(MaintenanceWindow)
_group: Final = table_of(WindowGroup)
_catch_up: Final = table_of(WindowCatchUp)


@dataclass(frozen=True, slots=True)
class Opening:
    """One time that a window is open."""

    opens: datetime
    closes: datetime
    local_opens: str
    """The same by the clocks of the window's zone, or of its fallback."""
    local_closes: str


@dataclass(frozen=True, slots=True)
class WindowView:
    """A maintenance window as an administrator sees it."""

    id: str
    name: str
    group_ids: tuple[str, ...]
    pattern: Mapping[str, Any]
    start: str
    duration_minutes: int
    zone: str
    fallback_zone: str | None
    valid_from: datetime | None
    valid_until: datetime | None
    catch_up_hours: int
    enforce_on_device: bool
    allow_auto_update: int
    reason: str | None
    created_at: datetime
    created_by: str
    state: str
    """`open`, `closed`, `not_yet` before its `valid_from`, or `over`; in the last two it restricts nobody."""
    openings: tuple[Opening, ...]
    """The next five, the one under way among them."""
    enforcement: Enforcement
    """What devices themselves can keep of it; they do only with `enforce_on_device`."""


def create_window(
    conn: Connection, origin: Origin, definition: WindowDefinition, *, now: datetime
) -> WindowView:
    """Make a window.

    Raises Invalid naming each wrong member, NotFound `group_not_found`, and Conflict `window_exists` for a name
    that is taken.
    """
    check_definition(definition)
    lock_groups(conn, definition.group_ids)
    window_id = f"win_{secrets.token_hex(10)}"
    made = conn.execute(
        insert_ignore(_window, conn).values(
            id=window_id, created_at=now, created_by=origin.actor, **_columns(definition)
        )
    )
    if made.rowcount == 0:
        raise _name_taken(conn, definition.name)
    _write_groups(conn, window_id, definition.group_ids)
    intent_changed(conn, definition.group_ids)
    view = get_window(conn, window_id, now=now)
    record(
        conn,
        origin,
        now=now,
        action="maintenance_window.create",
        object_type="maintenance_window",
        object_id=window_id,
        after=_audited(view),
    )
    return view


def change_window(
    conn: Connection, origin: Origin, window_id: str, definition: WindowDefinition, *, now: datetime
) -> WindowView:
    """Give the window this definition; what devices were catching up on is forgotten.

    Raises NotFound `window_not_found`, and what `create_window` raises.
    """
    check_definition(definition)
    _lock(conn, window_id)
    before = get_window(conn, window_id, now=now)
    lock_groups(conn, definition.group_ids)
    other = conn.scalar(
        select(_window.c.id).where(_window.c.name == definition.name, _window.c.id != window_id)
    )
    if other is not None:
        raise _name_taken(conn, definition.name)
    conn.execute(update(_window).where(_window.c.id == window_id).values(**_columns(definition)))
    conn.execute(delete(_group).where(_group.c.window_id == window_id))
    _write_groups(conn, window_id, definition.group_ids)
    after = get_window(conn, window_id, now=now)
    if _audited(before) == _audited(after):
        return after
    conn.execute(delete(_catch_up).where(_catch_up.c.window_id == window_id))
    intent_changed(conn, {*before.group_ids, *after.group_ids})
    record(
        conn,
        origin,
        now=now,
        action="maintenance_window.change",
        object_type="maintenance_window",
        object_id=window_id,
        before=_audited(before),
        after=_audited(after),
    )
    return after


def delete_window(conn: Connection, origin: Origin, window_id: str, *, now: datetime) -> None:
    """Delete the window; raises NotFound `window_not_found`."""
    _lock(conn, window_id)
    before = get_window(conn, window_id, now=now)
    conn.execute(delete(_window).where(_window.c.id == window_id))
    intent_changed(conn, before.group_ids)
    record(
        conn,
        origin,
        now=now,
        action="maintenance_window.delete",
        object_type="maintenance_window",
        object_id=window_id,
        before=_audited(before),
    )


def get_window(conn: Connection, window_id: str, *, now: datetime) -> WindowView:
    """The window; raises NotFound `window_not_found`."""
    row = conn.execute(select(_window).where(_window.c.id == window_id)).one_or_none()
    if row is None:
        raise _unknown(window_id)
    return _views(conn, [row], now)[0]


def list_windows(conn: Connection, *, after: str | None, limit: int, now: datetime) -> list[WindowView]:
    """At most `limit` windows whose name comes after `after`, by name."""
    query = select(_window).order_by(_window.c.name).limit(limit)
    if after is not None:
        query = query.where(_window.c.name > after)
    return _views(conn, conn.execute(query).all(), now)


def openings_of(recurrence: Recurrence, now: datetime) -> tuple[Opening, ...]:
    """The next five times that it is open, the one under way among them."""
    zone = ZoneInfo(recurrence.zone)
    return tuple(
        Opening(
            each.opens,
            each.closes,
            each.opens.astimezone(zone).isoformat(),
            each.closes.astimezone(zone).isoformat(),
        )
        for each in recurrence.upcoming(now, _OPENINGS)
    )


def _columns(definition: WindowDefinition) -> dict[str, Any]:
    columns = asdict(definition) | {"pattern": pattern_json(read_pattern(definition.pattern))}
    del columns["group_ids"]
    return columns


def _write_groups(conn: Connection, window_id: str, group_ids: Sequence[str]) -> None:
    rows = [{"window_id": window_id, "group_id": group_id} for group_id in sorted(set(group_ids))]
    conn.execute(insert(_group), rows)


def _views(conn: Connection, rows: Sequence[Row[Any]], now: datetime) -> list[WindowView]:
    groups: dict[str, tuple[str, ...]] = {}
    for window_id, group_id in conn.execute(
        select(_group.c.window_id, _group.c.group_id)
        .where(_group.c.window_id.in_([row.id for row in rows]))
        .order_by(_group.c.group_id)
    ):
        groups[window_id] = (*groups.get(window_id, ()), group_id)
    return [_view(row, groups.get(row.id, ()), now) for row in rows]


def _view(row: Row[Any], group_ids: tuple[str, ...], now: datetime) -> WindowView:
    recurrence = recurrence_of(row)
    return WindowView(
        **row._asdict(),
        group_ids=group_ids,
        state=_state(recurrence, now),
        openings=openings_of(recurrence, now),
        enforcement=enforcement_of(row),
    )


def _state(recurrence: Recurrence, now: datetime) -> str:
    if recurrence.over(now):
        return "over"
    if not recurrence.in_force(now):
        return "not_yet"
    return "closed" if recurrence.occurrence_at(now) is None else "open"


def _audited(view: WindowView) -> dict[str, Any]:
    """What IT has decided of it, without what follows from that and the time."""
    derived = {"id", "state", "openings", "enforcement", "created_at", "created_by"}
    return {name: value for name, value in asdict(view).items() if name not in derived}


def _lock(conn: Connection, window_id: str) -> None:
    """Hold the window until the transaction ends."""
    found = conn.scalar(select(_window.c.id).where(_window.c.id == window_id).with_for_update())
    if found is None:
        raise _unknown(window_id)


def _name_taken(conn: Connection, name: str) -> Conflict:
    existing = conn.scalar(select(_window.c.id).where(_window.c.name == name))
    return Conflict(f"A maintenance window named {name!r} exists.", code="window_exists", existing=existing)


def _unknown(window_id: str) -> NotFound:
    return NotFound(
        f"There is no maintenance window {window_id!r}.", code="window_not_found", window_id=window_id
    )
