"""An iterator that runs ahead: in order, bounded, and gone when nobody wants it any more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from mdm.catalog.ahead import ahead

if TYPE_CHECKING:
    from collections.abc import Iterator


def threads() -> list[str]:
    """Names of the threads that fetch."""
    return [each.name for each in threading.enumerate() if each.name == "sync-fetch"]


def test_everything_comes_in_order() -> None:
    """Also what looks like nothing."""
    assert list(ahead(iter([1, None, 2, *range(50)]))) == [1, None, 2, *range(50)]
    assert threads() == []


def test_the_source_runs_beside_its_user() -> None:
    """The next item is made while the last is in hand."""
    made = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    items = ahead(source())
    assert next(items) == 1
    assert made.wait(10)
    assert list(items) == [2]


def test_it_runs_ahead_by_a_few_items_only() -> None:
    """Memory is bounded however slow the user is."""
    made: list[int] = []
    full = threading.Event()

    def source() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == 3:
                full.set()
            yield number

    items = ahead(source())
    assert next(items) == 0
    assert full.wait(10)
    items.close()
    assert len(made) <= 5
    assert threads() == []


def test_what_the_source_raises_comes_after_all_it_gave() -> None:
    """Even what is no Exception: a killed thread must not look like the end of the items."""

    class Killed(BaseException):
        pass

    def source() -> Iterator[int]:
        yield 1
        raise Killed

    items = ahead(source())
    assert next(items) == 1
    with pytest.raises(Killed):
        next(items)
    assert threads() == []


def test_closing_waits_for_the_item_under_way() -> None:
    """A call in flight is not abandoned."""
    begun, finish, done = threading.Event(), threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield 1
        begun.set()
        finish.wait(10)
        done.set()
        yield 2

    items = ahead(source())
    assert next(items) == 1
    assert begun.wait(10)
    threading.Timer(0.05, finish.set).start()
    items.close()
    assert done.is_set()
