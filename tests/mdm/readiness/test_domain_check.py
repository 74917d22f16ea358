"""The check of a domain against real servers on sockets, each fault made for real."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from sqlalchemy import select
from starlette.testclient import TestClient

from mdm.app import build_app
from mdm.readiness import probe
from mdm.readiness.domain_check import check_domain
from mdm.readiness.probe import Deadline, Endpoint, Unanswered
from mdm.readiness.server_certificate import read_chain
from mdm.readiness.server_check import Finding, Level, Target
from mdm.settings import load_settings
from mdm.storage.secrets import SecretBox
from mdm.storage.statements import table_of
from mdm.storage.tables import AuthFailure, Device, DmSession, EnrolmentFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mdm.storage.engine import Database

HOST = "enterpriseenrollment.example.test"
URL = f"https://{HOST}"
NOW = datetime.now(UTC).replace(microsecond=0)  # real: OpenSSL judges by the machine's clock
DISCOVERY = "/EnrollmentServer/Discovery.svc"
POLICY = "/EnrollmentServer/Policy.svc"
STEPS = [
    "dns",
    "tls",
    "certificate_name",
    "certificate_time",
    "certificate_trust",
    "certificate_chain",
    "discovery_get",
    "clock",
    "content_length",
    "discover",
    "relates_to",
    "auth_policy",
    "urls",
    "policies",
    "content_length",
    "omadm",
    "client_certificate",
]


# --- certificates ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Holder:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        """The same as it travels."""
        return self.certificate.public_bytes(Encoding.DER)


def make(
    name: str,
    issuer: Holder | None,
    *,
    authority: bool = False,
    names: tuple[str, ...] = (HOST,),
    days: tuple[int, int] = (-30, 90),
) -> Holder:
    """A certificate, self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1], hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names and not authority:
        found = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        builder = builder.add_extension(found, critical=False)
    return Holder(builder.sign(key if issuer is None else issuer.key, SHA256()), key)


ROOT = make("Root", None, authority=True)
BETWEEN = make("Between", ROOT, authority=True)
SERVER = make("server", BETWEEN)


# --- servers --------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """What the bridge answers, before a proxy spoils it."""

    status: int
    headers: dict[str, str]
    body: bytes

    def raw(self) -> bytes:
        """The octets of the answer."""
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return f"HTTP/1.1 {self.status} Some\r\n{head}\r\n".encode() + self.body


@dataclass
class Front:
    """A proxy before the real application; `spoilt` says what it does to which request."""

    client: TestClient
    directory: Path
    spoilt: dict[str, Callable[[Answer], bytes]] = field(default_factory=dict)
    """By request line; `GET` alone stands for every one with a query."""
    chain: tuple[Holder, ...] = (SERVER, BETWEEN)
    asks: bool = True
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    requests: list[str] = field(default_factory=list)

    def spoil(self, request: str, **changes: Any) -> None:
        """Change members of an answer."""
        self.spoilt[request] = lambda answer: replace(answer, **changes).raw()

    def rewrite(self, request: str, old: str, new: str) -> None:
        """Change the text of an answer."""

        def changed(answer: Answer) -> bytes:
            assert old in answer.body.decode()
            body = answer.body.replace(old.encode(), new.encode())
            return replace(
                answer, body=body, headers={**answer.headers, "content-length": str(len(body))}
            ).raw()

        self.spoilt[request] = changed

    def context(self) -> ssl.SSLContext:
        """Its TLS."""
        path = self.directory / "front.pem"
        key = self.chain[0].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_text(key.decode() + "".join(each.pem for each in self.chain))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self.minimum
        context.load_cert_chain(path)
        if self.asks:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(cadata=ROOT.pem)
        return context

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Serves one request a connection."""
        front = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                """Nothing is written."""

            def do_GET(self) -> None:
                request = f"{self.command} {self.path}"
                front.requests.append(f"{request} {self.headers['Host']}")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                found = front.client.request(
                    self.command,
                    self.path,
                    content=body,
                    headers={"Content-Type": self.headers.get("Content-Type", "")},
                )
                headers = {**found.headers, "date": format_datetime(datetime.now(UTC), usegmt=True)}
                answer = Answer(found.status_code, headers, found.content)
                spoil = front.spoilt.get("GET" if "?" in request else request, Answer.raw)
                self.wfile.write(spoil(answer))

            do_POST = do_GET  # noqa: N815 - http.server's name

        return Handler

    @contextmanager
    def running(self, *, tls: bool = True) -> Iterator[tuple[str, int]]:
        """Serve on a free port."""
        context = self.context() if tls else None

        class Server(ThreadingHTTPServer):
            def finish_request(self, request: Any, client_address: Any) -> None:
                secured = request if context is None else context.wrap_socket(request, server_side=True)
                try:
                    super().finish_request(secured, client_address)
                finally:
                    secured.close()

            def handle_error(self, *args: Any) -> None:
                """A handshake that was only looked at is an error to it."""

        server = Server(("127.0.0.1", 0), self.handler())
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield ("127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def check(self, trust: str | None = ROOT.pem, **values: Any) -> list[Finding]:
        """Every finding."""
        with self.running() as address:
            target = Target("example.test", address, trust, **values)
            return list(check_domain(target, lambda: datetime.now(UTC)))

    def bad(self, **values: Any) -> dict[str, Finding]:
        """What was not as it should be, by step; each has a remedy."""
        found = {each.step: each for each in self.check(**values) if each.level is not Level.OK}
        assert all(each.remedy for each in found.values())
        return found


@pytest.fixture
def open_front(sqlite_database: Database, data_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Front]]:
    """The application under its public address, behind a proxy."""
    clients = []

    def open_one(**settings: Any) -> Front:
        values = {"public_url": URL, **settings}
        app = build_app(
            load_settings(data_dir=data_dir, **values),
            sqlite_database,
            SecretBox.from_file(data_dir / "secret.key"),
            background=False,
        )
        clients.append(TestClient(app, base_url=URL))
        return Front(clients[-1], tmp_path)

    yield open_one
    for client in clients:
        client.close()


@pytest.fixture
def front(open_front: Callable[..., Front]) -> Front:
    """The same with nothing wrong."""
    return open_front()


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A server that says what `talk` says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        talk(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


# --- all is well ----------------------------------------------------------------------------------------


def test_a_domain_that_is_ready(front: Front) -> None:
    """Each step is looked at, nothing is wrong, and nothing is to do."""
    found = front.check()
    assert [each.step for each in found] == STEPS
    assert {each.level for each in found} == {Level.OK}
    assert {each.remedy for each in found} == {None}
    assert all(each.why.endswith(".") for each in found)
    assert [request.partition(" /")[0] for request in front.requests] == ["GET", "POST", "POST", "POST"]
    assert {request.rpartition(" ")[2] for request in front.requests} == {HOST}


def test_nothing_is_left_on_the_bridge(front: Front, sqlite_database: Database) -> None:
    """The check is no failed attempt to enrol and no session."""
    front.check()
    with sqlite_database.read() as conn:
        for table in (Device, DmSession, EnrolmentFailure, AuthFailure):
            assert conn.execute(select(table_of(table))).all() == [], table


def test_faults_may_be_spelt_in_lower_case(open_front: Callable[..., Front]) -> None:
    """The other spelling is the documented fault, too."""
    front = open_front(enrolment_faults="printed")
    answer = front.client.post(POLICY, content=b"<x/>", headers={"Content-Type": "application/soap+xml"})
    assert b"<s:fault>" in answer.content
    assert front.bad() == {}


def test_services_at_another_host(open_front: Callable[..., Front]) -> None:
    """The name in the URLs is checked like the first one."""
    front = open_front(public_url="https://mdm.example.test:8443/bridge")
    found = front.bad()
    assert list(found) == ["certificate_name", "policies", "omadm"]
    assert found["certificate_name"].looked_at == "mdm.example.test:8443"
    assert "POST /bridge/omadm mdm.example.test:8443" in front.requests


def test_a_page_to_sign_in(open_front: Callable[..., Front]) -> None:
    """With the web sign-in there is a page, and it is looked at like the rest."""
    front = open_front(enrolment_sign_in="web")
    found = {each.step: each for each in front.check()}
    assert {each.level for each in found.values()} == {Level.OK}
    assert found["sign_in"].why == "It shows the page to sign in."
    assert "AuthenticationServiceUrl" in found["urls"].looked_at


@pytest.mark.parametrize(
    ("raw", "level", "words"),
    [
        (b"HTTP/1.1 303 See\r\nLocation: https://id.test/a\r\n\r\n", Level.OK, "leads people to id.test"),
        (b"HTTP/1.1 303 See\r\nLocation: http://id.test/a\r\n\r\n", Level.FAILED, "answered with 303"),
        (b"HTTP/1.1 502 Bad\r\nContent-Type: text/html\r\n\r\n", Level.FAILED, "answered with 502"),
        (b"", Level.FAILED, "No answer"),
    ],
)
def test_what_becomes_of_the_sign_in(
    open_front: Callable[..., Front], raw: bytes, level: Level, words: str
) -> None:
    """It may lead to a provider by https, and nowhere else."""
    front = open_front(enrolment_sign_in="web")
    front.spoilt["GET"] = lambda _answer: raw
    found = {each.step: each for each in front.check()}["sign_in"]
    assert found.level is level
    assert words in found.why


# --- DNS and TLS ----------------------------------------------------------------------------------------


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else can be looked at then."""

    def fail(*_args: Any, **_values: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    (found,) = check_domain(Target("example.test"), lambda: NOW)
    assert (found.step, found.level, found.looked_at) == ("dns", Level.FAILED, HOST)
    assert "Name or service not known" in found.why
    assert "CNAME" in str(found.remedy)


def test_an_address_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name that was given for it is asked for with the same limit."""

    def fail(*_args: Any, **_values: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    (found,) = check_domain(Target("example.test", ("absent.test", 443)), lambda: NOW)
    assert (found.level, found.looked_at) == (Level.FAILED, "absent.test")


def test_name_servers_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver has no time limit, and the step has."""
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_values: release.wait(30))
    (found,) = check_domain(Target("example.test", seconds=0.05), lambda: NOW)
    release.set()
    assert "do not answer" in found.why


def test_a_name_that_resolves(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses are tried one after the other, and the alias is told."""
    real = socket.getaddrinfo

    with front.running() as (_, port):

        def answer(host: str, *args: Any, **values: Any) -> Any:
            if host != HOST:
                return real(host, *args, **values)
            return [(2, 1, 6, "mdm.example.test", (each, 0)) for each in ("127.0.0.2", "127.0.0.1")]

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        connect = socket.create_connection
        monkeypatch.setattr(
            socket,
            "create_connection",
            lambda at, timeout: connect((at[0], port if at[1] == 443 else 9), timeout),
        )
        found = list(check_domain(Target("example.test", trust=ROOT.pem), lambda: datetime.now(UTC)))
    assert found[0].why == "It resolves to mdm.example.test, 127.0.0.2, 127.0.0.1."
    assert [each.step for each in found] == [*STEPS, "http"]
    assert {each.level for each in found} == {Level.OK}


@pytest.mark.parametrize(
    ("chain", "trust", "wrong", "words"),
    [
        (
            (make("x", BETWEEN, names=("mdm.example.test",)), BETWEEN),
            ROOT,
            ["certificate_name"],
            "mdm.example",
        ),
        ((make("x", BETWEEN, names=()), BETWEEN), ROOT, ["certificate_name"], "no name at all"),
        ((make("x", BETWEEN, names=("*.example.test",)), BETWEEN), ROOT, [], ""),
        ((make("x", BETWEEN, names=("*.test",)), BETWEEN), ROOT, ["certificate_name"], "*.test"),
        ((make("x", BETWEEN, days=(-30, -2)), BETWEEN), ROOT, ["certificate_time"], "expired on"),
        ((make("x", BETWEEN, days=(2, 90)), BETWEEN), ROOT, ["certificate_time"], "valid only from"),
        ((make("x", BETWEEN, days=(-30, 5)), BETWEEN), ROOT, ["certificate_time"], "ends in 5 days"),
        ((make("x", None),), ROOT, ["certificate_trust"], "signed by itself"),
        (
            (SERVER,),
            ROOT,
            ["certificate_trust", "certificate_chain"],
            "unknown here, or an intermediate between is missing",
        ),
        (
            (SERVER, BETWEEN),
            make("Other", None, authority=True),
            ["certificate_trust", "certificate_chain"],
            "CN=Root",
        ),
    ],
)
def test_a_certificate_no_pc_believes(
    front: Front, chain: tuple[Holder, ...], trust: Holder, wrong: list[str], words: str
) -> None:
    """What is wrong with it is said, and the rest is looked at all the same."""
    front.chain = chain
    found = front.check(trust=trust.pem)
    bad = [each for each in found if each.level is not Level.OK]
    assert [each.step for each in bad] == wrong
    assert [each.step for each in found] == STEPS
    assert not bad or words in bad[0].why


def test_an_intermediate_that_only_this_machine_knows(front: Front) -> None:
    """Trusted here, and by no PC that lacks it: a warning."""
    front.chain = (SERVER,)
    found = front.bad(trust=ROOT.pem + BETWEEN.pem)
    assert [(each.step, each.level) for each in found.values()] == [("certificate_chain", Level.WARNING)]


def test_without_trust_the_system_is_asked(front: Front) -> None:
    """Its authorities do not know ours."""
    assert "this machine" in front.bad(trust=None)["certificate_trust"].why


def test_tls_1_3_alone(front: Front) -> None:
    """Windows 10 does not speak it."""
    front.minimum = ssl.TLSVersion.TLSv1_3
    found = front.bad()
    assert list(found) == ["tls"]
    assert "it speaks no TLS 1.2" in found["tls"].why


def test_no_client_certificate_is_asked_for(front: Front) -> None:
    """No device could prove itself."""
    front.asks = False
    found = front.bad()
    assert list(found) == ["client_certificate"]
    assert found["client_certificate"].level is Level.FAILED


def test_a_port_where_nobody_listens() -> None:
    """The connection is refused, and that ends the check."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    found = list(check_domain(Target("example.test", address), lambda: NOW))
    assert [each.level for each in found] == [Level.OK, Level.FAILED]
    assert "connection refused" in found[1].why


def say(octets: bytes, sock: socket.socket) -> None:
    """Hear the device out, then answer it."""
    sock.recv(4096)
    sock.sendall(octets)


def say_nothing(sock: socket.socket) -> None:
    """Wait until the device has had enough."""
    while sock.recv(4096):
        pass


def say_it_slowly(sock: socket.socket) -> None:
    """An octet now and then, so that no single read takes long."""
    sock.recv(4096)
    for _ in range(7):
        sock.sendall(b"\x16")
        threading.Event().wait(0.1)


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (partial(say, b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not TLS"),
        (partial(say, b""), "closed the connection"),
        (partial(say, b"\x15\x03\x03\x00\x02\x02\x28"), "handshake failure"),
        (partial(say, b"\x15\x03\x03\x00\x02\x02\x63"), "alert 99"),
        (partial(say, b"\x15\x03\x03\x00\x01\x02"), "alert 0"),
        (partial(say, (b"\x16\x03\x03\x40\x00" + b"\x02\xff\xff\xff" * 4096) * 20), "has no end"),
        (say_nothing, "in time"),
        (say_it_slowly, "in time"),
    ],
)
def test_what_is_no_tls(talk: Any, words: str) -> None:
    """Octets that are no handshake, none at all, or no end of them."""
    with server(talk) as address:
        found = list(check_domain(Target("example.test", address, seconds=0.4), lambda: NOW))
    assert [each.level for each in found] == [Level.OK, Level.FAILED]
    assert words in found[1].why


def test_a_certificate_that_cannot_be_read(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and the endpoints are looked at."""
    monkeypatch.setattr(
        "mdm.readiness.server_check.flight",
        lambda _endpoint, _deadline: probe.Flight((b"0\x00",), asks_certificate=True),
    )
    assert list(front.bad()) == ["certificate"]


def test_a_server_that_goes_away_in_between(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be looked at any more is a finding, too."""

    def fail(_endpoint: Endpoint, _deadline: Deadline) -> probe.Flight:
        raise Unanswered("the connection failed")

    monkeypatch.setattr("mdm.readiness.domain_check.flight", fail)
    found = front.bad()
    assert list(found) == ["client_certificate"]
    assert found["client_certificate"].why == "It fails: the connection failed."


def test_services_at_a_host_that_does_not_answer(
    open_front: Callable[..., Front], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing behind it can be looked at."""
    flight = probe.flight

    def fail(endpoint: Endpoint, deadline: Deadline) -> probe.Flight:
        if endpoint.host == HOST:
            return flight(endpoint, deadline)
        raise Unanswered("the connection failed")

    monkeypatch.setattr("mdm.readiness.server_check.flight", fail)
    found = open_front(public_url="https://mdm.example.test").bad()
    assert list(found) == ["tls"]
    assert found["tls"].looked_at == "mdm.example.test:443"


# --- the endpoints --------------------------------------------------------------------------------------


def chunked(answer: Answer) -> bytes:
    """As a proxy re-writes it that does not wait for the end."""
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    body = f"{len(answer.body):x}\r\n".encode() + answer.body + b"\r\n0\r\n\r\n"
    return Answer(answer.status, {**headers, "Transfer-Encoding": "chunked"}, body).raw()


def until_the_end(answer: Answer) -> bytes:
    """Without a length."""
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return replace(answer, headers=headers).raw()


def compressed(answer: Answer) -> bytes:
    """With a word that nobody asked for."""
    return replace(answer, headers={**answer.headers, "Content-Encoding": "gzip"}).raw()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(chunked, "chunks"), (until_the_end, "no Content-Length"), (compressed, "compressed")],
)
@pytest.mark.parametrize("path", [DISCOVERY, POLICY])
def test_an_answer_whose_length_windows_cannot_take(
    front: Front, spoil: Callable[[Answer], bytes], words: str, path: str
) -> None:
    """Proxies that re-write answers are found by it."""
    front.spoilt[f"POST {path}"] = spoil
    found = front.bad()
    assert list(found) == ["content_length"]
    assert words in found["content_length"].why


HTML = {"status": 502, "headers": {"Content-Type": "text/html", "Content-Length": "6"}, "body": b"<html>"}
MOVED = {"status": 301, "headers": {"Location": "https://other.test/", "Content-Length": "0"}, "body": b""}
DEMANDS = {"status": 400, "headers": {"Content-Type": "text/html", "Content-Length": "0"}, "body": b""}
PLAIN = {"status": 200, "headers": {"Content-Length": "2"}, "body": b"hi"}
NOT_XML = {
    "status": 200,
    "headers": {"Content-Type": "application/soap+xml", "Content-Length": "2"},
    "body": b"hi",
}
NOT_SYNCML = {
    "status": 200,
    "headers": {"Content-Type": "application/vnd.syncml.dm+xml", "Content-Length": "2"},
    "body": b"hi",
}


@pytest.mark.parametrize(
    ("request_line", "changes", "wrong", "words"),
    [
        (f"GET {DISCOVERY}", HTML, ["discovery_get"], "502 and a page of HTML"),
        (f"GET {DISCOVERY}", MOVED, ["discovery_get"], "sends the device to https://other.test/"),
        (f"GET {DISCOVERY}", DEMANDS, ["discovery_get"], "400"),
        (f"POST {DISCOVERY}", HTML, ["discover"], "502 and a page of HTML"),
        (f"POST {DISCOVERY}", MOVED, ["discover"], "301"),
        (f"POST {DISCOVERY}", PLAIN, ["discover"], "200 and no media type"),
        (f"POST {DISCOVERY}", NOT_XML, ["discover"], "cannot be read"),
        (f"POST {POLICY}", HTML, ["policies"], "502 and a page of HTML"),
        (f"POST {POLICY}", NOT_XML, ["policies"], "cannot be read"),
        ("POST /omadm", HTML, ["omadm"], "502 and a page of HTML"),
        ("POST /omadm", PLAIN, ["omadm"], "no media type"),
        ("POST /omadm", NOT_SYNCML, ["omadm"], "no SyncML"),
    ],
)
def test_an_answer_that_is_not_the_bridges(
    front: Front, request_line: str, changes: dict[str, Any], wrong: list[str], words: str
) -> None:
    """A proxy's page, a redirect, or another service."""
    front.spoil(request_line, **changes)
    found = front.bad()
    assert list(found) == wrong
    assert words in found[wrong[0]].why
    assert found[wrong[0]].level is Level.FAILED
    assert ("optional" in str(found[wrong[0]].remedy)) == (changes is DEMANDS)


@pytest.mark.parametrize(
    ("request_line", "step"),
    [
        (f"GET {DISCOVERY}", "discovery_get"),
        (f"POST {DISCOVERY}", "discover"),
        (f"POST {POLICY}", "policies"),
        ("POST /omadm", "omadm"),
    ],
)
@pytest.mark.parametrize(("raw", "words"), [(b"", "No answer"), (b"what?\r\n\r\n", "not HTTP")])
def test_an_answer_that_breaks_off(
    front: Front, request_line: str, step: str, raw: bytes, words: str
) -> None:
    """It is a finding like any other."""
    front.spoilt[request_line] = lambda _answer: raw
    found = front.bad()
    assert step in found
    assert words in found[step].why


def test_an_answer_without_end(front: Front) -> None:
    """Only so much of it is read."""
    front.spoilt[f"POST {DISCOVERY}"] = lambda answer: replace(
        answer,
        headers={"Content-Type": "application/soap+xml", "Content-Length": str(1 << 40)},
        body=b" " * (probe.MAX_BODY + 1000),
    ).raw()
    assert "cannot be read" in front.bad()["discover"].why


@pytest.mark.parametrize(
    ("path", "old", "new", "step", "words"),
    [
        (DISCOVERY, "748132ec", "00000000", "relates_to", "does not name"),
        (DISCOVERY, "<AuthPolicy>OnPremise", "<AuthPolicy>Certificate", "auth_policy", "has not offered"),
        (DISCOVERY, "DiscoverResult", "Discovered", "discover", "no DiscoverResponse"),
        (DISCOVERY, "IDiscoveryService/DiscoverResponse", "Other", "discover", "no DiscoverResponse"),
        (DISCOVERY, "/Enrollment.svc", "/Other.svc", "urls", "not that of a CSP Bridge"),
        (
            DISCOVERY,
            f"{URL}/EnrollmentServer/Policy",
            "https://b.test/EnrollmentServer/Policy",
            "urls",
            "another host",
        ),
        (DISCOVERY, f"{URL}/EnrollmentServer/Policy", f"http://{HOST}/Policy", "urls", "no https URL"),
        (DISCOVERY, f"{URL}/EnrollmentServer/Policy", "https://[/Policy", "urls", "no https URL"),
        (POLICY, "a:InvalidSecurity", "s:Authentication", "policies", "s:Authentication and not"),
        (POLICY, "s:Subcode", "s:Other", "policies", "without a subcode"),
        (POLICY, "s:Fault", "s:Response", "policies", "although nobody said who asks"),
    ],
)
def test_an_answer_with_a_wrong_member(
    front: Front, path: str, old: str, new: str, step: str, words: str
) -> None:
    """Each is named."""
    front.rewrite(f"POST {path}", old, new)
    found = front.bad()
    assert list(found) == [step]
    assert words in found[step].why


def test_discovery_that_is_refused(front: Front) -> None:
    """The fault's own words are passed on."""
    fault = "<s:Fault><s:Code><s:Subcode><s:Value>s:EnrollmentServer</s:Value></s:Subcode></s:Code></s:Fault>"
    body = f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header><a/></s:Header><s:Body>{fault}</s:Body></s:Envelope>'
    front.spoil(
        f"POST {DISCOVERY}",
        status=500,
        headers={"Content-Type": "application/soap+xml", "Content-Length": str(len(body))},
        body=body.encode(),
    )
    assert "s:EnrollmentServer: no reason" in front.bad()["discover"].why


@pytest.mark.parametrize(
    ("off", "level", "words"),
    [
        (timedelta(minutes=10), Level.WARNING, "ahead of"),
        (timedelta(hours=-3), Level.FAILED, "behind"),
    ],
)
def test_a_clock_that_is_off(front: Front, off: timedelta, level: Level, words: str) -> None:
    """By minutes it is worth a look, by hours no certificate is valid."""
    said = format_datetime(datetime.now(UTC) + off, usegmt=True)
    front.spoil(f"GET {DISCOVERY}", headers={"Date": said, "Content-Length": "0"})
    found = front.bad()["clock"]
    assert found.level is level
    assert words in found.why


@pytest.mark.parametrize(("said", "steps"), [("soon", ["clock"]), (None, [])])
def test_a_date_that_is_none(front: Front, said: str | None, steps: list[str]) -> None:
    """It is said; where there is no Date at all, nothing is."""
    front.spoil(f"GET {DISCOVERY}", headers={"Content-Length": "0", **({"Date": said} if said else {})})
    found = front.bad()
    assert list(found) == steps


def test_a_date_without_a_zone(front: Front) -> None:
    """It is taken for UTC, as HTTP has it."""
    said = format_datetime(datetime.now(UTC)).replace("+0000", "-0000")
    front.spoil(f"GET {DISCOVERY}", headers={"Date": said, "Content-Length": "0"})
    assert front.bad() == {}


# --- port 80 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "level"),
    [
        (f"https://{HOST}/x", Level.OK),
        ("https://www.test/", Level.WARNING),
        ("http://a/", Level.WARNING),
        (None, Level.WARNING),
    ],
)
def test_plain_http(front: Front, location: str | None, level: Level) -> None:
    """It may lead to the same name by https, and nowhere else."""
    headers = {"Content-Length": "0", **({"Location": location} if location else {})}
    plain = Front(front.client, front.directory)
    plain.spoil(f"GET {DISCOVERY}", status=302 if location else 200, headers=headers, body=b"")
    with plain.running(tls=False) as address:
        found = front.check(http=address)[-1]
    assert (found.step, found.level) == ("http", level)
    assert (found.remedy is None) == (level is Level.OK)


# --- a real proxy -----------------------------------------------------------------------------------------


@contextmanager
def nginx(directory: Path, verify: str, upstream: int) -> Iterator[tuple[str, int]]:
    """A real nginx before the bridge, with the certificate of a front."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed, so it cannot be checked")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    (directory / "ca.pem").write_text(ROOT.pem)
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}server {{\nlisten 127.0.0.1:{port} ssl;\n"
        f"ssl_certificate {directory}/front.pem;\nssl_certificate_key {directory}/front.pem;\n"
        f"ssl_client_certificate {directory}/ca.pem;\nssl_verify_client {verify};\n"
        f"location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_set_header Host $host; }}\n}}\n}}\n"
    )
    command = [program, "-p", directory, "-c", directory / "nginx.conf", "-e", "stderr"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            for _ in range(400):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.05)
            yield "127.0.0.1", port
        finally:
            running.terminate()


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("verify", "up", "wrong", "words"),
    [
        ("optional", True, [], ""),
        ("off", True, ["client_certificate"], "does not ask"),
        ("on", True, ["discovery_get", "discover"], "answered with 400"),
        ("optional", False, ["discovery_get", "discover"], "answered with 502 and a page of HTML"),
    ],
)
def test_behind_nginx(
    front: Front, tmp_path: Path, *, verify: str, up: bool, wrong: list[str], words: str
) -> None:
    """A proxy that is right, one that asks for no certificate, one that demands it, one without a bridge."""
    front.context()  # which writes the file that nginx reads
    with front.running(tls=False) as (_, port), nginx(tmp_path, verify, port if up else 9) as address:
        findings = list(check_domain(Target("example.test", address, ROOT.pem), lambda: datetime.now(UTC)))
    bad = [each for each in findings if each.level is not Level.OK]
    assert [each.step for each in bad] == wrong
    assert not bad or words in bad[0].why


# --- the parts ------------------------------------------------------------------------------------------


def test_a_deadline_that_has_passed() -> None:
    """Nothing is waited for any more."""
    with pytest.raises(TimeoutError):
        _ = Deadline(0).left
    with pytest.raises(Unanswered, match="in time"):
        probe.exchange(Endpoint("x", addresses=(("127.0.0.1", 9),)), "GET", "/", Deadline(0))


def test_a_handshake_that_fails() -> None:
    """What OpenSSL says of it is passed on."""
    with (
        server(partial(say, b"HTTP/1.1 400 Bad Request\r\n\r\n")) as address,
        pytest.raises(Unanswered, match="TLS failed"),
    ):
        probe.exchange(Endpoint("x", addresses=(address,)), "GET", "/", Deadline(5))


@pytest.mark.parametrize(
    ("endpoint", "authority"),
    [
        (Endpoint("a.test"), "a.test"),
        (Endpoint("a.test", 80), "a.test"),
        (Endpoint("a.test", 8443), "a.test:8443"),
        (Endpoint("2001:db8::1", 8443), "[2001:db8::1]:8443"),
    ],
)
def test_an_endpoint_in_a_host_header(endpoint: Endpoint, authority: str) -> None:
    """A port that goes without saying is left out."""
    assert endpoint.authority == authority


def test_a_host_that_is_an_address() -> None:
    """It is compared as an address."""
    found = make("x", None, names=())
    key, subject = found.key, found.certificate.subject
    name = x509.SubjectAlternativeName([x509.IPAddress(ip_address("2001:db8::1"))])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, NOW, NOW + timedelta(1))
        .add_extension(name, critical=False)
        .sign(key, SHA256())
    )
    chain = [certificate.public_bytes(Encoding.DER)]
    assert read_chain(chain, [], "2001:0db8:0::1").names_host
    assert not read_chain(chain, [], "2001:db8::2").names_host
