"""The virtual upstream as a server: starting, stopping, paths, content, limits and switches."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx2
import pytest

from mdm.commands.base import CommandError
from mdm.lab import app_server, upstream
from mdm.lab.bulk import BLOCK, BulkCatalogue
from mdm.lab.catalogue import Catalogue
from mdm.lab.documents import Document, File, Identity
from mdm.lab.faults import FaultKind, FaultRule
from mdm.lab.generate import build_catalogue
from mdm.lab.upstream import UpstreamOptions, UpstreamServer, add_parser, serve_upstream

if TYPE_CHECKING:
    from conftest import Clock, Peer, StartPeer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ONE = "aaaaaaaa-0000-4000-8000-000000000001"
EMPTY = Catalogue((), ())


def text_file(content: bytes = b"0123456789") -> File:
    """A licence text the upstream serves itself."""
    sha1 = hashlib.sha1(content, usedforsecurity=False).digest()
    return File("eula.txt", len(content), sha1, hashlib.sha256(content).digest(), NOW, content=content)


# --- paths and bodies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/ServerSyncWebService/ServerSyncWebService.asmx",
        "/serversyncwebservice/SERVERSYNCWEBSERVICE.asmx",
        "//ServerSyncWebService/ServerSyncWebService.asmx",
    ],
)
def test_paths_are_taken_as_iis_takes_them(peer: Peer, path: str) -> None:
    """Letter case and a doubled slash make no difference, nor does a missing SOAPAction."""
    assert peer.call("GetAuthConfig", path=path).text("PlugInID") == "DssTargeting"


def test_auth_service_answers_to_a_double_slash(peer: Peer) -> None:
    """A Windows downstream server appends the relative ServiceUrl to a URL that ends in a slash."""
    da = "http://www.microsoft.com/SoftwareDistribution/Server/DssAuthWebService"
    arguments = (
        "<accountName>a.example</accountName><accountGuid>6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12</accountGuid>"
    )
    reply = peer.call(
        "GetAuthorizationCookie", arguments, "//DssAuthWebService/DssAuthWebService.asmx", namespace=da
    )
    assert reply.text("PlugInId") == "DssTargeting"


@pytest.mark.parametrize(
    "path", ["/", "/ServerSyncWebService/ServerSyncProxy.asmx", "/ReportingWebService/WebService.asmx"]
)
def test_addresses_of_the_wsdl_are_not_found(peer: Peer, path: str) -> None:
    """The soap:address values of the specification's WSDL give 404, as on a real server."""
    assert peer.call("GetAuthConfig", path=path).response.status_code == 404


def test_a_service_takes_post_only(peer: Peer) -> None:
    """A GET of a service is refused."""
    assert (
        peer.http.get(f"{peer.server.url}/ServerSyncWebService/ServerSyncWebService.asmx").status_code == 405
    )


def test_only_xml_is_taken(peer: Peer) -> None:
    """Another content type is 415."""
    assert peer.send("{}", content_type="application/json").response.status_code == 415


def test_too_long_a_request_is_refused(peer: Peer) -> None:
    """Over the limit is 413; nothing is parsed."""
    assert peer.send(b"<" * (1024 * 1024 + 1)).response.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a",
        b"<a/>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body/></s:Envelope>',
        b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body> text </s:Body></s:Envelope>',
        b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><Ping/></s:Body></s:Envelope>',
        b"<a>" * 100 + b"</a>" * 100,
    ],
)
def test_what_is_no_call_gets_a_fault_without_an_error_code(peer: Peer, body: bytes) -> None:
    """Malformed XML, a DTD, too deep a tree or an empty body: soap:Client, and no ErrorCode, as from ASP.NET."""
    reply = peer.send(body)
    assert reply.fault == (None, None)
    assert reply.body.findtext("faultcode") == "soap:Client"
    assert peer.server.requests[-1].operation == "unreadable"


@pytest.mark.parametrize(
    ("operation", "namespace"),
    [
        ("GetEverything", "http://www.microsoft.com/SoftwareDistribution"),
        ("GetAuthConfig", "urn:another"),
        ("GetAuthorizationCookie", "http://www.microsoft.com/SoftwareDistribution/Server/DssAuthWebService"),
    ],
)
def test_unknown_operations_are_refused(peer: Peer, operation: str, namespace: str) -> None:
    """Neither another name, nor another namespace, nor another service's operation is answered."""
    assert peer.call(operation, namespace=namespace).fault == (None, None)


def test_xpress_is_sent_to_who_asks_for_it(peer: Peer) -> None:
    """As a Windows downstream server does; others get the answer as it is, and faults are never packed."""
    url = f"{peer.server.url}/ServerSyncWebService/ServerSyncWebService.asmx"
    sd = "http://www.microsoft.com/SoftwareDistribution"
    soap = "http://schemas.xmlsoap.org/soap/envelope/"

    def ask(operation: str, coding: str) -> httpx2.Response:
        body = f'<s:Envelope xmlns:s="{soap}"><s:Body><{operation} xmlns="{sd}"/></s:Body></s:Envelope>'
        headers = {"Content-Type": "text/xml", "Accept-Encoding": coding}
        with peer.http.stream("POST", url, content=body, headers=headers) as response:
            response.extensions["raw"] = b"".join(response.iter_raw())
        return response

    plain, packed = ask("GetAuthConfig", "gzip, deflate"), ask("GetAuthConfig", "gzip, XPRESS;q=0.5")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "xpress"
    before, after = struct.unpack_from("<II", packed.extensions["raw"])
    assert before == len(plain.extensions["raw"])
    assert after == len(packed.extensions["raw"]) - 8 < before
    assert "content-encoding" not in ask("GetConfigData", "xpress").headers


# --- content --------------------------------------------------------------------------------------------


def test_content_is_served_under_its_hash(start_peer: StartPeer) -> None:
    """`/Content/<last two hex digits>/<SHA-1>.<ext>`, in any letter case, with HEAD as well."""
    file = text_file()
    peer = start_peer(Document(ONE, 200, "<one/>", files=(file,)))
    url = peer.server.url + file.content_path
    assert file.content_path == "/Content/16/87ACEC17CD9DCD20A716CC2CF67417B71C8A7016.txt"
    assert peer.http.get(url).content == b"0123456789"
    assert peer.http.get(url.lower()).content == b"0123456789"
    head = peer.http.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "10")


@pytest.mark.parametrize(
    ("header", "status", "body", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=5-4", 416, b"", "bytes */10"),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_one_byte_range_is_served(
    start_peer: StartPeer, header: str, status: int, body: bytes, content_range: str | None
) -> None:
    """A single range gives 206 or 416; anything else the whole file."""
    file = text_file()
    peer = start_peer(Document(ONE, 200, "<one/>", files=(file,)))
    response = peer.http.get(peer.server.url + file.content_path, headers={"Range": header})
    assert (response.status_code, response.content, response.headers.get("content-range")) == (
        status,
        body,
        content_range,
    )


def test_wrong_content_paths_fail_as_on_iis(start_peer: StartPeer) -> None:
    """A wrong folder or an unknown file is 404, a name without extension 403."""
    file = text_file()
    peer = start_peer(Document(ONE, 200, "<one/>", files=(file,)))
    name = file.content_path.rpartition("/")[2]
    for path, status in (
        (f"/Content/XX/{name}", 404),
        (f"/Content/{'0' * 2}/{'0' * 40}.txt", 404),
        (file.content_path.removesuffix(".txt"), 403),
    ):
        assert peer.http.get(peer.server.url + path).status_code == status, path


# --- switches -------------------------------------------------------------------------------------------


def test_requests_are_noted(peer: Peer, clock: Clock) -> None:
    """Operation, time, status and error of every request can be counted."""
    peer.call("GetAuthConfig")
    peer.call("GetConfigData")
    assert [(r.operation, r.at, r.status, r.error) for r in peer.server.requests] == [
        ("GetAuthConfig", clock.now, 200, None),
        ("GetConfigData", clock.now, 500, "InvalidCookie"),
    ]
    assert peer.server.calls("GetAuthConfig") == 1


def test_fail_next_fails_that_many_requests(start_peer: StartPeer) -> None:
    """The next n requests, content included, get 503 and nothing else; then all is well."""
    peer = start_peer(fail_next=2)
    assert peer.call("GetAuthConfig").response.status_code == 503
    assert peer.http.get(f"{peer.server.url}/Content/00/0.txt").status_code == 503
    assert peer.call("GetAuthConfig").response.status_code == 200
    assert [record.status for record in peer.server.requests] == [503, 503, 200]


def test_scheduled_faults_are_used_up(start_peer: StartPeer) -> None:
    """Each scheduled fault answers one call of its operation, in order, and no other operation."""
    peer = start_peer(faults={"GetAuthConfig": ["ServerBusy", "InternalServerError"]})
    cookie = peer.cookie()
    assert peer.call("GetConfigData", cookie).response.status_code == 200
    first = peer.call("GetAuthConfig")
    assert first.fault == ("ServerBusy", "")
    assert first.body.findtext("faultcode") == "soap:Server"
    assert peer.call("GetAuthConfig").fault == ("InternalServerError", "")
    assert peer.call("GetAuthConfig").response.status_code == 200


def test_a_fault_that_does_not_exist_cannot_be_scheduled() -> None:
    """A misspelt ErrorCode is an error of the test, not a strange answer."""
    with pytest.raises(ValueError, match="InvalidCooky"):
        UpstreamServer(EMPTY, options=UpstreamOptions(faults={"GetCookie": ["InvalidCooky"]}))


def test_options_can_change_while_it_runs(peer: Peer) -> None:
    """New switches hold from the next request on."""
    peer.server.options = UpstreamOptions(max_updates=7, fail_next=1)
    assert peer.call("GetAuthConfig").response.status_code == 503
    assert peer.call("GetConfigData", peer.cookie()).text("MaxNumberOfUpdatesPerRequest") == "7"
    assert peer.server.options.max_updates == 7


def test_delay_holds_answers_back(start_peer: StartPeer) -> None:
    """Every answer waits as long as it was told."""
    peer = start_peer(delay=0.3)
    began = time.monotonic()
    peer.call("GetAuthConfig")
    assert time.monotonic() - began >= 0.3


def test_a_catalogue_moves_on(start_peer: StartPeer) -> None:
    """A day later some revisions have come and some gone; a client with an anchor sees the new ones alone."""
    before, after = (set(build_catalogue(5, NOW + timedelta(days=days)).documents) for days in (0, 1))
    peer = start_peer(*before)
    anchor = peer.revisions("<GetConfig>false</GetConfig>").text("Anchor")
    changed = peer.server.become(Catalogue((), tuple(after)))
    assert changed == len(before ^ after)
    delta = peer.revisions(f"<Anchor>{anchor}</Anchor><GetConfig>false</GetConfig>").identities()
    assert sorted(delta) == sorted(document.identity for document in after - before)
    assert delta


def test_a_bulk_catalogue_is_served_block_by_block(start_peer: StartPeer) -> None:
    """What has been released can be listed and fetched, and each release is a delta."""
    peer = start_peer(bulk=BulkCatalogue(2, 1_000), released=2)
    listed = peer.revisions("<GetConfig>false</GetConfig>")
    assert len(listed.identities()) == 2 * BLOCK
    documents = peer.update_data(*listed.identities()[:BLOCK])
    assert documents.identities() == listed.identities()[:BLOCK]
    peer.server.release(1)
    delta = f"<Anchor>{listed.text('Anchor')}</Anchor><GetConfig>false</GetConfig>"
    assert len(peer.revisions(delta).identities()) == BLOCK


def test_waiting_ends_after_its_seconds() -> None:
    """`wait` says whether the server has stopped."""
    with UpstreamServer(EMPTY) as server:
        assert server.wait(0.01) is False
    assert server.wait(0.01) is True


def test_publishing_and_withdrawing_change_the_list(peer: Peer) -> None:
    """The catalogue can change while clients are at work."""
    new = Identity("aaaaaaaa-0000-4000-8000-000000000009", 1)
    peer.server.publish(Document(*new, "<new/>"))
    assert new in peer.revisions("<GetConfig>false</GetConfig>").identities()
    peer.server.withdraw(new)
    assert new not in peer.revisions("<GetConfig>false</GetConfig>").identities()
    with pytest.raises(KeyError):
        peer.server.withdraw(new)


# --- starting and stopping ------------------------------------------------------------------------------


def test_stopping_frees_the_port_and_starting_takes_it_again() -> None:
    """A stopped upstream refuses connections; started again it is at the same URL with what was published."""
    server = UpstreamServer(EMPTY)
    with httpx2.Client() as http:
        server.start()
        url = server.url
        server.publish(Document(ONE, 1, "<a/>"))
        assert http.get(url).status_code == 404
        server.stop()
        server.stop()
        server.wait()
        with pytest.raises(httpx2.ConnectError):
            http.get(url)
        with server:
            assert server.url == url
            assert http.get(url).status_code == 404


def test_rounds_leave_no_threads_behind() -> None:
    """Starting and stopping ten times ends with as many threads as before."""
    before = threading.active_count()
    for _ in range(10):
        with UpstreamServer(EMPTY):
            pass
    assert threading.active_count() <= before


def test_a_taken_port_is_an_error() -> None:
    """`start` says so at once instead of failing in its thread."""
    with UpstreamServer(EMPTY) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            UpstreamServer(EMPTY, port=port).start()


def test_a_server_that_does_not_come_up_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """`start` does not wait for ever."""
    monkeypatch.setattr(app_server.uvicorn.Server, "run", lambda _self, sockets: [s.close() for s in sockets])
    with pytest.raises(TimeoutError, match="did not start"):
        UpstreamServer(EMPTY).start()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_urls_have_brackets() -> None:
    """The URL of an IPv6 host can be used as it is."""
    server = UpstreamServer(EMPTY, host="::1")
    try:
        server.start()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    try:
        assert server.url.startswith("http://[::1]:")
        assert httpx2.get(server.url).status_code == 404
    finally:
        server.stop()


# --- the command ----------------------------------------------------------------------------------------


def test_serve_upstream_serves_until_interrupted() -> None:
    """It says where it is, answers, and returns at SIGINT."""
    seen: list[str] = []

    def announce(line: str) -> None:
        url = line.split()[3].rstrip(":")
        assert httpx2.get(url).status_code == 404
        seen.append(line)
        threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,)).start()

    before = signal.getsignal(signal.SIGTERM)
    # A suite that runs in the background of a shell has inherited SIGINT as ignored.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        serve_upstream(port=0, seed=3, announce=announce)
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert "(seed 3)" in seen[0]
    assert signal.getsignal(signal.SIGTERM) is before


def _interrupted(until: int, **options: object) -> list[str]:
    """What `serve_upstream` announces until it has announced so many lines; SIGINT then."""
    seen: list[str] = []

    def announce(line: str) -> None:
        seen.append(line)
        if len(seen) == until:
            threading.Timer(0.1, signal.raise_signal, (signal.SIGINT,)).start()

    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        serve_upstream(port=0, announce=announce, **options)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGINT, interrupt)
    return seen


def test_days_pass_as_fast_as_told() -> None:
    """The catalogue moves on day by day, and each day something comes and something goes."""
    lines = _interrupted(3, day=0.05)
    assert len(lines) >= 3
    assert all(
        re.fullmatch(r"It is 20\d\d-\d\d-\d\d: [1-9]\d* revisions came or went\.", x) for x in lines[1:]
    )
    assert lines[1] < lines[2]


def test_a_bulk_catalogue_is_announced_by_its_size() -> None:
    """Nobody counts what an administrator would see of it."""
    (line,) = _interrupted(1, bulk=BulkCatalogue(1, 5_000))
    assert re.search(r"at http://127\.0\.0\.1:\d+: 5000 revisions \(seed 1\)\.$", line)


@pytest.mark.e2e
def test_the_process_ends_well_at_sigterm() -> None:
    """A supervisor's SIGTERM ends it with exit code 0."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from mdm.lab.upstream import serve_upstream; serve_upstream(port=0)"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        text=True,
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert httpx2.get(line.split()[3].rstrip(":")).status_code == 404
        process.terminate()
        assert process.wait(20) == 0


def _parse(*arguments: str) -> object:
    parser = ArgumentParser()
    add_parser(parser.add_subparsers())
    return parser.parse_args(["upstream", "serve", *arguments])


def test_the_command_passes_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """`csp-bridge upstream serve` binds to the loopback and WSUS's port unless told otherwise."""
    called: list[tuple[object, ...]] = []
    monkeypatch.setattr(upstream, "serve_upstream", lambda *a, **named: called.append((*a, named)))
    plain = _parse()
    told = _parse("--host", "::1", "--port", "0", "--seed", "9", "--missing", "mu", "--compress", "always")
    faults = _parse("--fault", "garbage@3", "--fault", "slow=2:GetCookie", "--day", "60")
    microsoft = _parse("--flavour", "mu")
    for each in (plain, told, faults, microsoft):
        assert each.func(each) == 0
    rules = (
        FaultRule(FaultKind.GARBAGE, first=3, last=3),
        FaultRule(FaultKind.SLOW, "GetCookie", amount=2),
    )
    none = {"bulk": None, "day": None}
    assert called == [
        ("127.0.0.1", 8530, 1, {"options": UpstreamOptions(), **none}),
        ("::1", 0, 9, {"options": UpstreamOptions(missing="mu", compress="always", seed=9), **none}),
        ("127.0.0.1", 8530, 1, {"options": UpstreamOptions(rules=rules), "bulk": None, "day": 60}),
        ("127.0.0.1", 8530, 1, {"options": UpstreamOptions(flavour="mu", missing="mu"), **none}),
    ]


def test_the_command_serves_a_catalogue_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--revisions` and `--big-document` make a bulk catalogue of the seed."""
    called: list[BulkCatalogue] = []
    monkeypatch.setattr(upstream, "serve_upstream", lambda *_, bulk, **__: called.append(bulk))
    arguments = _parse("--revisions", "1000", "--seed", "4", "--big-document")
    assert arguments.func(arguments) == 0
    assert called[0].size == 1_000
    assert called[0].identity(500) == BulkCatalogue(4, 1_000).identity(500)


@pytest.mark.parametrize(
    "arguments",
    [("--fault", "garbich"), ("--revisions", "199"), ("--revisions", "many"), ("--day", "long")],
)
def test_the_command_refuses_what_it_cannot_do(arguments: tuple[str, str]) -> None:
    """A bad rule or number is an error of usage."""
    with pytest.raises(SystemExit):
        _parse(*arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--big-document",), "needs --revisions"), (("--revisions", "300", "--day", "1"), "leave --revisions")],
)
def test_the_command_refuses_what_does_not_go_together(arguments: tuple[str, ...], words: str) -> None:
    """Each is one sentence."""
    parsed = _parse(*arguments)
    with pytest.raises(CommandError, match=words):
        parsed.func(parsed)


def test_the_command_explains_a_taken_port() -> None:
    """A port in use is one sentence and no traceback."""
    with UpstreamServer(EMPTY) as first:
        arguments = _parse("--port", first.url.rpartition(":")[2])
        with pytest.raises(
            CommandError, match=r"Cannot listen on 127\.0\.0\.1 port \d+: Address already in use\.$"
        ):
            arguments.func(arguments)


def test_a_generated_catalogue_is_served_whole(start_peer: StartPeer) -> None:
    """Everything the generator makes can be listed and fetched as it is."""
    documents = build_catalogue(5, NOW).documents
    peer = start_peer(*documents, compress="never", max_answer_bytes=10**9)
    listed = [
        *peer.revisions("<GetConfig>true</GetConfig>").identities(),
        *peer.revisions("<GetConfig>false</GetConfig>").identities(),
    ]
    assert sorted(listed) == sorted(document.identity for document in documents)
    by_identity = {document.identity: document.xml for document in documents}
    for start in range(0, len(listed), 100):
        batch = listed[start : start + 100]
        assert peer.update_data(*batch).texts("XmlUpdateBlob") == [by_identity[each] for each in batch]
