"""EULAs: their texts, and the ledger of who accepted which."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import Index, UniqueConstraint, text, true
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = ["Eula", "EulaAcceptance", "EulaText"]


class Eula(SQLModel, table=True):
    """A licence text's identity (EulaID), which many updates share; accepted once per id."""

    __tablename__: ClassVar[str] = "eula"

    id: str = Field(primary_key=True)
    first_seen_at: datetime = Field(sa_type=UtcDateTime)


class EulaText(SQLModel, table=True):
    """One language's file of a EULA, found by digest and checked by SHA-1 and SHA-256 (metadata section 6).

    A file that another has taken the place of stays: somebody may have accepted its text.
    """

    __tablename__: ClassVar[str] = "eula_text"
    __table_args__ = (
        Index(
            "uq_eula_text_current",
            "eula_id",
            "locale",
            "geo_id",
            unique=True,
            sqlite_where=text("current"),
            postgresql_where=text("current"),
        ),
    )

    eula_id: str = Field(primary_key=True, foreign_key="eula.id", ondelete="CASCADE")
    locale: str = Field(primary_key=True)
    geo_id: str = Field(default="", primary_key=True, sa_column_kwargs={"server_default": text("''")})
    """ISO 3166 alpha-3 of the one country the text is for; empty for the rest of the world."""
    file_sha1: str = Field(primary_key=True)
    """Base64 Digest of the EulaFile."""
    current: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    """False once newer metadata has named another file for this language and country."""
    named_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """CreationDate of the newest revision that names this file."""
    file_sha256: str | None = None
    """Base64 of the AdditionalDigest, if the metadata has one."""
    url: str | None = None
    text: str | None = None
    """None until fetched and verified."""
    text_sha256: str | None = None
    """Lower-case hex SHA-256 of the file's bytes: what an acceptance must name."""
    fetched_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error: str | None = None
    """Why the text is missing, in one sentence."""


class EulaAcceptance(SQLModel, table=True):
    """The ledger: who accepted which text of which EulaID, when and from where. Rows are never changed."""

    __tablename__: ClassVar[str] = "eula_acceptance"
    __table_args__ = (
        UniqueConstraint("eula_id", "text_sha256"),
        Index("ix_eula_acceptance_accepted_at_id", "accepted_at", "id"),
    )

    id: str = Field(primary_key=True)
    eula_id: str = Field(foreign_key="eula.id")
    locale: str
    geo_id: str = Field(default="", sa_column_kwargs={"server_default": text("''")})
    """As in `eula_text`."""
    text_sha256: str
    accepted_by: str
    """`client:<token name>`."""
    accepted_at: datetime = Field(sa_type=UtcDateTime)
    by_machine: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    """A program accepted it with a token, which a setting has to allow; False: a person who was signed in."""
    organization: str | None = None
    """In whose name: BRIDGE_ORGANIZATION as it was then."""
    remote_addr: str | None = None
    """Where the request came from, and which it was."""
    request_id: str | None = None
