"""Storing revisions and the queue of needed ones: idempotent, whole, and one latest revision per update."""

from __future__ import annotations

import zlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from mdm.catalog.metadata import EulaFile, MetadataError
from mdm.catalog.store import (
    Delivery,
    Stored,
    enqueue_needed,
    mark_needed,
    resolve_classifications,
    store_revisions,
    stored_revisions,
)
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.storage.engine import Database

A, B, C, D = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcd")
SECURITY = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
WINDOWS = "72e7624a-5b00-45d2-b92f-e561c0a6a160"
URL = "http://upstream.test"


def no_url(_file: EulaFile) -> str | None:
    """An upstream that names no URL."""
    return None


@pytest.fixture
def keep(now: datetime) -> Callable[..., Stored]:
    """Store documents at `now`."""

    def keep(
        connection: Connection, *documents: str, url_of: Callable[[EulaFile], str | None] = no_url
    ) -> Stored:
        deliveries = [Delivery.of(document) for document in documents]
        return store_revisions(connection, deliveries, url_of=url_of, upstream_url=URL, now=now)

    return keep


def rows(connection: Connection, table: str, *columns: str) -> list[tuple[Any, ...]]:
    """The columns of all rows, sorted by them."""
    found = SQLModel.metadata.tables[table]
    wanted = [found.c[name] for name in columns]
    return [tuple(row) for row in connection.execute(select(*wanted).order_by(*wanted))]


def latest(connection: Connection) -> dict[str, list[int]]:
    """The revisions marked as latest, by update."""
    marked: dict[str, list[int]] = {}
    for update_id, number, is_latest in rows(
        connection, "update_revision", "update_id", "revision_number", "is_latest"
    ):
        if is_latest:
            marked.setdefault(update_id, []).append(number)
    return marked


def test_a_revision_is_stored_with_all_that_hangs_on_it(
    database: Database, keep: Any, document: Callable[..., str], now: datetime
) -> None:
    """Columns, relations, categories, and the document itself."""
    text = document(
        A,
        200,
        title="Ünïcode",
        children="<u:KBArticleID>1</u:KBArticleID><u:KBArticleID>2</u:KBArticleID>",
        categories=(SECURITY, WINDOWS),
        supersedes=(B, C),
        bundles=((C, 100), (D, 101)),
        requires=(B,),
    )
    with database.write() as connection:
        assert keep(connection, text) == Stored(new=frozenset({UpdateIdentity(A, 200)}))
    with database.read() as connection:
        table = SQLModel.metadata.tables["update_revision"]
        row = connection.execute(select(table)).mappings().one()
        assert zlib.decompress(row["original"]).decode() == text
        assert (row["title"], row["kb"], row["kb_all"]) == ("Ünïcode", "1", ["1", "2"])
        assert (row["upstream_url"], row["fetched_at"], row["is_latest"]) == (URL, now, True)
        assert rows(connection, "revision_category", "category_id") == [(SECURITY,), (WINDOWS,)]
        assert rows(connection, "revision_relation", "kind", "clause", "target_id", "target_revision") == [
            ("bundles", 0, C, 100),
            ("bundles", 1, D, 101),
            ("requires", 0, B, None),
            ("supersedes", 0, B, None),
            ("supersedes", 0, C, None),
        ]


def test_storing_again_changes_nothing(database: Database, keep: Any, document: Callable[..., str]) -> None:
    """A revision is stored once, whatever is delivered later under its number."""
    with database.write() as connection:
        assert keep(connection) == Stored()
        assert len(keep(connection, document(A, title="first"), document(A, title="first")).new) == 1
        assert keep(connection, document(A, title="second")) == Stored()
        assert rows(connection, "update_revision", "title") == [("first",)]
        assert stored_revisions(connection, [A, B]) == {A: {200}}


def test_what_is_stored_is_told_apart(database: Database, keep: Any, document: Callable[..., str]) -> None:
    """New updates, further revisions of known ones, and those by which an update has expired."""
    with database.write() as connection:
        assert keep(connection, document(A, 100), document(A, 101)).new == {
            UpdateIdentity(A, 100),
            UpdateIdentity(A, 101),
        }
        stored = keep(
            connection,
            document(A, 102, expired=True),
            document(A, 50, expired=True),
            document(B, 1, expired=True),
        )
        assert stored.new == {UpdateIdentity(B, 1)}
        assert stored.revised == {UpdateIdentity(A, 102), UpdateIdentity(A, 50)}
        assert stored.expired == {UpdateIdentity(A, 102), UpdateIdentity(B, 1)}
        assert stored.identities == stored.new | stored.revised


def test_texts_of_every_language_are_kept(
    database: Database, keep: Any, document: Callable[..., str]
) -> None:
    """English with the revision itself, the others beside it, each once; one without title or description not."""

    def text(language: str, title: str) -> str:
        return f"<u:LocalizedProperties><u:Language>{language}</u:Language>{title}</u:LocalizedProperties>"

    more = (
        text("DE", "<u:Title>Ein Update</u:Title><u:Description>Behebt etwas.</u:Description>")
        + text("de", "<u:Title>Noch eins</u:Title>")
        + text("fr", "<u:Description>Corrige.</u:Description>")
        + text("it", "")
    )
    written = document(A, title="An update").replace(
        "</u:LocalizedPropertiesCollection>", f"{more}</u:LocalizedPropertiesCollection>"
    )
    with database.write() as connection:
        keep(connection, written)
        assert rows(connection, "update_revision", "language", "title") == [("en", "An update")]
        assert rows(connection, "revision_text", "language", "title", "description") == [
            ("de", "Ein Update", "Behebt etwas."),
            ("fr", None, "Corrige."),
        ]


def test_the_database_itself_refuses_two_highest_revisions(
    database: Database, keep: Any, document: Callable[..., str]
) -> None:
    """A defect cannot show an update twice."""
    table = SQLModel.metadata.tables["update_revision"]
    with database.write() as connection:
        keep(connection, document(A, 100), document(A, 101))
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(table.update().values(is_latest=True))


@pytest.mark.parametrize("order", [(1, 100, 200), (200, 100, 1), (100, 200, 1)])
def test_the_highest_revision_is_the_latest(
    database: Database, keep: Any, document: Callable[..., str], order: tuple[int, ...]
) -> None:
    """In whatever order they come, one by one."""
    with database.write() as connection:
        for number in order:
            keep(connection, document(A, number), document(B, number + 1))
        assert latest(connection) == {A: [200], B: [201]}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(st.sampled_from([A, B]), st.integers(1, 6)), max_size=5), max_size=5))
def test_each_update_has_exactly_one_latest_revision(
    sqlite_database: Database, keep: Any, document: Callable[..., str], batches: list[list[tuple[str, int]]]
) -> None:
    """Whatever batches come in whatever order."""
    with sqlite_database.write() as connection:
        for batch in batches:
            keep(connection, *(document(update_id, number) for update_id, number in batch))
        stored: dict[str, set[int]] = {}
        for update_id, number in (pair for batch in batches for pair in batch):
            stored.setdefault(update_id, set()).add(number)
        assert latest(connection) == {update_id: [max(numbers)] for update_id, numbers in stored.items()}
        connection.execute(delete(SQLModel.metadata.tables["update_revision"]))


def test_a_classification_is_resolved_when_either_side_comes(
    database: Database, keep: Any, document: Callable[..., str]
) -> None:
    """The update first or the category first: in the end the update has its classification."""
    category = document(
        SECURITY, 100, update_type="Category", category_type="UpdateClassification", title="Security Updates"
    )
    with database.write() as connection:
        keep(connection, document(A, categories=(WINDOWS, SECURITY)))
        assert rows(connection, "update_revision", "classification_id") == [(None,)]
        keep(connection, category)
        keep(connection, document(B, categories=(WINDOWS, SECURITY)), document(C, categories=(WINDOWS,)))
        keep(connection, document(D, update_type="Detectoid", categories=(SECURITY,)))
        assert rows(connection, "update_revision", "update_id", "classification_id") == [
            (SECURITY, None),
            (A, SECURITY),
            (B, SECURITY),
            (C, None),
            (D, None),
        ]
        assert resolve_classifications(connection) == 0


def test_a_category_and_its_update_in_one_batch_know_each_other(
    database: Database, keep: Any, document: Callable[..., str]
) -> None:
    """Categories are stored first."""
    with database.write() as connection:
        keep(
            connection,
            document(A, categories=(SECURITY,)),
            document(SECURITY, 1, update_type="Category", category_type="UpdateClassification"),
        )
        assert (A, SECURITY) in rows(connection, "update_revision", "update_id", "classification_id")


def test_the_category_table_shows_the_highest_revision(
    database: Database, keep: Any, document: Callable[..., str]
) -> None:
    """Real servers list several revisions of a category, in any order."""

    def category(number: int, title: str, **options: Any) -> str:
        return document(WINDOWS, number, update_type="Category", title=title, **options)

    with database.write() as connection:
        keep(
            connection,
            category(101, "Windows", category_type="Product", categories=(D,)),
            category(1, "old"),
        )
        keep(connection, category(100, "older"))
        columns = ("revision_number", "category_type", "title", "parent_id")
        assert rows(connection, "category", *columns) == [(101, "Product", "Windows", D)]
        keep(connection, category(102, "Windows 11"))
        assert rows(connection, "category", *columns) == [(102, None, "Windows 11", None)]


# --- the queue ------------------------------------------------------------------------------------------


def needed(connection: Connection) -> list[tuple[Any, ...]]:
    """The queue."""
    return rows(connection, "needed_revision", "update_id", "revision_number", "state", "attempts")


def test_what_is_reported_is_asked_for_once(
    database: Database, keep: Any, document: Callable[..., str], now: datetime
) -> None:
    """What is stored is left out; number 0 is any revision."""
    with database.write() as connection:
        keep(connection, document(A, 200))
        pairs = [(A, 200), (A, 201), (A, 0), (B, 200), (B, 0), (B, 200)]
        assert enqueue_needed(connection, pairs, now) == 3
        assert enqueue_needed(connection, pairs, now + timedelta(hours=1)) == 0
        assert enqueue_needed(connection, [], now) == 0
        assert needed(connection) == [(A, 201, "queued", 0), (B, 0, "queued", 0), (B, 200, "queued", 0)]


def test_many_reports_at_once_are_taken(database: Database, now: datetime) -> None:
    """More than any database takes as parameters of one statement."""
    pairs = [(f"{number:08x}-0000-4000-8000-000000000000", 1) for number in range(1500)]
    with database.write() as connection:
        assert enqueue_needed(connection, pairs, now) == 1500


@pytest.mark.parametrize(
    ("state", "wait"),
    [("synced", None), ("not_offered", timedelta(hours=24)), ("failed", timedelta(hours=1))],
)
def test_an_attempt_is_noted_with_the_time_of_the_next(
    database: Database, now: datetime, state: Any, wait: timedelta | None
) -> None:
    """Attempts are counted; what is not queued is not invented."""
    with database.write() as connection:
        enqueue_needed(connection, [(A, 1)], now)
        mark_needed(connection, [], state, now)
        mark_needed(connection, [UpdateIdentity(A, 1), UpdateIdentity(B, 1)], state, now, "Because.")
        columns = ("state", "attempts", "last_attempt_at", "next_attempt_at", "error")
        following = None if wait is None else now + wait
        assert rows(connection, "needed_revision", *columns) == [(state, 1, now, following, "Because.")]
        assert enqueue_needed(connection, [(A, 1)], now) == 0


def test_a_bad_document_is_no_delivery() -> None:
    """It never gets as far as the store."""
    with pytest.raises(MetadataError):
        Delivery.of("<x/>")
