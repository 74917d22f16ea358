"""Licence texts: fetch what the store knows of but does not have, check the digests, make text of the bytes.

A text that cannot be had costs its own row an error and nothing else. The hash that an acceptance names is
that of the file's bytes, so that it does not depend on how we decode them.
"""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import select, update

from mdm.approvals.versions import facts_changed
from mdm.storage.statements import table_of
from mdm.storage.tables import EulaText

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["MAX_TEXT_BYTES", "MissingText", "decode_text", "missing_texts", "note_error", "store_text"]

MAX_TEXT_BYTES: Final = 4 * 1024 * 1024
"""Licence texts are some ten to a hundred kilobytes."""

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_eula_text = table_of(EulaText)


@dataclass(frozen=True, slots=True)
class MissingText:
    """A text whose place is known, but not its content."""

    eula_id: str
    locale: str
    url: str
    sha1: str
    """Base64."""
    sha256: str | None
    """Base64."""


def missing_texts(connection: Connection) -> tuple[MissingText, ...]:
    """Return the texts to fetch: current ones with a URL, whether or not an earlier attempt failed."""
    rows = connection.execute(
        select(
            _eula_text.c.eula_id,
            _eula_text.c.locale,
            _eula_text.c.url,
            _eula_text.c.file_sha1,
            _eula_text.c.file_sha256,
        )
        .where(_eula_text.c.current, _eula_text.c.text.is_(None), _eula_text.c.url.is_not(None))
        .order_by(_eula_text.c.eula_id, _eula_text.c.locale, _eula_text.c.geo_id)
    )
    return tuple(MissingText(*row) for row in rows)


def decode_text(data: bytes) -> str:
    """Return the text of a licence file: by its byte order mark, else UTF-8, else Windows-1252.

    Raises ValueError for what is no text at all.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            text = data[len(mark) :].decode(encoding, errors="replace")
            break
    else:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            # five bytes of it have no meaning; a replacement sign there does not make the text another
            text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise ValueError("the file is not a text")
    return text


def store_text(connection: Connection, missing: MissingText, data: bytes, text: str, now: datetime) -> None:
    """Keep a text whose digests have been checked."""
    _write(
        connection,
        missing,
        text=text,
        text_sha256=hashlib.sha256(data).hexdigest(),
        fetched_at=now,
        error=None,
    )
    facts_changed(connection)


def note_error(connection: Connection, missing: MissingText, error: str) -> None:
    """Note in one sentence why a text is still missing."""
    _write(connection, missing, error=error)


def _write(connection: Connection, missing: MissingText, **values: object) -> None:
    """Change the rows of a file: one, or several if countries share it."""
    connection.execute(
        update(_eula_text)
        .where(
            _eula_text.c.eula_id == missing.eula_id,
            _eula_text.c.locale == missing.locale,
            _eula_text.c.text.is_(None),
            # another file may have been named for this text while we fetched
            _eula_text.c.file_sha1 == missing.sha1,
        )
        .values(values)
    )
