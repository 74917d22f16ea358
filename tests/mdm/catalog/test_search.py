"""The full-text index as administrators use it: any words, never an error, the same on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdm.catalog.search import Question, find
from mdm.catalog.store import Delivery, store_revisions
from mdm.catalog.words import CURRENT, EXPIRED, PUBLISHED, words_of, words_sought

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mdm.storage.engine import Database

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")
TITLES = {
    A: "2026-11 Cumulative Update for Windows 11 (KB5041585)",
    B: "2026-11 Servicing Stack Update for Windows Server",
    C: "Ärger & Größe: ein Treiber",
}


@pytest.fixture
def titles(database: Database, document: Callable[..., str], now: datetime) -> Database:
    """A catalogue of three."""
    with database.write() as connection:
        deliveries = [Delivery.of(document(key, title=title)) for key, title in TITLES.items()]
        store_revisions(connection, deliveries, url_of=lambda _file: None, upstream_url="u", now=now)
    return database


def found(database: Database, text: str | None = None, **parts: object) -> str:
    """The letters of what is found, the list's first first."""
    with database.read() as connection:
        question = Question(text, **parts)  # type: ignore[arg-type] # the parts are the tests' own
        return "".join(update_id[0] for _, update_id in find(connection, question, limit=10))


def test_words_are_found(titles: Database) -> None:
    """In any order and case, all of them; the last may be a beginning unless it is a word itself."""
    expected = {
        "update windows": "ba",
        "WINDOWS 11 update": "ba",
        "cumul": "a",
        "cumul update": "",
        "serv": "b",
        "server": "b",
        "serv ": "b",
        "cu": "",
        "wind": "ba",
        "win do": "",
        "kb 5041585": "a",
        "504": "a",
        "argE": "c",
        "GROSSE": "c",
        "grö": "c",
        "nothing": "",
        "?": "",
    }
    assert {text: found(titles, text) for text in expected} == expected


@pytest.mark.parametrize(
    "text",
    [
        '"',
        "'",
        '" OR "a',
        "a*",
        "words:a",
        "NEAR(a b)",
        "a AND",
        "(",
        "-a",
        "^a",
        "a & | !b",
        "\\",
        "%",
        ":*",
        "'a':*",
    ],
)
def test_query_syntax_is_only_signs(titles: Database, text: str) -> None:
    """No spelling of it is an error, nor means anything."""
    assert found(titles, text) in {"", "c"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60))
def test_whatever_is_typed_is_answered(titles: Database, text: str) -> None:
    """And what is found has the words, or a word that begins like the last."""
    answer = found(titles, text)
    sought = words_sought(text)
    for key, title in TITLES.items():
        words = words_of(title)
        has = bool(sought) and set(sought) <= set(words)
        assert has <= (key[0] in answer)
        if key[0] in answer:
            assert set(sought[:-1]) <= set(words)
            assert any(word.startswith(sought[-1]) for word in words)


def test_facets_narrow(titles: Database) -> None:
    """One of each group; an empty group is met by nothing; no group at all by everything."""
    assert found(titles) == "cba"
    assert found(titles, facets=[[PUBLISHED]]) == "cba"
    assert found(titles, facets=[[EXPIRED, CURRENT], [PUBLISHED]]) == "cba"
    assert found(titles, facets=[[EXPIRED], [PUBLISHED]]) == ""
    assert found(titles, facets=[[PUBLISHED], []]) == ""
    assert found(titles, "windows", facets=[[CURRENT]]) == "ba"
    assert found(titles, "_current") == ""
    assert found(titles, update_id=B) == "b"
    assert found(titles, update_id=B, facets=[[EXPIRED]]) == ""
    assert found(titles, "windows", needed=True) == ""
