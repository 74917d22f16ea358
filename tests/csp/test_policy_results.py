"""Answers about policies, told apart from all others, and what they say."""

from __future__ import annotations

import pytest

from csp.policy import policy_uri, result_uri
from csp.policy_results import PolicyAnswer, policy_answers
from csp.status import Outcome
from syncml.exchange import Answer, Request
from syncml.messages import Item

NAME = "AllowAutoUpdate"
SET = Request("Replace", policy_uri(NAME), format="int", type="text/plain", data="2")
RESET = Request("Delete", policy_uri(NAME))
READ = Request("Get", result_uri(NAME))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(SET, 200), PolicyAnswer(NAME, "Replace", Outcome.DONE, 200, "2", None)),
        (
            Answer(SET, 405, original_error="0x86000011"),
            PolicyAnswer(NAME, "Replace", Outcome.UNSUPPORTED, 405, "2", "0x86000011"),
        ),
        (Answer(SET, 500), PolicyAnswer(NAME, "Replace", Outcome.RETRY, 500, "2", None)),
        (Answer(RESET, 200), PolicyAnswer(NAME, "Delete", Outcome.DONE, 200, None, None)),
        # what is not set is reset
        (Answer(RESET, 404), PolicyAnswer(NAME, "Delete", Outcome.ALREADY_DONE, 404, None, None)),
        (Answer(READ, 200, (Item(data="2"),)), PolicyAnswer(NAME, "Get", Outcome.DONE, 200, "2", None)),
        (
            Answer(READ, 200, (Item(), Item(data=" "), Item(data=" 02\n"))),
            PolicyAnswer(NAME, "Get", Outcome.DONE, 200, "2", None),
        ),
        (Answer(READ, 200), PolicyAnswer(NAME, "Get", Outcome.DONE, 200, None, None)),
        # nothing is in effect
        (Answer(READ, 404, (Item(data="2"),)), PolicyAnswer(NAME, "Get", Outcome.DONE, 404, None, None)),
        (Answer(READ, 405), PolicyAnswer(NAME, "Get", Outcome.UNSUPPORTED, 405, None, None)),
    ],
)
def test_an_answer_about_a_policy_is_read(answer: Answer, expected: PolicyAnswer) -> None:
    """Which policy, what was asked, and what came of it."""
    assert policy_answers([answer]) == (expected,)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(SET, None),
        Answer(SET, 401),
        Answer(READ, 407),
        Answer(Request("Get", policy_uri(NAME)), 200),
        Answer(Request("Replace", "./Device/Vendor/MSFT/Policy/Config/Update/NoSuchPolicy"), 200),
        Answer(Request("Get", "./Vendor/MSFT/Update/LastSuccessfulScanTime"), 200),
        Answer(Request("Replace", "no address at all"), 200),
    ],
)
def test_what_tells_nothing_of_a_policy_is_left_out(answer: Answer) -> None:
    """No answer, one that was not looked at, another node, another command."""
    assert policy_answers([answer]) == ()


def test_the_order_is_that_of_the_answers() -> None:
    """A later answer about the same policy comes later."""
    answers = [Answer(SET, 200), Answer(Request("Get", "./DevDetail/SwV"), 200), Answer(RESET, 200)]
    assert [answer.verb for answer in policy_answers(answers)] == ["Replace", "Delete"]
