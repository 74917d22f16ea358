"""Request, Bundle and Answer: values with the defaults a session relies on."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from syncml.exchange import ATOMIC, ITEMS, SEQUENCE, Answer, Bundle, Request
from syncml.messages import Item


def test_a_request_needs_a_verb_and_a_target() -> None:
    """Format, type and data may be left out, which leaves them out on the wire."""
    request = Request("Get", "./DevDetail/SwV")
    assert (request.format, request.type, request.data) == (None, None, None)
    assert request == Request(verb="Get", loc_uri="./DevDetail/SwV")


def test_an_answer_may_have_no_status() -> None:
    """None is a device that never answered, with nothing found and no error."""
    answer = Answer(Request("Get", "./a"), None)
    assert (answer.items, answer.original_error) == ((), None)
    assert answer != Answer(Request("Get", "./a"), 200, (Item(),))


def test_a_bundle_keeps_its_order() -> None:
    """Requests travel in the order given, in three kinds that are told apart by name."""
    first, second = Request("Add", "./a"), Request("Add", "./b")
    assert Bundle(ATOMIC, (first, second)).requests == (first, second)
    assert Bundle(ATOMIC, (first, second)) != Bundle(ATOMIC, (second, first))
    assert len({ATOMIC, ITEMS, SEQUENCE}) == 3


def test_all_are_values() -> None:
    """They can be compared and kept in sets, and not be changed."""
    request = Request("Add", "./a", "int", "text/plain", "1")
    bundle = Bundle(SEQUENCE, (request, Bundle(ATOMIC, (request,))))
    assert len({bundle, Bundle(SEQUENCE, (request, Bundle(ATOMIC, (request,))))}) == 1
    assert len({request, Request("Add", "./a", "int", "text/plain", "1")}) == 1
    with pytest.raises(FrozenInstanceError):
        request.data = "2"  # type: ignore[misc]
