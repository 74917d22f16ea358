"""What Gets of single leaves have brought."""

from __future__ import annotations

import pytest

from csp.answers import NOT_LOOKED_AT, leaf_texts, text_of
from syncml.exchange import Answer, Request
from syncml.messages import Item

A, B = "./DevDetail/A", "./DevDetail/B"


def answer(uri: str = A, status: int | None = 200, *texts: str | None, verb: str = "Get") -> Answer:
    """An answer with these texts as Results."""
    return Answer(Request(verb, uri), status, tuple(Item(data=text) for text in texts))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (answer(A, 200, " x "), "x"),
        (answer(A, 200, None, " ", "y", "z"), "y"),
        (answer(A, 200, ""), None),
        (answer(A, 200), None),
        (answer(A, 404, "x"), None),
        (answer(A, None, "x"), None),
    ],
    ids=["plain", "first", "empty", "nothing", "absent", "unanswered"],
)
def test_the_text_of_a_leaf(given: Answer, text: str | None) -> None:
    """The first that is no blank, of a Get that succeeded."""
    assert text_of(given) == text


def test_texts_by_address() -> None:
    """Only of what was asked for and looked at; a leaf that is absent is there without a text."""
    answers = [answer(A, 200, "x"), answer(B, 404), answer("./Other", 200, "y")]
    assert leaf_texts(answers, {A, B}) == {A: "x", B: None}
    unlooked = [answer(A, None), *(answer(A, int(status), "x") for status in NOT_LOOKED_AT)]
    assert leaf_texts([*unlooked, answer(A, 200, "x", verb="Replace")], {A}) == {}
