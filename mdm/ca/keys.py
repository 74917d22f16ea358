"""Which keys are strong enough: rules for the devices' keys and for an authority's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mdm.ca.errors import RefusedRequest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

__all__ = ["MAX_RSA_BITS", "MIN_RSA_BITS", "AuthorityKey", "device_key", "is_authority_key"]

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
"""Beyond it a signature check takes longer than a stranger's request is worth."""
_MIN_EXPONENT: Final = 65537
_MAX_EXPONENT: Final = 2**32

AuthorityKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
"""What an authority may sign with."""
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def device_key(public_key_der: bytes) -> rsa.RSAPublicKey:
    """Return the key of a SubjectPublicKeyInfo; raises RefusedRequest for any but RSA of 2048 to 8192 bits."""
    try:
        key = load_der_public_key(public_key_der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RefusedRequest("The public key of the request cannot be read.") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise RefusedRequest("The public key of the request is not RSA: Windows is told to make an RSA key.")
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise RefusedRequest(
            f"The public key of the request has {key.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted."
        )
    exponent = key.public_numbers().e
    if not _MIN_EXPONENT <= exponent < _MAX_EXPONENT or exponent % 2 == 0:
        raise RefusedRequest(
            f"The exponent of the request's public key is not an odd number from {_MIN_EXPONENT} to {_MAX_EXPONENT}."
        )
    return key


def is_authority_key(key: PrivateKeyTypes) -> bool:
    """Whether an authority may have this key: RSA of 2048 to 8192 bits, or one of the NIST curves."""
    if isinstance(key, rsa.RSAPrivateKey):
        return MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS
    return isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES)
