"""The file a stored licence text was made of, so that another site can check its digests as well.

What is stored is the text. Its file is made again in each encoding that `decode_text` reads, and the one whose
digests are those of the metadata is it, byte for byte.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["file_of_text", "sha1_of"]

_ENCODINGS: Final = (
    (b"", "utf-8"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"", "cp1252"),
)


def sha1_of(data: bytes) -> str:
    """Return the SHA-1 as metadata writes it, in base64."""
    return base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii")


def file_of_text(text: str, *, sha1: str, text_sha256: str | None) -> bytes | None:
    """Return the octets with this SHA-1 (base64) and SHA-256 (hex) that read as the text.

    None for a text that was damaged when it was fetched: some of its octets had no meaning and are lost.
    """
    for data in _candidates(text):
        if hashlib.sha256(data).hexdigest() == text_sha256 and sha1_of(data) == sha1:
            return data
    return None


def _candidates(text: str) -> Iterator[bytes]:
    for mark, encoding in _ENCODINGS:
        try:
            yield mark + text.encode(encoding)
        except UnicodeEncodeError:
            continue  # this encoding lacks a sign of the text
