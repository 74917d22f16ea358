"""What enrolment needs of a certificate authority: `mdm.ca.authority.Authority` is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["CertificateIssuer", "Issued"]


class Issued(Protocol):
    """A certificate that was issued."""

    @property
    def der(self) -> bytes:
        """The certificate."""

    @property
    def thumbprint_sha1(self) -> str:
        """Its SHA-1 in hexadecimal: its name in a Windows certificate store."""

    @property
    def serial(self) -> str:
        """Its serial number, as it is revoked by."""

    @property
    def subject(self) -> str:
        """Its subject, as RFC 4514 writes it."""

    @property
    def not_after(self) -> datetime:
        """When it ends."""


@runtime_checkable
class CertificateIssuer(Protocol):
    """Issues client certificates, inside the caller's transaction."""

    @property
    def root_der(self) -> bytes:
        """The certificate devices are to trust."""

    @property
    def intermediate_der(self) -> bytes | None:
        """The one that issues, where the root does not."""

    def issue(
        self,
        conn: Connection,
        *,
        public_key: bytes,
        subject_name: str,
        device_pk: int | None,
        now: datetime,
    ) -> Issued:
        """Issue a client certificate; raises `mdm.ca.errors.CaError`."""
