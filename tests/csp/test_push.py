"""The push channel: how it is asked for, and what answers say of it."""

from __future__ import annotations

import pytest

from csp.dmclient import DMCLIENT_TREE
from csp.errors import InvalidLocURI
from csp.push import PushState, push_queries, push_words, read_push, set_pfn
from csp.tree import Access
from syncml.exchange import Answer, Request
from syncml.messages import Item

PUSH = "./Vendor/MSFT/DMClient/Provider/CSPBridge/Push"
PFN, CHANNEL, STATUS = push_queries("CSPBridge")
URL = "https://db5.notify.windows.com/?token=AwYAAAB"


def said(request: Request, *texts: str | None) -> Answer:
    """A Get that brought these values."""
    return Answer(request, 200, tuple(Item(data=text) for text in texts))


def test_three_nodes_are_asked_for() -> None:
    """Each can be read, and the name can be written."""
    assert [query.loc_uri for query in (PFN, CHANNEL, STATUS)] == [
        f"{PUSH}/PFN",
        f"{PUSH}/ChannelURI",
        f"{PUSH}/Status",
    ]
    nodes = {node.path.rpartition("/")[2]: node.access for node in DMCLIENT_TREE if "/Push/" in node.path}
    assert all(Access.GET in nodes[name] for name in ("PFN", "ChannelURI", "Status"))
    assert Access.REPLACE in nodes["PFN"]


def test_the_name_is_set_by_one_replace() -> None:
    """As text; a server's name that no address can have is refused."""
    assert set_pfn("CSPBridge", "Contoso.Bridge_8wekyb3d8bbwe") == Request(
        "Replace", f"{PUSH}/PFN", format="chr", type="text/plain", data="Contoso.Bridge_8wekyb3d8bbwe"
    )
    with pytest.raises(InvalidLocURI):
        set_pfn("", "x")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            (said(PFN, "Contoso_8"), said(CHANNEL, f" {URL} "), said(STATUS, "0")),
            PushState("Contoso_8", URL, 0, answered=True),
        ),
        ((Answer(PFN, 404), Answer(CHANNEL, 404), Answer(STATUS, 404)), PushState(answered=True)),
        ((said(CHANNEL, None, ""), said(STATUS, "4")), PushState(None, None, 4, answered=True)),
        ((said(STATUS, "4"),), PushState(status=4)),
        ((Answer(CHANNEL, 500, (Item(data=URL),)),), PushState(answered=True)),
        ((Answer(CHANNEL, None), Answer(STATUS, 401), Answer(PFN, 407)), PushState()),
        ((said(Request("Replace", CHANNEL.loc_uri), URL),), PushState()),
        ((said(push_queries("Other")[1], URL),), PushState()),
        (tuple(said(STATUS, text) for text in ("-1", "two", "12345", "²")), PushState()),
        ((), PushState()),
    ],
)
def test_what_answers_say(answers: tuple[Answer, ...], expected: PushState) -> None:
    """Values of successful Gets, and whether the question for the channel was looked at."""
    assert read_push(answers, "CSPBridge") == expected


def test_a_status_is_a_sentence() -> None:
    """The documented ones, none, and one that nobody has described."""
    sentences = [push_words(status) for status in (None, *range(9), 77)]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)
    assert "77" in sentences[-1]
