"""The poll schedule as commands, and what a device's answers make of it."""

from __future__ import annotations

from itertools import starmap

import pytest

from csp.dmclient import DMCLIENT_TREE, validate
from csp.errors import InvalidLocURI
from csp.polling import POLL_NODES, poll_requests, poll_uris, taken
from csp.tree import Access
from syncml.exchange import Answer, Request

NUMBERS = dict(zip(POLL_NODES, (5, 3, 8, 15, 0, 480), strict=True))
POLL = "./Vendor/MSFT/DMClient/Provider/CSPBridge/Poll"
REQUESTS = poll_requests("CSPBridge", NUMBERS)


def test_six_replaces_give_the_schedule() -> None:
    """Each is of a number, and of a value its node may have."""
    assert [(each.verb, each.loc_uri, each.format, each.data) for each in REQUESTS] == [
        ("Replace", f"{POLL}/NumberOfFirstRetries", "int", "5"),
        ("Replace", f"{POLL}/IntervalForFirstSetOfRetries", "int", "3"),
        ("Replace", f"{POLL}/NumberOfSecondRetries", "int", "8"),
        ("Replace", f"{POLL}/IntervalForSecondSetOfRetries", "int", "15"),
        ("Replace", f"{POLL}/NumberOfRemainingScheduledRetries", "int", "0"),
        ("Replace", f"{POLL}/IntervalForRemainingScheduledRetries", "int", "480"),
    ]
    for name in POLL_NODES:
        validate(f"Poll/{name}", str(NUMBERS[name]))


def test_every_node_can_be_replaced() -> None:
    """By its row of the DMClient tree."""
    nodes = {node.path.rpartition("/")[2]: node for node in DMCLIENT_TREE if "/Poll/" in node.path}
    assert all(Access.REPLACE in nodes[name].access for name in POLL_NODES)


def test_the_name_of_the_server_is_escaped() -> None:
    """Or refused, where no address can have it."""
    assert poll_uris("MS DM/Server")[0].startswith("./Vendor/MSFT/DMClient/Provider/MS%20DM%2fServer/Poll/")
    with pytest.raises(InvalidLocURI):
        poll_uris("")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([Answer(request, 200) for request in REQUESTS], 6),
        ([Answer(request, 404) for request in REQUESTS], 0),
        ([Answer(request, None) for request in REQUESTS], 0),
        (list(starmap(Answer, zip(REQUESTS, (200, 405, 200, 500, None, 200), strict=True))), 3),
        ([Answer(request, 200) for request in poll_requests("CSPBridge", dict.fromkeys(POLL_NODES, 7))], 0),
        ([Answer(request, 200) for request in poll_requests("Other", NUMBERS)], 0),
        ([Answer(Request("Get", request.loc_uri), 200) for request in REQUESTS], 0),
        ([], 0),
    ],
)
def test_what_was_taken(answers: list[Answer], expected: int) -> None:
    """Only the accepted Replaces of these very numbers count."""
    assert taken(answers, "CSPBridge", NUMBERS) == expected
