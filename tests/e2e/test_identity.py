"""Each wrong certificate against a bridge in a process of its own, by its own TLS and by a proxy: refused, and said why.

The same bridge twice over one database: one ends TLS itself, one believes the header of a proxy on this machine.
"""

from __future__ import annotations

import json
import socket
import time
from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from mdm.audit import Origin
from mdm.ca.authority import Authority
from mdm.ca.certificates import build_client, build_root
from mdm.ca.issued import revoke
from mdm.lab.bridge import BridgeProcess
from mdm.lab.device import MEDIA_TYPE
from mdm.lab.enrolling import Applicant, discovery_url, enrol_device
from mdm.lab.link import connect
from mdm.lab.store import Identity, Link
from mdm.storage.engine import Database
from mdm.storage.secrets import SecretBox
from mdm.storage.statements import table_of
from mdm.storage.tables import Device
from syncml.client import begin
from syncml.messages import Status
from syncml.reader import read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mdm.lab.store import DeviceCertificate, DeviceRecord

pytestmark = pytest.mark.e2e

HOST = "enterpriseenrollment.contoso.test"


@dataclass
class Scene:
    """Two bridges over one database, two enrolled devices, and the authority's own key."""

    tls: BridgeProcess
    behind_proxy: BridgeProcess
    link: Link
    device: DeviceRecord
    other: DeviceRecord
    authority: Authority
    database: Database
    sessions: int = 0

    def package_1(self) -> bytes:
        """What the device says first, in a new session."""
        self.sessions += 1
        device_id = self.device.identity.device_id
        message, _ = begin(
            session_id=f"{self.sessions:X}",
            device_id=device_id,
            server_uri=f"https://{HOST}/omadm",
            device_info={"./DevInfo/DevId": device_id},
        )
        return write_message(message)

    def last_checkin(self) -> datetime | None:
        """When the device was last let in."""
        table = table_of(Device)
        with self.database.read() as conn:
            found = conn.execute(
                select(table.c.last_checkin_at).where(table.c.device_id == self.device.identity.device_id)
            )
            return found.scalar_one()

    def issue(self, authority: Authority | None = None, pk: int | None = None) -> DeviceCertificate:
        """Another certificate with the device's name and a key of its own."""
        key = rsa.generate_private_key(65537, 2048)
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        name = common_name(self.device)
        with self.database.write() as conn:
            issued = (authority or self.authority).issue(
                conn, public_key=public, subject_name=name, device_pk=pk, now=datetime.now(UTC)
            )
        return self.shown(key, x509.load_der_x509_certificate(issued.der))

    def shown(
        self, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, found: x509.Certificate
    ) -> DeviceCertificate:
        """Put into the device's store, where its criteria find it."""
        assert self.device.certificate is not None
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return replace(
            self.device.certificate,
            key_pem=pem,
            certificate_pem=found.public_bytes(Encoding.PEM).decode(),
        )

    def pk(self) -> int:
        """The device's key in the database."""
        table = table_of(Device)
        with self.database.read() as conn:
            found = conn.scalar(select(table.c.pk).where(table.c.device_id == self.device.identity.device_id))
        assert found is not None
        return found


def common_name(record: DeviceRecord) -> str:
    """The name in a device's certificate."""
    assert record.certificate is not None
    found = x509.load_pem_x509_certificate(record.certificate.certificate_pem.encode())
    return str(found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Everybody, once."""
    data = tmp_path_factory.mktemp("identity") / "bridge"
    common = {"BRIDGE_PUBLIC_URL": f"https://{HOST}", "BRIDGE_LOG_FORMAT": "json"}
    tls = BridgeProcess(data, free_port(), common, tls=True)
    proxied = BridgeProcess(
        data, free_port(), {**common, "BRIDGE_TRUSTED_PROXIES": "127.0.0.1", "BRIDGE_LOG_LEVEL": "info"}
    )
    proxied.log_path = data / "behind-proxy.log"
    database = None
    try:
        tls.make_authority()
        tls.start()
        proxied.start()
        link = Link(address=f"127.0.0.1:{tls.port}", trust_pem=tls.trust_pem)
        token = tls.make_enrolment_token("two", uses=2)
        records = [
            enrol_device(
                Applicant(
                    Identity(f"{number:032X}", f"PC-{number}", "10.0.26100.4652"),
                    "user@contoso.test",
                    token,
                    discovery_url("contoso.test"),
                ),
                link,
                now=datetime.now(UTC),
                say=lambda _: None,
            )
            for number in (1, 2)
        ]
        database = Database(f"sqlite:///{data}/bridge.sqlite3")
        with database.read() as conn:
            authority = Authority.load(conn, SecretBox.from_file(data / "secret.key"))
        yield Scene(tls, proxied, link, records[0], records[1], authority, database)
    finally:
        for bridge in (proxied, tls):
            bridge.stop()
        if database is not None:
            database.close()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


# --- the certificates -----------------------------------------------------------------------------------


def own(scene: Scene) -> DeviceCertificate | None:
    """The right one."""
    return scene.device.certificate


def missing(_: Scene) -> None:
    """None at all."""


def anothers(scene: Scene) -> DeviceCertificate:
    """The other device's, good in itself; this device's criteria are made to find it."""
    assert scene.other.certificate is not None
    return scene.other.certificate


def revoked(scene: Scene) -> DeviceCertificate:
    """The device's, taken back a moment ago while connections are open."""
    made = scene.issue(pk=scene.pk())
    serial = x509.load_pem_x509_certificate(made.certificate_pem.encode()).serial_number
    with scene.database.write() as conn:
        revoke(conn, Origin("test"), f"{serial:040x}", "keyCompromise", datetime.now(UTC))
    return made


def expired(scene: Scene) -> DeviceCertificate:
    """The device's, which was good for a second."""
    made = scene.issue(replace(scene.authority, lifetime=timedelta(seconds=1)), scene.pk())
    time.sleep(2.1)
    return made


def of_another_authority(scene: Scene) -> DeviceCertificate:
    """With the right name, of an authority that calls itself as ours."""
    now = datetime.now(UTC)
    issuing, key = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    name = scene.authority.root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    root = build_root(issuing, str(name), intermediates=0, now=now, not_after=now + timedelta(days=9))
    found = build_client(
        key.public_key(),
        common_name(scene.device),
        serial=7,
        issuer=root,
        issuer_key=issuing,
        now=now,
        not_after=now + timedelta(days=8),
    )
    return scene.shown(key, found)


def self_signed(scene: Scene) -> DeviceCertificate:
    """With the right name, vouched for by itself."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name(scene.device))])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 7, now - timedelta(days=1), now + timedelta(days=5)
    )
    return scene.shown(key, builder.sign(key, SHA256()))


def with_a_stolen_authority(scene: Scene) -> DeviceCertificate:
    """Signed with our authority's own key, and not issued by this bridge."""
    now, key = datetime.now(UTC), rsa.generate_private_key(65537, 2048)
    found = build_client(
        key.public_key(),
        common_name(scene.device),
        serial=99,
        issuer=scene.authority.issuer,
        issuer_key=scene.authority.key,
        now=now,
        not_after=now + timedelta(days=8),
    )
    return scene.shown(key, found)


IN_THE_HANDSHAKE = {
    "expired": (expired, "certificate has expired"),
    "other authority": (of_another_authority, "unable to get local issuer certificate"),
    "self-signed": (self_signed, "self-signed certificate"),
}
AT_THE_MESSAGE = {
    "missing": (missing, "407", "no client certificate"),
    "another device's": (anothers, "401", "belongs to another device"),
    "revoked": (revoked, "401", "revoked"),
    "stolen authority": (with_a_stolen_authority, "401", "not issued by this bridge"),
}
BY_A_PROXY = {
    **AT_THE_MESSAGE,
    "expired": (expired, "401", "expired"),
    "other authority": (of_another_authority, "401", "issued by another authority"),
    "self-signed": (self_signed, "401", "self-signed"),
}


# --- what is said, and what comes back ------------------------------------------------------------------


def lines(bridge: BridgeProcess, event: str, start: int) -> list[dict[str, Any]]:
    """Lines of one kind that the bridge has written since its log had this length."""
    for _ in range(50):
        text = bridge.log_path.read_bytes()[start:].decode()
        found = [line for line in map(json.loads, text.splitlines()) if line["event"] == event]
        if found:
            return found
        time.sleep(0.05)
    return []


def code(body: bytes) -> str:
    """The status of the SyncHdr; every other one is the same, and nothing else is said."""
    commands = read_message(body).commands
    assert all(isinstance(each, Status) and each.chal is None for each in commands)
    (found,) = {each.data for each in commands if isinstance(each, Status)}
    return found


def by_tls(scene: Scene, certificate: DeviceCertificate | None) -> httpx2.Response:
    """Send package 1 over TLS with this certificate, whatever the device's criteria find."""
    if certificate is not None:
        loaded = x509.load_pem_x509_certificate(certificate.certificate_pem.encode())
        name = loaded.subject.rfc4514_string().replace("=", "%3D")
        certificate = replace(certificate, search_criteria=f"Subject={name}&Stores=My%5CUser")
    with connect(scene.link, certificate) as http:
        return http.post(
            f"https://{HOST}/omadm", content=scene.package_1(), headers={"Content-Type": MEDIA_TYPE}
        )


def by_proxy(bridge: BridgeProcess, scene: Scene, certificate: DeviceCertificate | None) -> httpx2.Response:
    """Send it as a proxy does that has looked at nothing."""
    headers = {"Content-Type": MEDIA_TYPE, "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    if certificate is not None:
        der = x509.load_pem_x509_certificate(certificate.certificate_pem.encode()).public_bytes(Encoding.DER)
        headers["Client-Cert"] = f":{b64encode(der).decode()}:"
    with bridge.client() as http:
        return http.post(f"{bridge.url}/omadm", content=scene.package_1(), headers=headers)


def test_the_right_one_is_let_in(scene: Scene) -> None:
    """By TLS and by the proxy: the bridge asks for the lists."""
    for answer in (by_tls(scene, own(scene)), by_proxy(scene.behind_proxy, scene, own(scene))):
        assert answer.status_code == 200
        commands = read_message(answer.content).commands
        assert {each.data for each in commands if isinstance(each, Status)} == {"200"}
        assert any(not isinstance(each, Status) for each in commands)


@pytest.mark.parametrize("kind", IN_THE_HANDSHAKE)
def test_refused_in_the_handshake(scene: Scene, kind: str) -> None:
    """No HTTP answer at all, which makes no device leave management; the log has OpenSSL's words."""
    make, words = IN_THE_HANDSHAKE[kind]
    certificate = make(scene)
    before, start = scene.last_checkin(), scene.tls.log_path.stat().st_size
    with pytest.raises(httpx2.TransportError):
        by_tls(scene, certificate)
    (line,) = lines(scene.tls, "client_certificate_refused", start)
    assert (line["level"], line["reason"]) == ("warning", "handshake")
    assert words in line["why"]
    assert scene.last_checkin() == before


@pytest.mark.parametrize("kind", AT_THE_MESSAGE)
def test_refused_at_the_message(scene: Scene, kind: str) -> None:
    """A status that ends the session, and a line that names the device, the address and the reason."""
    make, status, words = AT_THE_MESSAGE[kind]
    certificate = make(scene)
    before, start = scene.last_checkin(), scene.tls.log_path.stat().st_size
    answer = by_tls(scene, certificate)
    assert (answer.status_code, code(answer.content)) == (200, status)
    (line,) = lines(scene.tls, "dm_refused", start)
    assert (line["level"], line["device_id"]) == ("warning", scene.device.identity.device_id)
    assert line["remote_addr"] == "127.0.0.1"
    assert words in line["why"]
    assert scene.last_checkin() == before


@pytest.mark.parametrize("kind", BY_A_PROXY)
def test_refused_behind_a_proxy(scene: Scene, kind: str) -> None:
    """Whatever the proxy has let through is looked at again, by the same rules."""
    make, status, words = BY_A_PROXY[kind]
    certificate = make(scene)
    before, start = scene.last_checkin(), scene.behind_proxy.log_path.stat().st_size
    answer = by_proxy(scene.behind_proxy, scene, certificate)
    assert (answer.status_code, code(answer.content)) == (200, status)
    (line,) = lines(scene.behind_proxy, "dm_refused", start)
    assert words in line["why"]
    assert line["remote_addr"] == "192.0.2.7"
    assert scene.last_checkin() == before


def test_a_forged_header(scene: Scene) -> None:
    """The right certificate in a header, from an address that is no proxy: 400, logged and counted."""
    before, start = scene.last_checkin(), scene.tls.log_path.stat().st_size
    answer = by_proxy(scene.tls, scene, own(scene))
    assert answer.status_code == 400
    (line,) = lines(scene.tls, "client_certificate_refused", start)
    assert (line["reason"], line["remote_addr"]) == ("forged_header", "127.0.0.1")
    assert line["count"] >= 1
    assert scene.last_checkin() == before
