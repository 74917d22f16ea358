"""Which files hold a licence's texts: the newest revision decides, and nothing that was read is lost."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update
from sqlmodel import SQLModel

from mdm.catalog.eula_texts import missing_texts, store_text
from mdm.catalog.store import Delivery, store_revisions

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.catalog.metadata import EulaFile
    from mdm.storage.engine import Database

A, B, C, D = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcd")
TEXT = SQLModel.metadata.tables["eula_text"]


def urls(prefix: str) -> Callable[[EulaFile], str | None]:
    """An upstream that has a URL for every file."""
    return lambda file: f"{prefix}/{file.language}"


def sha1(data: bytes) -> str:
    """As metadata writes it."""
    return base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


@pytest.fixture
def keep(now: datetime, document: Callable[..., str]) -> Callable[..., None]:
    """Store an update with a licence D, made on a day of November."""

    def keep(
        connection: Connection,
        update_id: str,
        texts: dict[str, bytes],
        *,
        day: int = 10,
        prefix: str | None = "http://x",
        eula_id: str = D,
        change: tuple[str, str] = ("", ""),
    ) -> None:
        text = document(update_id, eula=(eula_id, texts)).replace("2026-11-10", f"2026-11-{day}")
        store_revisions(
            connection,
            [Delivery.of(text.replace(*change) if change[0] else text)],
            url_of=urls(prefix) if prefix else lambda _file: None,
            upstream_url="u",
            now=now,
        )

    return keep


def rows(connection: Connection, *columns: str) -> list[tuple[Any, ...]]:
    """Columns of all texts, sorted."""
    wanted = [TEXT.c[name] for name in columns]
    return [tuple(row) for row in connection.execute(select(*wanted).order_by(*wanted))]


def test_a_licence_and_its_texts_are_noted(database: Database, keep: Any, now: datetime) -> None:
    """One row for the licence whatever number of updates share it, one for each language."""
    with database.write() as connection:
        for update_id in (A, B):
            keep(connection, update_id, {"en": b"licence", "de": b"Lizenz"})
        eula = SQLModel.metadata.tables["eula"]
        assert [tuple(row) for row in connection.execute(select(eula))] == [(D, now)]
        assert rows(connection, "locale", "geo_id", "url", "current", "text", "error") == [
            ("de", "", "http://x/de", True, None, None),
            ("en", "", "http://x/en", True, None, None),
        ]


def test_a_licence_without_files_or_urls_is_still_a_licence(database: Database, keep: Any) -> None:
    """What has to be accepted is known even if its text cannot be had; a URL may come later."""
    with database.write() as connection:
        keep(connection, A, {}, eula_id=C)
        keep(connection, B, {"en": b"licence"}, prefix=None)
        assert rows(connection, "eula_id", "url", "error") == [
            (D, None, "The upstream names no URL for this text.")
        ]
        keep(connection, C, {"en": b"licence"})
        assert rows(connection, "eula_id", "url", "error") == [(D, "http://x/en", None)]
        keep(connection, D, {"en": b"licence"}, prefix=None)
        assert rows(connection, "eula_id", "url", "error") == [(D, "http://x/en", None)]


def test_a_text_for_one_country_stands_beside_that_for_the_world(database: Database, keep: Any) -> None:
    """GeoId has a column of its own."""
    with database.write() as connection:
        keep(
            connection, A, {"en": b"one", "de": b"two"}, change=('Language="de"', 'Language="en" GeoId="deu"')
        )
        assert rows(connection, "locale", "geo_id", "file_sha1", "current") == [
            ("en", "", sha1(b"one"), True),
            ("en", "DEU", sha1(b"two"), True),
        ]


def test_a_newer_revision_replaces_a_text_and_the_old_one_stays(
    database: Database, keep: Any, now: datetime
) -> None:
    """What people have accepted can still be read; the new file is fetched."""
    with database.write() as connection:
        keep(connection, A, {"en": b"old"})
        (missing,) = missing_texts(connection)
        store_text(connection, missing, b"old", "old", now)
        assert missing_texts(connection) == ()
        keep(connection, B, {"en": b"new"}, day=12)
        assert rows(connection, "current", "text", "file_sha1") == [
            (False, "old", sha1(b"old")),
            (True, None, sha1(b"new")),
        ]
        assert [each.sha1 for each in missing_texts(connection)] == [sha1(b"new")]


def test_an_older_revision_that_comes_later_changes_nothing(database: Database, keep: Any) -> None:
    """The date of the revision decides, not when it arrived; of equal dates the last."""
    with database.write() as connection:
        keep(connection, A, {"en": b"new"}, day=12)
        keep(connection, B, {"en": b"old"}, day=10)
        assert rows(connection, "file_sha1") == [(sha1(b"new"),)]
        keep(connection, C, {"en": b"newest"}, day=12)
        assert rows(connection, "current", "file_sha1") == [(False, sha1(b"new")), (True, sha1(b"newest"))]
        assert [each.sha1 for each in missing_texts(connection)] == [sha1(b"newest")]


def test_a_text_may_come_back(database: Database, keep: Any, now: datetime) -> None:
    """The row that was replaced is the current one again, with what was fetched for it."""
    with database.write() as connection:
        keep(connection, A, {"en": b"one"}, day=10)
        connection.execute(update(TEXT).values(text="one", text_sha256="1", fetched_at=now))
        keep(connection, B, {"en": b"two"}, day=11)
        keep(connection, C, {"en": b"one"}, day=12, prefix="http://y")
        assert rows(connection, "current", "text", "url") == [
            (False, None, "http://x/en"),
            (True, "one", "http://x/en"),
        ]
        assert rows(connection, "current", "named_at")[1][1].day == 12


def test_in_one_batch_the_newest_revision_decides(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """In whatever order they stand, a revision without a date last."""
    documents = [
        document(A, eula=(D, {"en": b"newest"})).replace("2026-11-10", "2026-11-20"),
        document(B, eula=(D, {"en": b"old"})),
        document(C, eula=(D, {"en": b"undated"})).replace("2026-11-10T18:00:00.123Z", ""),
    ]
    with database.write() as connection:
        deliveries = [Delivery.of(each) for each in documents]
        store_revisions(connection, deliveries, url_of=urls("http://x"), upstream_url="u", now=now)
        assert rows(connection, "file_sha1") == [(sha1(b"newest"),)]
