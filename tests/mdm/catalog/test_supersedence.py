"""What supersedes what: near and far, through what has expired, around rings, past what is not there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from mdm.catalog.store import Delivery, store_revisions
from mdm.catalog.supersedence import Chain, chain_of, older_than, superseded_since

if TYPE_CHECKING:
    from collections.abc import Callable

    from mdm.storage.engine import Database

IDS = {letter: f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcdef"}
MONTHS = {letter: datetime(2026, number, 10, 18, tzinfo=UTC) for number, letter in enumerate("abcdef", 1)}


def ids(letters: str) -> tuple[str, ...]:
    """The UpdateIDs of letters."""
    return tuple(IDS[letter] for letter in letters)


@pytest.fixture
def keep(database: Database, document: Callable[..., str], now: datetime) -> Callable[..., None]:
    """Store updates written as `newer>older`: one document each, made in the month of its letter."""

    def keep(*edges: str, revision: int = 200, **options: Any) -> None:
        with database.write() as connection:
            for edge in edges:
                newer, _, older = edge.partition(">")
                text = document(IDS[newer], revision, supersedes=ids(older), **options)
                text = text.replace("2026-11-10T18:00:00.123Z", f"{MONTHS[newer]:%Y-%m-%dT%H:%M:%SZ}")
                store_revisions(
                    connection, [Delivery.of(text)], url_of=lambda _file: None, upstream_url="u", now=now
                )

    return keep


def since(database: Database, letters: str = "abcdef") -> dict[str, str]:
    """By letter, the letter of the update whose month it is superseded since."""
    month = {moment: letter for letter, moment in MONTHS.items()}
    with database.read() as connection:
        found = superseded_since(connection, ids(letters))
    return {update_id[0]: month[moment] for update_id, moment in sorted(found.items())}


def test_the_earliest_update_that_counts_is_the_moment(database: Database, keep: Callable[..., None]) -> None:
    """Directly or through others, in whatever order they come."""
    keep("d>c", "a", "c>b", "b>a", "e>a")
    assert since(database) == {"a": "b", "b": "c", "c": "d"}
    assert since(database, "b") == {"b": "c"}
    assert since(database, "f") == {}


def test_what_has_expired_or_is_hidden_only_passes_on(database: Database, keep: Callable[..., None]) -> None:
    """Neither supersedes anything by itself."""
    keep("a", "c")
    keep("b>a", expired=True)
    keep("d>c", deployable=False)
    assert since(database) == {}
    keep("e>b", "f>d")
    assert since(database) == {"a": "e", "b": "e", "c": "f", "d": "f"}


def test_only_the_highest_revision_speaks(database: Database, keep: Callable[..., None]) -> None:
    """An update that no longer names another has let go of it."""
    keep("a", "b>a")
    keep("b", revision=201)
    assert since(database) == {}


def test_an_update_without_a_date_counts_from_when_it_came(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """Some have none."""
    text = document(IDS["b"], supersedes=ids("a")).replace("2026-11-10T18:00:00.123Z", "")
    with database.write() as connection:
        store_revisions(connection, [Delivery.of(text)], url_of=lambda _: None, upstream_url="u", now=now)
        assert superseded_since(connection, ids("a")) == {IDS["a"]: now}


def test_rings_and_dangling_edges_harm_nobody(database: Database, keep: Callable[..., None]) -> None:
    """Nothing supersedes itself, and what is not stored is named all the same."""
    keep("a>abf", "b>c", "c>a")
    assert since(database) == {"a": "c", "b": "a", "c": "a", "f": "a"}
    with database.read() as connection:
        assert chain_of(connection, IDS["a"]) == Chain(ids("bcf"), ids("bc"))
        assert chain_of(connection, IDS["f"]) == Chain((), ids("abc"))
        assert chain_of(connection, IDS["e"]) == Chain((), ())
        assert older_than(connection, ids("b")) == set(ids("abcf"))
        assert older_than(connection, []) == set()
