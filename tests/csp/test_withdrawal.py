"""Taking an approval back: the Delete, and what became of it."""

from __future__ import annotations

import pytest

from csp.errors import InvalidGuid
from csp.status import Outcome
from csp.withdrawal import answers_to_withdrawals, withdraw
from syncml.exchange import Answer, Request

GUID = "a317dafe-baf4-453f-b232-a7075efae36e"


def test_the_delete_names_the_node() -> None:
    """Update or classification: the same list."""
    assert withdraw(GUID) == Request("Delete", f"./Vendor/MSFT/Update/ApprovedUpdates/%7b{GUID}%7d")
    assert withdraw("{" + GUID.upper() + "}") == withdraw(GUID)
    with pytest.raises(InvalidGuid):
        withdraw("kb5068861")


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Outcome.DONE),
        (404, Outcome.ALREADY_DONE),
        (405, Outcome.UNSUPPORTED),
        (406, Outcome.UNSUPPORTED),
        (425, Outcome.UNSUPPORTED),
        (500, Outcome.RETRY),
        (516, Outcome.RETRY),
    ],
)
def test_what_an_answer_says(status: int, result: Outcome) -> None:
    """Gone, never to go on this build, or to be tried again."""
    answer = Answer(withdraw(GUID), status=status)
    assert list(answers_to_withdrawals([answer])) == [(GUID, answer, result)]


def test_other_answers_say_nothing() -> None:
    """An Add on the same node, the Delete of a policy, and a Delete nobody has answered."""
    others = [
        Answer(Request("Add", f"./Vendor/MSFT/Update/ApprovedUpdates/{GUID}"), status=200),
        Answer(Request("Delete", "./Vendor/MSFT/Policy/Config/Update/AllowAutoUpdate"), status=200),
        Answer(withdraw(GUID), status=None),
    ]
    assert list(answers_to_withdrawals(others)) == []
