"""Renewal: a device gets a new certificate for the one it has, and nobody else does."""

from __future__ import annotations

import base64
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from lxml import etree
from sqlalchemy import update
from starlette.testclient import TestClient

from mdm.audit import Origin
from mdm.ca.authority import Authority, create_material, install
from mdm.ca.certificates import build_client, build_root
from mdm.ca.chain import Material
from mdm.ca.checking import check
from mdm.ca.issued import revoke, serial_text
from mdm.devices.registry import delete_device
from mdm.enrolment.faults import EnrolmentFault
from mdm.enrolment.renewal import CLOCKS, MAX_DAILY, Renewed, Shown, renew
from mdm.enrolment.service import DISCOVERY_PATH, ENROLMENT_PATH, POLICY_PATH
from mdm.enrolment.wstep import Claims, RequestKind, TokenRequest
from mdm.lab.mde2 import (
    NAMESPACES,
    discover,
    policies_message,
    renewal_request,
    security_token,
    username_token,
)
from mdm.storage.statements import table_of
from mdm.storage.tables import Device
from mdm.tls.peer import set_peer_certificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import StringIO

    from conftest import Station
    from starlette.types import ASGIApp, Receive, Scope, Send

PASSWORD = "correct horse battery"
USER = "user@example.test"
ORIGIN = Origin("test")
PKCS7 = f"{NAMESPACES['o']}#PKCS7"
OTHER_PKCS7 = f"{NAMESPACES['e']}#PKCS7"
WINDOW = timedelta(days=42)
X509 = (
    '<wsse:Security><wsse:BinarySecurityToken ValueType="http://docs.oasis-open.org/wss/2004/01/'
    'oasis-200401-wss-x509-token-profile-1.0#X509v3">QQ==</wsse:BinarySecurityToken></wsse:Security>'
)


def new_key() -> rsa.RSAPrivateKey:
    """A key that nobody has seen before."""
    return rsa.generate_private_key(65537, 2048)


def csr_of(key: rsa.RSAPrivateKey, name: str = "whatever it asks for") -> bytes:
    """A certificate request."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


NEW_KEY = new_key()
NEW_CSR = csr_of(NEW_KEY)


class Wearing:
    """The endpoints over a connection that was opened with a certificate, or without."""

    def __init__(self, app: ASGIApp) -> None:
        """No certificate yet."""
        self.app = app
        self.certificate: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the certificate in its scope."""
        set_peer_certificate(scope, self.certificate)
        await self.app(scope, receive, send)


@dataclass
class Pc:
    """A PC that is enrolled, with its key and certificate."""

    station: Station
    connection: Wearing
    key: rsa.RSAPrivateKey
    der: bytes

    @property
    def certificate(self) -> x509.Certificate:
        """What it has."""
        return x509.load_der_x509_certificate(self.der)

    @property
    def row(self) -> dict[str, Any]:
        """Its row."""
        (found,) = self.station.bench.rows("device")
        return found

    def wait_until(self, before_end: timedelta) -> None:
        """Let time pass until so long before the certificate's end."""
        self.station.bench.now = self.certificate.not_valid_after_utc - before_end

    def message(
        self,
        csr: bytes = NEW_CSR,
        *,
        signer: tuple[rsa.RSAPrivateKey, x509.Certificate] | None = None,
        request: bytes | None = None,
        value_type: str = PKCS7,
        password: str = "",
        **claims: str | None,
    ) -> bytes:
        """A renewal as Windows sends it."""
        key, certificate = signer or (self.key, self.certificate)
        wrapped = renewal_request(csr, key, certificate) if request is None else request
        return security_token(USER, password, wrapped, kind="Renew", value_type=value_type, **claims)

    def renew(self, body: bytes | None = None, shown: bytes | None = None) -> etree._Element:
        """Renew, and return the provisioning document."""
        self.connection.certificate = shown or self.der
        found = self.station.answer(ENROLMENT_PATH, body or self.message())
        (token,) = found.xpath("//t:RequestedSecurityToken/o:BinarySecurityToken", namespaces=NAMESPACES)
        return etree.fromstring(base64.b64decode(token.text))

    def refused(
        self, body: bytes | None = None, *, shown: bytes | None = None, bare: bool = False
    ) -> tuple[str, str, str | None]:
        """Renew in vain: subcode, text and error type."""
        self.connection.certificate = None if bare else (shown or self.der)
        before = self.station.bench.dump()
        found = self.station.fault(ENROLMENT_PATH, body or self.message())
        assert self.station.bench.dump() == before
        return found

    def good(self, der: bytes) -> bool:
        """Whether a certificate proves this device now."""
        with self.station.bench.database.read() as conn:
            verdict = check(conn, der, self.station.now)
        return verdict.ok and verdict.device_pk == self.row["pk"]


def own(document: etree._Element, store: str = "User") -> bytes:
    """The one client certificate in a document, under the name that Windows gives it."""
    (node,) = document.xpath(
        f'//characteristic[@type="My"]/characteristic[@type="{store}"]/characteristic[parm]'
    )
    der = base64.b64decode(node.find("parm").get("value"))
    assert node.get("type") == hashlib.sha1(der).hexdigest().upper()  # noqa: S324
    return der


def enrolled(station: Station, key: rsa.RSAPrivateKey, **claims: str | None) -> Pc:
    """A PC that has just enrolled."""
    connection = Wearing(station.client.app)
    station.client = TestClient(connection, base_url="https://mdm.example.test", client=("192.0.2.7", 50000))
    station.user()
    store = "System" if claims.get("EnrollmentType") == "Device" else "User"
    return Pc(station, connection, key, own(station.enrol(USER, PASSWORD, csr_of(key), **claims), store))


@pytest.fixture
def pc(station: Station, device_key: rsa.RSAPrivateKey) -> Pc:
    """A PC whose time to renew has come, on SQLite and on PostgreSQL."""
    found = enrolled(station, device_key)
    found.wait_until(WINDOW)
    return found


@pytest.fixture
def sqlite_pc(sqlite_station: Station, device_key: rsa.RSAPrivateKey) -> Pc:
    """A PC whose time to renew has come."""
    found = enrolled(sqlite_station, device_key)
    found.wait_until(WINDOW)
    return found


def test_a_device_renews(pc: Pc, logged: StringIO) -> None:
    """A certificate of the same name for the new key, in the document of a renewal, and the old one good as well."""
    station, old = pc.station, pc.der
    document = pc.renew()
    der = own(document)
    new = x509.load_der_x509_certificate(der)
    assert new.public_key() == NEW_KEY.public_key()
    assert new.subject == pc.certificate.subject
    assert new.not_valid_after_utc == station.now.replace(microsecond=0) + timedelta(days=365)
    assert pc.good(der)
    assert pc.good(old)
    assert pc.row["renewed_serial"] == serial_text(new.serial_number)
    shape = [(each.tag, each.get("type") or each.get("name")) for each in document.iter()][1:]
    assert shape == [
        ("characteristic", "CertificateStore"),
        ("characteristic", "My"),
        ("characteristic", "User"),
        ("characteristic", hashlib.sha1(der).hexdigest().upper()),  # noqa: S324
        ("parm", "EncodedCertificate"),
        ("characteristic", "PrivateKeyContainer"),
        ("characteristic", "APPLICATION"),
        ("parm", "PROVIDER-ID"),
    ]
    assert document.find("characteristic[@type='APPLICATION']/parm").get("value") == "CSPBridge"
    former = serial_text(pc.certificate.serial_number)
    (entry,) = [each for each in station.bench.rows("audit_entry") if each["action"] == "device.renew"]
    assert (entry["actor"], entry["object_id"]) == (f"device:{pc.row['id']}", pc.row["id"])
    assert entry["remote_addr"] == "192.0.2.7"
    assert entry["detail"]["former"] == former
    assert entry["after"] == {"renewed_serial": pc.row["renewed_serial"]}
    (event,) = [each for each in station.bench.rows("device_event") if each["kind"] == "certificate_renewed"]
    assert event["detail"] == {
        "serial": pc.row["renewed_serial"],
        "thumbprint": hashlib.sha1(der).hexdigest().upper(),  # noqa: S324
        "not_after": f"{new.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "former": former,
    }
    (line,) = [json.loads(each) for each in logged.getvalue().splitlines() if "device_renewed" in each]
    assert (line["device"], line["certificate"]) == (pc.row["id"], event["detail"]["thumbprint"])


def test_with_the_key_it_has(sqlite_pc: Pc) -> None:
    """Windows may keep its key."""
    new = x509.load_der_x509_certificate(own(sqlite_pc.renew(sqlite_pc.message(csr_of(sqlite_pc.key)))))
    assert new.public_key() == sqlite_pc.key.public_key()


@pytest.mark.parametrize("value_type", [PKCS7, OTHER_PKCS7])
@pytest.mark.parametrize("twice", [False, True])
def test_forms_of_the_message(sqlite_pc: Pc, value_type: str, twice: bool) -> None:  # noqa: FBT001
    """Either name of PKCS #7, and encoded twice, as a renewal is that a user has begun."""
    request = renewal_request(NEW_CSR, sqlite_pc.key, sqlite_pc.certificate)
    body = sqlite_pc.message(
        request=base64.encodebytes(request) if twice else request, value_type=value_type, DeviceID=None
    )
    assert sqlite_pc.good(own(sqlite_pc.renew(body)))


def test_the_store_is_that_of_the_enrolment(sqlite_station: Station, device_key: rsa.RSAPrivateKey) -> None:
    """The renewal of a device's own enrolment goes to the system's store, although it says nothing of that."""
    pc = enrolled(sqlite_station, device_key, EnrollmentType="Device")
    pc.wait_until(WINDOW)
    assert own(pc.renew(pc.message(EnrollmentType=None)), "System")


def test_passwords_are_not_looked_at(sqlite_pc: Pc) -> None:
    """Nobody's tries are counted for one, and a device whose user is gone renews."""
    with sqlite_pc.station.bench.database.write() as conn:
        conn.exec_driver_sql("DELETE FROM enrolment_user")
    tries = sqlite_pc.station.bench.rows("enrolment_failure")
    sqlite_pc.renew(sqlite_pc.message(password="wrong"))
    assert sqlite_pc.station.bench.rows("enrolment_failure") == tries


def test_a_lost_answer(pc: Pc) -> None:
    """The same message again is answered again; whichever answer the device keeps is good."""
    body = pc.message()
    first, second = own(pc.renew(body)), own(pc.renew(body))
    assert pc.good(first)
    assert pc.good(second)
    assert pc.good(pc.der)
    serial = x509.load_der_x509_certificate(second).serial_number
    assert pc.row["renewed_serial"] == serial_text(serial)


def test_by_the_new_certificate(sqlite_pc: Pc) -> None:
    """A connection opened with the new one may carry what the old one has signed; a renewal of the new is too early."""
    new = own(sqlite_pc.renew())
    assert sqlite_pc.good(own(sqlite_pc.renew(shown=new)))
    signer = (NEW_KEY, x509.load_der_x509_certificate(new))
    _, why, error = sqlite_pc.refused(sqlite_pc.message(signer=signer), shown=new)
    assert (error, "may be renewed from" in why) == ("NotEligibleToRenew", True)


def test_two_at_once(pc: Pc) -> None:
    """One comes after the other, both are answered, and the row names the certificate of the last."""
    pc.connection.certificate = pc.der
    bodies = [pc.message(csr_of(new_key())) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda body: pc.station.post(ENROLMENT_PATH, body).content, bodies))
    documents = [
        base64.b64decode(
            etree.fromstring(each).xpath("//t:RequestedSecurityToken/*", namespaces=NAMESPACES)[0].text
        )
        for each in answers
    ]
    serials = [
        serial_text(x509.load_der_x509_certificate(own(etree.fromstring(each))).serial_number)
        for each in documents
    ]
    assert len(set(serials)) == 4
    told = [
        each["detail"]
        for each in pc.station.bench.rows("device_event", "seq")
        if each["kind"] == "certificate_renewed"
    ]
    assert pc.row["renewed_serial"] == told[-1]["serial"]
    assert {each["serial"] for each in told} == set(serials)


@pytest.mark.parametrize(
    ("before_end", "allowed"),
    [
        (timedelta(days=300), False),
        (WINDOW + CLOCKS + timedelta(seconds=1), False),
        (WINDOW + CLOCKS, True),
        (timedelta(days=1), True),
        (timedelta(0), True),
    ],
)
def test_the_window(sqlite_pc: Pc, before_end: timedelta, allowed: bool) -> None:  # noqa: FBT001
    """From the days on that the device was told, and a few for its clock, until the last second."""
    sqlite_pc.wait_until(before_end)
    if allowed:
        assert sqlite_pc.good(own(sqlite_pc.renew()))
        return
    subcode, why, error = sqlite_pc.refused()
    assert (subcode, error) == ("s:Authorization", "NotEligibleToRenew")
    end = sqlite_pc.certificate.not_valid_after_utc
    assert f"good until {end:%Y-%m-%d} and may be renewed from {end - WINDOW - CLOCKS:%Y-%m-%d} on" in why


def test_a_setting_that_was_shortened(sqlite_pc: Pc) -> None:
    """A device renews when it was told to at its enrolment, although the certificates of today are renewed later."""
    shorter = sqlite_pc.station.open(certificate_lifetime=timedelta(days=20))
    connection = Wearing(shorter.client.app)
    shorter.client = TestClient(connection, base_url="https://mdm.example.test", client=("192.0.2.7", 50000))
    pc = replace(sqlite_pc, station=shorter, connection=connection)
    pc.wait_until(WINDOW)
    assert pc.good(own(pc.renew()))


def expired(pc: Pc) -> bytes:
    """Its own, a second too late."""
    pc.wait_until(timedelta(seconds=-1))
    return pc.der


def revoked(pc: Pc) -> bytes:
    """Its own, taken back."""
    with pc.station.bench.database.write() as conn:
        revoke(conn, ORIGIN, serial_text(pc.certificate.serial_number), "keyCompromise", pc.station.now)
    return pc.der


def issue(pc: Pc, key: rsa.RSAPrivateKey, pk: int | None, name: str) -> bytes:
    """A certificate of our authority that is due to be renewed."""
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    bench = pc.station.bench
    with bench.database.write() as conn:
        authority = Authority.load(conn, bench.secrets, lifetime=timedelta(days=30))
        return authority.issue(conn, public_key=spki, subject_name=name, device_pk=pk, now=pc.station.now).der


def of_nobody(pc: Pc) -> bytes:
    """Ours, of the same name, and bound to no device."""
    return issue(pc, pc.key, None, pc.row["id"])


def forged(pc: Pc, now: datetime) -> bytes:
    """Of an authority that is not ours, and like the PC's in everything else."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = now + timedelta(days=30)
    root = build_root(key, "Example", intermediates=0, now=now, not_after=end)
    certificate = build_client(
        pc.key.public_key(),
        pc.row["id"],
        serial=pc.certificate.serial_number,
        issuer=root,
        issuer_key=key,
        now=now,
        not_after=end,
    )
    return certificate.public_bytes(Encoding.DER)


def of_another_authority(pc: Pc) -> bytes:
    """Forged with the same key and serial number."""
    return forged(pc, pc.station.now)


def self_signed(pc: Pc) -> bytes:
    """Signed by its own key."""
    name = pc.certificate.subject
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(5)
    builder = builder.not_valid_before(pc.station.now - WINDOW).not_valid_after(pc.station.now + WINDOW)
    signed = builder.public_key(pc.key.public_key()).sign(pc.key, hashes.SHA256())
    return signed.public_bytes(Encoding.DER)


def noise(pc: Pc) -> bytes:
    """No certificate at all."""
    return b"\x30\x03\x02\x01" + bytes((len(pc.der) % 5,))


WRONG = [
    (expired, "expired", "NotEligibleToRenew"),
    (revoked, "revoked", "NotEligibleToRenew"),
    (of_nobody, "belongs to no device", None),
    (of_another_authority, "another authority", None),
    (self_signed, "self-signed", None),
]


@pytest.mark.parametrize(("wrong", "why", "error"), [*WRONG, (noise, "unreadable", None)])
def test_wrong_certificates_of_the_connection(
    sqlite_pc: Pc, logged: StringIO, wrong: Callable[[Pc], bytes], why: str, error: str | None
) -> None:
    """Each is refused, whatever the request inside is signed with, and the log says why."""
    shown = wrong(sqlite_pc)
    subcode, said, found = sqlite_pc.refused(shown=shown)
    assert (subcode, found) == ("s:Authorization" if error else "s:Authentication", error)
    assert f"The client certificate is refused: {why}" in said.replace("it belongs", "belongs").replace(
        "issued by ", ""
    )
    (line,) = [json.loads(each) for each in logged.getvalue().splitlines() if "enrolment_refused" in each]
    assert why in line["why"]


def test_no_certificate(sqlite_pc: Pc) -> None:
    """The signed request alone is not enough, and the text says what a proxy has to do."""
    subcode, why, _ = sqlite_pc.refused(bare=True)
    assert subcode == "a:InvalidSecurity"
    assert "Client-Cert" in why


@pytest.mark.parametrize(("wrong", "why", "error"), WRONG[2:])
def test_wrong_certificates_of_the_request(
    sqlite_pc: Pc, wrong: Callable[[Pc], bytes], why: str, error: str | None
) -> None:
    """A good connection does not make up for a request that something else has signed."""
    signer = (sqlite_pc.key, x509.load_der_x509_certificate(wrong(sqlite_pc)))
    subcode, said, found = sqlite_pc.refused(sqlite_pc.message(signer=signer))
    assert (subcode, found) == ("s:Authentication", error)
    assert "that has signed the renewal is refused" in said
    assert why in said


def test_another_device(pc: Pc) -> None:
    """Neither half of the proof may be another device's: not even of one that is as good."""
    bench, other = pc.station.bench, new_key()
    pc.station.enrol(USER, PASSWORD, csr_of(other), DeviceID="other", HWDevID="1F" * 32)
    pk = max(row["pk"] for row in bench.rows("device"))
    theirs = issue(pc, other, pk, "theirs")
    signer = (other, x509.load_der_x509_certificate(theirs))
    for body, shown in ((pc.message(signer=signer), pc.der), (pc.message(), theirs)):
        subcode, why, _ = pc.refused(body, shown=shown)
        assert subcode == "s:Authentication"
        assert "another device" in why


def test_the_device_id_must_be_its_own(sqlite_pc: Pc) -> None:
    """A claim that contradicts the proof is refused, rather than passed over."""
    _, why, error = sqlite_pc.refused(sqlite_pc.message(DeviceID="another"))
    assert (error, "another DeviceID" in why) == ("InvalidEnrollmentData", True)


@pytest.mark.parametrize(
    ("column", "why"), [("unenrolled_at", "has left management"), ("retire_requested_at", "is being retired")]
)
def test_devices_that_leave(sqlite_pc: Pc, column: str, why: str) -> None:
    """Their certificate is not renewed, although it is good still."""
    with sqlite_pc.station.bench.database.write() as conn:
        conn.execute(update(table_of(Device)).values({column: sqlite_pc.station.now}))
    subcode, said, error = sqlite_pc.refused()
    assert (subcode, error) == ("s:Authorization", "NotEligibleToRenew")
    assert why in said


def test_a_device_that_was_deleted(pc: Pc) -> None:
    """Its certificate belongs to nobody any more."""
    bench = pc.station.bench
    with bench.database.write() as conn:
        delete_device(conn, ORIGIN, pc.row["id"], now=bench.now)
    _, why, _ = pc.refused()
    assert "is refused" in why


@pytest.mark.parametrize("change", [revoked, None])
def test_what_happens_meanwhile(pc: Pc, change: Callable[[Pc], bytes] | None) -> None:
    """A device that was found good and is retired or deleted before its row is held gets nothing."""
    bench = pc.station.bench
    shown = Shown(pc.der, serial_text(pc.certificate.serial_number), pc.row["pk"])
    # Signed by another certificate, which stays good: what the connection has shown counts by itself.
    second = issue(pc, NEW_KEY, pc.row["pk"], pc.row["id"])
    if change is None:
        with bench.database.write() as conn:
            delete_device(conn, ORIGIN, pc.row["id"], now=bench.now)
    else:
        change(pc)
    count = len(bench.rows("issued_certificate"))
    with pytest.raises(EnrolmentFault, match="enrolled again"):
        renewed(pc, shown, (NEW_KEY, x509.load_der_x509_certificate(second)))
    assert len(bench.rows("issued_certificate")) == count


def renewed(
    pc: Pc, shown: Shown, signer: tuple[rsa.RSAPrivateKey, x509.Certificate] | None = None
) -> Renewed:
    """Renew behind the endpoint's back."""
    bench = pc.station.bench
    claims = Claims(None, None, None, full=True, os_edition=None, os_version=None)
    wrapped = renewal_request(NEW_CSR, *(signer or (pc.key, pc.certificate)))
    with bench.database.write() as conn:
        return renew(
            conn,
            Authority.load(conn, bench.secrets),
            request=TokenRequest(RequestKind.RENEW, wrapped, claims),
            shown=shown,
            window=WINDOW,
            request_id="trace",
            remote_addr="192.0.2.7",
            now=bench.now,
        )


def test_a_device_without_an_enrolment(sqlite_pc: Pc) -> None:
    """One that IT has created and given a certificate: its renewal says which store it has."""
    with sqlite_pc.station.bench.database.write() as conn:
        conn.exec_driver_sql("DELETE FROM enrolment")
    shown = Shown(sqlite_pc.der, serial_text(sqlite_pc.certificate.serial_number), sqlite_pc.row["pk"])
    assert renewed(sqlite_pc, shown).user_store


def test_so_many_in_a_day(sqlite_pc: Pc) -> None:
    """A device that has gone mad does not fill the table; the next day it may try again."""
    for _ in range(MAX_DAILY):
        sqlite_pc.renew()
    _, why, error = sqlite_pc.refused()
    assert (error, f"given {MAX_DAILY} certificates" in why) == ("NotEligibleToRenew", True)
    sqlite_pc.station.bench.now += timedelta(days=1)
    sqlite_pc.renew()


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (b"x", "PKCS #7 message cannot be read"),
        (NEW_CSR, "PKCS #7 message cannot be read"),
        (b"MIIB", "PKCS #7 message cannot be read"),
    ],
    ids=["noise", "bare", "twice"],
)
def test_what_is_no_renewal(sqlite_pc: Pc, request_: bytes, why: str) -> None:
    """A fault of the certificate request that says what it lacks."""
    subcode, said, _ = sqlite_pc.refused(sqlite_pc.message(request=request_))
    assert (subcode, why in said) == ("s:CertificateRequest", True)


def test_what_is_signed_must_be_a_request(sqlite_pc: Pc) -> None:
    """Good signatures over nonsense, over a request that its own key has not signed, and base64 that is none."""
    subcode, why, _ = sqlite_pc.refused(sqlite_pc.message(b"nonsense"))
    assert (subcode, "certificate request cannot be read" in why) == ("s:CertificateRequest", True)
    changed = NEW_CSR.replace(b"whatever", b"WHATEVER")
    subcode, why, _ = sqlite_pc.refused(sqlite_pc.message(changed))
    assert (subcode, "not signed by the key" in why) == ("s:CertificateRequest", True)
    subcode, why, _ = sqlite_pc.refused(sqlite_pc.message(request=b"M!"))
    assert (subcode, "not base64" in why) == ("s:MessageFormat", True)


@pytest.mark.parametrize("intermediate", [True, False])
def test_another_authority(sqlite_pc: Pc, intermediate: bool) -> None:  # noqa: FBT001
    """Once it was replaced, the new one's certificates come along, for the device has those of the old one only."""
    bench = sqlite_pc.station.bench
    key = ec.generate_private_key(ec.SECP256R1())
    end = bench.now + timedelta(days=3650)
    root = build_root(key, "Successor", intermediates=0, now=bench.now, not_after=end)
    successor = Material(key, root, None)
    if intermediate:
        successor, _ = create_material(
            "Successor", lifetime=timedelta(days=3650), with_intermediate=True, now=bench.now
        )
    with bench.database.write() as conn:
        install(conn, ORIGIN, bench.secrets, successor, kind="created", instead=True, now=bench.now)
    document = sqlite_pc.renew()
    assert sqlite_pc.good(own(document))
    given = {
        each.getparent().get("type"): base64.b64decode(each.xpath("characteristic/parm")[0].get("value"))
        for each in document.xpath('//characteristic[@type="System"]')
    }
    expected = {"Root": successor.root.public_bytes(Encoding.DER)}
    if successor.intermediate is not None:
        expected["CA"] = successor.intermediate.public_bytes(Encoding.DER)
    assert given == expected


def test_an_authority_near_its_end(bare_station: Station, device_key: rsa.RSAPrivateKey) -> None:
    """A certificate that lasts no longer helps nobody: the log says what does, and nothing has been issued."""
    bench = bare_station.bench
    material, _ = create_material(
        "Short", lifetime=timedelta(days=100), with_intermediate=False, now=bench.now
    )
    with bench.database.write() as conn:
        install(conn, ORIGIN, bench.secrets, material, kind="created", instead=False, now=bench.now)
    pc = enrolled(bare_station, device_key)
    pc.wait_until(WINDOW)
    subcode, why, error = pc.refused()
    assert (subcode, error) == ("s:EnrollmentServer", None)
    assert "csp-bridge ca create --replace" in why


# --- before it: discovery and policy --------------------------------------------------------------------


def test_discovery_of_a_renewal(sqlite_station: Station) -> None:
    """Who offers its certificate and nothing else is told to use that; who can say a password, that."""
    for offered, expected in (
        (("Certificate",), "Certificate"),
        (("Certificate", "OnPremise"), "OnPremise"),
    ):
        (found,) = sqlite_station.answer(DISCOVERY_PATH, discover(*offered)).xpath(
            "//d:AuthPolicy", namespaces=NAMESPACES
        )
        assert found.text == expected


@pytest.mark.parametrize("security", ["", X509, username_token(USER, ""), username_token(USER, "wrong")])
def test_the_policy_for_a_renewal(sqlite_pc: Pc, security: str) -> None:
    """A certificate that proves a device is enough, whatever else the message says."""
    sqlite_pc.connection.certificate = sqlite_pc.der
    tries = sqlite_pc.station.bench.rows("enrolment_failure")
    found = sqlite_pc.station.answer(POLICY_PATH, policies_message(security))
    assert found.xpath("//p:minimalKeyLength", namespaces=NAMESPACES)
    assert sqlite_pc.station.bench.rows("enrolment_failure") == tries


@pytest.mark.parametrize("security", ["", X509, username_token(USER, "")])
def test_the_policy_with_a_wrong_certificate(sqlite_pc: Pc, security: str) -> None:
    """Where nothing else could say who asks, what is wrong with the certificate is said."""
    sqlite_pc.connection.certificate = revoked(sqlite_pc)
    _, why, error = sqlite_pc.station.fault(POLICY_PATH, policies_message(security))
    assert (error, "revoked" in why) == ("NotEligibleToRenew", True)


@pytest.mark.parametrize("security", ["", X509])
def test_the_policy_without_any_proof(sqlite_pc: Pc, security: str) -> None:
    """Nobody is let in for saying that he has a certificate."""
    subcode, why, _ = sqlite_pc.station.fault(POLICY_PATH, policies_message(security))
    assert (subcode, "no client certificate" in why) == ("a:InvalidSecurity", True)


def test_a_password_counts_beside_an_old_certificate(sqlite_pc: Pc) -> None:
    """A device that enrols again may still show the certificate it had; its user's password decides."""
    sqlite_pc.connection.certificate = revoked(sqlite_pc)
    found = sqlite_pc.station.answer(POLICY_PATH, policies_message(username_token(USER, PASSWORD)))
    assert found.xpath("//p:minimalKeyLength", namespaces=NAMESPACES)
    subcode, _, _ = sqlite_pc.station.fault(POLICY_PATH, policies_message(username_token(USER, "wrong")))
    assert subcode == "s:Authentication"
