"""The bridge dies between the steps of an enrolment by the sign-in page: nothing is lost, and nothing happens twice."""

from __future__ import annotations

import base64
import re
import socket
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mdm.enrolment.authentication import TICKET_TYPE
from mdm.enrolment.service import DISCOVERY_PATH, ENROLMENT_PATH, POLICY_PATH
from mdm.lab.bridge import BridgeProcess
from mdm.lab.mde2 import discover, get_policies, security_token, username_token
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

pytestmark = pytest.mark.e2e

PAGE = "/EnrollmentServer/Authenticate"


@dataclass(slots=True)
class Pc:
    """A PC before a bridge that is killed and started again after its answers."""

    bridge: BridgeProcess
    cookies: dict[str, str] = field(default_factory=dict)
    deaths: int = 0

    def ask(self, method: str, path: str, **values: object) -> httpx2.Response:
        """One request over a connection of its own; then, as a rule, the bridge dies."""
        with closing(self.bridge.client()) as http:
            http.cookies.update(self.cookies)
            response = http.request(method, self.bridge.url + path, **values)  # type: ignore[arg-type]
            self.cookies = dict(response.cookies) or self.cookies
        if path != DISCOVERY_PATH:  # after which nothing is to be remembered
            self.bridge.kill()
            self.deaths += 1
            self.bridge.start()
        return response

    def send(self, path: str, body: bytes) -> str:
        """One SOAP message."""
        response = self.ask("POST", path, content=body, headers={"Content-Type": "application/soap+xml"})
        assert response.status_code == 200
        return response.text


def test_a_sign_in_survives_kills(tmp_path: Path) -> None:
    """Page, form, policies, certificate, the same again: a kill after each, over TLS, with one token."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    bridge = BridgeProcess(tmp_path / "bridge", port, {"BRIDGE_ENROLMENT_SIGN_IN": "web"}, tls=True)
    try:
        bridge.start()
        bridge.make_authority()
        token = bridge.make_enrolment_token("one device")
        pc = Pc(bridge)
        assert f"{bridge.url}{PAGE}" in pc.send(DISCOVERY_PATH, discover("Federated", "OnPremise"))
        page = pc.ask("GET", PAGE, params={"appru": "ms-app://windows", "login_hint": "user@example.test"})
        state = _input(page, "state")
        form = {"state": state, "username": "user@example.test", "password": token}
        ticket = _input(pc.ask("POST", PAGE, data=form), "wresult")
        one, two = _requests()
        assert "Fault" not in pc.send(POLICY_PATH, _shown(get_policies("", ""), ticket))
        for _ in range(2):
            assert "Fault" not in pc.send(ENROLMENT_PATH, _shown(security_token("", "", one), ticket))
        assert "enrolled a device already" in pc.send(
            ENROLMENT_PATH, _shown(security_token("", "", two, DeviceID="B", HWDevID="C" * 64), ticket)
        )
        assert pc.deaths == 6
    finally:
        bridge.stop()
    with (
        closing(Database(f"sqlite:///{bridge.data_dir / 'bridge.sqlite3'}")) as database,
        database.read() as conn,
    ):
        assert conn.exec_driver_sql("SELECT count(*) FROM device").scalar() == 1
        assert conn.exec_driver_sql("SELECT uses FROM enrolment_token").scalars().all() == [1]
    log = bridge.log_path.read_text(encoding="utf-8")
    assert "enrolment_signed_in" in log
    for secret in (ticket, token, state):
        assert secret not in log


def _input(page: httpx2.Response, name: str) -> str:
    """The value of a hidden input."""
    assert page.status_code == 200, page.text
    found = re.search(f'name="{name}" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


def _requests() -> tuple[bytes, bytes]:
    """Two certificate requests."""
    key = rsa.generate_private_key(65537, 2048)
    builder = x509.CertificateSigningRequestBuilder()
    first, second = (
        builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
        for name in ("one", "two")
    )
    return first, second


def _shown(message: bytes, ticket: str) -> bytes:
    """The same message with a ticket in its header."""
    header = (
        f'<wsse:Security><wsse:BinarySecurityToken ValueType="{TICKET_TYPE}">'
        f"{base64.b64encode(ticket.encode()).decode()}</wsse:BinarySecurityToken></wsse:Security>"
    )
    return message.replace(username_token("", "").encode(), header.encode())
