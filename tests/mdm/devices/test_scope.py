"""Which devices some groups come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from mdm.audit import Origin
from mdm.devices.groups import create_group
from mdm.devices.refresh import refresh_memberships
from mdm.devices.scope import in_groups
from mdm.storage.statements import table_of
from mdm.storage.tables import Device

if TYPE_CHECKING:
    from conftest import Bench

DEVICE = table_of(Device)


def group(bench: Bench, name: str, *members: str) -> str:
    """Make a group; its id comes back."""
    with bench.database.write() as conn:
        made = create_group(conn, Origin("test"), name=name, members=members, now=bench.now)
        refresh_memberships(conn)
    return made.id


def test_members_of_any_of_the_groups(bench: Bench) -> None:
    """Each once; all devices are everybody, and no group is nobody."""
    for number in (1, 2, 3):
        bench.enrol(f"DEV{number}")
    one, two = group(bench, "one", "id-DEV1", "id-DEV2"), group(bench, "two", "id-DEV2")

    def found(*group_ids: str) -> list[int]:
        with bench.database.read() as conn:
            return list(conn.scalars(select(DEVICE.c.pk).where(in_groups(group_ids)).order_by(DEVICE.c.pk)))

    assert (found(one), found(two), found(one, two)) == ([1, 2], [2], [1, 2])
    assert (found("all-devices"), found(two, "all-devices")) == ([1, 2, 3], [1, 2, 3])
    assert found() == []
