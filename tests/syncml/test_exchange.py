"""Request and Answer: values with the defaults a session relies on."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from syncml.exchange import Answer, Request
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


def test_both_are_values() -> None:
    """They can be compared and kept in sets, and not be changed."""
    request = Request("Add", "./a", "int", "text/plain", "1")
    assert len({request, Request("Add", "./a", "int", "text/plain", "1")}) == 1
    with pytest.raises(FrozenInstanceError):
        request.data = "2"  # type: ignore[misc]
