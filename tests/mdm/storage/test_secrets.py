"""The secret box and its key file."""

from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.errors import Unavailable
from mdm.storage.secrets import SecretBox

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))


@given(secret=st.binary(max_size=200))
def test_what_is_sealed_opens(secret: bytes) -> None:
    """Any secret comes back, from a box of the same key."""
    sealed = SecretBox(KEY).seal(secret)
    assert SecretBox(KEY).open(sealed) == secret
    assert len(sealed) == 1 + 12 + len(secret) + 16


def test_a_known_value_opens() -> None:
    """The format is fixed: version, nonce, AES-256-GCM with the version as associated data."""
    sealed = bytes.fromhex("01" + "00" * 12 + "78d9c7b7d345e6cffda071794ccde851153bc692b017e1b7")
    assert SecretBox(KEY).open(sealed) == b"verifier"


def test_a_secret_never_seals_twice_alike() -> None:
    """Equal secrets cannot be told from their sealed forms, in which nothing of them is readable."""
    box = SecretBox(KEY)
    sealed = {box.seal(b"verifier") for _ in range(100)}
    assert len(sealed) == 100
    assert not any(b"verifier" in value for value in sealed)


def test_any_changed_bit_is_noticed() -> None:
    """Version, nonce, text and tag are all authenticated."""
    sealed = SecretBox(KEY).seal(b"verifier")
    for position in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(Unavailable, match="key is not the database's"):
            SecretBox(KEY).open(bytes(changed))


@pytest.mark.parametrize("length", [0, 1, 12, 13, 28])
def test_a_cut_value_is_refused(length: int) -> None:
    """A value too short to hold its parts is refused like a forged one."""
    with pytest.raises(Unavailable):
        SecretBox(KEY).open(SecretBox(KEY).seal(b"")[:length])


def test_another_key_opens_nothing() -> None:
    """A database restored without its key file is an outage, not a wrong password."""
    with pytest.raises(Unavailable, match="key is not the database's"):
        SecretBox(bytes(32)).open(SecretBox(KEY).seal(b"verifier"))


def test_a_key_has_32_bytes() -> None:
    """A shorter key would silently be a weaker cipher."""
    with pytest.raises(ValueError, match="32 bytes"):
        SecretBox(bytes(16))


def test_the_key_file_is_made_once_for_the_owner_only(data_dir: Path) -> None:
    """The first start makes it, in a directory of its own, and later starts read it."""
    path = data_dir / "secret.key"
    sealed = SecretBox.from_file(path).seal(b"verifier")
    content = path.read_bytes()
    assert SecretBox.from_file(path).open(sealed) == b"verifier"
    assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert [found.name for found in data_dir.iterdir()] == ["secret.key"]


def test_a_key_may_come_from_elsewhere(tmp_path: Path) -> None:
    """Any 32 bytes in base64 are a key, with or without a newline."""
    path = tmp_path / "key"
    path.write_bytes(base64.b64encode(KEY))
    assert SecretBox.from_file(path).open(SecretBox(KEY).seal(b"x")) == b"x"


def test_all_that_start_together_share_one_key(data_dir: Path) -> None:
    """Whoever is first decides; nobody seals with a key that is overwritten."""
    path = data_dir / "secret.key"
    with ThreadPoolExecutor(16) as pool:
        boxes = list(pool.map(lambda _: SecretBox.from_file(path), range(64)))
    sealed = boxes[0].seal(b"x")
    assert {box.open(sealed) for box in boxes} == {b"x"}
    assert [found.name for found in data_dir.iterdir()] == ["secret.key"]


def test_losing_the_race_keeps_the_winners_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key made between the look and the making is taken over."""
    path = tmp_path / "secret.key"
    real = os.link

    def link(draft: Path, target: Path) -> None:
        path.write_bytes(base64.b64encode(KEY))
        real(draft, target)

    monkeypatch.setattr(os, "link", link)
    assert SecretBox.from_file(path).open(SecretBox(KEY).seal(b"x")) == b"x"
    assert [found.name for found in tmp_path.iterdir()] == ["secret.key"]


@pytest.mark.parametrize("content", [b"", b"\n", b"not base64!", base64.b64encode(bytes(31)), KEY])
def test_a_file_without_a_key_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    """A damaged key file stops the start; a new key would lock every device out for good."""
    path = tmp_path / "secret.key"
    path.write_bytes(content)
    with pytest.raises(Unavailable, match="holds no key"):
        SecretBox.from_file(path)
    assert path.read_bytes() == content


def test_a_key_file_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    """A directory in its place, or a file in its directory's place, is told in words."""
    with pytest.raises(Unavailable, match=r"key file .* cannot be used: Is a directory"):
        SecretBox.from_file(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be used"):
        SecretBox.from_file(tmp_path / "file" / "secret.key")


def test_a_fingerprint_is_stable_and_keyed() -> None:
    """The same text has the same fingerprint under one key and another one under another key."""
    fingerprint = SecretBox(KEY).fingerprint(b"urn:uuid:1")
    assert len(fingerprint) == 32
    assert SecretBox(KEY).fingerprint(b"urn:uuid:1") == fingerprint
    assert SecretBox(KEY).fingerprint(b"urn:uuid:2") != fingerprint
    assert SecretBox(bytes(32)).fingerprint(b"urn:uuid:1") != fingerprint
