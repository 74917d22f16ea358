"""Policy profiles and the groups they are for; and what each device, and each build of Windows, said of policies."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, Column, Index, text
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = ["DevicePolicy", "PolicyAssignment", "PolicyProfile", "PolicySupport"]


class PolicyProfile(SQLModel, table=True):
    """A named set of values of `Policy/Config/Update`."""

    __tablename__: ClassVar[str] = "policy_profile"
    __table_args__ = (CheckConstraint("drift IN ('repair', 'report')", name="drift"),)

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    description: str | None = None
    settings: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """Values as text, by policy name; each passed by `csp.policy.validate`."""
    drift: str
    """What to do about a device that shows another value: `repair` it, or `report` it and leave it."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)


class PolicyAssignment(SQLModel, table=True):
    """A profile is for the devices of a group; of two that set one policy the lower rank wins."""

    __tablename__: ClassVar[str] = "policy_assignment"

    profile_id: str = Field(primary_key=True, foreign_key="policy_profile.id", ondelete="CASCADE")
    group_id: str = Field(primary_key=True, foreign_key="device_group.id", ondelete="CASCADE", index=True)
    rank: int


class DevicePolicy(SQLModel, table=True):
    """What we told a device about one policy, what it answered, and what it shows to be in effect.

    A row with a `value`, or with the status `sent`, says that something of ours may stand on the device: it is
    deleted only when the device has confirmed a Delete.
    """

    __tablename__: ClassVar[str] = "device_policy"
    __table_args__ = (
        CheckConstraint("status IN ('sent', 'set', 'unsupported', 'failed')", name="status"),
        Index("ix_device_policy_name_status", "name", "status"),
    )

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    name: str = Field(primary_key=True)
    status: str
    """`sent` until the device answers; then what it answered last, to a Replace or to a Delete."""
    value: str | None = None
    """The value the device accepted last."""
    status_code: int | None = None
    """SyncML status of the last answer."""
    error: str | None = None
    """msft:originalerror of that status."""
    at: datetime = Field(sa_type=UtcDateTime)
    """When it answered last; for one that never did, when it was told."""
    source: str | None = None
    """Who wanted the value that was sent last: a profile's id, `approvals`, or what else sets policies."""
    build: str | None = None
    """The device's Windows when it answered last."""
    read_value: str | None = None
    """What Policy/Result showed last; None for nothing."""
    read_status: int | None = None
    """SyncML status of that Get."""
    read_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    drifted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Since when it shows something else than the value it accepted."""
    repairs: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """How often the value was written again since it last showed the right one."""


class PolicySupport(SQLModel, table=True):
    """What devices with one build and edition of Windows answered when a policy was first set on one of them."""

    __tablename__: ClassVar[str] = "policy_support"

    build: str = Field(primary_key=True)
    """`device.os_version`: the revision counts, because policies come with cumulative updates."""
    edition: str = Field(primary_key=True)
    """`device.os_edition`; empty if a device has not said."""
    name: str = Field(primary_key=True)
    supported: bool
    at: datetime = Field(sa_type=UtcDateTime)
