"""Whether approvals take effect: what a device did with the updates it was told it may install."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import text
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = ["ApprovalEvidence", "ApprovalTrial"]


class ApprovalEvidence(SQLModel, table=True):
    """What one device's scans have shown so far; written only when something about it has changed."""

    __tablename__: ClassVar[str] = "approval_evidence"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    scans: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Successful scans counted since the first approval was on the device."""
    scan_time: str | None = None
    """LastSuccessfulScanTime of the last one counted."""
    counted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it was counted."""
    waiting: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Updates that are approved on the device and installable now."""
    waiting_from: int | None = None
    """`scans` when the one that has waited longest began to; None: none waits."""
    installed: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Updates installed after they were approved on the device."""
    failed: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    """Updates that Windows tried to install after they were approved on the device, in vain."""
    acted_scan: int | None = None
    """`scans` when it last installed one, or tried to."""
    acted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ApprovalTrial(SQLModel, table=True):
    """An update that stands approved on a device and is not installed: what becomes of it is evidence."""

    __tablename__: ClassVar[str] = "approval_trial"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    update_id: str = Field(primary_key=True)
    scan: int | None = None
    """`ApprovalEvidence.scans` when the device first offered it with the approval; None: it does not offer it now."""
