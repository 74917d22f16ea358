"""Groups of devices: making, changing and deleting their definitions, and putting devices into them by hand.

What follows for `group_member` is worked out by `mdm.devices.refresh`: for devices that are named at once, for
all others by and by, which `Freshness` tells. The built-in `all-devices` holds every device without rows, and
`unassigned` those that are in no other group.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlmodel import col

from mdm.audit import record
from mdm.devices.definitions import lock_definitions, raise_version, read_definitions, share_definitions
from mdm.devices.group_uses import refuse_used
from mdm.devices.membership import Definition, Definitions, NestingCycle
from mdm.devices.refresh import Freshness, freshness, lock_device, recompute
from mdm.devices.rules import parse_rule
from mdm.errors import Conflict, FieldError, Invalid, NotFound
from mdm.storage.statements import insert_ignore
from mdm.storage.tables import (
    ALL_DEVICES,
    UNASSIGNED,
    Device,
    DeviceGroup,
    GroupLink,
    GroupMember,
    StaticMember,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row, ScalarSelect, Select

    from mdm.audit import Origin

__all__ = [
    "GroupDefinition",
    "GroupView",
    "add_member",
    "change_group",
    "change_members",
    "create_group",
    "delete_group",
    "find_groups",
    "get_group",
    "groups_of",
    "list_groups",
    "lock_groups",
    "read_definition",
    "remove_member",
]

_NAMED: Final = 20
"""Wrong groups named in one answer."""


@dataclass(frozen=True, slots=True)
class GroupDefinition:
    """What makes a device a member, besides putting it in by hand; as an administrator writes it."""

    rule: Mapping[str, Any] | None = None
    """As `mdm.devices.rules` reads it."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


_EMPTY: Final = GroupDefinition()


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group as an administrator sees it."""

    id: str
    name: str
    builtin: bool
    created_at: datetime
    rule: Mapping[str, Any] | None
    include: tuple[str, ...]
    """Groups all of whose members are members."""
    exclude: tuple[str, ...]
    """Groups none of whose members is one, whatever else speaks for it."""
    static_count: int
    """Devices put in by hand; those that are excluded are no members all the same."""
    device_count: int
    """Members, as far as they are worked out."""
    freshness: Freshness


def create_group(
    conn: Connection,
    origin: Origin,
    *,
    name: str,
    definition: GroupDefinition = _EMPTY,
    members: Sequence[str] = (),
    now: datetime,
) -> GroupView:
    """Make a group with these devices (by their public ids) as its static members.

    Raises Conflict `group_exists` for a name that is taken, and Invalid for a wrong definition or an unknown
    device.
    """
    pks = _lock_devices(conn, {"/members": members})
    lock_definitions(conn)
    group_id = f"grp_{secrets.token_hex(10)}"
    read_definition(conn, definition)
    definition = _ordered(definition)
    made = conn.execute(
        insert_ignore(DeviceGroup, conn).values(
            id=group_id, name=name, builtin=False, created_at=now, rule=definition.rule
        )
    )
    if made.rowcount == 0:
        raise _name_taken(conn, name)
    _write_links(conn, group_id, definition)
    if definition != _EMPTY:
        raise_version(conn, now)
    _add_static(conn, group_id, pks)
    record(
        conn,
        origin,
        now=now,
        action="group.create",
        object_type="group",
        object_id=group_id,
        after=_audited(name, definition) | {"members": sorted(pks)},
    )
    return get_group(conn, group_id)


def change_group(
    conn: Connection, origin: Origin, group_id: str, *, name: str, definition: GroupDefinition, now: datetime
) -> GroupView:
    """Give the group this name and definition; its static members stay.

    Raises NotFound `group_not_found`, Invalid for a wrong definition, and Conflict: `group_builtin`,
    `group_exists` for a name that is taken, or `group_cycle` with the path of groups that would name each other.
    """
    lock_definitions(conn)
    _changeable(conn, group_id)
    before = get_group(conn, group_id)
    stored = GroupDefinition(before.rule, before.include, before.exclude)
    _refuse_cycle(conn, group_id, read_definition(conn, definition))
    wanted = _ordered(definition)
    if (before.name, stored) == (name, wanted):
        return before
    other = conn.scalar(
        select(col(DeviceGroup.id)).where(col(DeviceGroup.name) == name, col(DeviceGroup.id) != group_id)
    )
    if other is not None:
        raise _name_taken(conn, name)
    conn.execute(
        update(DeviceGroup).where(col(DeviceGroup.id) == group_id).values(name=name, rule=wanted.rule)
    )
    if stored != wanted:
        conn.execute(delete(GroupLink).where(col(GroupLink.group_id) == group_id))
        _write_links(conn, group_id, wanted)
        raise_version(conn, now)
    record(
        conn,
        origin,
        now=now,
        action="group.change",
        object_type="group",
        object_id=group_id,
        before=_audited(before.name, stored),
        after=_audited(name, wanted),
    )
    return get_group(conn, group_id)


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

    Raises NotFound `group_not_found`, and Conflict: `group_builtin`; `group_in_use` while an active approval
    names it, because that approval would silently reach nobody; `group_has_windows` while maintenance windows are
    for it, because its devices would silently get updates at any time; `group_has_plans` while a ring plan has a
    ring of it, because that ring would silently be empty; `group_has_profiles` while policy profiles are for it,
    because its devices would silently lose their policies; `group_has_rules` while rules approve for it, because
    they would silently approve for nobody; `group_named` while another group includes or excludes
    it, because that one would silently hold other devices.
    """
    lock_definitions(conn)
    _changeable(conn, group_id)
    before = get_group(conn, group_id)
    refuse_used(conn, group_id, before.name, now)
    conn.execute(delete(DeviceGroup).where(col(DeviceGroup.id) == group_id))
    if before.device_count:
        raise_version(conn, now)  # some of its members may be in no group now
    record(
        conn,
        origin,
        now=now,
        action="group.delete",
        object_type="group",
        object_id=group_id,
        before=_audited(before.name, GroupDefinition(before.rule, before.include, before.exclude))
        | {"device_count": before.device_count},
    )


def add_member(conn: Connection, origin: Origin, group_id: str, device_id: str, *, now: datetime) -> None:
    """Put the device (by its public id) into the group by hand; one that is there is left as it is.

    Raises NotFound for either, and Conflict `group_builtin`.
    """
    pks = _lock_with(conn, group_id, device_id)
    if _add_static(conn, group_id, pks):
        _record_member(conn, origin, group_id, joins=True, device_id=device_id, now=now)


def remove_member(conn: Connection, origin: Origin, group_id: str, device_id: str, *, now: datetime) -> None:
    """Take the device out of those put in by hand; one that is not there is left as it is.

    It stays a member if the group's rule or an included group makes it one. Raises NotFound for either, and
    Conflict `group_builtin`.
    """
    pks = _lock_with(conn, group_id, device_id)
    if _remove_static(conn, group_id, pks):
        _record_member(conn, origin, group_id, joins=False, device_id=device_id, now=now)


def change_members(
    conn: Connection,
    origin: Origin,
    group_id: str,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    now: datetime,
) -> GroupView:
    """Put many devices into the group and take others out, all of them or none.

    Raises NotFound `group_not_found`, Conflict `group_builtin`, and Invalid naming each device that does not
    exist or stands in both lists.
    """
    both = set(add) & set(remove)
    if both:
        errors = tuple(
            FieldError(f"/remove/{index}", "contradiction", "The same device is to be added.")
            for index, device_id in enumerate(remove)
            if device_id in both
        )
        raise Invalid("A device stands in both lists.", errors=errors)
    pks = _lock_devices(conn, {"/add": add, "/remove": remove})
    share_definitions(conn)
    _changeable(conn, group_id)
    added = _add_static(conn, group_id, {each: pks[each] for each in add})
    removed = _remove_static(conn, group_id, {each: pks[each] for each in remove})
    if added or removed:
        record(
            conn,
            origin,
            now=now,
            action="group.change_members",
            object_type="group",
            object_id=group_id,
            before={"members": removed},
            after={"members": added},
        )
    return get_group(conn, group_id)


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
    # devices may join them all the same
    _all_there(conn, wanted, _ids(wanted).with_for_update(key_share=True))


def find_groups(conn: Connection, group_ids: Iterable[str]) -> None:
    """Make sure that the groups exist; raises NotFound `group_not_found` naming the first that does not."""
    wanted = sorted(set(group_ids))
    _all_there(conn, wanted, _ids(wanted))


def _ids(wanted: list[str]) -> Select[str]:
    return select(col(DeviceGroup.id)).where(col(DeviceGroup.id).in_(wanted)).order_by(col(DeviceGroup.id))


def _all_there(conn: Connection, wanted: list[str], query: Select[str]) -> None:
    found = set(conn.scalars(query))
    for group_id in wanted:
        if group_id not in found:
            raise _unknown(group_id)


def read_definition(conn: Connection, definition: GroupDefinition) -> Definition:
    """The definition with its rule read and its groups found; raises Invalid that names each wrong member."""
    rule = None if definition.rule is None else parse_rule(definition.rule)
    named = {*definition.include, *definition.exclude}
    known = set(conn.scalars(select(col(DeviceGroup.id)).where(col(DeviceGroup.id).in_(named))))
    errors: list[FieldError] = []
    for kind, group_ids in (("include", definition.include), ("exclude", definition.exclude)):
        for index, group_id in enumerate(group_ids):
            problem = None
            if group_id not in known:
                problem = ("unknown_group", f"There is no group {group_id!r}.")
            elif group_id == UNASSIGNED:
                problem = ("not_nestable", "Who is unassigned depends on all other groups.")
            elif group_id == ALL_DEVICES and kind == "exclude":
                problem = ("invalid_value", "Nobody would be in the group.")
            if problem is not None:
                errors.append(FieldError(f"/{kind}/{index}", *problem))
    if errors:
        raise Invalid("The group names others that it cannot.", errors=tuple(errors[:_NAMED]))
    return Definition(rule, frozenset(definition.include), frozenset(definition.exclude))


def _refuse_cycle(conn: Connection, group_id: str, definition: Definition) -> None:
    try:
        Definitions.of(read_definitions(conn) | {group_id: definition})
    except NestingCycle as cycle:
        raise Conflict(
            "Groups would include or exclude each other in a circle; each of `path` names the next.",
            code="group_cycle",
            path=list(cycle.path),
        ) from None


def _ordered(definition: GroupDefinition) -> GroupDefinition:
    """The same definition as it is stored: each group once, by id."""
    include, exclude = (tuple(sorted(set(each))) for each in (definition.include, definition.exclude))
    return GroupDefinition(definition.rule, include, exclude)


def _write_links(conn: Connection, group_id: str, definition: GroupDefinition) -> None:
    rows = [
        {"group_id": group_id, "kind": kind, "other_id": other_id}
        for kind, group_ids in (("include", definition.include), ("exclude", definition.exclude))
        for other_id in group_ids
    ]
    if rows:
        conn.execute(insert(GroupLink), rows)


def _audited(name: str, definition: GroupDefinition) -> dict[str, Any]:
    return {
        "name": name,
        "rule": definition.rule,
        "include": list(definition.include),
        "exclude": list(definition.exclude),
    }


def _record_member(
    conn: Connection, origin: Origin, group_id: str, *, joins: bool, device_id: str, now: datetime
) -> None:
    """Of the members only the one that changed is told."""
    record(
        conn,
        origin,
        now=now,
        action="group.add_device" if joins else "group.remove_device",
        object_type="group",
        object_id=group_id,
        before={"members": [] if joins else [device_id]},
        after={"members": [device_id] if joins else []},
    )


# --- static members -------------------------------------------------------------------------------------


def _lock_devices(conn: Connection, lists: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The primary keys of devices by public id, held until the transaction ends.

    `lists` has the ids by the JSON pointer of the list they stand in. Raises Invalid naming the unknown ones.
    """
    wanted = {device_id for device_ids in lists.values() for device_id in device_ids}
    if not wanted:
        return {}
    rows = conn.execute(
        select(col(Device.id), col(Device.pk))
        .where(col(Device.id).in_(wanted))
        .order_by(col(Device.pk))  # everybody in one order, so that nobody waits in a circle
        .with_for_update()
    )
    found = {row.id: row.pk for row in rows}
    errors = tuple(
        FieldError(f"{pointer}/{index}", "unknown_device", "There is no device with this id.")
        for pointer, device_ids in lists.items()
        for index, device_id in enumerate(device_ids)
        if device_id not in found
    )
    if errors:
        raise Invalid("Some of the devices do not exist.", errors=errors[:_NAMED])
    return found


def _lock_with(conn: Connection, group_id: str, device_id: str) -> dict[str, int]:
    """Hold a device and keep the group as it is; raises NotFound for either, the group first."""
    pk = lock_device(conn, device_id)
    share_definitions(conn)
    _changeable(conn, group_id)
    if pk is None:
        raise NotFound(f"There is no device {device_id!r}.")
    return {device_id: pk}


def _add_static(conn: Connection, group_id: str, devices: Mapping[str, int]) -> list[str]:
    """Add the devices, whose rows are held, by hand; returns the public ids of those that were not there."""
    known = _static(conn, group_id, devices)
    new = {device_id: pk for device_id, pk in devices.items() if pk not in known}
    if new:
        conn.execute(insert(StaticMember), [{"device_pk": pk, "group_id": group_id} for pk in new.values()])
        recompute(conn, new.values())
    return sorted(new)


def _remove_static(conn: Connection, group_id: str, devices: Mapping[str, int]) -> list[str]:
    """Take the devices, whose rows are held, out; returns the public ids of those that were there."""
    known = _static(conn, group_id, devices)
    gone = {device_id: pk for device_id, pk in devices.items() if pk in known}
    if gone:
        conn.execute(
            delete(StaticMember).where(
                col(StaticMember.group_id) == group_id, col(StaticMember.device_pk).in_(gone.values())
            )
        )
        recompute(conn, gone.values())
    return sorted(gone)


def _static(conn: Connection, group_id: str, devices: Mapping[str, int]) -> set[int]:
    return set(
        conn.scalars(
            select(col(StaticMember.device_pk)).where(
                col(StaticMember.group_id) == group_id, col(StaticMember.device_pk).in_(devices.values())
            )
        )
    )


# --- views ----------------------------------------------------------------------------------------------


def _views(conn: Connection, group_ids: Sequence[str]) -> list[GroupView]:
    everything = select(func.count()).select_from(Device).scalar_subquery()
    rows = conn.execute(
        select(
            col(DeviceGroup.id),
            col(DeviceGroup.name),
            col(DeviceGroup.builtin),
            col(DeviceGroup.created_at),
            col(DeviceGroup.rule),
            _count(GroupMember).label("members"),
            _count(StaticMember).label("static"),
            everything.label("everything"),
        )
        .where(col(DeviceGroup.id).in_(group_ids))
        .order_by(col(DeviceGroup.name))
    ).all()
    links: dict[tuple[str, str], tuple[str, ...]] = {}
    for group_id, kind, other_id in conn.execute(
        select(col(GroupLink.group_id), col(GroupLink.kind), col(GroupLink.other_id))
        .where(col(GroupLink.group_id).in_(group_ids))
        .order_by(col(GroupLink.other_id))
    ):
        links[group_id, kind] = (*links.get((group_id, kind), ()), other_id)
    fresh = freshness(conn)
    return [_view(row, links, fresh) for row in rows]


def _count(table: type[GroupMember | StaticMember]) -> ScalarSelect[int]:
    """How many rows of the table belong to the group."""
    return (
        select(func.count())
        .where(col(table.group_id) == col(DeviceGroup.id))
        .correlate(DeviceGroup)
        .scalar_subquery()
    )


def _view(row: Row[Any], links: Mapping[tuple[str, str], tuple[str, ...]], fresh: Freshness) -> GroupView:
    return GroupView(
        id=row.id,
        name=row.name,
        builtin=row.builtin,
        created_at=row.created_at,
        rule=row.rule,
        include=links.get((row.id, "include"), ()),
        exclude=links.get((row.id, "exclude"), ()),
        static_count=row.static,
        device_count=row.everything if row.id == ALL_DEVICES else row.members,
        freshness=fresh,
    )


def _changeable(conn: Connection, group_id: str) -> None:
    """Hold a group that may be changed until the transaction ends."""
    builtin = conn.scalar(
        select(col(DeviceGroup.builtin))
        .where(col(DeviceGroup.id) == group_id)
        .with_for_update(key_share=True)
    )
    if builtin is None:
        raise _unknown(group_id)
    if builtin:
        raise Conflict(
            "The bridge itself decides who is in this group; it can neither be changed nor deleted.",
            code="group_builtin",
        )


def _name_taken(conn: Connection, name: str) -> Conflict:
    existing = conn.scalar(select(col(DeviceGroup.id)).where(col(DeviceGroup.name) == name))
    return Conflict(f"A group named {name!r} exists.", code="group_exists", existing=existing)


def _unknown(group_id: str) -> NotFound:
    return NotFound(f"There is no group {group_id!r}.", code="group_not_found", group_id=group_id)
