"""Answers read while they arrive: the same values as read whole, under the same limits, with nothing kept."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.upstream.answers import open_revision_id_list_reader, open_update_data_reader, read_revision_id_list
from mdm.upstream.errors import InvalidAnswer, SoapFault
from mdm.upstream.stream import BODY, StreamReader
from mdm.upstream.xml import SD, Node, XmlLimits, child, children, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

GUID = "dd78b8a1-0b20-45c1-add6-4da72e9364cf"
LIST = (
    '<?xml version="1.0" encoding="utf-8"?><q:Envelope xmlns:q="http://schemas.xmlsoap.org/soap/envelope/"><q:Body>'
    f'<GetRevisionIdListResponse xmlns="{SD}"><GetRevisionIdListResult><Anchor> 1,2026 </Anchor><NewRevisions>'
    + "".join(
        f"<UpdateIdentity><UpdateID>{GUID.upper()}</UpdateID><RevisionNumber>{number}</RevisionNumber></UpdateIdentity>\n"
        for number in range(5)
    )
    + "</NewRevisions></GetRevisionIdListResult></GetRevisionIdListResponse></q:Body></q:Envelope>"
).encode()


def read(
    inner: str, envelope: Callable[[str], bytes], limits: XmlLimits | None = None
) -> tuple[list[Node], dict[str, Any]]:
    """What is taken at `a/b`, and the rest of the body."""
    taken: list[Node] = []
    reader = StreamReader({f"{BODY}/sd:a/sd:b": taken.append}, lambda body: body, limits or XmlLimits())
    reader.feed(envelope(f'<a xmlns="{SD}">{inner}</a>'))
    return taken, reader.close()


@given(cuts=st.lists(st.integers(0, len(LIST)), max_size=20))
def test_it_does_not_matter_how_the_bytes_arrive(cuts: list[int]) -> None:
    """Cut anywhere, even inside a character."""
    reader = open_revision_id_list_reader()
    edges = [0, *sorted(cuts), len(LIST)]
    for start, end in pairwise(edges):
        reader.feed(LIST[start:end])
    listed = reader.close()
    assert listed == read_revision_id_list(LIST)
    assert listed.anchor == "1,2026"
    assert [(each.update_id, each.revision_number) for each in listed.revisions] == [
        (GUID, number) for number in range(5)
    ]


def test_what_is_taken_is_not_kept(envelope: Callable[[str], bytes]) -> None:
    """Only elements of the one place, complete, in order; those of other names stay in the frame."""
    taken, body = read("<b>1</b><c>x</c><b><d>2</d></b><e><b>3</b></e><b/>", envelope)
    assert taken == ["1", {"sd:d": "2"}, None]
    assert body == {"sd:a": {"sd:c": "x", "sd:e": {"sd:b": "3"}}}


def test_the_frame_is_as_the_whole_reader_gives_it(envelope: Callable[[str], bytes]) -> None:
    """Repeatable names are lists, others that stand twice are refused when asked for; exact text is kept."""
    _, body = read(
        "<guid>1</guid><x> y </x><x/><o:x xmlns:o='urn:o'>z</o:x><t> &lt;u/&gt; </t>text", envelope
    )
    frame = child(body, "sd:a")
    assert children(frame, "sd:guid") == ["1"]
    with pytest.raises(InvalidAnswer, match="more than once"):
        child(frame, "sd:x")
    assert text_of(child(frame, "other:x")) == "z"
    assert text_of(child(frame, "sd:t"), exact=True) == " <u/> "


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<a",
        b"<a/>",
        b"<!DOCTYPE a []><a/>",
        b"\xff\xfe\xff",
        b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body/></s:Envelope>',
    ],
)
def test_what_is_no_answer(data: bytes) -> None:
    """One error for all of it."""
    reader = open_update_data_reader()

    def whole() -> None:
        reader.feed(data)
        reader.close()

    with pytest.raises(InvalidAnswer):
        whole()


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (XmlLimits(bytes=200), "more than 200 bytes"),
        (XmlLimits(elements=8), "more than 8 elements"),
        (XmlLimits(depth=3), "more than 3 elements deep"),
    ],
)
def test_limits_hold_across_pieces(envelope: Callable[[str], bytes], limits: XmlLimits, words: str) -> None:
    """However small the pieces are."""
    reader = StreamReader({}, lambda body: body, limits)
    data = envelope(f'<a xmlns="{SD}">{"<b>1</b>" * 20}</a>')

    def piecemeal() -> None:
        for start in range(0, len(data), 10):
            reader.feed(data[start : start + 10])

    with pytest.raises(InvalidAnswer, match=words):
        piecemeal()


def test_many_names_are_read_but_not_remembered(envelope: Callable[[str], bytes]) -> None:
    """A peer cannot fill the memory with them."""
    _, body = read("".join(f"<n{number}>{number}</n{number}>" for number in range(300)), envelope)
    assert body["sd:a"]["sd:n299"] == "299"


def test_a_fault_is_a_fault(fault: Callable[..., Any]) -> None:
    """Also where a long answer was expected."""
    reader = open_update_data_reader()
    reader.feed(fault("ServerBusy").body)
    with pytest.raises(SoapFault) as caught:
        reader.close()
    assert caught.value.error_code == "ServerBusy"
