"""OMA DM sessions: what is remembered between two messages of a device."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, Column, Index, LargeBinary, false, text
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = ["AuthFailure", "DmPart", "DmReply", "DmSession"]


class DmSession(SQLModel, table=True):
    """The one OMA DM session a device has open, or had last; `state` is `syncml.session.ServerState` as JSON."""

    __tablename__: ClassVar[str] = "dm_session"
    __table_args__ = (
        Index(
            "ix_dm_session_remote_addr_open",
            "remote_addr",
            sqlite_where=text("open"),
            postgresql_where=text("open"),
        ),
    )

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    session_id: str
    state: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    opened_at: datetime = Field(sa_type=UtcDateTime)
    last_message_at: datetime = Field(sa_type=UtcDateTime)
    remote_addr: str | None = None
    """Where it was opened from."""
    open: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """True while the device owes an answer."""


class DmPart(SQLModel, table=True):
    """Items of Results that one message of an unfinished package brought; gone when the package is over."""

    __tablename__: ClassVar[str] = "dm_part"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    msg_id: int = Field(primary_key=True)
    items: list[Any] = Field(sa_column=Column(JSON, nullable=False))


class DmReply(SQLModel, table=True):
    """A reply as it was sent, kept so that a repeated message gets the same bytes and no second effect."""

    __tablename__: ClassVar[str] = "dm_reply"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    session_id: str = Field(primary_key=True)
    msg_id: str = Field(primary_key=True)
    request_sha256: bytes
    reply: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    mac: str | None = None
    """The header `x-syncml-hmac` it was sent with."""
    sent_at: datetime = Field(sa_type=UtcDateTime)


class AuthFailure(SQLModel, table=True):
    """Refused credentials per claimed device and address: bounds the tries without touching the device."""

    __tablename__: ClassVar[str] = "auth_failure"

    device_pk: int = Field(primary_key=True, foreign_key="device.pk", ondelete="CASCADE")
    remote_addr: str = Field(primary_key=True)
    """Address or, of IPv6, network of a site."""
    failures: int
    last_at: datetime = Field(sa_type=UtcDateTime, index=True)
    blocked_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Until then no credentials from there are looked at."""
