"""A virtual device against a real bridge over TLS: it enrols with a domain and a token, polls, renews, comes back, leaves."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mdm.cli import main
from mdm.lab.device import Patience, SessionEnd
from mdm.lab.enrol import BridgeApi
from mdm.lab.enrolling import Applicant, discovery_url, enrol_device
from mdm.lab.enrolment_errors import AnswerUnfit, EnrolmentRefused, ServerUnreachable
from mdm.lab.generate import build_catalogue
from mdm.lab.link import connect
from mdm.lab.muster import FleetOptions, identity_of, make_device
from mdm.lab.renewing import renew_now
from mdm.lab.store import DeviceRecord, DeviceStore, Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mdm.lab.bridge import BridgeProcess
    from mdm.lab.device import VirtualDevice
    from mdm.lab.store import DeviceCertificate, Identity

DOMAIN = "contoso.test"
HOST = f"enterpriseenrollment.{DOMAIN}"
SEED = 4711

pytestmark = pytest.mark.e2e


@pytest.fixture
def link(tls_bridge: BridgeProcess) -> Link:
    """The way to the bridge: no DNS has its name, and no public authority vouches for it."""
    return Link(address=f"127.0.0.1:{tls_bridge.port}", trust_pem=tls_bridge.trust_pem)


@pytest.fixture(scope="session")
def admin(tls_bridge: BridgeProcess) -> Iterator[BridgeApi]:
    """An administrator's view of the bridge."""
    with tls_bridge.client() as http:
        yield BridgeApi(tls_bridge.url, tls_bridge.make_token("tests", ["admin"]), http)


@pytest.fixture
def join(tls_bridge: BridgeProcess, link: Link) -> Callable[..., DeviceRecord]:
    """Enrols a device with a token of its own."""

    def enrolled(identity: Identity, *, token: str | None = None, **more: Any) -> DeviceRecord:
        secret = token or tls_bridge.make_enrolment_token("tests")
        applicant = Applicant(identity, f"user@{DOMAIN}", secret, discovery_url(DOMAIN), **more)
        return enrol_device(applicant, link, now=datetime.now(UTC), say=lambda _: None)

    return enrolled


@pytest.fixture
def devices(state_dir: Path) -> Iterator[Callable[[DeviceRecord], VirtualDevice]]:
    """Makes the devices of records, with connections that end with the test."""
    made: list[VirtualDevice] = []

    def device(record: DeviceRecord) -> VirtualDevice:
        one = make_device(
            record,
            DeviceStore(state_dir),
            build_catalogue(1, datetime.now(UTC)),
            http=connect(record.link, record.certificate),
            habits=FleetOptions(accelerate=True).habits,
            stop=threading.Event(),
        )
        made.append(one)
        return one

    yield device
    for each in made:
        each.http.close()


def next_second() -> None:
    """Wait for it: certificates count whole seconds, and a new one has to end later than the old one."""
    time.sleep(1 - time.time() % 1)


class Log:
    """What a bridge writes from now on."""

    def __init__(self, path: Path) -> None:
        """Nothing that stands in it already counts."""
        self._path = path
        self._read = len(path.read_bytes())

    def next(self, event: str) -> dict[str, Any]:
        """The next line of this event."""
        for _ in range(200):
            lines = self._path.read_bytes()[self._read :].splitlines(keepends=True)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                found: dict[str, Any] = json.loads(line)
                if found["event"] == event:
                    return found
            time.sleep(0.05)
        pytest.fail(f"no {event} in the log")


def forged(held: DeviceCertificate, *, self_signed: bool) -> DeviceCertificate:
    """A certificate with the subject of the right one, which its owner has made himself, or an authority of his own."""
    key = rsa.generate_private_key(65537, 2048)
    signer = key if self_signed else rsa.generate_private_key(65537, 2048)
    right = x509.load_pem_x509_certificate(held.certificate_pem.encode())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(right.subject)
        .issuer_name(right.subject if self_signed else right.issuer)
        .public_key(key.public_key())
        .serial_number(right.serial_number)
        .not_valid_before(right.not_valid_before_utc)
        .not_valid_after(right.not_valid_after_utc)
        .sign(signer, SHA256())
    )
    return replace(
        held,
        key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        certificate_pem=certificate.public_bytes(Encoding.PEM).decode(),
        intermediate_pem="",
    )


def serial(record: DeviceRecord) -> int:
    """The serial number of a device's certificate."""
    assert record.certificate is not None
    return x509.load_pem_x509_certificate(record.certificate.certificate_pem.encode()).serial_number


def test_a_domain_and_a_token_are_enough(
    join: Callable[..., DeviceRecord],
    devices: Callable[[DeviceRecord], VirtualDevice],
    admin: BridgeApi,
) -> None:
    """The device is known to the bridge, polls by its certificate alone, and without it is let in nowhere."""
    record = join(identity_of(SEED, 0))
    assert (record.account.server_uri, record.account.provider_id) == (f"https://{HOST}/omadm", "CSPBridge")
    assert record.provisioned["UPN"] == f"user@{DOMAIN}"
    assert int(record.provisioned["Poll/IntervalForRemainingScheduledRetries"]) > 0
    device = devices(record)
    report = device.check_in(datetime.now(UTC))
    assert (report.end, report.detail) == (SessionEnd.COMPLETE, "")
    shown = admin.get(f"/devices/{record.provisioned['EntDMID']}")
    assert (shown["device_id"], shown["name"]) == (record.identity.device_id, record.identity.name)
    bare = devices(record)
    bare.http = connect(record.link)
    assert bare.check_in(datetime.now(UTC)).end is SessionEnd.REFUSED


@pytest.mark.parametrize("number", [1, 2])
def test_both_kinds_of_windows(
    number: int, join: Callable[..., DeviceRecord], devices: Callable[[DeviceRecord], VirtualDevice]
) -> None:
    """Windows 10 with its request that no library loads, and a machine's enrolment, get certificates that work."""
    identity = replace(identity_of(SEED, number), os_build=("10.0.19045.6000", "10.0.26100.4652")[number - 1])
    record = join(identity, full=number == 1)
    assert record.certificate is not None
    assert record.certificate.store == ("User", "System")[number - 1]
    assert devices(record).check_in(datetime.now(UTC)).end is SessionEnd.COMPLETE


def test_wrong_certificates(
    join: Callable[..., DeviceRecord],
    devices: Callable[[DeviceRecord], VirtualDevice],
    tls_bridge: BridgeProcess,
) -> None:
    """Each is refused with a line in the log that says why, and the right one is good until it is revoked."""
    record, other = join(identity_of(SEED, 3)), join(identity_of(SEED, 4))
    held = record.certificate
    assert held is not None
    log = Log(tls_bridge.log_path)

    def tried(certificate: DeviceCertificate | None) -> SessionEnd:
        device = devices(replace(record, certificate=certificate))
        device.patience = Patience(attempts=1)
        return device.check_in(datetime.now(UTC)).end

    # Strangers' certificates end the connection: TLS 1.3 tells the client so instead of an answer.
    for stranger in (forged(held, self_signed=True), forged(held, self_signed=False)):
        assert tried(stranger) is SessionEnd.UNREACHABLE
        assert log.next("client_certificate_refused")["reason"] == "handshake"
    for certificate, why in (
        (None, "no client certificate, and the device was enrolled with one"),
        (other.certificate, "the client certificate belongs to another device"),
    ):
        assert tried(certificate) is SessionEnd.REFUSED
        assert why in log.next("dm_refused")["why"]
    with connect(record.link) as http:
        header = base64.b64encode(
            x509.load_pem_x509_certificate(held.certificate_pem.encode()).public_bytes(Encoding.DER)
        )
        answer = http.post(record.account.server_uri, headers={"Client-Cert": f":{header.decode()}:"})
    assert answer.status_code == 400
    assert log.next("client_certificate_refused")["reason"] == "forged_header"
    assert tried(held) is SessionEnd.COMPLETE
    tls_bridge.run("ca", "revoke", f"{serial(record):x}")
    assert tried(held) is SessionEnd.REFUSED
    assert "revoked" in log.next("dm_refused")["why"]


class Meddler(httpx2.BaseTransport):
    """A server that says other things: replaces octets in answers, and in the documents inside them."""

    def __init__(self, inner: httpx2.BaseTransport, **changes: str) -> None:
        """`changes` are pairs of regular expressions and what is put in their place."""
        self._inner = inner
        self._changes = changes

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The inner answer, changed."""
        answer = self._inner.handle_request(request)
        answer.read()
        text = re.sub(r"(<BinarySecurityToken [^>]*>)([^<]+)", self._document, self._changed(answer.text))
        headers = {**answer.headers, "content-length": str(len(text.encode()))}
        return httpx2.Response(answer.status_code, headers=headers, content=text.encode())

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    def _document(self, found: re.Match[str]) -> str:
        document = self._changed(base64.b64decode(found[2]).decode())
        return found[1] + base64.b64encode(document.encode()).decode()

    def _changed(self, text: str) -> str:
        for old, new in self._changes.items():
            text = re.sub(old, new, text)
        return text


def test_a_server_that_says_less(
    tls_bridge: BridgeProcess,
    link: Link,
    devices: Callable[[DeviceRecord], VirtualDevice],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No policy service: SHA-1, as Windows. Criteria that do not find the certificate: enrolled, and never shown."""

    def meddled(link: Link) -> httpx2.Client:
        http = connect(link)
        changes = {
            "<EnrollmentPolicyServiceUrl>.*?</EnrollmentPolicyServiceUrl>": "",
            "Subject=CN%3D": "Subject=CN%3Dx",
        }
        http._transport = Meddler(http._transport, **changes)
        return http

    applicant = Applicant(
        identity_of(SEED, 5), f"user@{DOMAIN}", tls_bridge.make_enrolment_token("less"), discovery_url(DOMAIN)
    )
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("mdm.lab.enrolling.connect", meddled)
        record = enrol_device(applicant, link, now=datetime.now(UTC), say=said.append)
    assert [line.split(":")[0] for line in said] == ["Discovery", "Certificate", "WARNING", "Account"]
    assert "does not find that certificate" in said[2]
    assert devices(record).check_in(datetime.now(UTC)).end is SessionEnd.REFUSED


def test_it_renews(
    join: Callable[..., DeviceRecord], devices: Callable[[DeviceRecord], VirtualDevice]
) -> None:
    """The new certificate is used from then on; once the bridge has seen it, the old one is of no use."""
    before = join(identity_of(SEED, 6))
    device = devices(before)
    assert device.check_in(datetime.now(UTC)).ok
    next_second()
    renew_now(device, datetime.now(UTC))
    assert serial(device.record) != serial(before)
    old = devices(before)
    assert old.check_in(datetime.now(UTC)).ok, "its answer might have been lost"
    assert device.check_in(datetime.now(UTC)).ok
    assert old.check_in(datetime.now(UTC)).end is SessionEnd.REFUSED
    assert device.check_in(datetime.now(UTC)).ok


def test_the_same_hardware_comes_back(
    join: Callable[..., DeviceRecord],
    devices: Callable[[DeviceRecord], VirtualDevice],
    tls_bridge: BridgeProcess,
    admin: BridgeApi,
) -> None:
    """A machine that was set up anew has another DeviceID: it is the same device here, and its old certificate ends."""
    token = tls_bridge.make_enrolment_token("twice", uses=2)
    identity = identity_of(SEED, 7)
    first = join(identity, token=token)
    old = devices(first)
    assert old.check_in(datetime.now(UTC)).ok
    again = join(replace(identity, device_id="0123456789ABCDEF" * 2), token=token)
    assert again.provisioned["EntDMID"] == first.provisioned["EntDMID"]
    assert devices(again).check_in(datetime.now(UTC)).ok
    assert old.check_in(datetime.now(UTC)).end is SessionEnd.REFUSED
    known = [each["device_id"] for each in admin.every("/devices", q=identity.name)]
    assert known == [again.identity.device_id]


def test_its_user_leaves(
    join: Callable[..., DeviceRecord],
    devices: Callable[[DeviceRecord], VirtualDevice],
    admin: BridgeApi,
    state_dir: Path,
) -> None:
    """The bridge is told and keeps the device as one that has left; the device keeps nothing of the management."""
    device = devices(join(identity_of(SEED, 8)))
    public_id = device.record.provisioned["EntDMID"]
    assert device.check_in(datetime.now(UTC)).ok
    assert device.unenrol(datetime.now(UTC)).ok
    left = DeviceStore(state_dir).load(device.device_id)
    assert left is not None
    assert (left.certificate, left.provisioned, left.account.password) == (None, {}, "")
    assert admin.get(f"/devices/{public_id}")["unenrolled_at"] is not None


def test_a_used_token_is_refused_with_the_servers_words(
    join: Callable[..., DeviceRecord], tls_bridge: BridgeProcess
) -> None:
    """Subcode, the number that Windows shows, and a text that says what to do; another step than the sign-in."""
    token = tls_bridge.make_enrolment_token("once")
    join(identity_of(SEED, 9), token=token)
    with pytest.raises(
        EnrolmentRefused, match=r"RequestSecurityToken is refused .*0x80180003.*administrator"
    ) as it:
        join(identity_of(SEED, 10), token=token)
    assert it.value.subcode == "Authorization"
    with pytest.raises(EnrolmentRefused, match=r"GetPolicies is refused \(Authentication; .*0x80180002"):
        join(identity_of(SEED, 10), token="wrong")


def test_a_federated_sign_in(
    web_bridge: BridgeProcess, devices: Callable[[DeviceRecord], VirtualDevice]
) -> None:
    """The page takes the token as a person would type it, and what it hands out serves for policy and certificate."""
    applicant = Applicant(
        identity_of(SEED, 12), f"user@{DOMAIN}", web_bridge.make_enrolment_token("web"), discovery_url(DOMAIN)
    )
    link = Link(address=f"127.0.0.1:{web_bridge.port}", trust_pem=web_bridge.trust_pem)
    said: list[str] = []
    record = enrol_device(applicant, link, now=datetime.now(UTC), say=said.append)
    assert "Federated" in said[0]
    assert said[1].endswith(f"let user@{DOMAIN} in.")
    assert devices(record).check_in(datetime.now(UTC)).ok
    wrong = replace(applicant, secret="not a token")
    with pytest.raises(AnswerUnfit, match=r"The answer to the sign-in page cannot be used: .* wrong"):
        enrol_device(wrong, link, now=datetime.now(UTC), say=said.append)


def test_a_server_that_is_not_trusted_gets_nothing(link: Link) -> None:
    """The name in the URL is verified although the connection goes elsewhere; the error says what to do."""
    applicant = Applicant(identity_of(SEED, 11), "u@x", "secret", discovery_url("fabrikam.test"))
    for wrong, words in ((link, "does not trust"), (replace(link, trust_pem=""), "--trust FILE")):
        with pytest.raises(ServerUnreachable, match=words):
            enrol_device(applicant, wrong, now=datetime.now(UTC), say=lambda _: None)


def test_by_the_command_line(
    tls_bridge: BridgeProcess,
    state_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Enrol, run, renew, run, unenrol: each says what it did, and none says the token."""
    token = tls_bridge.make_enrolment_token("command line")
    where = ["--state-dir", str(state_dir), "--seed", str(SEED + 1)]
    run = ["device", "run", *where, "--sessions", "1", "--interval", "0.05", "--accelerate"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{token}\n"))
    trust = str(tls_bridge.data_dir / "tls.crt")
    address = f"127.0.0.1:{tls_bridge.port}"
    to = ["--domain", DOMAIN, "--address", address, "--trust", trust]
    assert main(["device", "enrol", *to, *where, "--windows", "10"]) == 0
    said = capsys.readouterr().out
    for word in ("Discovery:", "Policy:", "Certificate:", "Account:", "Enrolled."):
        assert word in said
    assert f"enrols as device@{DOMAIN}" in said
    assert token not in said
    next_second()
    assert main([*run]) == 0
    assert re.search(r"the certificate was renewed\.\n.*session 0: complete", capsys.readouterr().out)
    next_second()
    assert main(["device", "renew", *where]) == 0
    assert "has a new certificate" in capsys.readouterr().out
    assert main([*run]) == 0
    said = capsys.readouterr().out
    assert "1 session, 0 not completed." in said
    assert "renewed" not in said
    assert main(["device", "unenrol", *where]) == 0
    assert "has left management" in capsys.readouterr().out
    assert main([*run]) == 2
    assert "Enrol it again with `csp-bridge device enrol`" in capsys.readouterr().err
    monkeypatch.setenv("CSP_DEVICE_SECRET", tls_bridge.make_enrolment_token("again"))
    assert main(["device", "enrol", *to, *where, "--user", "somebody@else.test", "--device-store"]) == 0
    assert "enrols as somebody@else.test" in capsys.readouterr().out
    again = DeviceStore(state_dir).load(identity_of(SEED + 1, 0).device_id)
    assert again is not None
    assert again.windows.jobs, "what is installed is still there"
    assert main([*run]) == 0


def test_connections_end_at_the_transport(link: Link, tls_bridge: BridgeProcess) -> None:
    """The Host header is the URL's although the connection goes to the address."""
    with connect(link) as http:
        answer = http.get(f"https://{HOST}/livez")
    assert answer.status_code == 200
    with connect(replace(link, address="127.0.0.1:9")) as http, pytest.raises(httpx2.ConnectError):
        http.get(f"https://{HOST}/livez")
