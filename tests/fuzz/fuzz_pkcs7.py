"""Target: any octets as the PKCS #7 message of a renewal, and what one signed as the certificate request it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from mdm.ca.csr import read_csr
from mdm.ca.errors import RefusedRequest
from mdm.ca.pkcs7 import read_signed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NAME", "run"]

NAME: Final = "pkcs7"
T = TypeVar("T")


def run(data: bytes) -> None:
    """Raises for anything but the documented error, and for a content or signer that the message does not hold."""
    message = _read(lambda: read_signed(data))
    if message is not None:
        assert message.content in data
        assert message.signer in data
    content = data if message is None else message.content
    request = _read(lambda: read_csr(content))
    if request is not None:
        assert request.public_key_der in content
        assert request.subject_raw in content


def _read(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except RefusedRequest as error:
        detail = error.detail
    assert detail.isprintable(), detail
    assert len(detail) < 300, detail
    return None
