"""`mdm.ca.checking`: each wrong certificate is refused, and for the right reason."""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from mdm.audit import Origin
from mdm.ca.authority import Authority, Issued, install, load_all
from mdm.ca.certificates import build_client, der
from mdm.ca.checking import MAX_CERTIFICATE, CertificateVerdict, Refusal, check
from mdm.ca.issued import revoke, serial_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mdm.ca.chain import Material
    from mdm.storage.engine import Database
    from mdm.storage.secrets import SecretBox


@pytest.fixture
def issued(database: Database, authority: Authority, device_public: bytes, now: datetime) -> Issued:
    """A good certificate of no device yet."""
    with database.write() as conn:
        return authority.issue(conn, public_key=device_public, subject_name="dev", device_pk=None, now=now)


def verdict(database: Database, octets: bytes, now: datetime) -> CertificateVerdict:
    """What the bridge says."""
    with database.read() as conn:
        return check(conn, octets, now)


def test_a_good_one(database: Database, issued: Issued, now: datetime) -> None:
    """From an hour before it was issued to its last second, without the private key of anybody."""
    expected = CertificateVerdict(ok=True, serial=issued.serial)
    for moment in (now, now - timedelta(minutes=59), issued.not_after):
        assert verdict(database, issued.der, moment) == expected


def test_it_names_its_device(
    database: Database, authority: Authority, device_public: bytes, now: datetime
) -> None:
    """Good or not, if it was issued here."""
    values = {"now": now, "verifier": b"v"}
    with database.write() as conn:
        conn.execute(
            text(
                "INSERT INTO device (pk, id, device_id, name, created_at, auth_scheme, auth_username, auth_verifier, "
                "auth_nonce, auth_each_message, membership_version) "
                "VALUES (42, 'd', 'd', 'd', :now, 's', 'u', :verifier, 'n', true, 0)"
            ),
            values,
        )
        mine = authority.issue(conn, public_key=device_public, subject_name="d", device_pk=42, now=now)
    assert verdict(database, mine.der, now) == CertificateVerdict(ok=True, serial=mine.serial, device_pk=42)
    late = verdict(database, mine.der, now + timedelta(days=366))
    assert late == CertificateVerdict(ok=False, why=Refusal.EXPIRED, serial=mine.serial, device_pk=42)


def test_time(database: Database, issued: Issued, now: datetime) -> None:
    """A second too late, and a second too early."""
    for moment, why in (
        (issued.not_after + timedelta(seconds=1), Refusal.EXPIRED),
        (now - timedelta(hours=1, seconds=1), Refusal.NOT_YET_VALID),
    ):
        found = verdict(database, issued.der, moment)
        assert (found.ok, found.why, found.serial) == (False, why, issued.serial)


def test_revocation_counts_at_once(database: Database, issued: Issued, now: datetime) -> None:
    """And goes before every other reason of time."""
    with database.write() as conn:
        revoke(conn, Origin("a"), issued.serial, "keyCompromise", now)
    for moment in (now, issued.not_after + timedelta(days=1)):
        found = verdict(database, issued.der, moment)
        assert (found.ok, found.why) == (False, Refusal.REVOKED)


@pytest.mark.parametrize(
    "octets", [b"", b"hello", b"\x30\x00", b"\x30\x80" * 100, b"\x30\x83\x01\x00\x00" + b"\0" * 65536]
)
def test_noise(database: Database, octets: bytes, now: datetime) -> None:
    """What is no certificate at all."""
    assert verdict(database, octets, now) == CertificateVerdict(ok=False, why=Refusal.UNREADABLE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),  # version 8
        (b"\x0c\x03dev", b"\x03\x03dev"),  # a name that is no text
        (b"\x0c\x03dev", b"\x0c\x03d\xffv"),  # a name that is no UTF-8
        (b"\x17\x0d", b"\x17\x0c"),  # a time that is cut off
        (bytes.fromhex("06092a864886f70d010101"), bytes.fromhex("06092a864886f70d01017f")),  # no known key
    ],
)
def test_a_certificate_that_the_library_reads_only_in_part(
    database: Database, issued: Issued, now: datetime, old: bytes, new: bytes
) -> None:
    """What is wrong inside it comes to light when it is asked for, and is an answer all the same."""
    assert old in issued.der
    found = verdict(database, issued.der.replace(old, new), now)
    assert found == CertificateVerdict(ok=False, why=Refusal.UNREADABLE)


def test_something_behind_a_good_one(database: Database, issued: Issued, now: datetime) -> None:
    """A certificate and a bit is none, and one of more than 16 KiB is not looked at."""
    assert verdict(database, issued.der + b"\0", now).why is Refusal.UNREADABLE
    assert verdict(database, issued.der + b"\0" * MAX_CERTIFICATE, now).why is Refusal.UNREADABLE


def test_self_signed(database: Database, authority: Authority, now: datetime) -> None:
    """A device that vouches for itself; also when it takes the name of an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    for name in (x509.Name([]), authority.issuer.subject):
        own = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .serial_number(77)
            .public_key(key.public_key())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=1))
            .sign(key, SHA256())
        )
        found = verdict(database, der(own), now)
        assert found == CertificateVerdict(ok=False, why=Refusal.SELF_SIGNED, serial=serial_text(77))


@pytest.mark.usefixtures("authority")
def test_another_authority(
    database: Database,
    issued: Issued,
    material: Callable[..., Material],
    device_private: rsa.RSAPrivateKey,
    now: datetime,
) -> None:
    """One of the same name, and one that repeats the serial number of a certificate of ours."""
    other = material()
    for serial in (5, int(issued.serial, 16)):
        forged = build_client(
            device_private.public_key(),
            "dev",
            serial=serial,
            issuer=other.issuer,
            issuer_key=other.key,
            now=now,
            not_after=now + timedelta(days=1),
        )
        found = verdict(database, der(forged), now)
        assert (found.ok, found.why, found.device_pk) == (False, Refusal.OTHER_AUTHORITY, None)


def test_signed_with_our_key_and_not_issued(
    database: Database,
    authority: Authority,
    issued: Issued,
    device_private: rsa.RSAPrivateKey,
    now: datetime,
) -> None:
    """Who has stolen the key, or uses the organisation's authority elsewhere, proves no device."""
    for serial in (5, int(issued.serial, 16)):
        forged = build_client(
            device_private.public_key(),
            "dev",
            serial=serial,
            issuer=authority.issuer,
            issuer_key=authority.key,
            now=now,
            not_after=now + timedelta(days=1),
        )
        found = verdict(database, der(forged), now)
        assert (found.ok, found.why, found.device_pk) == (False, Refusal.NOT_ISSUED_HERE, None)


def test_the_authoritys_own_certificates_prove_no_device(
    database: Database, authority: Authority, now: datetime
) -> None:
    """Neither the intermediate's nor the root's."""
    assert authority.intermediate_der is not None
    assert verdict(database, authority.intermediate_der, now).why is Refusal.OTHER_AUTHORITY
    assert verdict(database, authority.root_der, now).why is Refusal.SELF_SIGNED


def test_a_replaced_authority_is_still_believed(
    database: Database,
    issued: Issued,
    box: SecretBox,
    material: Callable[..., Material],
    device_public: bytes,
    now: datetime,
) -> None:
    """What it has issued stays good, beside what the new one issues."""
    with database.write() as conn:
        new = install(
            conn,
            Origin("a"),
            box,
            material("New", intermediate=False),
            kind="created",
            instead=True,
            now=now,
        )
        second = new.issue(conn, public_key=device_public, subject_name="dev", device_pk=None, now=now)
    assert verdict(database, issued.der, now).ok
    assert verdict(database, second.der, now).ok


def test_an_authority_that_has_ended(
    database: Database, authority: Authority, issued: Issued, box: SecretBox, now: datetime, monkeypatch: Any
) -> None:
    """Its certificates end with it, and if one did not it would still be refused."""
    late = now + timedelta(days=3651)
    certificate = build_client(
        x509.load_der_x509_certificate(issued.der).public_key(),  # type: ignore[arg-type]
        "dev",
        serial=int(issued.serial, 16),
        issuer=authority.issuer,
        issuer_key=authority.key,
        now=now,
        not_after=now + timedelta(days=5000),
    )
    replace_row(database, certificate)
    assert verdict(database, der(certificate), now).ok
    assert verdict(database, der(certificate), late).why is Refusal.AUTHORITY_EXPIRED


def test_a_row_without_a_signature_is_not_enough(
    database: Database,
    issued: Issued,
    material: Callable[..., Material],
    device_private: rsa.RSAPrivateKey,
    now: datetime,
) -> None:
    """Who can write to the table of certificates, and not use the key, still proves nothing."""
    other = material()
    forged = build_client(
        device_private.public_key(),
        "dev",
        serial=int(issued.serial, 16),
        issuer=other.issuer,
        issuer_key=other.key,
        now=now,
        not_after=now + timedelta(days=1),
    )
    replace_row(database, forged)
    assert verdict(database, der(forged), now).why is Refusal.OTHER_AUTHORITY


def replace_row(database: Database, certificate: x509.Certificate) -> None:
    """Let the row of a serial number stand for another certificate."""
    digest = certificate.fingerprint(SHA256()).hex()
    with database.write() as conn:
        conn.execute(
            text("UPDATE issued_certificate SET sha256 = :digest WHERE serial = :serial"),
            {"digest": digest, "serial": serial_text(certificate.serial_number)},
        )


def test_a_good_one_costs_one_query(database: Database, issued: Issued, now: datetime) -> None:
    """It is asked at each session."""
    statements: list[str] = []
    with database.read() as conn:

        @event.listens_for(conn, "before_cursor_execute")
        def _count(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
            statements.append(statement)

        assert check(conn, issued.der, now).ok
    assert len(statements) == 1


@given(place=st.integers(0, 4000), change=st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_changed_octet_passes(
    sqlite_database: Database,
    box: SecretBox,
    material: Callable[..., Material],
    device_public: bytes,
    now: datetime,
    place: int,
    change: int,
) -> None:
    """Wherever it is, and nothing is ever raised."""
    with sqlite_database.write() as conn:
        if not load_all(conn, box):
            install(conn, Origin("a"), box, material(), kind="created", instead=False, now=now)
        authority = Authority.load(conn, box)
        good = authority.issue(conn, public_key=device_public, subject_name="d", device_pk=None, now=now).der
    assert verdict(sqlite_database, good, now).ok
    changed = bytearray(good)
    changed[place % len(good)] ^= change
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the library warns of odd serial numbers and versions before it goes on
        found = verdict(sqlite_database, bytes(changed), now)
    assert not found.ok
    assert found.why is not None
