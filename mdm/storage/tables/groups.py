"""Groups of devices: their definitions, and the members that follow from them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, Column, text
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = [
    "ALL_DEVICES",
    "UNASSIGNED",
    "DeviceGroup",
    "DeviceTag",
    "FactsVersion",
    "GroupLink",
    "GroupMember",
    "GroupsVersion",
    "StaticMember",
]

ALL_DEVICES = "all-devices"
"""Id of the built-in group that every device is in without a membership row."""

UNASSIGNED = "unassigned"
"""Id of the built-in group of the devices that are in no other one but `all-devices`."""


class DeviceGroup(SQLModel, table=True):
    """A named set of devices, defined by static members, a rule, and other groups."""

    __tablename__: ClassVar[str] = "device_group"

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    builtin: bool = False
    created_at: datetime = Field(sa_type=UtcDateTime)
    rule: dict[str, Any] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    """As `mdm.devices.rules` reads it; None: no rule."""
    intent_version: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Raised with each change of what its devices should get (`mdm.approvals.versions`)."""


class GroupMember(SQLModel, table=True):
    """A device is in a group, by its definition: made from the tables below, and never by hand.

    The built-in `all-devices` has no rows.
    """

    __tablename__: ClassVar[str] = "group_member"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    group_id: str = Field(primary_key=True, foreign_key="device_group.id", ondelete="CASCADE", index=True)


class StaticMember(SQLModel, table=True):
    """A device that somebody put into a group."""

    __tablename__: ClassVar[str] = "static_member"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    group_id: str = Field(primary_key=True, foreign_key="device_group.id", ondelete="CASCADE", index=True)


class GroupLink(SQLModel, table=True):
    """A group includes the members of another, or excludes them; a group that is named cannot be deleted."""

    __tablename__: ClassVar[str] = "group_link"
    __table_args__ = (CheckConstraint("kind IN ('include', 'exclude')", name="kind"),)

    group_id: str = Field(primary_key=True, foreign_key="device_group.id", ondelete="CASCADE")
    kind: str = Field(primary_key=True)
    other_id: str = Field(primary_key=True, foreign_key="device_group.id", index=True)


class GroupsVersion(SQLModel, table=True):
    """One row: how often the definitions of groups have changed. Who changes one holds it locked.

    A device with a lower `membership_version` has memberships still to be worked out.
    """

    __tablename__: ClassVar[str] = "groups_version"

    id: int = Field(primary_key=True)
    """Always 1."""
    version: int
    changed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class FactsVersion(SQLModel, table=True):
    """One row: how often what the catalogue or the licence ledger says has changed."""

    __tablename__: ClassVar[str] = "facts_version"

    id: int = Field(primary_key=True)
    """Always 1."""
    version: int


class DeviceTag(SQLModel, table=True):
    """A word that an administrator has put on a device, in small letters."""

    __tablename__: ClassVar[str] = "device_tag"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    tag: str = Field(primary_key=True, index=True)
