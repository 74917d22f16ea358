"""Licence texts: bytes made into text, and rows that are written only while they are about the same file."""

from __future__ import annotations

import codecs
import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, update
from sqlmodel import SQLModel

from mdm.catalog.eula_texts import MissingText, decode_text, missing_texts, note_error, store_text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.storage.engine import Database

EULA = "dddddddd-0000-4000-8000-000000000000"
TEXT = "Lizenz für Ärzte: 5 €\r\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("cp1252"),
    ],
    ids=["utf-8", "utf-8-bom", "utf-16-le", "utf-16-be", "cp1252"],
)
def test_a_text_is_read_in_the_encodings_licences_come_in(data: bytes) -> None:
    """A byte order mark decides, then UTF-8, then Windows-1252; line ends stay."""
    assert decode_text(data) == TEXT


def test_signs_without_meaning_are_marked() -> None:
    """A damaged text is still shown; its hash is that of the bytes."""
    assert decode_text(b"\x81\xe4") == "\ufffdä"
    assert decode_text(codecs.BOM_UTF8 + b"a\xff") == "a\ufffd"


@pytest.mark.parametrize("data", [b"MZ\x90\0\x03", "x".encode("utf-16-le"), codecs.BOM_UTF16_LE + b"\0\0"])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    """A program, or UTF-16 without its mark, holds NUL."""
    with pytest.raises(ValueError, match="not a text"):
        decode_text(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    """And text never holds NUL, which PostgreSQL cannot store."""
    try:
        assert "\0" not in decode_text(data)
    except ValueError:
        assert b"\0" in data


def add(connection: Connection, locale: str, **values: Any) -> None:
    """A row of the table."""
    row = {
        "eula_id": EULA,
        "locale": locale,
        "file_sha1": f"sha1 {locale}",
        "url": f"http://x/{locale}",
        **values,
    }
    connection.execute(insert(SQLModel.metadata.tables["eula_text"]), row)


@pytest.fixture
def filled(database: Database, now: datetime) -> Database:
    """A licence with texts in every state."""
    with database.write() as connection:
        connection.execute(insert(SQLModel.metadata.tables["eula"]), {"id": EULA, "first_seen_at": now})
        add(connection, "en", file_sha256="sha256")
        add(connection, "de", error="It rained.")
        add(connection, "fr", url=None)
        add(connection, "it", text="testo", text_sha256="x")
    return database


def test_texts_are_missing_that_have_a_url_and_no_text(filled: Database) -> None:
    """An earlier error is no reason not to try again."""
    with filled.read() as connection:
        assert missing_texts(connection) == (
            MissingText(EULA, "de", "http://x/de", "sha1 de", None),
            MissingText(EULA, "en", "http://x/en", "sha1 en", "sha256"),
        )


def test_a_text_is_stored_with_the_hash_an_acceptance_names(filled: Database, now: datetime) -> None:
    """Lower-case hex of the file's bytes, and no error is left."""
    data = TEXT.encode("cp1252")
    with filled.write() as connection:
        german, _ = missing_texts(connection)
        store_text(connection, german, data, TEXT, now)
        table = SQLModel.metadata.tables["eula_text"]
        row = connection.execute(select(table).where(table.c.locale == "de")).one()
        assert (row.text, row.error, row.fetched_at) == (TEXT, None, now)
        assert row.text_sha256 == hashlib.sha256(data).hexdigest()
        store_text(connection, german, b"other", "other", now)
        note_error(connection, german, "Too late.")
        assert connection.execute(select(table).where(table.c.locale == "de")).one() == row


def test_nothing_is_written_about_another_file(filled: Database, now: datetime) -> None:
    """The metadata may have named a new file while the old one was fetched."""
    table = SQLModel.metadata.tables["eula_text"]
    with filled.write() as connection:
        german, english = missing_texts(connection)
        connection.execute(update(table).where(table.c.locale == "de").values(file_sha1="new"))
        store_text(connection, german, b"old", "old", now)
        note_error(connection, english, "It snowed.")
        rows = connection.execute(
            select(table.c.locale, table.c.text, table.c.error).order_by(table.c.locale)
        )
        assert [tuple(row) for row in rows][:2] == [("de", None, "It rained."), ("en", None, "It snowed.")]
