"""The algorithms that devices sign with, by object identifier: RSA with PKCS #1 v1.5 and SHA-1 or SHA-2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from mdm.ca.der import Element, Tag, read_children, read_oid
from mdm.ca.errors import InvalidDer, RefusedRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["DIGESTS", "RSA_ENCRYPTION", "RSA_SIGNATURES", "read_algorithm", "signed"]

# SHA-1 says here only that who asks holds a key, within one authenticated call. Nothing of ours is signed with it.
DIGESTS: Final[Mapping[str, type[hashes.HashAlgorithm]]] = {
    "1.3.14.3.2.26": hashes.SHA1,
    "2.16.840.1.101.3.4.2.1": hashes.SHA256,
    "2.16.840.1.101.3.4.2.2": hashes.SHA384,
    "2.16.840.1.101.3.4.2.3": hashes.SHA512,
}
RSA_SIGNATURES: Final[Mapping[str, type[hashes.HashAlgorithm]]] = {
    "1.3.14.3.2.29": hashes.SHA1,  # sha1WithRSA of the OIW: Windows 10
    "1.2.840.113549.1.1.5": hashes.SHA1,
    "1.2.840.113549.1.1.11": hashes.SHA256,  # Windows 11
    "1.2.840.113549.1.1.12": hashes.SHA384,
    "1.2.840.113549.1.1.13": hashes.SHA512,
}
RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"
"""Names the key and leaves the digest to be said elsewhere, as PKCS #7 does."""


def read_algorithm(identifier: Element) -> str:
    """Return the object identifier of an AlgorithmIdentifier whose parameters are NULL or left out.

    Raises InvalidDer for any other.
    """
    parameters = read_children(identifier)[1:]
    name, *_ = read_children(identifier, Tag.OBJECT_IDENTIFIER, *(Tag.NULL for _ in parameters[:1]))
    if parameters and parameters[0].content:
        raise InvalidDer("An algorithm has parameters.")
    return read_oid(name)


def signed(key: RSAPublicKey, signature: bytes, content: bytes, digest: type[hashes.HashAlgorithm]) -> bool:
    """Whether the key has signed the content; raises RefusedRequest where this machine may not find out."""
    try:
        key.verify(signature, content, PKCS1v15(), digest())
    except InvalidSignature:
        return False
    except UnsupportedAlgorithm as error:
        raise RefusedRequest(
            "This machine's cryptographic policy forbids the algorithm of the request's signature."
        ) from error
    return True
