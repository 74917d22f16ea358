"""Groups of devices: static membership, and the built-in `all-devices` that holds every device without rows."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select
from sqlmodel import col

from mdm.audit import record
from mdm.errors import Conflict, NotFound
from mdm.storage.statements import insert_ignore
from mdm.storage.tables import ALL_DEVICES, Approval, ApprovalGroup, Device, DeviceGroup, GroupMember

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.audit import Origin

__all__ = [
    "GroupView",
    "add_member",
    "create_group",
    "delete_group",
    "get_group",
    "groups_of",
    "list_groups",
    "lock_groups",
    "remove_member",
]

_NAMED_APPROVALS = 20
"""Approvals named in one `group_in_use`."""


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group as an administrator sees it."""

    id: str
    name: str
    builtin: bool
    created_at: datetime
    device_count: int


def create_group(conn: Connection, origin: Origin, *, name: str, now: datetime) -> GroupView:
    """Make an empty group; raises Conflict `group_exists` for a name that is taken."""
    group_id = f"grp_{secrets.token_hex(10)}"
    made = conn.execute(
        insert_ignore(DeviceGroup, conn).values(id=group_id, name=name, builtin=False, created_at=now)
    )
    if made.rowcount == 0:
        existing = conn.scalar(select(col(DeviceGroup.id)).where(col(DeviceGroup.name) == name))
        raise Conflict(f"A group named {name!r} exists.", code="group_exists", existing=existing)
    record(
        conn,
        origin,
        now=now,
        action="group.create",
        object_type="group",
        object_id=group_id,
        detail={"name": name},
    )
    return GroupView(group_id, name, builtin=False, created_at=now, device_count=0)


def list_groups(conn: Connection, *, after: str | None, limit: int) -> list[GroupView]:
    """At most `limit` groups whose name comes after `after`, by name."""
    query = select(col(DeviceGroup.id)).order_by(col(DeviceGroup.name)).limit(limit)
    if after is not None:
        query = query.where(col(DeviceGroup.name) > after)
    return _views(conn, conn.scalars(query).all())


def get_group(conn: Connection, group_id: str) -> GroupView:
    """The group; raises NotFound `group_not_found`."""
    views = _views(conn, [group_id])
    if not views:
        raise _unknown(group_id)
    return views[0]


def delete_group(conn: Connection, origin: Origin, group_id: str, *, now: datetime) -> None:
    """Delete a group and its memberships.

    Raises NotFound `group_not_found`, and Conflict: `group_builtin`, or `group_in_use` while an active
    approval names it, because that approval would silently reach nobody.
    """
    name = _changeable(conn, group_id)
    approvals = conn.scalars(
        select(col(Approval.id))
        .join(ApprovalGroup, col(ApprovalGroup.approval_id) == col(Approval.id))
        .where(col(ApprovalGroup.group_id) == group_id, col(Approval.revoked_at).is_(None))
        .order_by(col(Approval.id))
        .limit(_NAMED_APPROVALS)
    ).all()
    if approvals:
        raise Conflict(
            f"Active approvals name the group {name!r}.", code="group_in_use", approvals=list(approvals)
        )
    conn.execute(delete(DeviceGroup).where(col(DeviceGroup.id) == group_id))
    record(
        conn,
        origin,
        now=now,
        action="group.delete",
        object_type="group",
        object_id=group_id,
        detail={"name": name},
    )


def add_member(conn: Connection, origin: Origin, group_id: str, device_id: str, *, now: datetime) -> None:
    """Put the device (by its public id) into the group; a member already is left as it is.

    Raises NotFound for either, and Conflict `group_builtin`.
    """
    _changeable(conn, group_id)
    added = conn.execute(
        insert_ignore(GroupMember, conn).values(device_pk=_device_pk(conn, device_id), group_id=group_id)
    )
    if added.rowcount:
        record(
            conn,
            origin,
            now=now,
            action="group.add_device",
            object_type="group",
            object_id=group_id,
            detail={"device": device_id},
        )


def remove_member(conn: Connection, origin: Origin, group_id: str, device_id: str, *, now: datetime) -> None:
    """Take the device out of the group; one that is no member is left as it is.

    Raises NotFound for either, and Conflict `group_builtin`.
    """
    _changeable(conn, group_id)
    removed = conn.execute(
        delete(GroupMember).where(
            col(GroupMember.device_pk) == _device_pk(conn, device_id), col(GroupMember.group_id) == group_id
        )
    )
    if removed.rowcount:
        record(
            conn,
            origin,
            now=now,
            action="group.remove_device",
            object_type="group",
            object_id=group_id,
            detail={"device": device_id},
        )


def groups_of(conn: Connection, device_pks: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """The group ids of each device, `all-devices` first."""
    found: dict[int, tuple[str, ...]] = dict.fromkeys(device_pks, (ALL_DEVICES,))
    rows = conn.execute(
        select(col(GroupMember.device_pk), col(GroupMember.group_id))
        .where(col(GroupMember.device_pk).in_(found))
        .order_by(col(GroupMember.device_pk), col(GroupMember.group_id))
    )
    for pk, group_id in rows:
        found[pk] += (group_id,)
    return found


def lock_groups(conn: Connection, group_ids: Iterable[str]) -> None:
    """Hold the groups until the transaction ends, so that they cannot be deleted meanwhile.

    Raises NotFound `group_not_found` naming the first that does not exist.
    """
    wanted = sorted(set(group_ids))
    found = set(
        conn.scalars(
            select(col(DeviceGroup.id))
            .where(col(DeviceGroup.id).in_(wanted))
            .order_by(col(DeviceGroup.id))
            .with_for_update()
        )
    )
    for group_id in wanted:
        if group_id not in found:
            raise _unknown(group_id)


def _views(conn: Connection, group_ids: Iterable[str]) -> list[GroupView]:
    wanted = list(group_ids)
    everything = select(func.count()).select_from(Device).scalar_subquery()
    members = (
        select(func.count())
        .where(col(GroupMember.group_id) == col(DeviceGroup.id))
        .correlate(DeviceGroup)
        .scalar_subquery()
    )
    rows = conn.execute(
        select(
            col(DeviceGroup.id),
            col(DeviceGroup.name),
            col(DeviceGroup.builtin),
            col(DeviceGroup.created_at),
            members.label("members"),
            everything.label("everything"),
        )
        .where(col(DeviceGroup.id).in_(wanted))
        .order_by(col(DeviceGroup.name))
    )
    return [_view(row) for row in rows]


def _view(row: Row[*tuple[str, str, bool, datetime, int, int]]) -> GroupView:
    count = row.everything if row.id == ALL_DEVICES else row.members
    return GroupView(row.id, row.name, builtin=row.builtin, created_at=row.created_at, device_count=count)


def _changeable(conn: Connection, group_id: str) -> str:
    """The name of a group that may be changed, held until the transaction ends."""
    row = conn.execute(
        select(col(DeviceGroup.name), col(DeviceGroup.builtin))
        .where(col(DeviceGroup.id) == group_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise _unknown(group_id)
    if row.builtin:
        raise Conflict(
            "Every device is in this group; it can neither be deleted nor given or robbed of members.",
            code="group_builtin",
        )
    return str(row.name)


def _device_pk(conn: Connection, device_id: str) -> int:
    pk = conn.scalar(select(col(Device.pk)).where(col(Device.id) == device_id))
    if pk is None:
        raise NotFound(f"There is no device {device_id!r}.")
    return pk


def _unknown(group_id: str) -> NotFound:
    return NotFound(f"There is no group {group_id!r}.", code="group_not_found", group_id=group_id)
