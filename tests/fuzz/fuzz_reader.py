"""Target: any bytes into the reader, and what it read through the writer and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shapes import Choices, message

from syncml.errors import LocalProtocolError, RemoteProtocolError
from syncml.reader import read_fragment, read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from syncml.messages import Message

__all__ = ["NAME", "document", "run"]

NAME: Final = "reader"


def document(data: bytes) -> bytes:
    """The document under test: `data` itself when it looks like XML, else one that `data` decides about."""
    return data if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<") else message(Choices(data), 1)


def run(data: bytes) -> None:
    """Raises for anything but the documented errors, and for a message that the writer changes."""
    first = _read(document(data))
    if first is None:
        return
    try:
        written = write_message(first)
    except LocalProtocolError:
        return
    again = read_message(written)
    assert again == first, (first, again)
    assert write_message(again) == written


def _read(body: bytes) -> Message | None:
    try:
        read_fragment(body)
        return read_message(body)
    except RemoteProtocolError as error:
        detail = error.detail
    assert detail.isprintable(), detail
    assert len(detail) < 300, detail
    return None
