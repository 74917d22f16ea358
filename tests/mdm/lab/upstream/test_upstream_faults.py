"""Faults as a client meets them: over a socket, and with what they leave behind."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx2
import pytest
from lxml import etree

from mdm.lab.documents import Document, File
from mdm.lab.faults import FaultKind, FaultRule
from mdm.lab.upstream import UpstreamOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer, StartPeer

ONE = "aaaaaaaa-0000-4000-8000-000000000001"
TWO = "aaaaaaaa-0000-4000-8000-000000000002"
TEXT = b"0123456789" * 100
FILE = File(
    "eula.txt",
    len(TEXT),
    hashlib.sha1(TEXT, usedforsecurity=False).digest(),
    hashlib.sha256(TEXT).digest(),
    datetime(2026, 11, 21, tzinfo=UTC),
    content=TEXT,
)
DOCUMENTS = (Document(ONE, 200, "<one/>", files=(FILE,)), Document(TWO, 200, "<two/>"))


def rules(*texts: str) -> tuple[FaultRule, ...]:
    """Rules as the command line has them."""
    return tuple(map(FaultRule.parse, texts))


@pytest.fixture
def faulty(start_peer: StartPeer) -> Callable[..., Peer]:
    """Starts a peer of an upstream with these faults."""
    return lambda *texts: start_peer(*DOCUMENTS, rules=rules(*texts))


def test_a_fault_strikes_the_call_it_was_ordered_for(faulty: Callable[..., Peer]) -> None:
    """With its ErrorCode; the calls before and after are answered, and the record tells which was struck."""
    peer = faulty("fault=ServerBusy:GetAuthConfig@2")
    replies = [peer.call("GetAuthConfig") for _ in range(3)]
    assert [reply.response.status_code for reply in replies] == [200, 500, 200]
    assert replies[1].fault == ("ServerBusy", "")
    assert [record.struck for record in peer.server.requests] == [None, FaultKind.FAULT, None]
    assert peer.server.requests[1].error == "ServerBusy"


def test_a_fault_may_have_no_error_code(faulty: Callable[..., Peer]) -> None:
    """As when a server fails before it understands the call."""
    peer = faulty("fault:GetAuthConfig")
    assert peer.call("GetAuthConfig").fault == (None, None)


def test_cookies_become_invalid_for_good(faulty: Callable[..., Peer]) -> None:
    """The cookie of before is refused from then on; one asked for afterwards is good."""
    peer = faulty("cookies:GetConfigData@2")
    cookie = peer.cookie()
    replies = [peer.call("GetConfigData", cookie) for _ in range(3)]
    assert replies[0].text("ProtocolVersion") == "1.20"
    assert [reply.fault for reply in replies[1:]] == [("InvalidCookie", "")] * 2
    assert peer.call("GetConfigData", peer.cookie()).response.status_code == 200


def test_a_replaced_database_forgets_its_anchors(faulty: Callable[..., Peer]) -> None:
    """ServerChanged once by order, and afterwards for every anchor of before."""
    peer = faulty("generation:GetRevisionIdList@2")
    anchor = peer.revisions("<GetConfig>true</GetConfig>").text("Anchor")
    assert peer.revisions("<GetConfig>true</GetConfig>").fault == ("ServerChanged", "")
    with_anchor = f"<Anchor>{anchor}</Anchor><GetConfig>true</GetConfig>"
    assert peer.revisions(with_anchor).fault == ("ServerChanged", "")
    fresh = peer.revisions("<GetConfig>true</GetConfig>").text("Anchor")
    assert peer.revisions(f"<Anchor>{fresh}</Anchor><GetConfig>true</GetConfig>").response.status_code == 200


def test_an_operation_may_be_absent(faulty: Callable[..., Peer]) -> None:
    """It is answered like one that does not exist; the others are there."""
    peer = faulty("absent:GetRelatedRevisionsForUpdates")
    arguments = f"{peer.cookie()}<updateIDs><guid>{ONE}</guid></updateIDs>"
    reply = peer.call("GetRelatedRevisionsForUpdates", arguments)
    assert reply.fault == (None, None)
    assert "GetRelatedRevisionsForUpdates is not an operation" in (reply.body.findtext("faultstring") or "")


@pytest.mark.parametrize(("rule", "status"), [("status", 503), ("status=429", 429)])
def test_a_status_comes_without_a_body(faulty: Callable[..., Peer], rule: str, status: int) -> None:
    """As from a proxy or an overloaded IIS."""
    peer = faulty(rule)
    response = peer.call("GetAuthConfig").response
    assert (response.status_code, response.content) == (status, b"")
    assert peer.server.requests[-1].status == status


def test_garbage_is_no_xml_and_a_page_is_no_answer(faulty: Callable[..., Peer]) -> None:
    """Both come with HTTP 200."""
    peer = faulty("garbage@1", "page@2")
    garbage, page = (peer.call("GetAuthConfig").response for _ in range(2))
    assert garbage.status_code == page.status_code == 200
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(garbage.content)
    assert page.headers["content-type"].startswith("text/html")
    assert "<title>Sign in</title>" in page.text


def test_one_document_of_an_answer_is_damaged(faulty: Callable[..., Peer]) -> None:
    """The first blob cannot be read; the answer around it and the other documents can."""
    peer = faulty("corrupt:GetUpdateData@1-2")
    damaged = peer.update_data((ONE, 200), (TWO, 200)).texts("XmlUpdateBlob")
    assert damaged[0] != "<one/>"
    assert damaged[1] == "<two/>"
    peer.server.options = UpstreamOptions(compress="always", rules=rules("corrupt:GetUpdateData"))
    packed = peer.update_data((ONE, 200)).text("XmlUpdateBlobCompressed")
    assert packed.startswith("!")


def test_a_file_is_damaged(faulty: Callable[..., Peer]) -> None:
    """As long as before, and not what its digest says; the length in the header is right."""
    peer = faulty("corrupt:Content@1")
    url = peer.server.url + FILE.content_path
    damaged = peer.http.get(url)
    assert len(damaged.content) == len(TEXT) == int(damaged.headers["content-length"])
    assert damaged.content[1:] == TEXT[1:]
    assert damaged.content != TEXT
    assert peer.http.get(url).content == TEXT


def test_an_answer_is_cut_off(faulty: Callable[..., Peer]) -> None:
    """The header promises more than comes, and the connection closes; the server goes on."""
    peer = faulty("truncated:Content@1", "truncated:GetAuthConfig@1")
    with pytest.raises(httpx2.RemoteProtocolError):
        peer.http.get(peer.server.url + FILE.content_path)
    with pytest.raises(httpx2.RemoteProtocolError):
        peer.call("GetAuthConfig")
    assert peer.call("GetAuthConfig").text("PlugInID") == "DssTargeting"


def test_an_answer_swells(faulty: Callable[..., Peer]) -> None:
    """White space by the megabyte, without a length in the header; it is XML all the same."""
    peer = faulty("oversize=3:GetAuthConfig@1")
    reply = peer.call("GetAuthConfig")
    assert "content-length" not in reply.response.headers
    assert len(reply.response.content) > 3 * (1 << 20)
    assert reply.text("PlugInID") == "DssTargeting"


@pytest.mark.parametrize("rule", ["slow=0.3", "drip=0.3"])
def test_an_answer_takes_its_time(faulty: Callable[..., Peer], rule: str) -> None:
    """Late, or bit by bit; whole in the end."""
    peer = faulty(f"{rule}:GetAuthConfig")
    began = time.monotonic()
    assert peer.call("GetAuthConfig").text("PlugInID") == "DssTargeting"
    assert time.monotonic() - began >= 0.2


def test_new_options_arm_the_rules_anew(faulty: Callable[..., Peer]) -> None:
    """Counting begins again."""
    peer = faulty("status:GetAuthConfig@1")
    assert peer.call("GetAuthConfig").response.status_code == 503
    assert peer.call("GetAuthConfig").response.status_code == 200
    peer.server.options = peer.server.options
    assert peer.call("GetAuthConfig").response.status_code == 503
