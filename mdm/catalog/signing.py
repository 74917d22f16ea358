"""Keys of catalogue archives: the site that exports signs, the site that imports trusts by fingerprint.

Ed25519 (RFC 8032). What is signed begins with a sentence of our own, so that a signature made here is good for
nothing else.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from mdm.storage.secrets import read_key

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SIGNATURE_BYTES", "InvalidKey", "PublicKey", "SigningKey", "parse_fingerprint", "read_public_key"]

SIGNATURE_BYTES: Final = 64
_PURPOSE: Final = b"csp-bridge catalogue archive\0"
_PEM: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_PREFIX: Final = "SHA256:"
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_FILE: Final = 64 * 1024


class InvalidKey(ValueError):  # noqa: N818 - named for what is wrong
    """A text or file that names no key; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What a signature is checked with."""

    raw: bytes
    """32 octets."""

    @property
    def fingerprint(self) -> str:
        """The key's name among people: `SHA256:` and 64 hexadecimal digits."""
        return f"{_PREFIX}{hashlib.sha256(self.raw).hexdigest()}"

    @property
    def pem(self) -> str:
        """The key as a PEM text (RFC 8410)."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether the owner of this key has signed the message as an archive's manifest."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, _PURPOSE + message)
        except (InvalidSignature, ValueError):  # ValueError: the 32 octets are no point of the curve
            return False
        return True


class SigningKey:
    """A site's private key."""

    def __init__(self, seed: bytes) -> None:
        """Take 32 random octets."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read the key, or make one in a new file of mode 0600; raises Unavailable as `read_key` does."""
        return cls(read_key(path))

    @property
    def public(self) -> PublicKey:
        """What others need to check the signatures."""
        return PublicKey(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, message: bytes) -> bytes:
        """Return the signature of an archive's manifest, 64 octets."""
        return self._key.sign(_PURPOSE + message)


def parse_fingerprint(text: str) -> str:
    """Return a fingerprint as `PublicKey.fingerprint` writes it; raises InvalidKey.

    Upper case, blanks, colons between the digits and a missing `SHA256:` do not matter: people read it out.
    """
    digits = re.sub(r"[\s:]", "", text).lower().removeprefix("sha256")
    if not _FINGERPRINT.fullmatch(digits):
        raise InvalidKey("A fingerprint is SHA256: and 64 hexadecimal digits.")
    return f"{_PREFIX}{digits}"


def read_public_key(path: Path) -> PublicKey:
    """Read the key that `csp-bridge catalog key` has printed into a file; raises InvalidKey."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE)
    except OSError as error:
        raise InvalidKey(f"The key file {path} cannot be read: {error.strerror}.") from None
    found = _PEM.search(text)
    try:
        key = load_pem_public_key(found[0]) if found is not None else None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidKey(f"The file {path} holds no key as csp-bridge catalog key prints it.")
    return PublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
