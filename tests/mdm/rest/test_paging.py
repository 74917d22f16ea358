"""Cursors: they lead on in their own list, and are refused everywhere else."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.errors import Malformed
from mdm.rest.fields import PageQuery
from mdm.rest.paging import Position

PATH = "/api/v1/things"


def position(
    cursor: str | None = None,
    *,
    limit: int = 2,
    path: str = PATH,
    params: tuple[tuple[str, str], ...] = (),
    kinds: tuple[type, ...] = (int,),
) -> Position[Any]:
    """Where a request with this cursor stands."""
    given_params = (*params, *((("cursor", cursor),) if cursor is not None else ()))
    return Position.of(path, given_params, PageQuery(limit=limit, cursor=cursor), kinds)


def cursor_after(*key: Any, **values: Any) -> str:
    """A cursor given out for this key."""
    page = position(**values, kinds=tuple(type(part) for part in key)).page([key] * 3, key=lambda row: row)
    assert page.next_cursor is not None
    return page.next_cursor


@pytest.mark.parametrize(
    ("rows", "items", "more"), [(0, 0, False), (1, 1, False), (2, 2, False), (3, 2, True)]
)
def test_one_row_more_than_the_page_tells_whether_another_follows(
    rows: int, items: int, *, more: bool
) -> None:
    """An exactly full last page has no cursor."""
    here = position()
    assert here.fetch == 3
    page = here.page(list(range(rows)), key=lambda row: (row,))
    assert len(page.items) == items
    assert (page.next_cursor is not None) is more
    assert (page.link is not None) is more


def test_the_link_keeps_the_filters_and_replaces_the_cursor() -> None:
    """RFC 8288, relative, with everything escaped."""
    first = position(params=(("q", "a&b é"), ("limit", "2")))
    page = first.page([1, 2, 3], key=lambda row: (row,))
    assert page.link is not None
    assert page.link.startswith(f"<{PATH}?q=a%26b+%C3%A9&limit=2&cursor=")
    assert page.link.endswith('>; rel="next"')
    second = position(page.next_cursor, params=(("q", "a&b é"), ("limit", "2")))
    following = second.page([3, 4, 5], key=lambda row: (row,))
    assert following.link is not None
    assert following.link.count("cursor=") == 1


KEYS = st.one_of(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=300),
    st.datetimes(timezones=st.just(UTC)),
)


@given(st.lists(KEYS, min_size=1, max_size=3))
def test_a_key_comes_back_as_it_was(key: list[Any]) -> None:
    """Integers, texts and times survive the way through the client."""
    kinds = tuple(type(part) for part in key)
    assert position(cursor_after(*key), kinds=kinds).after == tuple(key)


def test_the_page_size_may_change_between_pages() -> None:
    """A cursor is bound to the filters, not to the limit."""
    cursor = cursor_after(7, params=(("limit", "2"),))
    assert position(cursor, params=(("limit", "9"),)).after == (7,)


@pytest.mark.parametrize(
    "other",
    [
        {"path": "/api/v1/others"},
        {"params": (("q", "x"),)},
        {"params": (("group", "a"), ("q", "x"))},
        {"kinds": (str,)},
        {"kinds": (int, int)},
        {"kinds": ()},
    ],
)
def test_a_cursor_of_another_list_is_refused(other: dict[str, Any]) -> None:
    """Another path, another filter, another key."""
    with pytest.raises(Malformed) as caught:
        position(cursor_after(7), **other)
    assert caught.value.code == "invalid_cursor"


def forged(*key: Any) -> str:
    """A cursor with the right binding and a key of the forger's choice."""
    cursor = cursor_after(7)
    binding = json.loads(base64.urlsafe_b64decode(cursor + "=="))[0]
    return base64.urlsafe_b64encode(json.dumps([binding, *key]).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, 2**63),
        (int, -(2**63)),
        (int, 1.5),
        (int, True),
        (int, "7"),
        (int, None),
        (str, 7),
        (str, "a\x00b"),
        (str, "\ud800"),
        (str, "x" * 301),
        (str, ["x"]),
        (datetime, "yesterday"),
        (datetime, "2026-11-21T00:00:00"),
        (datetime, 7),
    ],
)
def test_a_forged_key_reaches_no_database(kind: type, value: Any) -> None:
    """Only values of the key's types and sizes pass."""
    with pytest.raises(Malformed):
        position(forged(value), kinds=(kind,))


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_garbage_is_refused(cursor: str) -> None:
    """Whatever the text, the answer is `invalid_cursor` and nothing else."""
    with pytest.raises(Malformed) as caught:
        position(cursor)
    assert caught.value.code == "invalid_cursor"


def test_deep_garbage_is_refused() -> None:
    """Nesting does not exhaust the stack."""
    cursor = base64.urlsafe_b64encode(b"[" * 100_000).decode()
    with pytest.raises(Malformed):
        Position.of(PATH, (), PageQuery.model_construct(limit=1, cursor=cursor), (int,))
