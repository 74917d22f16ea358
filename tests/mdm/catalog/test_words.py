"""What updates are found by: words that mean the same in documents and in searches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.catalog import words
from mdm.catalog.words import words_of, words_sought


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Cumulative Update", ("cumulative", "update")),
        ("twice Twice TWICE", ("twice",)),
        ("Ärger für Größe", ("arger", "fur", "grosse")),
        ("64-bit x_y", ("64", "bit", "x", "y")),
        ("see (KB5041585)", ("kb5041585", "5041585", "see")),
        ("KB 5041585", ("kb5041585", "5041585", "kb")),
        ("CVE-2026-12345", ("cve202612345", "12345", "cve", "2026")),
        ("MS17-010", ("ms17010", "010", "ms17")),
        ("", ()),
        (None, ()),
    ],
)
def test_a_document_has_words(text: str | None, found: tuple[str, ...]) -> None:
    """Without case, accents and signs; numbered things as a whole and in parts."""
    assert words_of(text) == found


def test_several_texts_have_the_words_of_all() -> None:
    """Each once."""
    assert words_of("one two", None, "two three") == ("one", "two", "three")


@pytest.mark.parametrize(
    ("text", "sought"),
    [
        ("kb 5041585", ("kb5041585",)),
        ("KB5041585", ("kb5041585",)),
        ("5041585", ("5041585",)),
        ("cve-2026-12345 windows", ("cve202612345", "windows")),
        ("Windows windows", ("windows",)),
        ('"a" AND (b*', ("a", "and", "b")),
        ("_current", ("current",)),
        ("!?", ()),
    ],
)
def test_a_search_has_words(text: str, sought: tuple[str, ...]) -> None:
    """A numbered thing is one word however it is written; query syntax is nothing but words."""
    assert words_sought(text) == sought


def test_long_texts_are_cut_the_same_on_both_sides() -> None:
    """A word of megabytes is found by itself, and an update has a bounded number of words."""
    assert words_of("x" * 1000) == words_sought("x" * 1000) == ("x" * 64,)
    assert len(words_of(" ".join(map(str, range(5000))))) == 2000


@given(st.text())
def test_whatever_is_written_is_found(text: str) -> None:
    """Every word sought for a text is a word of that text, and no word could be a facet."""
    document = words_of(text)
    assert set(words_sought(text)) <= set(document)
    assert all(word and "_" not in word and " " not in word for word in document)


def test_facets_are_no_words() -> None:
    """They begin with a sign that words never have, and have no other."""
    guid = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
    facets = [
        words.category_facet(guid),
        words.eula_facet(guid),
        words.kb_facet("5041585"),
        words.severity_facet("Very Critical!"),
        words.type_facet("Driver"),
    ]
    assert facets == [
        "_in0fa1201d43304fa88ae9b877473b6441",
        "_eula0fa1201d43304fa88ae9b877473b6441",
        "_kb5041585",
        "_severityverycritical",
        "_typedriver",
    ]
