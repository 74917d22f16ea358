"""`mdm.ca.chain`: an organisation's own authority is checked whole before it is used."""

from __future__ import annotations

import ssl
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mdm.ca.certificates import build_client
from mdm.ca.chain import read_material, signed_by
from mdm.ca.errors import RefusedImport

if TYPE_CHECKING:
    from datetime import datetime

_SHA1: Any = SHA1
KEY = ec.generate_private_key(ec.SECP384R1())
CA = x509.BasicConstraints(ca=True, path_length=None)


def usage(**flags: bool) -> x509.KeyUsage:
    """A key usage with these flags."""
    names = (
        *(
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
        ),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: flags.get(name, False) for name in names})


def certificate(
    now: datetime,
    name: str = "root",
    *extensions: Any,
    key: Any = KEY,
    issuer: str | None = None,
    issuer_key: Any = KEY,
    starts: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=100),
) -> x509.Certificate:
    """A certificate, of an authority's shape or of a wrong one."""

    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer or name))
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(issuer_key, SHA256())


def pem(*certificates: x509.Certificate) -> bytes:
    """A chain's file."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def key_pem(key: Any = KEY, passphrase: bytes | None = None) -> bytes:
    """A key's file."""
    how = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))


def test_a_root_alone(now: datetime) -> None:
    """It issues itself."""
    root = certificate(now, "root", CA)
    material = read_material(key_pem(), pem(root), None, now)
    assert (material.root, material.intermediate, material.issuer) == (root, None, root)


def test_an_intermediate_in_any_order(now: datetime, device_private: rsa.RSAPrivateKey) -> None:
    """With a stranger's certificate among them, RSA, an encrypted key, and the usages of a real authority."""
    flags = usage(key_cert_sign=True, crl_sign=True)
    clients = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    root = certificate(now, "root", CA, flags)
    below = certificate(
        now,
        "below",
        x509.BasicConstraints(ca=True, path_length=0),
        flags,
        clients,
        key=device_private,
        issuer="root",
    )
    stranger = certificate(now, "stranger", CA, key=ec.generate_private_key(ec.SECP256R1()))
    material = read_material(key_pem(device_private, b"secret"), pem(stranger, root, below), b"secret", now)
    assert (material.root, material.intermediate, material.issuer) == (root, below, below)
    assert signed_by(below, root)
    assert not signed_by(root, below)


@pytest.mark.parametrize(
    ("key", "passphrase", "sentence"),
    [
        (b"", None, "cannot be read"),
        (b"x" * 300_000, None, "too large"),
        (key_pem(passphrase=b"secret"), None, "its passphrase is needed"),
        (key_pem(passphrase=b"secret"), b"wrong", "cannot be read"),
        (key_pem(), b"secret", "not encrypted"),
        (key_pem(ed25519.Ed25519PrivateKey.generate()), None, "not RSA of 2048"),
        (key_pem(ec.generate_private_key(ec.SECP256K1())), None, "nor of a curve"),
        (key_pem(ec.generate_private_key(ec.SECP521R1())), None, "No certificate of the chain is that of"),
    ],
)
def test_a_key_that_cannot_be_used(
    now: datetime, key: bytes, passphrase: bytes | None, sentence: str
) -> None:
    """Unreadable, locked, weak, of another certificate."""
    with pytest.raises(RefusedImport, match=sentence):
        read_material(key, pem(certificate(now, "root", CA)), passphrase, now)


@pytest.mark.parametrize(
    ("chain", "sentence"), [(b"", "chain cannot be read"), (b"x" * 300_000, "too large")]
)
def test_a_chain_that_cannot_be_read(now: datetime, chain: bytes, sentence: str) -> None:
    """No certificates at all."""
    with pytest.raises(RefusedImport, match=sentence):
        read_material(key_pem(), chain, None, now)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"\x0c\x04root", b"\x03\x04root"), (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07")],
)
def test_a_certificate_that_the_library_reads_only_in_part(now: datetime, old: bytes, new: bytes) -> None:
    """One sentence for whatever it stumbles over."""
    octets = certificate(now, "root", CA).public_bytes(Encoding.DER).replace(old, new)
    chain = ssl.DER_cert_to_PEM_cert(octets).encode()
    with pytest.raises(RefusedImport, match="chain cannot be read"):
        read_material(key_pem(), chain, None, now)


@pytest.mark.parametrize(
    ("extensions", "members", "sentence"),
    [
        ((), {}, "does not say that it is an authority's"),
        ((x509.BasicConstraints(ca=False, path_length=None),), {}, "CN=root is not an authority's"),
        ((CA,), {"ends": timedelta(0)}, "not valid now"),
        ((CA,), {"starts": timedelta(seconds=1)}, "not valid now"),
        ((CA, usage(digital_signature=True)), {}, "may not sign certificates"),
        ((CA, usage(key_cert_sign=True)), {}, "and revocation lists"),
        ((CA, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])), {}, "may not vouch for clients"),
    ],
)
def test_a_certificate_that_is_no_authority_for_clients(
    now: datetime, extensions: tuple[Any, ...], members: dict[str, Any], sentence: str
) -> None:
    """Each thing that must be right, wrong once."""
    with pytest.raises(RefusedImport, match=sentence):
        read_material(key_pem(), pem(certificate(now, "root", *extensions, **members)), None, now)


def with_sha1(certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> x509.Certificate:
    """The same certificate, signed as it was done twenty years ago; the library signs none."""
    new, old = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    signature = key.sign(certificate.tbs_certificate_bytes.replace(new, old), PKCS1v15(), _SHA1())
    octets = certificate.public_bytes(Encoding.DER).replace(new, old)
    return x509.load_der_x509_certificate(octets[: -len(signature)] + signature)


def test_a_weak_signature_counts_below_the_root(now: datetime, device_private: rsa.RSAPrivateKey) -> None:
    """An old root's signature on itself is believed by nobody; the one on the intermediate is."""
    root = with_sha1(
        certificate(now, "root", CA, key=device_private, issuer_key=device_private), device_private
    )
    below = certificate(now, "below", CA, issuer="root", issuer_key=device_private)
    assert read_material(key_pem(), pem(below, root), None, now).root == root
    with pytest.raises(RefusedImport, match="CN=below is signed with an algorithm that is broken"):
        read_material(key_pem(), pem(with_sha1(below, device_private), root), None, now)


def test_a_chain_without_its_root(now: datetime) -> None:
    """Whoever is missing is looked for by the name below."""
    other = ec.generate_private_key(ec.SECP256R1())
    below = certificate(now, "below", CA, issuer="root", issuer_key=other)
    impostor = certificate(now, "root", CA, key=ec.generate_private_key(ec.SECP256R1()))
    for chain in (pem(below), pem(below, impostor)):
        with pytest.raises(RefusedImport, match="no certificate of the issuer of CN=below"):
            read_material(key_pem(), chain, None, now)


def test_a_root_that_allows_nobody_below(now: datetime) -> None:
    """Its path length is zero."""
    other = ec.generate_private_key(ec.SECP256R1())
    root = certificate(
        now, "root", x509.BasicConstraints(ca=True, path_length=0), key=other, issuer_key=other
    )
    below = certificate(now, "below", CA, issuer="root", issuer_key=other)
    with pytest.raises(RefusedImport, match="CN=root allows no authority below it"):
        read_material(key_pem(), pem(below, root), None, now)


def test_a_chain_longer_than_a_device_can_be_told(now: datetime) -> None:
    """Three are one too many."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    root = certificate(now, "root", CA, key=keys[0], issuer_key=keys[0])
    middle = certificate(now, "middle", CA, key=keys[1], issuer="root", issuer_key=keys[0])
    below = certificate(now, "below", CA, issuer="middle", issuer_key=keys[1])
    with pytest.raises(RefusedImport, match="3 certificates"):
        read_material(key_pem(), pem(below, middle, root), None, now)


def test_two_that_vouch_for_each_other(now: datetime) -> None:
    """A chain without an end comes to one."""
    other = ec.generate_private_key(ec.SECP256R1())
    one = certificate(now, "one", CA, issuer="two", issuer_key=other)
    two = certificate(now, "two", CA, key=other, issuer="one")
    with pytest.raises(RefusedImport, match="no certificate of the issuer of CN=two"):
        read_material(key_pem(), pem(one, two), None, now)


def test_an_authority_without_a_key_identifier(now: datetime, device_private: rsa.RSAPrivateKey) -> None:
    """What it issues names its key by the usual digest."""
    root = certificate(now, "root", CA)
    issued = build_client(
        device_private.public_key(),
        "d",
        serial=1,
        issuer=root,
        issuer_key=KEY,
        now=now,
        not_after=now + timedelta(days=1),
    )
    named = issued.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert named == x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()).digest
    assert signed_by(issued, root)
