"""Devices that were enrolled with a certificate: it proves them, it alone, and in each message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from sqlalchemy import select, update
from structlog.testing import capture_logs

from mdm.audit import Origin
from mdm.ca.authority import Authority, install
from mdm.ca.certificates import build_client, build_root
from mdm.ca.chain import Material
from mdm.ca.issued import revoke
from mdm.storage.statements import table_of
from mdm.storage.tables import Device
from syncml.client import Verdict
from syncml.messages import Alert, Item, Meta, Status
from syncml.reader import read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bench, ScriptedDevice

    from mdm.checkin.delivery import Reply

A = "a317dafe-baf4-453f-b232-a7075efae36e"
LEAVING = Alert(
    "9", "1226", (Item(meta=Meta(type="com.microsoft:mdm.unenrollment.userrequest", format="int"), data="1"),)
)
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_PUBLIC = _KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Enrolled:
    """A device with a certificate, the authority, and the bench they live on."""

    bench: Bench
    device: ScriptedDevice
    authority: Authority
    pk: int
    der: bytes
    serial: str

    def issue(self, pk: int | None = None, name: str = "another", at: Any = None) -> tuple[bytes, str]:
        """Another certificate of our authority."""
        with self.bench.database.write() as conn:
            issued = self.authority.issue(
                conn, public_key=_PUBLIC, subject_name=name, device_pk=pk, now=at or self.bench.now
            )
        return issued.der, issued.serial

    def revoke(self, serial: str) -> None:
        """Take a certificate back."""
        with self.bench.database.write() as conn:
            revoke(conn, Origin("test"), serial, "keyCompromise", self.bench.now)

    def row(self) -> dict[str, Any]:
        """The device's row."""
        return next(row for row in self.bench.rows("device") if row["pk"] == self.pk)

    def first(self) -> Reply:
        """Package 1 of a new session and its reply."""
        self.device.sessions += 1
        message, _ = self.device.begin(str(self.device.sessions))
        return self.device.post(message)


def authority_of(bench: Bench) -> Authority:
    """A new authority in the bench's database."""
    key = ec.generate_private_key(ec.SECP256R1())
    root = build_root(
        key, "Example", intermediates=0, now=bench.now, not_after=bench.now + timedelta(days=3650)
    )
    with bench.database.write() as conn:
        return install(
            conn,
            Origin("test"),
            bench.secrets,
            Material(key, root, None),
            kind="created",
            instead=False,
            now=bench.now,
        )


@pytest.fixture
def enrolled(bench: Bench) -> Enrolled:
    """A device whose certificate is used."""
    device = bench.enrol(certificate_required=True)
    device.proving = False
    authority = authority_of(bench)
    with bench.database.read() as conn:
        pk = conn.scalar(select(table_of(Device).c.pk))
    assert pk is not None
    found = Enrolled(bench, device, authority, pk, b"", "")
    found.der, found.serial = found.issue(pk, "DEV1")
    bench.certificate = found.der
    return found


def statuses(reply: Reply) -> list[str]:
    """The status codes in a reply that holds nothing else."""
    commands = read_message(reply.body).commands
    assert all(isinstance(each, Status) and each.chal is None for each in commands)
    return [each.data for each in commands if isinstance(each, Status)]


def session(enrolled: Enrolled) -> Verdict:
    """A whole session in which no credentials are shown."""
    device = enrolled.device
    device.sessions += 1
    message, state = device.begin(str(device.sessions))
    for _ in range(20):
        turn = device.say(message, state)
        if turn.verdict is not Verdict.COMMANDS:
            return turn.verdict
        message, state = device.answer(turn)
    raise AssertionError("the session does not end")


def test_a_session_without_any_credentials(enrolled: Enrolled) -> None:
    """The certificate is all the proof there is: no challenge comes, no nonce is used up, and what it says counts."""
    device = enrolled.device
    device.installable = {A: (1, 200)}
    before = enrolled.row()["auth_nonce"]
    assert session(enrolled) is Verdict.END
    assert set(device.statuses) == {200}
    assert enrolled.row()["auth_nonce"] == before
    assert [row["state"] for row in enrolled.bench.rows("device_update")] == ["installable"]


def test_credentials_beside_it_are_not_looked_at(enrolled: Enrolled) -> None:
    """Windows shows the ones of its account at times; wrong ones change nothing either, and count as no failure."""
    enrolled.device.proving = True
    enrolled.device.password = "wrong"
    assert session(enrolled) is Verdict.END
    assert enrolled.bench.rows("auth_failure") == []


def test_credentials_do_not_stand_in_for_it(enrolled: Enrolled) -> None:
    """Who knows the password of the account and has no certificate is refused without a challenge."""
    enrolled.bench.certificate = None
    enrolled.device.proving = True
    assert set(statuses(enrolled.first())) == {"407"}


def other_authority(enrolled: Enrolled) -> bytes:
    """One of a stranger's authority, in this device's name."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = enrolled.bench.now
    root = build_root(key, "Other", intermediates=0, now=now, not_after=now + timedelta(days=9))
    certificate = build_client(
        _KEY.public_key(),
        "DEV1",
        serial=7,
        issuer=root,
        issuer_key=key,
        now=now,
        not_after=now + timedelta(days=5),
    )
    return certificate.public_bytes(Encoding.DER)


def self_signed(enrolled: Enrolled) -> bytes:
    """One that nobody has vouched for."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "DEV1")])
    now = enrolled.bench.now
    builder = x509.CertificateBuilder(name, name, _KEY.public_key(), 7, now, now + timedelta(days=5))
    return builder.sign(_KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def expired(enrolled: Enrolled) -> bytes:
    """Its own, a moment after its end."""
    der, _ = replace(enrolled, authority=replace(enrolled.authority, lifetime=timedelta(minutes=5))).issue(
        enrolled.pk, "DEV1"
    )
    enrolled.bench.now += timedelta(minutes=6)
    return der


def revoked(enrolled: Enrolled) -> bytes:
    """Its own, taken back."""
    der, serial = enrolled.issue(enrolled.pk, "DEV1")
    enrolled.revoke(serial)
    return der


def of_another_device(enrolled: Enrolled) -> bytes:
    """A good one, of somebody else."""
    enrolled.bench.enrol("DEV2", certificate_required=True)
    (other,) = (row["pk"] for row in enrolled.bench.rows("device") if row["device_id"] == "DEV2")
    return enrolled.issue(other, "DEV2")[0]


def of_no_device(enrolled: Enrolled) -> bytes:
    """One that was issued and never given to anybody."""
    return enrolled.issue(None, "DEV1")[0]


def of_a_device_that_was_deleted(enrolled: Enrolled) -> bytes:
    """A good one, whose owner is gone."""
    der = of_another_device(enrolled)
    with enrolled.bench.database.write() as conn:
        conn.execute(table_of(Device).delete().where(table_of(Device).c.device_id == "DEV2"))
    return der


WRONG: dict[str, tuple[Callable[[Enrolled], bytes | None], str, str]] = {
    "missing": (lambda _: None, "407", "no client certificate"),
    "noise": (lambda _: b"\x30\x82", "401", "unreadable"),
    "other authority": (other_authority, "401", "issued by another authority"),
    "self-signed": (self_signed, "401", "self-signed"),
    "expired": (expired, "401", "expired"),
    "revoked": (revoked, "401", "revoked"),
    "another device's": (of_another_device, "401", "belongs to another device"),
    "no device's": (of_no_device, "401", "belongs to no device"),
    "a deleted device's": (of_a_device_that_was_deleted, "401", "belongs to no device"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_certificate_is_refused(enrolled: Enrolled, kind: str) -> None:
    """With a status that ends the session and asks for nothing, one clear line in the log, and nothing changed.

    Never by an HTTP error: nobody knows which of them make Windows give up its enrolment.
    """
    make, code, words = WRONG[kind]
    enrolled.bench.certificate = make(enrolled)
    before = enrolled.bench.dump()
    with capture_logs() as logs:
        assert set(statuses(enrolled.first())) == {code}
    assert enrolled.bench.dump() == before
    (line,) = logs
    assert (line["event"], line["log_level"], line["status"]) == ("dm_refused", "warning", int(code))
    assert words in line["why"]
    assert line["device_id"] == "DEV1"
    assert ("certificate" in line) == (kind not in {"missing", "noise"})


def test_each_message_is_looked_at(enrolled: Enrolled) -> None:
    """A certificate taken back in the middle of a session ends it, although the connection is still open."""
    device = enrolled.device
    message, state = device.begin()
    turn = device.say(message, state)
    enrolled.revoke(enrolled.serial)
    answer, _ = device.answer(turn)
    assert set(statuses(device.post(answer))) == {"401"}
    assert enrolled.bench.rows("device_update") == []


def test_nobody_else_hears_an_answer_again(enrolled: Enrolled) -> None:
    """The same bytes get the same reply from the device, and nothing from another; there is no secret in them."""
    message, _ = enrolled.device.begin()
    body = write_message(message)
    first = enrolled.bench.send(body)
    assert enrolled.bench.send(body) == first
    enrolled.bench.certificate = of_another_device(enrolled)
    assert set(statuses(enrolled.bench.send(body))) == {"401"}
    enrolled.bench.certificate = None
    assert set(statuses(enrolled.bench.send(body))) == {"407"}


def test_who_has_left_hears_the_answer_to_that_again(enrolled: Enrolled) -> None:
    """Its certificate is taken back by then; a lost answer must not keep it from leaving. Anything else is refused."""
    message, _ = enrolled.device.begin("1", LEAVING)
    body = write_message(message)
    first = enrolled.bench.send(body)
    with enrolled.bench.database.write() as conn:
        conn.execute(update(table_of(Device)).values(unenrolled_at=enrolled.bench.now))
    if enrolled.bench.rows("issued_certificate")[0]["revoked_at"] is None:
        enrolled.revoke(enrolled.serial)
    assert enrolled.bench.send(body) == first
    message, _ = enrolled.device.begin("2")
    assert set(statuses(enrolled.device.post(message))) == {"401"}


def test_a_renewed_certificate_settles_the_renewal(enrolled: Enrolled) -> None:
    """The old one is good until the new one is shown, and refused from then on; the new one keeps working."""
    der, serial = enrolled.issue(enrolled.pk, "DEV1")
    with enrolled.bench.database.write() as conn:
        conn.execute(update(table_of(Device)).values(renewed_serial=serial))
    assert session(enrolled) is Verdict.END
    assert enrolled.row()["renewed_serial"] == serial
    old, enrolled.bench.certificate = enrolled.bench.certificate, der
    assert session(enrolled) is Verdict.END
    assert enrolled.row()["renewed_serial"] is None
    states = {row["serial"]: row["revocation_reason"] for row in enrolled.bench.rows("issued_certificate")}
    assert states == {enrolled.serial: "superseded", serial: None}
    assert session(enrolled) is Verdict.END
    enrolled.bench.certificate = old
    assert set(statuses(enrolled.first())) == {"401"}


def test_a_device_with_message_credentials_needs_none(bench: Bench) -> None:
    """Nor does a certificate help it: credentials are what it was created for."""
    device = bench.enrol()
    authority = authority_of(bench)
    assert device.check_in() is Verdict.END
    with bench.database.write() as conn:
        pk = conn.scalar(select(table_of(Device).c.pk))
        issued = authority.issue(conn, public_key=_PUBLIC, subject_name="DEV1", device_pk=pk, now=bench.now)
    bench.certificate = issued.der
    device.proving = False
    message, state = device.begin("7")
    assert device.say(message, state).status == 407
    assert device.check_in() is Verdict.END
