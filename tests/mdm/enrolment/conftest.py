"""The enrolment endpoints over a real database and a real authority, and a PC that asks them."""

from __future__ import annotations

import base64
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from lxml import etree
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from mdm.audit import Origin
from mdm.ca.authority import Authority, create_material, install
from mdm.enrolment.endpoint import enrolment_routes
from mdm.enrolment.service import DISCOVERY_PATH, ENROLMENT_PATH, EnrolmentService
from mdm.enrolment.tokens import create_token
from mdm.enrolment.users import create_user
from mdm.lab.mde2 import NAMESPACES, discover, security_token
from mdm.log import configure_logging
from mdm.rest.middleware import RequestId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Bench
    from httpx2 import Response

    from mdm.ca.chain import Material

BASE = "https://mdm.example.test"
PASSWORD = "correct horse battery"


@dataclass
class Station:
    """The endpoints, their database, and what IT does beside."""

    bench: Bench
    client: TestClient
    csr: bytes
    other_csr: bytes

    open: Callable[..., Station]
    """Other endpoints over the same database."""

    @property
    def now(self) -> datetime:
        """The present moment."""
        return self.bench.now

    def post(self, path: str, body: bytes, **headers: str) -> Response:
        """Send one message."""
        return self.client.post(
            path, content=body, headers={"Content-Type": "application/soap+xml; charset=utf-8", **headers}
        )

    def answer(self, path: str, body: bytes) -> etree._Element:
        """The answer's envelope, whose headers and length are as Windows needs them."""
        response = self.post(path, body)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/soap+xml; charset=utf-8"
        assert int(response.headers["content-length"]) == len(response.content)
        assert "transfer-encoding" not in response.headers
        return etree.fromstring(response.content)

    def fault(self, path: str, body: bytes) -> tuple[str, str, str | None]:
        """Subcode, text and error type of a fault."""
        found = self.answer(path, body)
        assert text(found, "//s:Fault/s:Code/s:Value") == "s:Receiver", etree.tostring(found)
        error = found.findtext(".//e:ErrorType", namespaces=NAMESPACES)
        return text(found, "//s:Subcode/s:Value"), text(found, "//s:Reason/s:Text"), error

    def discover(self, *policies: str, **values: str) -> etree._Element:
        """Discover, with an answer."""
        return self.answer(DISCOVERY_PATH, discover(*policies, **values))

    def enrol(
        self, username: str, password: str, csr: bytes | None = None, **claims: str | None
    ) -> etree._Element:
        """Enrol a device and return its provisioning document."""
        found = self.answer(ENROLMENT_PATH, security_token(username, password, csr or self.csr, **claims))
        token = text(found, "//t:RequestedSecurityToken/o:BinarySecurityToken")
        return etree.fromstring(base64.b64decode(token, validate=True))

    def refused(
        self, username: str, password: str, csr: bytes | None = None, **claims: str | None
    ) -> tuple[str, str, str | None]:
        """Try to enrol a device, in vain."""
        return self.fault(ENROLMENT_PATH, security_token(username, password, csr or self.csr, **claims))

    def token(self, **values: Any) -> str:
        """A new enrolment token."""
        wanted = {"name": "a token", "username": None, "max_uses": 1, "replaces": False}
        lifetime = values.pop("lifetime", timedelta(hours=1))
        with self.bench.database.write() as conn:
            return create_token(
                conn, Origin("test"), **{**wanted, **values}, lifetime=lifetime, now=self.now
            )[1]

    def user(
        self, username: str = "user@example.test", password: str = PASSWORD, max_devices: int | None = None
    ) -> str:
        """A new enrolment user's id."""
        with self.bench.database.write() as conn:
            return create_user(
                conn,
                Origin("test"),
                username=username,
                password=password,
                max_devices=max_devices,
                now=self.now,
            ).id


def text(node: etree._Element, path: str) -> str:
    """The text of the one node there."""
    (found,) = node.xpath(path, namespaces=NAMESPACES)
    return found.text or ""


@pytest.fixture(scope="session")
def device_key() -> rsa.RSAPrivateKey:
    """A device's key."""
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="session")
def make_csr(device_key: rsa.RSAPrivateKey) -> Callable[[str], bytes]:
    """Certificate requests of the device's key."""

    def make(name: str) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        return builder.sign(device_key, hashes.SHA256()).public_bytes(Encoding.DER)

    return make


@pytest.fixture(scope="session")
def material() -> Material:
    """The key and certificates of an authority with an intermediate."""
    return create_material(
        "Tests", lifetime=timedelta(days=3650), with_intermediate=True, now=datetime(2026, 1, 1, tzinfo=UTC)
    )[0]


def open_station(
    bench: Bench, make_csr: Callable[[str], bytes], *, public_url: str | None = BASE, **values: Any
) -> Station:
    """The endpoints over a bench's database."""
    service = EnrolmentService(
        database=bench.database,
        secrets=bench.secrets,
        issuer=lambda conn: Authority.load(conn, bench.secrets),
        provider_id="CSPBridge",
        **{"certificate_lifetime": timedelta(days=365), **values},
    )
    app = Starlette(
        routes=enrolment_routes(service, public_url=public_url, clock=lambda: bench.now),
        middleware=[Middleware(RequestId)],
    )
    client = TestClient(app, base_url=BASE, client=("192.0.2.7", 50000), headers={"X-Request-Id": "trace-1"})
    return Station(bench, client, make_csr("one"), make_csr("two"), partial(open_station, bench, make_csr))


@pytest.fixture
def station(bench: Bench, make_csr: Callable[[str], bytes], material: Material) -> Station:
    """The endpoints on SQLite and on PostgreSQL."""
    with bench.database.write() as conn:
        install(conn, Origin("test"), bench.secrets, material, kind="created", instead=False, now=bench.now)
    return open_station(bench, make_csr)


@pytest.fixture
def bare_station(bench: Bench, make_csr: Callable[[str], bytes]) -> Station:
    """The endpoints of a bridge that has no certificate authority yet."""
    return open_station(bench, make_csr)


@pytest.fixture
def sqlite_station(sqlite_bench: Bench, make_csr: Callable[[str], bytes], material: Material) -> Station:
    """The endpoints on SQLite, where the kind of database makes no difference."""
    with sqlite_bench.database.write() as conn:
        install(
            conn,
            Origin("test"),
            sqlite_bench.secrets,
            material,
            kind="created",
            instead=False,
            now=sqlite_bench.now,
        )
    return open_station(sqlite_bench, make_csr)


@pytest.fixture
def logged() -> Iterator[StringIO]:
    """The log as JSON lines, for the length of the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = StringIO()
    configure_logging("json", "debug", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
