"""PKCS #10 requests (RFC 2986) as real Windows sends them, read and verified over the original octets.

Windows 10 writes "!" and a NUL into a PrintableString and signs with an algorithm identifier of the OIW, and
libraries that load whole requests refuse both. Nothing here is written anew before the signature is checked, and the
subject is handed on as it came: what a certificate says is this bridge's decision and not the request's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mdm.ca.algorithms import RSA_SIGNATURES, read_algorithm, signed
from mdm.ca.der import Element, Tag, read_children, read_element, read_oid
from mdm.ca.errors import InvalidDer, RefusedRequest
from mdm.ca.keys import device_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

__all__ = ["CertificateRequest", "read_csr"]

_EXTENSION_REQUESTS: Final = frozenset({"1.2.840.113549.1.9.14", "1.3.6.1.4.1.311.2.1.14"})
"""PKCS #9's attribute and Microsoft's older one."""
_DEVICE_ID: Final = "1.3.6.1.4.1.311.66.1.0"
"""[MS-MDE2]: the extension whose contents are the device's id in ASCII and a NUL, no ASN.1 inside."""


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A request whose signature holds: its sender has the private key that belongs to `public_key_der`."""

    public_key_der: bytes
    """SubjectPublicKeyInfo, as sent."""
    subject_raw: bytes
    """The Name asked for, in DER and as sent. Not to be issued."""
    device_id: str | None
    """What the request calls the device, if it does so in printable ASCII: a claim."""


def read_csr(der: bytes) -> CertificateRequest:
    """Return what a request says; raises RefusedRequest if it cannot be read, is weak, or is not signed by its key."""
    try:
        information, signature, digest = _parts(der)
        _version, subject, public_key, *attributes = _information(information)
        device_id = _device_id(attributes[0]) if attributes else None
    except InvalidDer as error:
        raise RefusedRequest(f"The certificate request cannot be read. {error.detail}") from error
    if not signed(device_key(public_key.encoded), signature, information.encoded, digest):
        raise RefusedRequest("The certificate request is not signed by the key that it names.")
    return CertificateRequest(public_key.encoded, subject.encoded, device_id)


def _parts(der: bytes) -> tuple[Element, bytes, type[HashAlgorithm]]:
    """What is signed, the signature, and how it was made."""
    information, algorithm, signature = read_children(
        read_element(der, Tag.SEQUENCE), Tag.SEQUENCE, Tag.SEQUENCE, Tag.BIT_STRING
    )
    if signature.content[:1] != b"\0":
        raise InvalidDer("The signature does not consist of whole octets.")
    return information, signature.content[1:], _digest(algorithm)


def _information(information: Element) -> tuple[Element, ...]:
    """Version, subject, key, and the attributes, which some writers leave out where there are none."""
    tags = (Tag.INTEGER, Tag.SEQUENCE, Tag.SEQUENCE, Tag.CONTEXT_0)
    found = read_children(information, *tags[: max(len(tags) - 1, len(read_children(information)))])
    if found[0].content != b"\0":
        raise InvalidDer("The version is not that of PKCS #10.")
    return found


def _digest(algorithm: Element) -> type[HashAlgorithm]:
    name = read_algorithm(algorithm)
    try:
        return RSA_SIGNATURES[name]
    except KeyError:
        raise InvalidDer(f"Its signature's algorithm {name} is none of RSA with SHA-1 or SHA-2.") from None


def _device_id(attributes: Element) -> str | None:
    for attribute in read_children(attributes):
        name, values = read_children(attribute, Tag.OBJECT_IDENTIFIER, Tag.SET)
        if read_oid(name) not in _EXTENSION_REQUESTS:
            continue
        (extensions,) = read_children(values, Tag.SEQUENCE)
        for extension in read_children(extensions):
            identifier, *_, value = _extension(extension)
            if read_oid(identifier) == _DEVICE_ID:
                text = value.content.removesuffix(b"\0")
                return text.decode("ascii") if text.isascii() and text.decode().isprintable() else None
    return None


def _extension(extension: Element) -> tuple[Element, ...]:
    """Identifier, whether it is critical unless left out, and value."""
    critical = (Tag.BOOLEAN,) if len(read_children(extension)) > 2 else ()  # noqa: PLR2004 - as said
    return read_children(extension, Tag.OBJECT_IDENTIFIER, *critical, Tag.OCTET_STRING)
