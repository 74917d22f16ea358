"""The certificate authority, and each certificate that it has issued to a device."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field

from mdm.storage.tables.base import SQLModel
from mdm.storage.types import UtcDateTime

__all__ = ["CertificateAuthority", "IssuedCertificate"]


class CertificateAuthority(SQLModel, table=True):
    """An authority: one issues, those it replaced are still believed until their last certificate ends."""

    __tablename__: ClassVar[str] = "certificate_authority"
    __table_args__ = (
        CheckConstraint("origin IN ('created', 'imported')", name="origin"),
        CheckConstraint("current IS NULL OR current", name="current"),
    )

    id: str = Field(primary_key=True)
    origin: str
    """`created` here or `imported`."""
    current: bool | None = Field(default=None, unique=True)
    """True for the one that issues; NULL, and never false, for all others, so that there is one at most."""
    root_der: bytes
    intermediate_der: bytes | None = None
    """The issuing certificate, if that is not the root."""
    sealed_key: bytes
    """PKCS #8 of the issuing certificate's key, encrypted with the key file (`mdm.storage.secrets`)."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    replaced_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class IssuedCertificate(SQLModel, table=True):
    """A certificate that was issued: only what stands here is believed, whoever has signed it."""

    __tablename__: ClassVar[str] = "issued_certificate"
    __table_args__ = (
        CheckConstraint("(revoked_at IS NULL) = (revocation_reason IS NULL)", name="revocation"),
        Index("ix_issued_certificate_device_pk", "device_pk"),
        Index("ix_issued_certificate_issued_at_serial", "issued_at", "serial"),
        Index("ix_issued_certificate_authority_id_revoked_at", "authority_id", "revoked_at"),
    )

    serial: str = Field(primary_key=True)
    """40 hexadecimal digits: 159 random bits, so that no two authorities share one."""
    authority_id: str = Field(foreign_key="certificate_authority.id")
    device_pk: int | None = Field(default=None, foreign_key="device.pk", ondelete="SET NULL")
    """Whose it is. A deleted device leaves the row behind: revocation is said until the certificate ends."""
    subject: str
    """`CN=` and the name."""
    sha256: str
    """Of the whole certificate: another one with this serial number is not this one."""
    thumbprint: str
    """SHA-1 in capitals, which is how Windows names a certificate in its stores."""
    issued_at: datetime = Field(sa_type=UtcDateTime)
    not_before: datetime = Field(sa_type=UtcDateTime)
    not_after: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revocation_reason: str | None = None
    """As RFC 5280 section 5.3.1 spells it, such as `keyCompromise`."""
