"""An organisation's own authority, taken over from a key and a chain in PEM: checked whole before it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from mdm.ca.certificates import der, read_certificate
from mdm.ca.errors import InvalidDer, RefusedImport
from mdm.ca.keys import is_authority_key

if TYPE_CHECKING:
    from datetime import datetime

    from mdm.ca.keys import AuthorityKey

__all__ = ["Material", "read_material", "signed_by"]

_MAX_PEM: Final = 256 * 1024
_LONGEST: Final = 2
"""An enrolment document carries one root and at most one intermediate (mobile-device-enrollment)."""
_WEAK: Final = (MD5, SHA1)


@dataclass(frozen=True, slots=True)
class Material:
    """What an authority consists of: the key it signs with, and the certificates above what it issues."""

    key: AuthorityKey
    root: x509.Certificate
    intermediate: x509.Certificate | None

    @property
    def issuer(self) -> x509.Certificate:
        """The certificate of `key`."""
        return self.root if self.intermediate is None else self.intermediate


def read_material(key_pem: bytes, chain_pem: bytes, passphrase: bytes | None, now: datetime) -> Material:
    """Return the authority of a key and its certificates, which may come in any order, the root among them.

    Raises RefusedImport, with the first thing that is wrong.
    """
    key = _key(key_pem, passphrase)
    chain = _chain(chain_pem, key)
    for place, certificate in enumerate(chain):
        _check_authority(certificate, below=place, now=now)
    return Material(key, chain[-1], chain[0] if len(chain) > 1 else None)


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` is who the certificate names as its issuer, and has signed it."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _key(pem: bytes, passphrase: bytes | None) -> AuthorityKey:
    if len(pem) > _MAX_PEM:
        raise RefusedImport("The key's file is too large.")
    try:
        key = load_pem_private_key(pem, passphrase)
    except TypeError:
        raise RefusedImport(
            "The key is encrypted: its passphrase is needed."
            if passphrase is None
            else "A passphrase was given, and the key is not encrypted."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        # Not chained: nothing about the key shall reach a log.
        raise RefusedImport(
            "The key cannot be read: a private key in PEM was expected, and its passphrase if it has one."
        ) from None
    if not is_authority_key(key):
        raise RefusedImport("The key is not RSA of 2048 to 8192 bits, nor of a curve P-256, P-384 or P-521.")
    return key  # type: ignore[return-value]


def _chain(pem: bytes, key: AuthorityKey) -> list[x509.Certificate]:
    """The certificates from the key's own up to the root."""
    if len(pem) > _MAX_PEM:
        raise RefusedImport("The chain's file is too large.")
    try:
        rest = [read_certificate(der(each)) for each in x509.load_pem_x509_certificates(pem)]
    except (ValueError, x509.InvalidVersion, InvalidDer) as error:
        raise RefusedImport("The chain cannot be read: certificates in PEM were expected.") from error
    own = [each for each in rest if each.public_key() == key.public_key()]
    if not own:
        raise RefusedImport("No certificate of the chain is that of the key.")
    chain = own[:1]
    # Who names himself as his issuer is the root. That he has signed himself proves nothing, and is not asked: the
    # signature of many an old root on itself is SHA-1.
    while chain[-1].issuer != chain[-1].subject:
        if isinstance(chain[-1].signature_hash_algorithm, _WEAK):
            raise RefusedImport(
                f"The certificate {_called(chain[-1])} is signed with an algorithm that is broken."
            )
        above = [each for each in rest if each not in chain and signed_by(chain[-1], each)]
        if not above:
            raise RefusedImport(f"The chain has no certificate of the issuer of {_called(chain[-1])}.")
        chain.append(above[0])
    if len(chain) > _LONGEST:
        raise RefusedImport(
            f"The chain has {len(chain)} certificates. A device can be given a root and one intermediate only."
        )
    return chain


def _check_authority(certificate: x509.Certificate, *, below: int, now: datetime) -> None:
    """Raise RefusedImport unless it may, now, vouch for clients with `below` authorities between."""
    name = _called(certificate)
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise RefusedImport(f"The certificate {name} is not valid now.")
    try:
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, TypeError, x509.DuplicateExtension, x509.ExtensionNotFound):
        raise RefusedImport(f"The certificate {name} does not say that it is an authority's.") from None
    if not constraints.ca:
        raise RefusedImport(f"The certificate {name} is not an authority's.")
    if constraints.path_length is not None and constraints.path_length < below:
        raise RefusedImport(f"The certificate {name} allows no authority below it.")
    for extension in extensions:
        usage = extension.value
        if isinstance(usage, x509.KeyUsage) and not (usage.key_cert_sign and usage.crl_sign):
            raise RefusedImport(f"The certificate {name} may not sign certificates and revocation lists.")
        if isinstance(usage, x509.ExtendedKeyUsage) and not _FOR_CLIENTS & set(usage):
            raise RefusedImport(f"The certificate {name} may not vouch for clients.")


_FOR_CLIENTS: Final = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


def _called(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "without a name"
