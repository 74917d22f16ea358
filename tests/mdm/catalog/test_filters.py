"""What a filter asks for, from an anchor that another filter may have left."""

from __future__ import annotations

from typing import Any

import pytest

from mdm.catalog.filters import SyncFilter
from mdm.upstream.messages import RevisionFilter

P, Q, R = "p-1", "p-2", "p-3"
C, D = "c-1", "c-2"
EVERYTHING: dict[str, Any] = {"products": [], "classifications": [], "languages": []}


def test_the_first_time_everything_is_asked_for() -> None:
    """No anchor, and no id counts as known."""
    request = SyncFilter((Q, P), (C,), (1033,)).request()
    assert request == RevisionFilter(
        get_config=False,
        anchor=None,
        categories=((P, False), (Q, False)),
        classifications=((C, False),),
        languages=((1033, False),),
    )


def test_from_an_anchor_of_the_same_filter_only_what_is_new() -> None:
    """Delta for every id."""
    wanted = SyncFilter((P,), (C,), (1033,))
    request = wanted.request("a", wanted.document)
    assert request.anchor == "a"
    assert (request.categories, request.classifications) == (((P, True),), ((C, True),))
    assert request.languages == ((1033, True),)


def test_what_is_newly_ticked_is_asked_for_in_full() -> None:
    """Or an anchor of the old filter would hide all of it."""
    request = SyncFilter((P, Q), (C, D), (1033, 1031)).request(
        "a", SyncFilter((P, R), (C,), (1033,)).document
    )
    assert request.categories == ((P, True), (Q, False))
    assert request.classifications == ((C, True), (D, False))
    assert request.languages == ((1031, False), (1033, True))


def test_a_filter_within_everything_is_known() -> None:
    """An anchor of the whole catalogue speaks for every part of it, and for every language."""
    request = SyncFilter((P,), (C,), (1033,)).request("a", EVERYTHING)
    assert request.anchor == "a"
    assert request.categories == ((P, True),)
    assert request.languages == ((1033, True),)


@pytest.mark.parametrize(
    ("wanted", "held"),
    [
        (SyncFilter(), SyncFilter((P,), (C,)).document),
        (SyncFilter((P,), (C,)), SyncFilter((P,), (C,), (1033,)).document),
    ],
)
def test_everything_newly_ticked_is_asked_for_without_the_anchor(
    wanted: SyncFilter, held: dict[str, Any]
) -> None:
    """There is no id that a Delta flag could stand on."""
    request = wanted.request("a", held)
    assert request.anchor is None
    assert not any(delta for _, delta in request.categories)


def test_a_selection_is_the_same_in_any_order() -> None:
    """Its key names an anchor, so it must not depend on how it was typed."""
    assert SyncFilter((P, Q), (C,)).key == SyncFilter((Q, P, Q), (C,)).key
    assert SyncFilter((P,), (C,)).key != SyncFilter((P,), (D,)).key
    assert len(SyncFilter().key) == 32
