"""`mdm.ca.authority`: what is issued, what is kept, and how one authority takes the place of another."""

from __future__ import annotations

import hashlib
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import select, text
from sqlmodel import col

from mdm.audit import Origin, list_entries
from mdm.ca.authority import Authority, create_material, install, load_all
from mdm.ca.chain import Material, signed_by
from mdm.ca.errors import NoAuthority, RefusedRequest
from mdm.ca.issued import revoke
from mdm.errors import Conflict, Unavailable
from mdm.storage.secrets import SecretBox
from mdm.storage.tables import CertificateAuthority

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mdm.storage.engine import Database


def test_without_an_authority_there_is_a_remedy(database: Database, box: SecretBox) -> None:
    """And a list of none."""
    with database.read() as conn:
        with pytest.raises(NoAuthority, match="csp-bridge ca create"):
            Authority.load(conn, box)
        assert load_all(conn, box) == []


@pytest.mark.parametrize("with_intermediate", [False, True])
def test_a_created_authority_vouches_for_clients_only(now: datetime, *, with_intermediate: bool) -> None:
    """Each certificate is an authority's, signed with SHA-256, and limited to clients and to its place."""
    material, root_key = create_material(
        "Example", lifetime=timedelta(days=10), with_intermediate=with_intermediate, now=now
    )
    assert (root_key is not None) == (material.intermediate is not None) == with_intermediate
    expected = [(material.root, int(with_intermediate), "CN=Example")]
    if material.intermediate is not None:
        assert root_key is not None
        assert root_key.public_key() == material.root.public_key() != material.key.public_key()
        expected.append((material.intermediate, 0, "CN=Example Devices"))
    for certificate, below, name in expected:
        extensions = certificate.extensions
        assert extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
            ca=True, path_length=below
        )
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
        assert isinstance(certificate.signature_hash_algorithm, SHA256)
        assert certificate.not_valid_after_utc == now + timedelta(days=10)
        assert certificate.subject.rfc4514_string() == name
        assert signed_by(certificate, material.root)
    assert isinstance(material.key, rsa.RSAPrivateKey)
    assert material.key.key_size == 3072


def test_the_key_is_kept_encrypted(
    database: Database, authority: Authority, box: SecretBox, now: datetime
) -> None:
    """It opens with the key file's box and no other, and the row holds nothing of it in clear."""
    with database.read() as conn:
        sealed = bytes(conn.execute(select(col(CertificateAuthority.sealed_key))).scalar_one())
        clear = authority.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        assert box.open(sealed) == clear
        assert clear[-40:] not in sealed
        assert Authority.load(conn, box).root == authority.root
        with pytest.raises(Unavailable, match="the key is not the database"):
            Authority.load(conn, SecretBox(b"o" * 32))


def test_what_is_issued(
    database: Database, authority: Authority, device_public: bytes, box: SecretBox, now: datetime
) -> None:
    """A client's certificate of the name, time and key asked for, and the facts that go with it."""
    with database.write() as conn:
        loaded = Authority.load(conn, box, lifetime=timedelta(days=30))
        issued = loaded.issue(
            conn, public_key=device_public, subject_name="0123-ABC_x", device_pk=None, now=now
        )
        row = conn.execute(text("SELECT * FROM issued_certificate")).mappings().one()
    certificate = x509.load_der_x509_certificate(issued.der)
    assert certificate.version is x509.Version.v3
    assert certificate.subject.rfc4514_string() == issued.subject == "CN=0123-ABC_x"
    assert (
        certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        == device_public
    )
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (
        now - timedelta(hours=1),
        now + timedelta(days=30),
    )
    assert issued.not_after == now + timedelta(days=30)
    assert isinstance(certificate.signature_hash_algorithm, SHA256)
    assert signed_by(certificate, authority.issuer)
    assert authority.intermediate_der is not None
    assert x509.load_der_x509_certificate(authority.intermediate_der) == authority.issuer
    assert authority.root_der == authority.root.public_bytes(Encoding.DER)
    extensions = certificate.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign, usage.crl_sign) == (True, False, False)
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert int(issued.serial, 16) == certificate.serial_number
    assert len(issued.serial) == 40
    assert issued.thumbprint_sha1 == hashlib.sha1(issued.der, usedforsecurity=False).hexdigest().upper()
    assert (row["serial"], row["thumbprint"], row["authority_id"]) == (
        issued.serial,
        issued.thumbprint_sha1,
        authority.id,
    )
    assert row["sha256"] == hashlib.sha256(issued.der).hexdigest()


def test_two_certificates_share_nothing_but_the_key(
    database: Database, authority: Authority, device_public: bytes, now: datetime
) -> None:
    """A serial number is random; the same name may be issued twice, as a renewal does."""
    with database.write() as conn:
        one, two = (
            authority.issue(conn, public_key=device_public, subject_name="same", device_pk=None, now=now)
            for _ in range(2)
        )
    assert one.serial != two.serial
    assert one.thumbprint_sha1 != two.thumbprint_sha1


@pytest.mark.parametrize(
    "name", ["", "a" * 65, " a", "a ", "a\0", "a,b", "CN=a", "a\n", "ü", "a&b", "{guid}", "-a"]
)
def test_a_name_that_windows_could_not_search_for(
    database: Database, authority: Authority, device_public: bytes, now: datetime, name: str
) -> None:
    """Nothing that needs escaping; and nothing is stored."""
    with database.write() as conn, pytest.raises(RefusedRequest, match="certificate's name"):
        authority.issue(conn, public_key=device_public, subject_name=name, device_pk=None, now=now)
    with database.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM issued_certificate")).scalar_one() == 0


def test_the_longest_name(
    database: Database, authority: Authority, device_public: bytes, now: datetime
) -> None:
    """64 characters, as X.520 allows."""
    with database.write() as conn:
        issued = authority.issue(
            conn, public_key=device_public, subject_name="a" * 64, device_pk=None, now=now
        )
    (attribute,) = x509.load_der_x509_certificate(issued.der).subject.get_attributes_for_oid(
        NameOID.COMMON_NAME
    )
    assert attribute.value == "a" * 64


def test_a_weak_key_gets_no_certificate(database: Database, authority: Authority, now: datetime) -> None:
    """Also when it comes without a request."""
    key = rsa.RSAPublicNumbers(65537, (1 << 1023) + 1).public_key()
    weak = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with database.write() as conn, pytest.raises(RefusedRequest, match="1024 bits"):
        authority.issue(conn, public_key=weak, subject_name="a", device_pk=None, now=now)


def test_nothing_outlives_its_authority(
    database: Database,
    box: SecretBox,
    origin: Origin,
    material: Callable[..., Material],
    device_public: bytes,
    now: datetime,
) -> None:
    """A certificate ends with the first of the chain; when that has ended, none is issued, nor before it begins."""
    with database.write() as conn:
        made = install(
            conn, origin, box, material(days=30, root_days=20), kind="created", instead=False, now=now
        )
        assert made.not_after == now + timedelta(days=20)
        issued = made.issue(conn, public_key=device_public, subject_name="a", device_pk=None, now=now)
        assert issued.not_after == now + timedelta(days=20)
        for moment in (now + timedelta(days=20), now - timedelta(days=1)):
            with pytest.raises(NoAuthority, match="ca create --replace"):
                made.issue(conn, public_key=device_public, subject_name="a", device_pk=None, now=moment)


def test_one_takes_the_place_of_another(
    database: Database,
    box: SecretBox,
    origin: Origin,
    authority: Authority,
    material: Callable[..., Material],
    now: datetime,
) -> None:
    """Only when asked to; the old one is kept behind the new one, and both steps are audited."""
    later = now + timedelta(days=1)
    second = material("Second", intermediate=False)
    with database.write() as conn, pytest.raises(Conflict, match="--replace"):
        install(conn, origin, box, second, kind="imported", instead=False, now=later)
    with database.write() as conn:
        made = install(conn, origin, box, second, kind="imported", instead=True, now=later)
    with database.read() as conn:
        found = load_all(conn, box)
        entries = list_entries(conn, before=None, limit=10)
    assert [(each.id, each.origin, each.replaced_at) for each in found] == [
        (made.id, "imported", None),
        (authority.id, "created", later),
    ]
    assert made.intermediate_der is None
    assert [(each.action, each.object_id, dict(each.detail)) for each in entries] == [
        ("authority.import", made.id, {"replaces": authority.id}),
        ("authority.create", authority.id, {}),
    ]
    assert entries[0].after is not None
    assert entries[0].after["subject"] == "CN=Second"
    with database.write() as conn, pytest.raises(Conflict, match="stored already"):
        install(conn, origin, box, second, kind="imported", instead=True, now=later)


def test_of_two_at_once_one_wins(
    database: Database,
    box: SecretBox,
    origin: Origin,
    material: Callable[..., Material],
    now: datetime,
) -> None:
    """However they meet, one authority issues and the other administrator is told."""
    barrier = threading.Barrier(2, timeout=30)
    outcomes: list[object] = []

    def make(name: str) -> None:
        mine = material(name)
        barrier.wait()
        try:
            with database.write() as conn:
                outcomes.append(install(conn, origin, box, mine, kind="created", instead=False, now=now))
        except Conflict as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=make, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == 2
    assert outcomes.count("authority_exists") == 1
    with database.read() as conn:
        assert len(load_all(conn, box)) == 1


def test_who_comes_second_in_the_same_moment_is_told(
    database: Database,
    box: SecretBox,
    origin: Origin,
    authority: Authority,
    material: Callable[..., Material],
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database itself allows one that issues, whatever was read before."""
    monkeypatch.setattr("mdm.ca.authority._held", lambda _: [])
    with pytest.raises(Conflict, match="Somebody else"), database.write() as conn:
        install(conn, origin, box, material(), kind="created", instead=False, now=now)


def test_the_revocation_list(
    database: Database,
    authority: Authority,
    origin: Origin,
    device_public: bytes,
    box: SecretBox,
    now: datetime,
) -> None:
    """Signed by the issuer, with each revoked certificate and its reason, until a while after its end."""
    with database.write() as conn:
        one, two, _good = (
            authority.issue(conn, public_key=device_public, subject_name=name, device_pk=None, now=now)
            for name in ("one", "two", "good")
        )
        revoke(conn, origin, one.serial, "keyCompromise", now)
        revoke(conn, origin, two.serial, "unspecified", now + timedelta(minutes=1))
    later = now + timedelta(hours=1, microseconds=5)
    with database.read() as conn:
        crl = x509.load_der_x509_crl(authority.crl(conn, later))
        again = x509.load_der_x509_crl(authority.crl(conn, later + timedelta(microseconds=1)))
        ended = x509.load_der_x509_crl(authority.crl(conn, now + timedelta(days=371)))
        gone = x509.load_der_x509_crl(authority.crl(conn, now + timedelta(days=373)))
    key = authority.issuer.public_key()
    assert crl.is_signature_valid(key)  # type: ignore[arg-type]
    assert crl.issuer == authority.issuer.subject
    assert crl.next_update_utc == now + timedelta(hours=1, days=7)
    assert [(each.serial_number, each.revocation_date_utc) for each in crl] == [
        (int(one.serial, 16), now),
        (int(two.serial, 16), now + timedelta(minutes=1)),
    ]
    first, second = crl
    assert (
        first.extensions.get_extension_for_class(x509.CRLReason).value.reason
        is x509.ReasonFlags.key_compromise
    )
    assert len(second.extensions) == 0
    numbers = [
        each.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for each in (crl, again)
    ]
    assert numbers[0] + 1 == numbers[1]
    assert (len(ended), len(gone)) == (2, 0)
