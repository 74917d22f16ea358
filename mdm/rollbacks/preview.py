"""Who would roll back, who cannot and why: the same conditions as at the check-in, and nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from mdm.devices.groups import find_groups
from mdm.rollbacks.conditions import is_paused, read_facts, refusal
from mdm.rollbacks.store import affected, is_busy
from mdm.storage.statements import table_of
from mdm.storage.tables import Device

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from csp.rollback import RollbackKind
    from mdm.rollbacks.store import RollbackScope

__all__ = ["PreviewedDevice", "RollbackPreview", "preview_rollback"]

SHOWN: Final = 50
"""Devices named on each side."""

EXAMINED: Final = 10_000
"""Devices looked at one by one: a preview is to answer in seconds."""

_PIECE: Final = 500

_device: Final = table_of(Device)


@dataclass(frozen=True, slots=True)
class PreviewedDevice:
    """A device, and what is known of its rollback beforehand."""

    id: str
    device_id: str
    name: str
    os_version: str | None
    last_checkin_at: datetime | None
    paused: bool
    """Updates of the kind are paused on it already."""
    why_not: str | None
    """Why it cannot roll back, in a sentence."""


@dataclass(frozen=True, slots=True)
class RollbackPreview:
    """What a rollback would come to."""

    devices: int
    examined: int
    """Of these so many, in order of enrolment, were looked at; the figures below are about them."""
    would: int
    """Nothing known speaks against it; Windows itself checks once more."""
    cannot: int
    as_of: datetime
    shown: tuple[PreviewedDevice, ...]
    """The first of those that would roll back, and then the first of those that cannot."""


def preview_rollback(
    conn: Connection, *, kind: RollbackKind, scope: RollbackScope, now: datetime
) -> RollbackPreview:
    """Ask what a rollback would come to; raises Invalid and NotFound as `create_rollback` does."""
    condition = affected(conn, scope)
    find_groups(conn, scope.group_ids)
    sides: dict[bool, list[PreviewedDevice]] = {True: [], False: []}
    counts = {True: 0, False: 0}
    for rows in _pieces(conn, kind, condition, now):
        facts = read_facts(conn, kind, [row.pk for row in rows])
        for row in rows:
            why_not = refusal(kind, facts[row.pk], now)
            if why_not is None and row.busy:
                why_not = f"Another rollback of {kind} updates is under way on the device."
            would = why_not is None
            counts[would] += 1
            if len(sides[would]) < SHOWN:
                paused = is_paused(kind, facts[row.pk], now)
                sides[would].append(
                    PreviewedDevice(
                        row.id, row.device_id, row.name, row.os_version, row.last_checkin_at, paused, why_not
                    )
                )
    count = select(func.count()).select_from(_device).where(condition)
    return RollbackPreview(
        devices=conn.scalar(count) or 0,
        examined=counts[True] + counts[False],
        would=counts[True],
        cannot=counts[False],
        as_of=now,
        shown=(*sides[True], *sides[False]),
    )


def _pieces(
    conn: Connection, kind: RollbackKind, condition: ColumnElement[bool], now: datetime
) -> Iterator[list[Any]]:
    """The devices to look at, some hundreds at a time."""
    columns = (
        _device.c.pk,
        _device.c.id,
        _device.c.device_id,
        _device.c.name,
        _device.c.os_version,
        _device.c.last_checkin_at,
        is_busy(kind, now).label("busy"),
    )
    query = select(*columns).where(condition).order_by(_device.c.pk).limit(_PIECE)
    last = -1
    for _ in range(EXAMINED // _PIECE):
        rows = list(conn.execute(query.where(_device.c.pk > last)).all())
        if not rows:
            return
        yield rows
        last = rows[-1].pk
