"""Keys of archives: made once, named by fingerprint, good for manifests only."""

from __future__ import annotations

import base64
import hashlib
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mdm.catalog.signing import InvalidKey, PublicKey, SigningKey, parse_fingerprint, read_public_key
from mdm.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

SEED = bytes(range(32))
DIGITS = hashlib.sha256(SigningKey(SEED).public.raw).hexdigest()


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    """The second process reads what the first has made."""
    path = tmp_path / "new" / "key"
    public = SigningKey.from_file(path).public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.from_file(path).public == public


def test_a_file_that_is_no_key_is_never_replaced(tmp_path: Path) -> None:
    """Otherwise the other sites would refuse every later archive."""
    path = tmp_path / "key"
    path.write_bytes(base64.b64encode(b"too short"))
    with pytest.raises(Unavailable, match="holds no key"):
        SigningKey.from_file(path)
    assert base64.b64decode(path.read_bytes()) == b"too short"


def test_only_the_key_s_own_signature_of_the_message_holds() -> None:
    """Another message, another key, a cut signature and a signature for another purpose do not."""
    key = SigningKey(SEED)
    signature = key.sign(b"message")
    assert key.public.has_signed(b"message", signature)
    assert not key.public.has_signed(b"massage", signature)
    assert not key.public.has_signed(b"message", signature[:-1])
    assert not SigningKey(bytes(32)).public.has_signed(b"message", signature)
    bare = Ed25519PrivateKey.from_private_bytes(SEED).sign(b"message")
    assert not key.public.has_signed(b"message", bare)
    assert not PublicKey(b"short").has_signed(b"message", signature)


@pytest.mark.parametrize(
    "text",
    [
        f"SHA256:{DIGITS}",
        DIGITS.upper(),
        f"sha256:{':'.join(DIGITS[at : at + 2] for at in range(0, 64, 2))}",
        " ".join(DIGITS[at : at + 8] for at in range(0, 64, 8)),
    ],
)
def test_a_fingerprint_is_read_however_people_write_it(text: str) -> None:
    """It comes out as the key itself names it."""
    assert parse_fingerprint(text) == SigningKey(SEED).public.fingerprint


@pytest.mark.parametrize("text", ["", "SHA256:", DIGITS[:-1], f"{DIGITS}0", DIGITS.replace(DIGITS[0], "g")])
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    """A digit too few is no other key."""
    with pytest.raises(InvalidKey, match="64 hexadecimal digits"):
        parse_fingerprint(text)


def test_a_printed_key_is_read_back_with_the_words_around_it(tmp_path: Path) -> None:
    """As `catalog key` prints it, or as a mail has it."""
    path = tmp_path / "site.pem"
    public = SigningKey(SEED).public
    path.write_text(f"Fingerprint: {public.fingerprint}\n{public.pem}\nRegards\n", encoding="utf-8")
    assert read_public_key(path) == public


def test_a_file_without_such_a_key_is_refused(tmp_path: Path) -> None:
    """Nothing, damaged base64, and a key of another kind."""
    path = tmp_path / "site.pem"
    other = X25519PrivateKey.generate().public_key()
    damaged = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    for content in (
        "",
        damaged,
        other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    ):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(InvalidKey, match="holds no key"):
            read_public_key(path)
    with pytest.raises(InvalidKey, match="cannot be read: Is a directory"):
        read_public_key(tmp_path)
