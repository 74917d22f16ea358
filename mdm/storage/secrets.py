"""`SecretBox`: encrypts what must be stored and read back, such as device verifiers.

AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D section 8.2.2 allows 2**32 values under one key). The
key comes from the settings or lives in a file beside the database, never in it: a copy of the database alone opens
nothing.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mdm.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SecretBox", "parse_key", "read_key"]

_VERSION: Final = b"\x01"
"""First byte of every sealed value: the algorithm, so that another can follow."""
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class SecretBox:
    """Seals and opens small secrets with one key."""

    def __init__(self, key: bytes) -> None:
        """Take a key of 32 bytes; raises ValueError for any other length."""
        if len(key) != _KEY_BYTES:
            raise ValueError(f"a key has {_KEY_BYTES} bytes")
        self._cipher = AESGCM(key)
        self._fingerprint_key = hashlib.sha256(b"fingerprint" + key).digest()

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read the key (one line of base64), or make one in a new file of mode 0600.

        Raises Unavailable as `read_key` does.
        """
        return cls(read_key(path))

    def seal(self, secret: bytes) -> bytes:
        """Return the version byte, a fresh nonce, and the secret encrypted and authenticated."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret, _VERSION)

    def open(self, sealed: bytes) -> bytes:
        """Return the secret; raises Unavailable for a value of another key, or one that was tampered with.

        That is a fault of the installation (say, a database restored without its key file) and must not be
        told to a device as a wrong password.
        """
        version, nonce = sealed[:1], sealed[1 : 1 + _NONCE_BYTES]
        unreadable = "A stored secret cannot be opened: the key is not the database's."
        if version != _VERSION or len(nonce) != _NONCE_BYTES:
            raise Unavailable(unreadable)
        try:
            return self._cipher.decrypt(nonce, sealed[1 + _NONCE_BYTES :], version)
        except InvalidTag as error:
            raise Unavailable(unreadable) from error

    def fingerprint(self, text: bytes) -> bytes:
        """Return 32 octets that are always the same for a text and mean nothing without the key (HMAC-SHA-256)."""
        return hmac.digest(self._fingerprint_key, text, "sha256")


def read_key(path: Path) -> bytes:
    """Return the key of a file, 32 random octets, or make one in a new file of mode 0600.

    Two processes that start together end with the same key. Raises Unavailable when the file can
    neither be read nor made, or holds no key: never is a key replaced.
    """
    try:
        if not path.exists():
            _create_key(path)
        line = path.read_bytes()
    except OSError as error:
        raise Unavailable(f"The key file {path} cannot be used: {error.strerror}.") from error
    try:
        return parse_key(line)
    except ValueError:
        raise Unavailable(f"The key file {path} holds no key: one line of base64 was expected.") from None


def parse_key(line: str | bytes) -> bytes:
    """Return the 32 octets that a line of base64 stands for; raises ValueError if it stands for anything else."""
    try:
        key = base64.b64decode(line.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise ValueError(f"must be {_KEY_BYTES} random octets in base64")
    return key


def _create_key(path: Path) -> None:
    """Write a new key beside `path` and link it there, whole or not at all; an existing file wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    # Without it the name may be gone after a power loss, and every credential sealed meanwhile with it.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
