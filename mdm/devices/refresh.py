"""Keeping `group_member` what the definitions say: for one device at its check-in, for all of them by and by.

The rows of a device are made anew when something it is decided by changes, and when the definitions have changed
since they were made. A device that is behind is brought up to date at its next check-in, or before that by
`refresh_memberships`, whichever comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from mdm.devices.definitions import current_version, load_definitions, share_definitions
from mdm.devices.facts import FACT_COLUMNS, facts_key, read_facts
from mdm.devices.membership import membership
from mdm.storage.statements import table_of
from mdm.storage.tables import ALL_DEVICES, Device, GroupMember, GroupsVersion, StaticMember

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection, Table

__all__ = [
    "Freshness",
    "count_behind",
    "ensure_current",
    "freshness",
    "lock_device",
    "recompute",
    "refresh_memberships",
    "static_groups",
]

_BATCH: Final = 500
"""Devices worked out together: their ids stand in one IN list."""

_device = table_of(Device)
_member = table_of(GroupMember)
_static = table_of(StaticMember)
_version = table_of(GroupsVersion)

_BASIS: Final = select(
    select(_version.c.version).scalar_subquery().label("version"),
    _device.c.membership_version,
    _device.c.membership_facts,
    *FACT_COLUMNS,
).where(_device.c.pk == bindparam("b_pk"))
"""What the memberships of a device would be made with, and what they were made with."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far memberships can be relied on."""

    devices_behind: int
    """Devices whose groups are still those from before the last change of a definition."""
    definitions_changed_at: datetime | None
    """When a definition last changed; None if none ever did."""


def lock_device(conn: Connection, public_id: str) -> int | None:
    """The primary key of the device, held until the transaction ends; None if there is none."""
    return conn.scalar(select(_device.c.pk).where(_device.c.id == public_id).with_for_update())


def ensure_current(conn: Connection, device_pk: int) -> bool:
    """Work out the memberships of a device if anything they depend on has changed; returns whether it had.

    One read if not. The caller holds the device's row.
    """
    row = conn.execute(_BASIS, {"b_pk": device_pk}).one()
    if row.membership_version == row.version and row.membership_facts == facts_key(row):
        return False
    recompute(conn, [device_pk])
    return True


def refresh_memberships(conn: Connection, limit: int = _BATCH) -> int:
    """Work out the memberships of at most `limit` devices that are behind; returns how many those were.

    Devices somebody else is busy with are left to them. Zero does not mean that none is behind.
    """
    pks = conn.scalars(
        select(_device.c.pk)
        .where(_device.c.membership_version < current_version(conn))
        .order_by(_device.c.membership_version)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    recompute(conn, pks)
    return len(pks)


def recompute(conn: Connection, device_pks: Collection[int]) -> None:
    """Make the rows of these devices what the definitions say; the caller holds the devices' rows."""
    if not device_pks:
        return
    version = share_definitions(conn)
    definitions = load_definitions(conn)
    ordered = sorted(device_pks)
    for start in range(0, len(ordered), _BATCH):
        pks = ordered[start : start + _BATCH]
        facts, static, before = read_facts(conn, pks), static_groups(conn, pks), _groups(conn, _member, pks)
        after = {
            pk: membership(facts[pk], static.get(pk, frozenset()), definitions) - {ALL_DEVICES} for pk in pks
        }
        left = [(pk, group) for pk in pks for group in before.get(pk, frozenset()) - after[pk]]
        joined = [(pk, group) for pk in pks for group in after[pk] - before.get(pk, frozenset())]
        if left:
            key = (_member.c.device_pk == bindparam("b_pk"), _member.c.group_id == bindparam("b_group"))
            conn.execute(delete(_member).where(*key), [{"b_pk": pk, "b_group": group} for pk, group in left])
        if joined:
            conn.execute(insert(_member), [{"device_pk": pk, "group_id": group} for pk, group in joined])
        _mark(conn, pks, version)


def static_groups(conn: Connection, device_pks: Collection[int]) -> dict[int, frozenset[str]]:
    """The groups each device was put into by hand; devices in none are left out."""
    return _groups(conn, _static, device_pks)


def count_behind(conn: Connection) -> int:
    """How many devices have memberships still to be worked out."""
    return freshness(conn).devices_behind


def freshness(conn: Connection) -> Freshness:
    """How far memberships can be relied on now."""
    behind = (
        select(func.count())
        .where(_device.c.membership_version < _version.c.version)
        .correlate(_version)
        .scalar_subquery()
    )
    row = conn.execute(select(_version.c.changed_at, behind.label("behind"))).one()
    return Freshness(row.behind, row.changed_at)


def _groups(conn: Connection, table: Table, device_pks: Collection[int]) -> dict[int, frozenset[str]]:
    found: dict[int, set[str]] = {}
    rows = select(table.c.device_pk, table.c.group_id).where(table.c.device_pk.in_(device_pks))
    for pk, group_id in conn.execute(rows):
        found.setdefault(pk, set()).add(group_id)
    return {pk: frozenset(groups) for pk, groups in found.items()}


def _mark(conn: Connection, device_pks: Collection[int], version: int) -> None:
    """Keep what the memberships of these devices were made with."""
    rows = conn.execute(select(_device.c.pk, *FACT_COLUMNS).where(_device.c.pk.in_(device_pks)))
    conn.execute(
        update(_device)
        .where(_device.c.pk == bindparam("b_pk"))
        .values(membership_version=version, membership_facts=bindparam("b_facts")),
        [{"b_pk": row.pk, "b_facts": facts_key(row)} for row in rows],
    )
