"""Fixtures of the virtual devices' tests: a served bridge, a server that does as it is told, and devices."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from mdm.lab.bridge import BridgeProcess
from mdm.lab.enrol import BridgeApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: to read every authority of the system costs more than a request over plain HTTP."""


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Served:
    """A bridge in a process of its own, with an administrator's token."""

    bridge: BridgeProcess
    token: str

    def api(self, http: httpx2.Client) -> BridgeApi:
        """Its REST API."""
        return BridgeApi(self.bridge.url, self.token, http)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One bridge for all tests that only need some bridge; it has no upstream."""
    bridge = BridgeProcess(tmp_path_factory.mktemp("served") / "bridge", free_port(), {})
    try:
        bridge.start()
        yield Served(bridge, bridge.make_token("tests", ["admin"]))
    finally:
        bridge.stop()


@contextmanager
def tls_serving(directory: Path, **environment: str) -> Iterator[BridgeProcess]:
    """A bridge that speaks TLS for contoso.test; the certificates of its authority are always due for renewal."""
    settings = {
        "BRIDGE_PUBLIC_URL": "https://enterpriseenrollment.contoso.test",
        "BRIDGE_CERTIFICATE_DAYS": "1",
        **environment,
    }
    bridge = BridgeProcess(directory / "bridge", free_port(), settings, tls=True)
    try:
        bridge.make_authority()
        bridge.start()
        yield bridge
    finally:
        bridge.stop()


@pytest.fixture(scope="session")
def tls_bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeProcess]:
    """One that takes user names and passwords (OnPremise)."""
    with tls_serving(tmp_path_factory.mktemp("tls")) as bridge:
        yield bridge


@pytest.fixture
def web_bridge(tmp_path: Path) -> Iterator[BridgeProcess]:
    """One whose sign-in is a page (Federated)."""
    with tls_serving(tmp_path, BRIDGE_ENROLMENT_SIGN_IN="web") as bridge:
        yield bridge


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    """Connections that end with the test."""
    with httpx2.Client(verify=NO_TLS, trust_env=False, timeout=10) as client:
        yield client


@dataclass(slots=True)
class Scripted:
    """A server whose next answers are a list of functions: request body to (status, headers, body).

    None instead of an answer closes the connection. After the last one it answers 404.
    """

    url: str = ""
    script: list[Callable[[bytes], tuple[int, dict[str, str], bytes] | None]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """Path, headers and body of each request so far."""


@contextmanager
def scripted_server() -> Iterator[Scripted]:
    """Run such a server on a free port."""
    scripted = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 64 * 1024  # head and body in one segment: else each answer waits for a delayed ACK

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            scripted.requests.append((self.path, dict(self.headers), body))
            answer = scripted.script.pop(0)(body) if scripted.script else (404, {}, b"nothing more")
            if answer is None:
                self.close_connection = True
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815 - the names http.server looks for

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    scripted.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield scripted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server that does as it is told."""
    with scripted_server() as server:
        yield server


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Where devices keep themselves; not made yet."""
    return tmp_path / "devices"
