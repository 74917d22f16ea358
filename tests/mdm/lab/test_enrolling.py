"""When a device enrols, renews, and what it says if it cannot; the whole way is in test_enrolling_e2e."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mdm.ca.certificates import build_client, build_root
from mdm.lab.enrol import enrol
from mdm.lab.enrolling import Applicant, discovery_url, enrol_device, renew, renewal_due
from mdm.lab.enrolment_errors import AnswerUnfit, CannotRenew, EnrolmentRefused, ServerUnreachable
from mdm.lab.generate import build_catalogue
from mdm.lab.link import connect, shows
from mdm.lab.muster import FleetOptions, identity_of, make_device
from mdm.lab.renewing import look_after, renew_now
from mdm.lab.soap_enrolment import Fault
from mdm.lab.store import Account, DeviceCertificate, DeviceRecord, DeviceStore, Link

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2


START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
END = START + timedelta(days=365)


def pem(key: Any) -> str:
    """A key's PEM."""
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


@pytest.fixture(scope="module")
def certificate() -> DeviceCertificate:
    """One of a year, renewed 42 days before its end and each four days."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = build_root(root_key, "Root", intermediates=0, now=START, not_after=END)
    key = rsa.generate_private_key(65537, 2048)
    own = build_client(
        key.public_key(), "dev_1", serial=1, issuer=root, issuer_key=root_key, now=START, not_after=END
    )
    return DeviceCertificate(
        key_pem=pem(key),
        certificate_pem=own.public_bytes(Encoding.PEM).decode(),
        root_pem=root.public_bytes(Encoding.PEM).decode(),
        search_criteria="Subject=CN%3Ddev_1&Stores=My%5CUser",
        renew_days=42,
        retry_days=4,
    )


@pytest.fixture
def record(certificate: DeviceCertificate) -> DeviceRecord:
    """An enrolled device, whose server is nowhere."""
    account = Account("https://127.0.0.1:9/omadm", "syncml:auth-md5", "dev_1", "secret")
    return DeviceRecord(
        identity_of(1, 0), account, None, certificate=certificate, link=Link("https://127.0.0.1:9/e")
    )


def test_where_discovery_is() -> None:
    """The constant name in a domain, or what was typed in, with the constant path."""
    path = "/EnrollmentServer/Discovery.svc"
    assert discovery_url("contoso.com") == f"https://enterpriseenrollment.contoso.com{path}"
    assert discovery_url(server="https://mdm.contoso.com:444/x") == f"https://mdm.contoso.com:444{path}"
    assert discovery_url(server="mdm.contoso.com") == f"https://mdm.contoso.com{path}"


@pytest.mark.parametrize(
    ("days", "tried", "due"),
    [(0, None, False), (322, None, False), (323, None, True), (364, None, True), (365, None, False),
     (330, 327, False), (331, 327, True)],
)  # fmt: skip
def test_when_a_certificate_is_renewed(
    record: DeviceRecord, days: int, tried: int | None, *, due: bool
) -> None:
    """Inside RenewPeriod, RetryInterval after the last attempt, and never after its end: then nothing helps."""
    held = record.certificate
    assert held is not None
    if tried is not None:
        held = replace(held, tried_at=(START + timedelta(days=tried)).isoformat())
    assert renewal_due(replace(record, certificate=held), START + timedelta(days=days)) is due
    assert not renewal_due(replace(record, certificate=None), START + timedelta(days=days))


def test_what_cannot_be_renewed(record: DeviceRecord, http: httpx2.Client) -> None:
    """A device made over REST, a certificate that has ended, a key that is not RSA: each is said."""
    held = record.certificate
    assert held is not None
    curve = replace(held, key_pem=pem(ec.generate_private_key(ec.SECP256R1())))
    for changed, now, problem in (
        (replace(record, certificate=None), START, "has no certificate"),
        (replace(record, link=Link()), START, "has no certificate"),
        (record, END, "ended on 2027-11-22.*enrolled again"),
        (replace(record, certificate=curve), START, "is not RSA"),
    ):
        with pytest.raises(CannotRenew, match=problem):
            renew(changed, http, now=now)


def test_a_renewal_that_fails_is_tried_again_later(record: DeviceRecord, state_dir: Path) -> None:
    """It is said once, kept through a restart, and changes nothing else."""
    device = make_device(
        record,
        DeviceStore(state_dir),
        build_catalogue(1, START),
        http=connect(record.link, record.certificate),
        habits=FleetOptions().habits,
        stop=threading.Event(),
    )
    said: list[str] = []
    first = START + timedelta(days=330)
    for days in (0, 1, 3, 4):
        look_after(device, first + timedelta(days=days), said.append)
    assert len(said) == 2
    assert "LAB1-0001: the certificate was not renewed. RequestSecurityToken (Renew) was not sent" in said[0]
    stored = DeviceStore(state_dir).load(device.device_id)
    assert stored is not None
    assert record.certificate is not None
    assert stored.certificate == replace(record.certificate, tried_at=(first + timedelta(days=4)).isoformat())
    device.keep_certificate(record.certificate, device.http)
    with pytest.raises(ServerUnreachable, match="cannot be reached"):
        renew_now(device, first)
    device.http.close()
    bare = replace(record, certificate=None)
    device.record = bare
    with pytest.raises(CannotRenew):
        renew_now(device, first)


@pytest.mark.e2e
def test_credentials_are_shown_when_asked_for(
    served: Any, certificate: DeviceCertificate, state_dir: Path, http: httpx2.Client
) -> None:
    """A device with a certificate opens its session without them, and has them still for a server that wants them."""
    identity = identity_of(99, 0)
    made = enrol(served.api(http), identity).record(identity)
    device = make_device(
        replace(made, certificate=certificate),
        DeviceStore(state_dir),
        build_catalogue(1, START),
        http=http,
        habits=FleetOptions().habits,
        stop=threading.Event(),
    )
    assert not device.shows_credentials_first()
    report = device.check_in(datetime.now(UTC))
    assert (report.ok, report.detail) == (True, "")


def test_a_certificate_is_shown_where_the_criteria_find_it(certificate: DeviceCertificate) -> None:
    """By its subject and its store."""
    assert shows(certificate)
    assert not shows(replace(certificate, store="System"))
    assert not shows(replace(certificate, search_criteria=""))


def test_what_is_to_be_trusted_has_to_be_certificates(certificate: DeviceCertificate) -> None:
    """Else it is a ValueError, before anything is sent; so is a key of another certificate."""
    with pytest.raises(ValueError, match="a certificate cannot be used"):
        connect(Link(trust_pem="garbage"))
    other = replace(certificate, key_pem=pem(rsa.generate_private_key(65537, 2048)))
    with pytest.raises(ValueError, match="a certificate cannot be used"):
        connect(Link(), other)


def test_a_server_that_does_not_answer_the_first_question(scripted: Any) -> None:
    """Windows goes no further than an empty GET that is not answered with 200; a lost connection is said as such."""
    applicant = Applicant(identity_of(1, 0), "u@x", "secret", scripted.url)
    assert "secret" not in repr(applicant)
    with pytest.raises(AnswerUnfit, match=r"The answer to the first question .* HTTP 404"):
        enrol_device(applicant, Link(), now=START, say=print)
    scripted.script = [lambda _: None]
    with pytest.raises(ServerUnreachable, match="the first question got no answer"):
        enrol_device(applicant, Link(), now=START, say=print)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            Fault("Authorization", "DeviceCapReached", "Full."),
            "(Authorization, DeviceCapReached; Windows shows 0x80180013): Full.",
        ),
        (Fault("invalidsecurity", "", "No."), "(invalidsecurity; Windows shows 0x80180007): No."),
        (Fault("Strange", "CustomServerError", "Odd."), "(Strange, CustomServerError): Odd."),
    ],
)
def test_the_words_of_a_refusal(fault: Fault, words: str) -> None:
    """With the number that Windows would show in place of them, where there is one."""
    assert str(EnrolmentRefused("Discover", fault)) == f"Discover is refused {words}"
