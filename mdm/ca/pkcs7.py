"""PKCS #7 SignedData (RFC 2315, RFC 5652) as a renewal sends it: a content, and one RSA signature over it.

Read one level at a time over the original octets, definite lengths only (`mdm.ca.der`). What is found here is that
the key of some certificate has signed the content. Whose certificate that is, and whether it is good, no message can
say of itself: `mdm.ca.checking.check` does.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.hashes import Hash

from mdm.ca.algorithms import DIGESTS, RSA_ENCRYPTION, RSA_SIGNATURES, read_algorithm, signed
from mdm.ca.der import Element, Tag, read_children, read_element, read_oid
from mdm.ca.errors import InvalidDer, RefusedRequest
from mdm.ca.keys import device_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

__all__ = ["SignedContent", "read_signed"]

_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
_DATA: Final = "1.2.840.113549.1.7.1"
_CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
_MAX_CERTIFICATES: Final = 8
"""A device sends its own and perhaps its issuers'."""
_BEFORE_KEY: Final = 6
"""Serial number, algorithm, issuer, times, subject and key: the members of a certificate after its version."""


@dataclass(frozen=True, slots=True)
class SignedContent:
    """A content whose signature holds."""

    content: bytes
    signer: bytes
    """The certificate (DER) whose key has signed; it may have come with the message, so it is a claim."""


@dataclass(frozen=True, slots=True)
class _Signer:
    """What a SignerInfo says."""

    name: bytes
    """Issuer and serial number of the certificate, in DER."""
    digest: type[HashAlgorithm]
    attributes: Element | None
    signature: bytes


def read_signed(der: bytes, *, shown: bytes | None = None) -> SignedContent:
    """Return what a message of one signer has signed; raises RefusedRequest if it cannot be read or does not hold.

    `shown` is a certificate that is known otherwise, as the connection's is: a message need not carry it again.
    """
    try:
        content, certificates, signer = _parts(der)
        over = (
            content if signer.attributes is None else _attributes(signer.attributes, content, signer.digest)
        )
        certificate, key = _certificate(signer.name, certificates, shown)
    except InvalidDer as error:
        raise RefusedRequest(f"The PKCS #7 message cannot be read. {error.detail}") from error
    if not signed(device_key(key), signer.signature, over, signer.digest):
        raise RefusedRequest("The PKCS #7 message is not signed by the key of the certificate that it names.")
    return SignedContent(content, certificate)


def _parts(der: bytes) -> tuple[bytes, tuple[Element, ...], _Signer]:
    """The content, the certificates beside it, and the one signer."""
    kind, wrapped = read_children(read_element(der, Tag.SEQUENCE), Tag.OBJECT_IDENTIFIER, Tag.CONTEXT_0)
    if read_oid(kind) != _SIGNED_DATA:
        raise InvalidDer("It is not signed data.")
    (data,) = read_children(wrapped, Tag.SEQUENCE)
    optional = {child.tag for child in read_children(data)} & {Tag.CONTEXT_0, Tag.CONTEXT_1}
    _version, _digests, inner, *rest, signers = read_children(
        data, Tag.INTEGER, Tag.SET, Tag.SEQUENCE, *sorted(optional), Tag.SET
    )
    certificates = read_children(rest[0]) if Tag.CONTEXT_0 in optional else ()
    if len(certificates) > _MAX_CERTIFICATES:
        raise InvalidDer(f"It carries more than {_MAX_CERTIFICATES} certificates.")
    (signer,) = read_children(signers, Tag.SEQUENCE)
    return _content(inner), certificates, _signer(signer)


def _content(inner: Element) -> bytes:
    kind, wrapped = read_children(inner, Tag.OBJECT_IDENTIFIER, Tag.CONTEXT_0)
    if read_oid(kind) != _DATA:
        raise InvalidDer("What is signed is not plain data.")
    (content,) = read_children(wrapped, Tag.OCTET_STRING)
    return content.content


def _signer(info: Element) -> _Signer:
    """Read a SignerInfo; what it has beside the signature and unsigned is not looked at."""
    tags = [child.tag for child in read_children(info)]
    attributed, more = Tag.CONTEXT_0 in tags, Tag.CONTEXT_1 in tags
    _version, name, digest, *attributes, algorithm, signature = read_children(
        info,
        Tag.INTEGER,
        Tag.SEQUENCE,
        Tag.SEQUENCE,
        *(Tag.CONTEXT_0,) * attributed,
        Tag.SEQUENCE,
        Tag.OCTET_STRING,
        *(Tag.CONTEXT_1,) * more,
    )[: 5 + attributed]
    read_children(name, Tag.SEQUENCE, Tag.INTEGER)
    return _Signer(
        name=name.content,
        digest=_digest(read_algorithm(digest), read_algorithm(algorithm)),
        attributes=attributes[0] if attributes else None,
        signature=signature.content,
    )


def _digest(digest: str, algorithm: str) -> type[HashAlgorithm]:
    """The digest of both the content and the signature, which name it apart from each other."""
    found = DIGESTS.get(digest)
    if found is None or (algorithm != RSA_ENCRYPTION and RSA_SIGNATURES.get(algorithm) is not found):
        raise InvalidDer(f"It is signed with {digest} and {algorithm}, which is no RSA with SHA-1 or SHA-2.")
    return found


def _attributes(attributes: Element, content: bytes, algorithm: type[HashAlgorithm]) -> bytes:
    """The octets that are signed where the content is so by its digest among the attributes (RFC 5652 section 5.4)."""
    found: dict[str, Element] = {}
    for attribute in read_children(attributes):
        identifier, values = read_children(attribute, Tag.OBJECT_IDENTIFIER, Tag.SET)
        name = read_oid(identifier)
        if name in found:
            raise InvalidDer("A signed attribute stands there twice.")
        if name in {_CONTENT_TYPE, _MESSAGE_DIGEST}:
            (found[name],) = read_children(values, None)
    if found.keys() != {_CONTENT_TYPE, _MESSAGE_DIGEST}:
        raise InvalidDer(
            "A signed attribute is missing: the type and the digest of the content must be there."
        )
    if read_oid(found[_CONTENT_TYPE]) != _DATA:
        raise InvalidDer("The signed attributes are about another kind of content.")
    digest = Hash(algorithm())
    digest.update(content)
    said = found[_MESSAGE_DIGEST]
    if said.tag != Tag.OCTET_STRING or not hmac.compare_digest(said.content, digest.finalize()):
        raise InvalidDer("The signed attributes are about another content.")
    return bytes((Tag.SET,)) + attributes.encoded[1:]


def _certificate(name: bytes, certificates: tuple[Element, ...], shown: bytes | None) -> tuple[bytes, bytes]:
    """The certificate with this issuer and serial number, and its key; the shown one comes first."""
    known = () if shown is None else (read_element(shown, Tag.SEQUENCE),)
    for certificate in (*known, *certificates):
        found, key = _identity(certificate)
        if found == name:
            return certificate.encoded, key
    raise InvalidDer("Its signer's certificate is neither in it nor that of the connection.")


def _identity(certificate: Element) -> tuple[bytes, bytes]:
    """A certificate's issuer and serial number as a SignerInfo names them, and its key (RFC 5280 section 4.1)."""
    (information, *_) = read_children(certificate, Tag.SEQUENCE, Tag.SEQUENCE, Tag.BIT_STRING)
    members = read_children(information)
    if members and members[0].tag == Tag.CONTEXT_0:
        members = members[1:]
    if len(members) < _BEFORE_KEY:
        raise InvalidDer("A certificate in it is cut off.")
    serial, _algorithm, issuer, _times, _subject, key = members[:_BEFORE_KEY]
    return issuer.encoded + serial.encoded, key.encoded
