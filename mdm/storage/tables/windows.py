"""Maintenance windows: rows about groups, and which devices are catching up on one that they missed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, Column
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = ["MaintenanceWindow", "WindowCatchUp", "WindowGroup"]


class MaintenanceWindow(SQLModel, table=True):
    """When devices of some groups may be given updates, and when they may not."""

    __tablename__: ClassVar[str] = "maintenance_window"
    __table_args__ = (CheckConstraint("allow_auto_update IN (3, 4)", name="allow_auto_update"),)

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    pattern: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """As `mdm.windows.definition` writes it."""
    start: str
    """`HH:MM`, local time of the zone."""
    duration_minutes: int
    zone: str
    """IANA name, or `device` for the device's own local time."""
    fallback_zone: str | None = None
    """With `device`: the zone by which deliveries are judged, since no device tells its own."""
    valid_from: datetime | None = Field(default=None, sa_type=UtcDateTime)
    valid_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    catch_up_hours: int
    """For so long after it a device that was not seen during it may still be given updates."""
    enforce_on_device: bool
    """Write the schedule into policies where they can say it exactly."""
    allow_auto_update: int
    """AllowAutoUpdate that goes with the schedule: 3, or 4 that leaves the user no control."""
    reason: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str


class WindowGroup(SQLModel, table=True):
    """A group whose devices have the window."""

    __tablename__: ClassVar[str] = "window_group"

    window_id: str = Field(primary_key=True, foreign_key="maintenance_window.id", ondelete="CASCADE")
    group_id: str = Field(primary_key=True, foreign_key="device_group.id", ondelete="CASCADE", index=True)


class WindowCatchUp(SQLModel, table=True):
    """A device that missed a window came back in time to catch up on it."""

    __tablename__: ClassVar[str] = "window_catch_up"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    window_id: str = Field(
        primary_key=True, foreign_key="maintenance_window.id", ondelete="CASCADE", index=True
    )
    until: datetime = Field(sa_type=UtcDateTime)
