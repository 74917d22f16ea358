"""Who is in a group and why, and who would be in one that is only thought of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from mdm.devices.definitions import current_version, load_definitions, read_definitions
from mdm.devices.facts import read_facts
from mdm.devices.membership import Definition, Definitions, Reason, membership, reasons
from mdm.devices.refresh import static_groups
from mdm.storage.statements import table_of
from mdm.storage.tables import ALL_DEVICES, Device, GroupMember

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

__all__ = ["DeviceName", "MemberView", "Preview", "list_members", "preview_group"]

SHOWN: Final = 50
"""Devices named in a preview."""

_PIECE: Final = 1_000
_IMAGINED: Final = ""
"""Id of the group that is only thought of: no stored one has it."""

_device = table_of(Device)
_member = table_of(GroupMember)


@dataclass(frozen=True, slots=True)
class MemberView:
    """A device in a group."""

    id: str
    device_id: str
    name: str
    reasons: tuple[Reason, ...]
    """By the definitions as they are now; none if it is about to leave."""
    behind: bool
    """True while its groups are those from before the last change of a definition."""


@dataclass(frozen=True, slots=True)
class DeviceName:
    """A device, in brief."""

    id: str
    device_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What a definition would come to."""

    matching: int
    unknown: int
    """Devices the rule cannot be decided for, because they have not said what it asks; they are out."""
    of: int
    """All devices."""
    as_of: datetime
    devices: tuple[DeviceName, ...]
    """The first of those that match, in order of enrolment."""


def list_members(
    conn: Connection, group_id: str, *, after: int | None, limit: int
) -> list[tuple[int, MemberView]]:
    """At most `limit` members with their primary keys, in order of enrolment, beginning after the key `after`.

    The group must exist.
    """
    query = select(
        _device.c.pk, _device.c.id, _device.c.device_id, _device.c.name, _device.c.membership_version
    )
    if group_id != ALL_DEVICES:
        query = query.join(_member, _member.c.device_pk == _device.c.pk).where(_member.c.group_id == group_id)
    if after is not None:
        query = query.where(_device.c.pk > after)
    rows = conn.execute(query.order_by(_device.c.pk).limit(limit)).all()
    version, definitions = current_version(conn), load_definitions(conn).below(group_id)
    pks = [row.pk for row in rows]
    facts, static = read_facts(conn, pks), static_groups(conn, pks)
    return [
        (
            row.pk,
            MemberView(
                id=row.id,
                device_id=row.device_id,
                name=row.name,
                reasons=reasons(facts[row.pk], static.get(row.pk, frozenset()), definitions, group_id),
                behind=row.membership_version < version,
            ),
        )
        for row in rows
    ]


def preview_group(conn: Connection, definition: Definition, *, now: datetime) -> Preview:
    """Ask a definition about every device with the code that decides memberships; nothing is written.

    The groups it names must exist.
    """
    definitions = Definitions.of(read_definitions(conn) | {_IMAGINED: definition}).below(_IMAGINED)
    matching = unknown = total = 0
    shown: list[DeviceName] = []
    for rows in _pieces(conn):
        pks = [row.pk for row in rows]
        facts, static = read_facts(conn, pks), static_groups(conn, pks)
        total += len(rows)
        for row in rows:
            groups = membership(facts[row.pk], static.get(row.pk, frozenset()), definitions)
            if _IMAGINED in groups:
                matching += 1
                if len(shown) < SHOWN:
                    shown.append(DeviceName(row.id, row.device_id, row.name))
            elif definition.rule is not None and definition.exclude.isdisjoint(groups):
                unknown += definition.rule.holds(facts[row.pk]) is None
    return Preview(matching, unknown, total, now, tuple(shown))


def _pieces(conn: Connection) -> Iterator[Sequence[Row[*tuple[int, str, str, str]]]]:
    """All devices, a thousand at a time."""
    last = -1
    columns = (_device.c.pk, _device.c.id, _device.c.device_id, _device.c.name)
    while True:
        rows = conn.execute(
            select(*columns).where(_device.c.pk > last).order_by(_device.c.pk).limit(_PIECE)
        ).all()
        if not rows:
            return
        yield rows
        last = rows[-1].pk
