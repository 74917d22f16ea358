"""Licence files made again from their texts: the very octets, or nothing."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.catalog.eula_bytes import file_of_text, sha1_of
from mdm.catalog.eula_texts import decode_text

TEXT = "Lizenz für Ärzte: 5 €\r\n"


def again(data: bytes) -> bytes | None:
    """The file made of what would be stored of it."""
    return file_of_text(decode_text(data), sha1=sha1_of(data), text_sha256=hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_file_is_made_again_in_the_encoding_it_had(encoding: str) -> None:
    """Which of them it was, its digests tell."""
    data = TEXT.encode(encoding)
    assert again(data) == data
    big = b"\xfe\xff" + TEXT.encode("utf-16-be")
    assert again(big) == big


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_every_text_in_utf_8_comes_back(text: str) -> None:
    """Signs that Windows-1252 lacks included."""
    data = text.encode()
    assert again(data) == data


def test_a_damaged_text_is_not_made_up() -> None:
    """Octets without meaning are lost; another file in their place would not have the digests."""
    assert again(b"\x81\xe4") is None


def test_both_digests_have_to_fit() -> None:
    """That of the metadata, and that which acceptances name."""
    assert file_of_text("x", sha1=sha1_of(b"x"), text_sha256=hashlib.sha256(b"y").hexdigest()) is None
    assert file_of_text("x", sha1=sha1_of(b"y"), text_sha256=hashlib.sha256(b"x").hexdigest()) is None
    assert file_of_text("x", sha1=sha1_of(b"x"), text_sha256=None) is None
