"""Whether a certificate proves a device, now: signature, chain, time, revocation, and that this bridge issued it.

Asked at each session, so that what is taken back is refused at the next one. It needs no private key, and nothing is
kept between two calls: a replaced authority and a revoked certificate count at once, in every process.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from sqlalchemy import bindparam, select

from mdm.ca.certificates import read_certificate
from mdm.ca.chain import signed_by
from mdm.ca.errors import InvalidDer
from mdm.ca.issued import serial_text
from mdm.storage.statements import table_of
from mdm.storage.tables import CertificateAuthority, IssuedCertificate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

__all__ = ["MAX_CERTIFICATE", "CertificateVerdict", "Refusal", "check"]

MAX_CERTIFICATE: Final = 16 * 1024
"""Octets; what is issued here has about 1 KiB."""


class Refusal(StrEnum):
    """Why a certificate proves nothing; the word for a log line."""

    UNREADABLE = "unreadable"
    SELF_SIGNED = "self-signed"
    OTHER_AUTHORITY = "issued by another authority"
    NOT_ISSUED_HERE = "signed by our authority, and not issued by this bridge"
    NOT_YET_VALID = "not valid yet"
    EXPIRED = "expired"
    AUTHORITY_EXPIRED = "its authority has expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class CertificateVerdict:
    """Whether a certificate is good, and whose it is."""

    ok: bool
    why: Refusal | None = None
    """None if it is good."""
    serial: str | None = None
    """None if it cannot be read. Until `ok` or a reason of time or revocation says so, it is a stranger's claim."""
    device_pk: int | None = None
    """The device it was issued to; also for one that is expired or revoked. None until it is bound to a device."""


_authority: Final = table_of(CertificateAuthority)
_issued: Final = table_of(IssuedCertificate)
_CHAINS: Final = select(_authority.c.root_der, _authority.c.intermediate_der)
_ROW: Final = (
    select(
        _issued.c.sha256,
        _issued.c.device_pk,
        _issued.c.revoked_at,
        _authority.c.root_der,
        _authority.c.intermediate_der,
    )
    .join_from(_issued, _authority)
    .where(_issued.c.serial == bindparam("b_serial"))
)


def check(conn: Connection, der: bytes, now: datetime) -> CertificateVerdict:
    """Return whether a certificate, in DER, proves a device at this moment; never raises for what a stranger sent.

    That its private key is there has been proved by the TLS handshake, and by nothing here.
    """
    if len(der) > MAX_CERTIFICATE:
        return CertificateVerdict(ok=False, why=Refusal.UNREADABLE)
    try:
        certificate = read_certificate(der)
    except InvalidDer:
        return CertificateVerdict(ok=False, why=Refusal.UNREADABLE)
    serial = serial_text(certificate.serial_number)
    row = conn.execute(_ROW, {"b_serial": serial}).one_or_none()
    # The digest covers all octets, the signature's too: a certificate made to look like ours is not the one issued.
    if row is None or not hmac.compare_digest(row.sha256, hashlib.sha256(der).hexdigest()):
        return CertificateVerdict(ok=False, why=_stranger(conn, certificate), serial=serial)
    why = _fault(certificate, _chain(row), row.revoked_at is not None, now)
    return CertificateVerdict(ok=why is None, why=why, serial=serial, device_pk=row.device_pk)


def _fault(
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    revoked: bool,  # noqa: FBT001 - one of four facts about the certificate
    now: datetime,
) -> Refusal | None:
    """The first thing that is wrong with a certificate that stands among those issued."""
    if not all(map(signed_by, (certificate, *chain[:-1]), chain)):
        return Refusal.OTHER_AUTHORITY
    if revoked:
        return Refusal.REVOKED
    if now < certificate.not_valid_before_utc:
        return Refusal.NOT_YET_VALID
    if now > certificate.not_valid_after_utc:
        return Refusal.EXPIRED
    if not all(each.not_valid_before_utc <= now <= each.not_valid_after_utc for each in chain):
        return Refusal.AUTHORITY_EXPIRED
    return None


def _stranger(conn: Connection, certificate: x509.Certificate) -> Refusal:
    """What to say of a certificate that was not issued here."""
    if any(signed_by(certificate, _chain(row)[0]) for row in conn.execute(_CHAINS)):
        return Refusal.NOT_ISSUED_HERE
    return Refusal.SELF_SIGNED if certificate.issuer == certificate.subject else Refusal.OTHER_AUTHORITY


def _chain(row: Row[*tuple[Any, ...]]) -> list[x509.Certificate]:
    """From the issuing certificate up to the root."""
    ders = (row.intermediate_der, row.root_der)
    return [x509.load_der_x509_certificate(each) for each in ders if each is not None]
