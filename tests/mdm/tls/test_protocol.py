"""What uvicorn leaves unbounded: the head of a request, and a client that falls silent in the middle of one."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from mdm.tls.protocol import MAX_HEAD, TlsHttpProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.client import HTTPConnection

    from conftest import Service

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
LARGE = 300 * 1024


async def counting(scope: Any, receive: Any, send: Any) -> None:
    """Answer how many octets the body had; at /late, half a second after it could have been read."""
    if scope["path"] == "/late":
        await asyncio.sleep(0.5)
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(serve: Callable[..., Service]) -> int:
    """Where the server listens, without TLS."""
    return serve(tls=False, app=counting).port


def answers(port: int, *parts: bytes) -> bytes:
    """Everything that comes back until the connection is closed; an empty answer if there is nothing."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        heard = b""
        try:
            for part in parts:
                connection.sendall(part)
            while octets := connection.recv(65536):
                heard += octets
        except ConnectionError:
            pass  # closed with something of ours unread
        return heard


def endless(octets: bytes) -> list[bytes]:
    """So much of it that no server should want it."""
    return [octets * (16 * 1024 // len(octets))] * (4 * MAX_HEAD // (16 * 1024))


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET /", b"a"),
        (GET + b"X: ", b"a"),
        (GET, b"a: b\r\n"),
        (CHUNKED + b"0\r\nX: ", b"a"),
        (CHUNKED + b"1;", b"a"),
    ],
    ids=["address", "header", "headers", "trailer", "extension of a chunk"],
)
def test_no_end_to_a_head(port: int, begin: bytes, more: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It is refused long before it could fill the memory, wherever it stands, and the log says so."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        connection.sendall(begin)
        try:
            for part in endless(more):
                connection.sendall(part)
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
        except ConnectionError:
            pass  # refused so soon that the answer is lost
        assert answers(port, GET + b"Connection: close\r\n\r\n").endswith(b"\r\n\r\n0")
    assert [each.message for each in caplog.records] == ["The head of a request is too large."]


def test_what_is_large_for_a_reason(port: int) -> None:
    """A header as proxies send it, and a body of any size, also in many requests of one connection."""
    request = POST + b"X: " + b"a" * 40_000 + b"\r\nContent-Length: %d\r\n" % LARGE
    body = b"b" * LARGE
    heard = answers(port, *[request + b"\r\n", body] * 3, request + b"Connection: close\r\n\r\n", body)
    assert heard.count(b"\r\n\r\n%d" % LARGE) == 4


@pytest.mark.parametrize(
    "said",
    [b"", GET[:10], GET, POST + b"Content-Length: 5\r\n\r\nab", GET + b"\r\n" + GET],
    ids=["nothing", "part of a line", "part of a head", "part of a body", "part of a second request"],
)
def test_a_client_that_falls_silent(port: int, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is closed; otherwise a few thousand such clients would hold all there are."""
    monkeypatch.setattr(TlsHttpProtocol, "patience", 0.2)
    assert answers(port, said).count(b"HTTP/1.1") == said.count(b"\r\n\r\n") * (b"POST" not in said)


def test_it_is_not_the_client_who_keeps_us_waiting(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is worked on for long, or whose body we are slow to read, is answered."""
    monkeypatch.setattr(TlsHttpProtocol, "patience", 0.2)
    late = b"POST /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    assert answers(port, late + b"Content-Length: 2\r\n\r\nab").endswith(b"\r\n\r\n2")
    assert answers(port, late + b"Content-Length: %d\r\n\r\n" % LARGE + b"b" * LARGE).endswith(
        b"\r\n\r\n%d" % LARGE
    )


@pytest.fixture
def kept() -> Iterator[list[HTTPConnection]]:
    """Connections that outlive the server."""
    connections: list[HTTPConnection] = []
    yield connections
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_nobody_who_looks_away_holds_up_the_end(
    kept: list[HTTPConnection], serve: Callable[..., Service], loop: str, *, tls: bool
) -> None:
    """Clients that were answered, keep their connection and read no more: `serve` ends, and asserts that it does."""
    service = serve(tls=tls, loop=loop)
    for _ in range(3):
        kept.append(service.connect())
        assert service.ask(kept[-1])[0] == 200


@pytest.mark.parametrize("said", [b"", POST])
def test_nor_keeps_its_connection(
    serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """Over TLS, too, a client that falls silent and says no goodbye is cut off."""
    lost = threading.Event()
    connection_lost = TlsHttpProtocol.connection_lost

    def note(self: TlsHttpProtocol, exc: Exception | None) -> None:
        connection_lost(self, exc)
        lost.set()

    monkeypatch.setattr(TlsHttpProtocol, "patience", 0.2)
    monkeypatch.setattr(TlsHttpProtocol, "connection_lost", note)
    connection = serve().connect()
    connection.connect()
    assert connection.sock is not None
    if said:
        connection.sock.sendall(said)
    assert lost.wait(10)
    connection.close()


def test_nor_after_an_answer(serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    """The time between two requests is over: the same."""
    lost = threading.Event()
    connection_lost = TlsHttpProtocol.connection_lost

    def note(self: TlsHttpProtocol, exc: Exception | None) -> None:
        connection_lost(self, exc)
        lost.set()

    connection_made = TlsHttpProtocol.connection_made

    def hurry(self: TlsHttpProtocol, transport: asyncio.Transport) -> None:
        connection_made(self, transport)
        self.timeout_keep_alive = 0.2  # type: ignore[assignment] # seconds, of which five are uvicorn's own

    monkeypatch.setattr(TlsHttpProtocol, "connection_lost", note)
    monkeypatch.setattr(TlsHttpProtocol, "connection_made", hurry)
    service = serve()
    connection = service.connect()
    assert service.ask(connection)[0] == 200
    assert lost.wait(10)
    connection.close()
