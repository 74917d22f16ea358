"""HTTP to the upstream over real sockets: what is retried, what is bounded, what is refused."""

from __future__ import annotations

import gzip
import re
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from mdm.lab.xpress import pack
from mdm.upstream import requests
from mdm.upstream.errors import AnswerTimeout, AnswerTooLarge, InvalidAnswer, SoapFault, TransportError
from mdm.upstream.transport import Patience, Transport, open_http_client, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CALL = requests.get_auth_config()


class Slept(list[float]):
    """The pauses a call made, which take no time here."""

    def patience(self, **changes: Any) -> Patience:
        """Patience that notes its pauses, always of the full length."""
        return Patience(sleep=self.append, jitter=lambda: 1.0, **changes)


@pytest.fixture
def slept() -> Slept:
    """Pauses noted."""
    return Slept()


@pytest.fixture
def transport(http: httpx2.Client, slept: Slept) -> Transport:
    """A transport that does not sleep."""
    return Transport(http, slept.patience())


def test_a_call_is_posted_with_its_headers(server: Any, transport: Transport) -> None:
    """No content coding is asked for, and the body is the request's."""
    server.script = [b"answer"]
    assert transport.post(f"{server.url}/path", CALL, max_bytes=6) == b"answer"
    (call,) = server.calls
    assert (call.method, call.path, call.body) == ("POST", "/path", CALL.body)
    assert call.headers["SOAPAction"] == '"http://www.microsoft.com/SoftwareDistribution/GetAuthConfig"'
    assert call.headers["Content-Type"] == "text/xml; charset=utf-8"
    assert call.headers["Accept-Encoding"] == "identity"
    assert transport.bytes_received == 6


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_statuses_that_mean_later_are_retried(
    server: Any, transport: Transport, slept: Slept, reply: type[Any], status: int
) -> None:
    """With exponential pauses; the fourth attempt is the last."""
    server.script = [reply(status=status, body=b"<html>busy</html>")] * 3 + [b"answer"]
    assert transport.post(server.url, CALL, max_bytes=100) == b"answer"
    assert slept == [1.0, 2.0, 4.0]
    server.script = [reply(status=status)] * 9
    with pytest.raises(TransportError, match=rf"127\.0\.0\.1:\d+ answered HTTP {status}"):
        transport.post(server.url, CALL, max_bytes=100)
    assert len(server.script) == 5


@pytest.mark.parametrize("status", [201, 301, 400, 401, 403, 404, 410])
def test_other_statuses_are_final(
    server: Any, transport: Transport, slept: Slept, reply: type[Any], status: int
) -> None:
    """A redirect is not followed: the upstream is where the administrator said."""
    server.script = [reply(status=status, headers={"Location": f"{server.url}/elsewhere"}), b"answer"]
    with pytest.raises(InvalidAnswer, match=f"answered HTTP {status}"):
        transport.post(server.url, CALL, max_bytes=100)
    assert (len(server.calls), slept) == (1, [])


def test_a_hang_up_is_retried(server: Any, transport: Transport, reply: type[Any]) -> None:
    """A connection lost without an answer is no answer."""
    server.script = [reply(hang_up=True), b"answer"]
    assert transport.get(server.url, max_bytes=100) == b"answer"


def test_a_refused_connection_is_a_transport_error(transport: Transport, slept: Slept) -> None:
    """After all tries, the sentence names host and port."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(TransportError, match=rf"127\.0\.0\.1:{port} cannot be reached"):
            transport.post(f"http://user:secret@127.0.0.1:{port}/", CALL, max_bytes=100)
    assert len(slept) == 3


def test_a_fault_is_raised_at_once(
    server: Any, transport: Transport, slept: Slept, fault: Callable[..., Any]
) -> None:
    """HTTP 500 with a readable fault is an answer, as is HTTP 400 from a SOAP 1.2 server."""
    for status in (500, 400):
        server.script = [fault("InvalidCookie", status=status)]
        with pytest.raises(SoapFault, match="InvalidCookie"):
            transport.post(server.url, CALL, max_bytes=100)
    assert slept == []


def test_a_busy_server_is_waited_for(
    server: Any, transport: Transport, slept: Slept, fault: Callable[..., Any]
) -> None:
    """ServerBusy is the one fault that is retried; in the end it is raised."""
    server.script = [fault("ServerBusy"), b"answer"]
    assert transport.post(server.url, CALL, max_bytes=100) == b"answer"
    server.script = [fault("ServerBusy")] * 4
    with pytest.raises(SoapFault, match="ServerBusy"):
        transport.post(server.url, CALL, max_bytes=100)
    assert server.script == []
    assert slept == [1.0, 1.0, 2.0, 4.0]


def test_an_answer_over_the_limit_is_refused_while_it_streams(
    server: Any, transport: Transport, slept: Slept
) -> None:
    """The limit itself is read; one byte more is not, and is not asked for again."""
    server.script = [b"x" * 1000, b"x" * 1001]
    assert len(transport.get(server.url, max_bytes=1000)) == 1000
    with pytest.raises(AnswerTooLarge, match="more than 1000 bytes"):
        transport.get(server.url, max_bytes=1000)
    assert slept == []


def test_an_endless_error_page_is_bounded_too(server: Any, transport: Transport, reply: type[Any]) -> None:
    """What is not HTTP 200 is read up to a megabyte, to look for a fault."""
    server.script = [reply(status=500, body=b"x" * (1024 * 1024 + 1))]
    with pytest.raises(AnswerTooLarge):
        transport.post(server.url, CALL, max_bytes=10**9)


def test_a_content_coding_nobody_asked_for_is_refused(
    server: Any, transport: Transport, reply: type[Any]
) -> None:
    """It would defeat the count of bytes."""
    server.script = [reply(body=gzip.compress(b"x" * 10**6), headers={"Content-Encoding": "gzip"})]
    with pytest.raises(InvalidAnswer, match="content coding 'gzip'"):
        transport.get(server.url, max_bytes=10**6)


# --- xpress ---------------------------------------------------------------------------------------------


@pytest.fixture
def packed(reply: type[Any]) -> Callable[..., Any]:
    """Make a reply with the content coding xpress, in the spelling of whoever wrote the server."""

    def make(body: bytes, **options: Any) -> Any:
        return reply(body=body, headers={"Content-Encoding": "XPress"}, **options)

    return make


@pytest.fixture
def asking(http: httpx2.Client, slept: Slept) -> Transport:
    """A transport that asks for xpress."""
    return Transport(http, slept.patience(), xpress=True)


def test_a_packed_answer_is_unpacked_and_counted_as_it_came(
    server: Any, asking: Transport, packed: Callable[..., Any]
) -> None:
    """The limit is that of the answer itself, and the bytes received are those of the line."""
    server.script = [packed(pack(b"answer" * 5000)), b"answer"]
    assert asking.post(server.url, CALL, max_bytes=30_000) == b"answer" * 5000
    assert server.calls[0].headers["Accept-Encoding"] == "xpress"
    assert asking.bytes_received == len(pack(b"answer" * 5000)) < 200
    assert asking.post(server.url, CALL, max_bytes=6) == b"answer"


def test_a_packed_fault_is_a_fault(
    server: Any, asking: Transport, packed: Callable[..., Any], fault: Callable[..., Any]
) -> None:
    """Whatever the status, the coding is the same."""
    server.script = [packed(pack(fault("InvalidCookie").body), status=500)]
    with pytest.raises(SoapFault, match="InvalidCookie"):
        asking.post(server.url, CALL, max_bytes=100)


def test_who_does_not_ask_for_xpress_does_not_take_it(
    server: Any, transport: Transport, asking: Transport, packed: Callable[..., Any]
) -> None:
    """Nor does who asks for a file."""
    server.otherwise = lambda _call: packed(pack(b"answer"))
    with pytest.raises(InvalidAnswer, match="content coding 'XPress', which nobody asked for"):
        transport.post(server.url, CALL, max_bytes=100)
    with pytest.raises(InvalidAnswer, match="content coding 'XPress', which nobody asked for"):
        asking.get(server.url, max_bytes=100)
    assert [call.headers["Accept-Encoding"] for call in server.calls] == ["identity", "identity"]


def test_an_answer_that_grows_over_the_limit_is_refused(
    server: Any, asking: Transport, slept: Slept, packed: Callable[..., Any]
) -> None:
    """However little it had on the line; and what comes to nothing at all is counted there."""
    server.script = [packed(pack(b"a" * 10**6)), packed(bytes(1001))]
    with pytest.raises(AnswerTooLarge, match="more than 999999 bytes"):
        asking.post(server.url, CALL, max_bytes=999_999)
    with pytest.raises(AnswerTooLarge, match="more than 1000 bytes"):
        asking.post(server.url, CALL, max_bytes=1000)
    server.script = [packed(pack(b"a" * 1024 * 1024 + b"a"), status=500)]
    with pytest.raises(AnswerTooLarge):
        asking.post(server.url, CALL, max_bytes=100)
    assert slept == []


def test_a_packed_answer_that_cannot_be_read_is_final(
    server: Any, asking: Transport, slept: Slept, packed: Callable[..., Any]
) -> None:
    """It is a wrong answer as any other, and not asked for again."""
    server.script = [packed(pack(b"answer")[:-1])]
    with pytest.raises(InvalidAnswer, match="ends inside block 1"):
        asking.post(server.url, CALL, max_bytes=100)
    assert (len(server.calls), slept) == (1, [])


def test_a_dripping_block_ends_at_the_deadline(
    server: Any, http: httpx2.Client, slept: Slept, packed: Callable[..., Any]
) -> None:
    """Before it is whole."""
    server.script = [packed(pack(b"0123456789abcdef"), before_piece=lambda: time.sleep(0.05))]
    asking = Transport(http, slept.patience(deadline=0.1, tries=1), xpress=True)
    with pytest.raises(AnswerTimeout, match=r"took more than 0\.1 s"):
        asking.post(server.url, CALL, max_bytes=100)


# --- time -----------------------------------------------------------------------------------------------


def test_a_dripping_answer_ends_at_the_deadline(
    server: Any, http: httpx2.Client, slept: Slept, reply: type[Any]
) -> None:
    """However alive the connection, one attempt has one deadline."""
    server.script = [reply(body=b"x" * 16, before_piece=lambda: time.sleep(0.05)) for _ in range(2)]
    transport = Transport(http, slept.patience(deadline=0.1, tries=2))
    with pytest.raises(AnswerTimeout, match=r"took more than 0\.1 s"):
        transport.get(server.url, max_bytes=100)
    assert server.script == []


def test_silence_is_a_timeout_that_need_not_be_retried(server: Any, slept: Slept, reply: type[Any]) -> None:
    """A call that can be made smaller is better halved than repeated."""
    server.otherwise = lambda _call: reply(body=b"x", before_piece=lambda: time.sleep(0.5))
    with httpx2.Client(trust_env=False, timeout=0.05) as http:
        transport = Transport(http, slept.patience(tries=3))
        with pytest.raises(AnswerTimeout, match="did not answer in time"):
            transport.post(server.url, CALL, max_bytes=100, retry_timeouts=False)
        assert (len(server.calls), slept) == (1, [])
        with pytest.raises(AnswerTimeout):
            transport.post(server.url, CALL, max_bytes=100)
    assert (len(server.calls), slept) == (4, [1.0, 2.0])


def test_before_each_attempt_the_watcher_may_end_the_call(
    server: Any, transport: Transport, reply: type[Any]
) -> None:
    """What it raises is passed on, and no further attempt is made."""
    attempts: list[None] = []

    def watcher() -> None:
        attempts.append(None)
        if len(attempts) == 3:
            raise KeyError

    transport.before_attempt = watcher
    server.otherwise = lambda _call: reply(status=503)
    with pytest.raises(KeyError):
        transport.get(server.url, max_bytes=100)
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"), [(1, 0.5, 1), (2, 1, 2), (5, 8, 16), (9, 15, 30)]
)
def test_pauses_grow_to_half_a_minute(attempt: int, shortest: float, longest: float) -> None:
    """Jitter takes away up to half."""
    assert Patience(jitter=lambda: 0.0).pause(attempt) == shortest
    assert Patience(jitter=lambda: 1.0).pause(attempt) == longest


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://wsus:8530/x", ("http", "wsus", 8530)),
        ("HTTPS://WSUS/", ("https", "wsus", None)),
        ("https://wsus:443/", ("https", "wsus", None)),
        ("http://user:secret@wsus/", ("http", "wsus", None)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: tuple[str, str, int | None]) -> None:
    """The scheme's own port is none."""
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url", ["", "wsus", "/path", "file:///etc/passwd", "ftp://x/", "http://", "http://[::1"]
)
def test_what_is_no_web_url_is_refused(url: str) -> None:
    """Nothing but http and https is ever opened."""
    with pytest.raises(InvalidAnswer):
        origin_of(url)


def test_the_products_client_reaches_loopback_past_any_proxy(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in the environment is for the world outside; the client says who it is."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server.script = [b"answer"]
    with open_http_client() as http:
        assert Transport(http, Patience(tries=1)).get(server.url, max_bytes=10) == b"answer"
    assert server.calls[0].headers["User-Agent"].startswith("csp-bridge/")


def test_a_file_of_authorities_is_trusted_besides_the_systems(tmp_path: Path) -> None:
    """One that cannot be read, or holds none, is named in the error."""
    system = ssl.create_default_context()
    bundle = tmp_path / "ca.pem"
    pem = "".join(map(ssl.DER_cert_to_PEM_cert, system.get_ca_certs(binary_form=True)[:1]))
    if pem:
        bundle.write_text(pem)
        open_http_client(ca_file=bundle).close()
    bundle.write_text("no certificate")
    for file in (bundle, tmp_path / "missing.pem"):
        with pytest.raises(TransportError, match=re.escape(str(file))):
            open_http_client(ca_file=file)


def test_calls_go_through_the_proxy_that_is_set(server: Any, slept: Slept) -> None:
    """But never those to this machine."""
    server.otherwise = lambda _call: b"answer"
    with open_http_client(proxy=server.url) as http:
        transport = Transport(http, slept.patience(tries=1))
        assert transport.get("http://wsus.example/x", max_bytes=10) == b"answer"
        assert transport.get(f"{server.url}/y", max_bytes=10) == b"answer"
    assert [call.path for call in server.calls] == ["http://wsus.example/x", "/y"]
