"""A scripted HTTP server on a real loopback socket, and the SOAP envelopes it answers with."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: to read every authority of the system costs more than a request over plain HTTP."""

ENVELOPE = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{}</s:Body></s:Envelope>'


@dataclass(frozen=True)
class Call:
    """A request as the server got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """The last part of the SOAPAction."""
        return self.headers.get("SOAPAction", "").strip('"').rpartition("/")[2]


@dataclass
class Reply:
    """What the server answers; `pieces` are written one by one with `pause` before each."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    before_piece: Callable[[], None] | None = None
    """Runs before each of 16 pieces of the body."""
    hang_up: bool = False
    """Close the connection without an answer."""


class ScriptedServer(ThreadingHTTPServer):
    """Answers from `script` in order, then by `otherwise`; keeps every call."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free loopback port."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[Call] = []
        self.script: list[Reply | bytes] = []
        self.otherwise: Callable[[Call], Reply | bytes] = lambda _call: Reply(status=418)

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        call = Call(self.command, self.path, dict(self.headers), self.rfile.read(length))
        self.server.calls.append(call)
        reply = self.server.script.pop(0) if self.server.script else self.server.otherwise(call)
        if isinstance(reply, bytes):
            reply = Reply(body=reply)
        if reply.hang_up:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.before_piece is None:
            self.wfile.write(reply.body)
            return
        size = max(1, len(reply.body) // 16)
        for start in range(0, len(reply.body), size):
            reply.before_piece()
            self.wfile.write(reply.body[start : start + size])
            self.wfile.flush()

    do_GET = do_POST = _answer  # noqa: N815 - names the standard library looks for

    def log_message(self, *_arguments: object) -> None:
        """Keep the test output clean."""


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A scripted server that is listening."""
    with ScriptedServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    """A client that ignores the proxies of the environment and never waits long."""
    with httpx2.Client(verify=NO_TLS, trust_env=False, timeout=5.0) as client:
        yield client


@pytest.fixture
def reply() -> type[Reply]:
    """The class of scripted answers."""
    return Reply


@pytest.fixture
def envelope() -> Callable[[str], bytes]:
    """Wrap the text of a body element in a SOAP envelope."""
    return lambda inner: ENVELOPE.format(inner).encode()


@pytest.fixture
def fault() -> Callable[..., Reply]:
    """A fault as a WSUS sends it."""

    def make(code: str | None, message: str = "", status: int = 500) -> Reply:
        detail = f"<ErrorCode>{code}</ErrorCode>" if code else ""
        inner = (
            "<s:Fault><faultcode>s:Server</faultcode><faultstring>Fault occurred</faultstring><detail>"
            f"{detail}<Message>{message}</Message><ID>b6114a8d-9939-41e0-ad7f-0d9a72260804</ID>"
            '<Method>"http://www.microsoft.com/SoftwareDistribution/GetUpdateData"</Method></detail></s:Fault>'
        )
        return Reply(status=status, body=ENVELOPE.format(inner).encode())

    return make
