"""Enrolment: who may enrol a device, who has tried too often, and what each device enrolled with."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import CheckConstraint
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = ["Enrolment", "EnrolmentFailure", "EnrolmentTicket", "EnrolmentToken", "EnrolmentUser"]


class EnrolmentToken(SQLModel, table=True):
    """A one-time password for enrolments, made by IT; only its SHA-256 is kept."""

    __tablename__: ClassVar[str] = "enrolment_token"
    __table_args__ = (CheckConstraint("uses <= max_uses", name="uses"),)

    id: str = Field(primary_key=True)
    name: str
    token_sha256: str = Field(unique=True)
    username: str | None = None
    """The only user name it goes with; None: any."""
    max_uses: int
    """Devices it may enrol."""
    uses: int = 0
    replaces: bool
    """Whether it may enrol a device that another user has enrolled before."""
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class EnrolmentUser(SQLModel, table=True):
    """Somebody who may enrol devices with a password; it is kept as Argon2id only."""

    __tablename__: ClassVar[str] = "enrolment_user"

    id: str = Field(primary_key=True)
    username: str
    """As IT wrote it."""
    username_key: str = Field(unique=True)
    """The same as it is compared: `mdm.enrolment.users.username_key`."""
    password_hash: str
    """PHC string, parameters and salt included."""
    max_devices: int | None = None
    """Devices the user may have enrolled at a time; None: any number."""
    enabled: bool
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
    password_set_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class EnrolmentTicket(SQLModel, table=True):
    """What somebody gets who has signed in by the web page: good for the enrolment of one device, and soon over."""

    __tablename__: ClassVar[str] = "enrolment_ticket"
    __table_args__ = (CheckConstraint("kind IN ('user', 'token', 'federated')", name="kind"),)

    id: str = Field(primary_key=True)
    ticket_sha256: str = Field(unique=True)
    kind: str
    """By which means he has proved himself at the page."""
    by_id: str
    """As in `Enrolment`."""
    username: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    request_sha256: str | None = None
    """Of the certificate request and DeviceID it was used for: the device may repeat them, if it heard no answer."""


class EnrolmentFailure(SQLModel, table=True):
    """How often somebody has tried in vain lately; a user name that does not exist is counted like one that does."""

    __tablename__: ClassVar[str] = "enrolment_failure"

    key: str = Field(primary_key=True)
    """A fingerprint of the user name or the network address."""
    failures: int
    since: datetime = Field(sa_type=UtcDateTime, index=True)


class Enrolment(SQLModel, table=True):
    """One enrolment of a device; a device that enrols again gets another row, and the last one counts."""

    __tablename__: ClassVar[str] = "enrolment"
    __table_args__ = (CheckConstraint("kind IN ('user', 'token', 'federated')", name="kind"),)

    pk: int | None = Field(default=None, primary_key=True)
    device_pk: int = Field(foreign_key="device.pk", ondelete="CASCADE", index=True)
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str
    """By which means its user proved himself."""
    by_id: str = Field(index=True)
    """Id of the enrolment user or token, which may be gone since; of a federated user, a hash of issuer and subject."""
    username: str
    """As the device sent it, or as the OpenID provider named him."""
    device_id: str
    """The DeviceID it claimed."""
    hardware_id: str | None = Field(default=None, index=True)
    """HWDevID."""
    full: bool
    """True: the enrolment of a user (Full); False: of the device."""
    os_edition: str | None = None
    os_version: str | None = None
    serial: str
    """Of the certificate it got."""
    thumbprint: str
    """SHA-1 of that certificate."""
    request_sha256: str = Field(index=True)
    """Of the certificate request and the DeviceID; a device that heard no answer sends the same again."""
