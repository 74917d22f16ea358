"""Which devices some groups come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import ColumnElement, select, true

from mdm.storage.statements import table_of
from mdm.storage.tables import ALL_DEVICES, Device, GroupMember

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["in_groups"]

_device: Final = table_of(Device)
_member: Final = table_of(GroupMember)


def in_groups(group_ids: Collection[str]) -> ColumnElement[bool]:
    """The condition that a row of `device` is in any of the groups."""
    if ALL_DEVICES in group_ids:
        return true()
    return _device.c.pk.in_(select(_member.c.device_pk).where(_member.c.group_id.in_(group_ids)))
