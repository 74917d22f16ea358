"""The sizes of bundles: the largest child of each clause, through any number of levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlmodel import SQLModel

from mdm.catalog.sizes import refresh_sizes
from mdm.catalog.store import Delivery, store_revisions

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import pytest

    from mdm.storage.engine import Database

A, B, C, D, E, F = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcdef")


def store(database: Database, now: datetime, *documents: str) -> None:
    """Store documents in one batch."""
    with database.write() as connection:
        deliveries = [Delivery.of(each) for each in documents]
        store_revisions(connection, deliveries, url_of=lambda _file: None, upstream_url="u", now=now)


def sizes(database: Database) -> dict[str, int | None]:
    """Sizes by the first letter of the update."""
    table = SQLModel.metadata.tables["update_revision"]
    with database.read() as connection:
        return {
            row.update_id[0]: row.download_size
            for row in connection.execute(select(table).order_by(table.c.update_id))
        }


def sized(size: int) -> dict[str, Any]:
    """A document's own figure."""
    return {"properties": f' MaxDownloadSize="{size}"'}


def test_a_bundle_is_as_large_as_its_parts(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """Whichever comes first; unknown until each clause has a child that is known."""
    store(database, now, document(A, bundles=((B, 1), (C, 1)), **sized(0)))
    assert sizes(database) == {"a": None}
    store(database, now, document(C, 1, **sized(0)), document(B, 1, bundles=((D, 1), (E, 1))))
    assert sizes(database) == {"a": None, "b": None, "c": 0}
    store(database, now, document(D, 1, **sized(30)), document(E, 1, **sized(12)))
    assert sizes(database) == {"a": 42, "b": 42, "c": 0, "d": 30, "e": 12}


def test_of_alternatives_the_largest_counts(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """One of them is installed, and nobody here knows which."""
    clause = f'<u:AtLeastOne><u:UpdateIdentity UpdateID="{B}" RevisionNumber="1"/>'
    two = f'{clause}<u:UpdateIdentity UpdateID="{C}" RevisionNumber="1"/></u:AtLeastOne>'
    bundle = document(A).replace("<u:BundledUpdates>", f"<u:BundledUpdates>{two}")
    store(database, now, bundle, document(B, 1, **sized(5)), document(C, 1, **sized(7)))
    assert sizes(database)["a"] == 7


def test_a_figure_of_its_own_is_believed(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """Unless it is 0, which bundles write for "see my parts"."""
    store(database, now, document(A, bundles=((B, 1),), **sized(9)), document(B, 1, **sized(5)))
    assert sizes(database) == {"a": 9, "b": 5}


def test_a_ring_of_bundles_has_no_size(
    database: Database, document: Callable[..., str], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nonsense costs nothing but itself, and what is known is not written again."""
    store(database, now, document(A, 1, bundles=((B, 1),)), document(B, 1, bundles=((A, 1),)))
    assert sizes(database) == {"a": None, "b": None}
    monkeypatch.setattr("mdm.catalog.sizes.update", None)
    with database.write() as connection:
        refresh_sizes(connection, [A, B, F])


def test_a_bundle_is_worked_out_when_its_last_part_comes(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """Parts come one by one and in any order; through two levels, the last one sizes everything above it."""
    store(database, now, document(A, bundles=((B, 1),)), document(B, 1, bundles=((C, 1), (D, 1), (E, 1))))
    for key, size in ((D, 2), (C, 1)):
        store(database, now, document(key, 1, **sized(size)))
        assert (sizes(database)["a"], sizes(database)["b"]) == (None, None)
    store(database, now, document(E, 1, **sized(4)))
    assert (sizes(database)["a"], sizes(database)["b"]) == (7, 7)


def test_an_alternative_that_comes_later_counts_as_well(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """A bundle that has a size already gets another when a larger alternative turns up."""
    clause = f'<u:AtLeastOne><u:UpdateIdentity UpdateID="{B}" RevisionNumber="1"/>'
    two = f'{clause}<u:UpdateIdentity UpdateID="{C}" RevisionNumber="1"/></u:AtLeastOne>'
    bundle = document(A).replace("<u:BundledUpdates>", f"<u:BundledUpdates>{two}")
    store(database, now, bundle, document(B, 1, **sized(5)))
    assert sizes(database)["a"] == 5
    store(database, now, document(C, 1, **sized(7)))
    assert sizes(database)["a"] == 7
