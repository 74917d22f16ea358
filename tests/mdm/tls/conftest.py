"""Authorities and certificates made for a test, and a server over real sockets that says whose request it saw."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import threading
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from mdm.log import UVICORN_OPTIONS
from mdm.tls.context import server_context, trust_clients_of
from mdm.tls.forwarded import ClientCertificates, TrustedProxies
from mdm.tls.peer import peer_certificate
from mdm.tls.protocol import TlsHttpProtocol
from mdm.tls.refusals import Refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

NOW = datetime.now(UTC)  # real: OpenSSL judges validity by the machine's clock


@dataclass(frozen=True)
class Issued:
    """A certificate, its key, and the PEM file with both."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    path: Path

    @property
    def der(self) -> bytes:
        """The certificate as it travels."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def base64(self) -> str:
        """The certificate as proxies write it, without the colons."""
        return b64encode(self.der).decode()

    @property
    def sha256(self) -> str:
        """As the echo names it."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def pem(self) -> str:
        """The certificate as people keep it."""
        return self.certificate.public_bytes(Encoding.PEM).decode()


class Forge:
    """Makes certificates."""

    def __init__(self, directory: Path) -> None:
        """Keep them in a directory."""
        self._directory = directory
        self._count = 0

    def authority(self, name: str, issuer: Issued | None = None) -> Issued:
        """A root, or an authority below one."""
        constraint = x509.BasicConstraints(ca=True, path_length=None)
        return self._make(name, issuer, [(constraint, True)])

    def device(
        self,
        name: str,
        issuer: Issued | None,
        *,
        days: tuple[int, int] = (-1, 1),
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        filling: int = 0,
    ) -> Issued:
        """A client's certificate, valid from and until so many days from now, with so many octets of no use."""
        extensions: list[tuple[Any, bool]] = [(x509.ExtendedKeyUsage([usage]), False)]
        if filling:
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), bytes(filling))
            extensions.append((unknown, False))
        return self._make(name, issuer, extensions, days=days)

    def server(self, *names: str, days: tuple[int, int] = (-1, 90)) -> Issued:
        """A self-signed one for a server."""
        found: list[x509.GeneralName] = []
        for name in names:
            try:
                found.append(x509.IPAddress(ip_address(name)))
            except ValueError:
                found.append(x509.DNSName(name))
        return self._make("server", None, [(x509.SubjectAlternativeName(found), False)], days=days)

    def signed_by_itself(self, key: CertificateIssuerPrivateKeyTypes, path: Path) -> Path:
        """A file with this key and a bare certificate of it."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "own")])
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=90))
        ).sign(key, SHA256())
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        return path

    def _make(
        self,
        name: str,
        issuer: Issued | None,
        extensions: list[tuple[Any, bool]],
        *,
        days: tuple[int, int] = (-1, 90),
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + timedelta(days=days[0]))
            .not_valid_after(NOW + timedelta(days=days[1]))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        certificate = builder.sign(key if issuer is None else issuer.key, SHA256())
        self._count += 1
        path = self._directory / f"{self._count}-{name}.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        return Issued(certificate, key, path)


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    """Certificates of this test."""
    return Forge(tmp_path)


@pytest.fixture
def refusals() -> Refusals:
    """Nothing refused yet."""
    return Refusals()


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with whose request it is, as the application sees it."""
    del receive
    der = peer_certificate(scope)
    seen = {
        "certificate": None if der is None else hashlib.sha256(der).hexdigest(),
        "client": scope["client"][0],
        "scheme": scope["scheme"],
    }
    body = json.dumps(seen).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True)
class Service:
    """A running server."""

    port: int
    trust: Issued | None
    refusals: Refusals
    context: ssl.SSLContext | None
    host: str = "127.0.0.1"

    def connect(self, device: Issued | None = None, **options: Any) -> HTTPConnection:
        """A connection of a client, with a certificate of its own or without."""
        if self.trust is None:
            return HTTPConnection(self.host, self.port, timeout=10)
        context = ssl.create_default_context(cadata=self.trust.pem)
        for name, value in options.items():
            setattr(context, name, value)
        if device is not None:
            context.load_cert_chain(device.path)
        return HTTPSConnection(self.host, self.port, timeout=10, context=context)

    def get(
        self, device: Issued | None = None, headers: list[tuple[str, str]] | None = None, **options: Any
    ) -> tuple[int, Any]:
        """Status, and the answer: JSON of what the application saw, or the text of a refusal."""
        connection = self.connect(device, **options)
        try:
            return self.ask(connection, headers)
        finally:
            connection.close()

    @staticmethod
    def ask(connection: HTTPConnection, headers: list[tuple[str, str]] | None = None) -> tuple[int, Any]:
        """One request over a connection; a header may come twice."""
        connection.putrequest("GET", "/omadm")
        for name, value in headers or []:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        text = response.read().decode()
        return response.status, json.loads(text) if response.status == 200 else text


@contextmanager
def running(app: Any, context: ssl.SSLContext | None, loop: Any = "auto") -> Iterator[int]:
    """Serve on a free port of the loopback, in a thread."""
    config = uvicorn.Config(
        app,
        port=0,
        http=TlsHttpProtocol,
        loop=loop,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
        **UVICORN_OPTIONS,
    )
    server = uvicorn.Server(config)
    ready = threading.Event()

    async def serve() -> None:
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        ready.set()
        await server.main_loop()
        await server.shutdown()

    def run() -> None:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(10)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def serve(forge: Forge, refusals: Refusals) -> Iterator[Callable[..., Service]]:
    """Start a server: `tls` or not, which authorities it trusts for clients, which proxies it believes."""
    stack: list[Any] = []

    def start(
        *authorities: Issued, tls: bool = True, proxies: str = "", loop: Any = "auto", app: Any = _echo
    ) -> Service:
        own = forge.server("localhost", "127.0.0.1") if tls else None
        context = None
        if own is not None:
            context = server_context(own.path, None, refusals)
            trust_clients_of(context, [authority.der for authority in authorities])
        if proxies:
            app = ProxyHeadersMiddleware(app, trusted_hosts=proxies)
        app = ClientCertificates(app, TrustedProxies(proxies), refusals)
        manager = running(app, context, loop)
        port = manager.__enter__()
        stack.append(manager)
        return Service(port, own, refusals, context)

    yield start
    for manager in reversed(stack):
        manager.__exit__(None, None, None)
