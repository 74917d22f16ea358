"""A self-signed server certificate for a first try: made on first use, kept in the data directory.

`tls.pem` holds key and certificate in one file, so that they always belong together, and is its owner's alone
(mode 0600). `tls.crt` is the certificate by itself, to be trusted on a device. Both are made anew when the
certificate is about to expire or lacks a name it should have.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mdm.tls.errors import TlsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

__all__ = ["CERTIFICATE_FILE", "KEY_FILE", "LOCAL_NAMES", "SelfSigned", "self_signed"]

KEY_FILE: Final = "tls.pem"
CERTIFICATE_FILE: Final = "tls.crt"
LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
"""Names that every certificate has."""
_LIFETIME: Final = timedelta(days=730)
_RENEW_BEFORE: Final = timedelta(days=30)
_BACKDATED: Final = timedelta(hours=1)
"""A device's clock may be late."""
_COMMON_NAME: Final = "CSP Bridge (self-signed)"


@dataclass(frozen=True, slots=True)
class SelfSigned:
    """The certificate that is there now."""

    path: Path
    """The file with key and certificate."""
    fingerprint: str
    """SHA-256 of the certificate, in hexadecimal digits, to compare with what a device shows."""
    names: tuple[str, ...]
    not_after: datetime
    made: bool
    """Whether it was made just now."""


def self_signed(directory: Path, names: Iterable[str], now: datetime) -> SelfSigned:
    """Return the certificate of a data directory, made if there is none that will do for `names`.

    `names` are host names and IP addresses besides LOCAL_NAMES. Two processes that start together end with the
    same certificate. Raises TlsError when the files can neither be read nor written, or hold something else:
    never is a file replaced that this function has not written.
    """
    wanted = tuple(dict.fromkeys([*(_ascii(name) for name in names), *LOCAL_NAMES]))
    path = directory / KEY_FILE
    try:
        certificate = _read(path)
        made = False
        if certificate is None or not _will_do(certificate, wanted, now):
            _write(path, _make(wanted, now), replace=certificate is not None)
            certificate, made = _read(path), True
        if certificate is None:
            raise TlsError(f"The file {path} was removed while the service started.")
        _publish(directory / CERTIFICATE_FILE, certificate.public_bytes(Encoding.PEM))
    except OSError as error:
        raise TlsError(f"The TLS certificate in {directory} cannot be used: {error.strerror}.") from None
    return SelfSigned(
        path,
        certificate.fingerprint(SHA256()).hex(),
        _names_of(certificate),
        certificate.not_valid_after_utc,
        made,
    )


def _read(path: Path) -> x509.Certificate | None:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return x509.load_pem_x509_certificate(text)
    except ValueError:
        raise TlsError(
            f"The file {path} holds no certificate; remove it to have a new one made at the next start."
        ) from None


def _will_do(certificate: x509.Certificate, wanted: tuple[str, ...], now: datetime) -> bool:
    return certificate.not_valid_after_utc - now > _RENEW_BEFORE and set(wanted) <= set(
        _names_of(certificate)
    )


def _names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    )


def _make(names: tuple[str, ...], now: datetime) -> bytes:
    """A new key and its certificate, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())  # which every Windows that has TLS 1.2 can verify
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _COMMON_NAME)])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        # Not an authority: trusting it lets nobody issue for other names.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .sign(key, SHA256())
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(
        Encoding.PEM
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _ascii(name: str) -> str:
    """A name as a certificate has it: addresses in their short form, other scripts in Punycode."""
    with contextlib.suppress(ValueError):
        return str(ip_address(name))
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise TlsError(f"No certificate can be made for the host name {name!r}.") from None


def _write(path: Path, text: bytes, *, replace: bool) -> None:
    """Put the file in place whole or not at all; unless it replaces, one that is there by now wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _publish(path: Path, certificate: bytes) -> None:
    if not path.exists() or path.read_bytes() != certificate:
        path.write_bytes(certificate)
