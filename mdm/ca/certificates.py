"""Certificates and revocation lists as bytes (RFC 5280): built and signed with SHA-256, nothing stored.

An authority's certificates say that it vouches for clients only (extended key usage). They end up among the roots a
device trusts, and with that they are worth nothing to whoever would pass for a web server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mdm.ca.errors import InvalidDer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from mdm.ca.keys import AuthorityKey

__all__ = [
    "CRL_LIFETIME",
    "RevokedEntry",
    "build_client",
    "build_crl",
    "build_intermediate",
    "build_root",
    "der",
    "read_certificate",
    "valid_from",
]

CRL_LIFETIME: Final = timedelta(days=7)
"""How long a revocation list says it is good for."""
_BACKDATED: Final = timedelta(hours=1)
"""A device whose clock is late by so much can use its certificate at once."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """A certificate that a revocation list names."""

    serial: int
    at: datetime
    reason: str
    """As `x509.ReasonFlags` spells it."""


def der(certificate: x509.Certificate) -> bytes:
    """The certificate's octets."""
    return certificate.public_bytes(Encoding.DER)


def read_certificate(octets: bytes) -> x509.Certificate:
    """Return a certificate whose names, times and key can be read; raises InvalidDer for any other.

    The library reads most members only when they are asked for, and raises errors of several kinds then. After this
    it raises none for those.
    """
    try:
        certificate = x509.load_der_x509_certificate(octets)
        _ = (certificate.issuer, certificate.subject, certificate.serial_number, certificate.public_key())
        _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise InvalidDer("These octets are no certificate that can be read.") from error
    return certificate


def valid_from(now: datetime) -> datetime:
    """When a certificate that is issued now begins to be valid."""
    return now.replace(microsecond=0) - _BACKDATED


def build_root(
    key: AuthorityKey, common_name: str, *, intermediates: int, now: datetime, not_after: datetime
) -> x509.Certificate:
    """Return a self-signed authority that may have so many authorities below it, one behind the other."""
    name = _name(common_name)
    return _authority(key, name, intermediates, now, not_after).issuer_name(name).sign(key, SHA256())


def build_intermediate(
    key: AuthorityKey,
    common_name: str,
    *,
    issuer: x509.Certificate,
    issuer_key: AuthorityKey,
    now: datetime,
    not_after: datetime,
) -> x509.Certificate:
    """Return an authority for devices, signed by the one above it."""
    builder = _authority(key, _name(common_name), 0, now, not_after).issuer_name(issuer.subject)
    return builder.add_extension(_issuer_key_id(issuer), critical=False).sign(issuer_key, SHA256())


def build_client(
    key: RSAPublicKey,
    common_name: str,
    *,
    serial: int,
    issuer: x509.Certificate,
    issuer_key: AuthorityKey,
    now: datetime,
    not_after: datetime,
) -> x509.Certificate:
    """Return a certificate that is good for proving who one is as a client, and for nothing else."""
    return (
        _builder(_name(common_name), valid_from(now), not_after)
        .serial_number(serial)
        .public_key(key)
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_issuer_key_id(issuer), critical=False)
        .sign(issuer_key, SHA256())
    )


def build_crl(
    revoked: Iterable[RevokedEntry], *, issuer: x509.Certificate, issuer_key: AuthorityKey, now: datetime
) -> bytes:
    """Return a revocation list in DER.

    Its number is the time in microseconds, which grows from list to list (RFC 5280 section 5.2.3) although nothing is
    written down.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now.replace(microsecond=0))
        .next_update(now.replace(microsecond=0) + CRL_LIFETIME)
        .add_extension(x509.CRLNumber((now - _EPOCH) // timedelta(microseconds=1)), critical=False)
        .add_extension(_issuer_key_id(issuer), critical=False)
    )
    for entry in revoked:
        one = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.at)
        reason = x509.ReasonFlags(entry.reason)
        # RFC 5280 section 5.3.1: no reason is said by leaving it out.
        if reason is not x509.ReasonFlags.unspecified:
            one = one.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(one.build())
    return builder.sign(issuer_key, SHA256()).public_bytes(Encoding.DER)


def _authority(
    key: AuthorityKey, name: x509.Name, path_length: int, now: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        _builder(name, valid_from(now), not_after)
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _builder(name: x509.Name, not_before: datetime, not_after: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder().subject_name(name).not_valid_before(not_before).not_valid_after(not_after)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _issuer_key_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """As the issuer itself writes its key's identifier: an organisation's own authority may compute it differently."""
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        own = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
