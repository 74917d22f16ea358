"""`mdm.ca.csr`: requests in the forms of Windows 10 and 11, and everything that is wrong with others."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from mdm.ca import csr
from mdm.ca.csr import read_csr
from mdm.ca.der import Tag
from mdm.ca.errors import RefusedRequest

if TYPE_CHECKING:
    from collections.abc import Callable

OIW_SHA1 = bytes.fromhex("2b0e03021d")
RSA = bytes.fromhex("2a864886f70d0101")
SHA1, SHA256, SHA384, SHA512 = (RSA + bytes((arc,)) for arc in (5, 11, 12, 13))
RSA_PSS = RSA + b"\x0a"
COMMON_NAME = bytes.fromhex("550403")
EXTENSION_REQUEST = bytes.fromhex("2a864886f70d01090e")
MICROSOFT_EXTENSION_REQUEST = bytes.fromhex("2b060104018237020" + "10e")
OS_VERSION = bytes.fromhex("2b0601040182370d0203")
DEVICE_ID = bytes.fromhex("2b060104018237420100")
EXTENDED_KEY_USAGE = bytes.fromhex("551d25")
PRINTABLE, UTF8, IA5 = 0x13, 0x0C, 0x16

WINDOWS_10_NAME = b"11111111-2222-3333-4444-555555!0123456789ABCDEF0123456789ABCDEF\0"
WINDOWS_11_NAME = b"11111111-2222-3333-4444-555555!0123456789ABCDEF0123456789ABCDEF"
ID = "0123456789ABCDEF0123456789ABCDEF"


def tlv(tag: int, *parts: bytes) -> bytes:
    """An element as DER writes it."""
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content


def oid(octets: bytes) -> bytes:
    """An object identifier."""
    return tlv(Tag.OBJECT_IDENTIFIER, octets)


def name(text: bytes, tag: int) -> bytes:
    """A Name of one common name."""
    return tlv(Tag.SEQUENCE, tlv(Tag.SET, tlv(Tag.SEQUENCE, oid(COMMON_NAME), tlv(tag, text))))


def extension(identifier: bytes, value: bytes, *, critical: bool = False) -> bytes:
    """One extension that is asked for."""
    flag = tlv(Tag.BOOLEAN, b"\xff") if critical else b""
    return tlv(Tag.SEQUENCE, oid(identifier), flag, tlv(Tag.OCTET_STRING, value))


def attribute(identifier: bytes, *values: bytes) -> bytes:
    """One attribute of a request."""
    return tlv(Tag.SEQUENCE, oid(identifier), tlv(Tag.SET, *values))


def extension_request(*extensions: bytes, identifier: bytes = EXTENSION_REQUEST) -> bytes:
    """The attribute that holds extensions."""
    return attribute(identifier, tlv(Tag.SEQUENCE, *extensions))


Make = Any


@pytest.fixture
def make(device_private: rsa.RSAPrivateKey, device_public: bytes) -> Callable[..., bytes]:
    """Builds requests octet by octet, signed over what they say."""

    def build(
        *,
        version: bytes = b"\0",
        subject: bytes | None = None,
        public_key: bytes = device_public,
        attributes: tuple[bytes, ...] | None = (),
        algorithm: bytes | None = None,
        digest: type[hashes.HashAlgorithm] = hashes.SHA256,
        unused: bytes = b"\0",
        tail: tuple[bytes, ...] = (),
    ) -> bytes:
        information = tlv(
            Tag.SEQUENCE,
            tlv(Tag.INTEGER, version),
            name(WINDOWS_11_NAME, UTF8) if subject is None else subject,
            public_key,
            b"" if attributes is None else tlv(Tag.CONTEXT_0, *attributes),
            *tail,
        )
        signature = device_private.sign(information, PKCS1v15(), digest())
        how = tlv(Tag.SEQUENCE, oid(SHA256), b"\x05\0") if algorithm is None else algorithm
        return tlv(Tag.SEQUENCE, information, how, tlv(Tag.BIT_STRING, unused, signature))

    return build


@pytest.fixture
def windows_10(make: Make) -> bytes:
    """A request as build 19043 writes it."""
    request: bytes = make(
        subject=name(WINDOWS_10_NAME, PRINTABLE),
        attributes=(
            attribute(OS_VERSION, tlv(IA5, b"10.0.19043.2")),
            extension_request(extension(DEVICE_ID, ID.encode() + b"\0")),
        ),
        algorithm=tlv(Tag.SEQUENCE, oid(OIW_SHA1), b"\x05\0"),
        digest=hashes.SHA1,
    )
    return request


def test_windows_10(windows_10: bytes, device_public: bytes) -> None:
    """Read and verified although its name is no PrintableString; and it is indeed one that libraries refuse."""
    with pytest.raises(ValueError, match="parsing"):
        x509.load_der_x509_csr(windows_10).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    request = read_csr(windows_10)
    assert request.public_key_der == device_public
    assert request.subject_raw == name(WINDOWS_10_NAME, PRINTABLE)
    assert request.device_id == ID


def test_windows_11(make: Make, device_public: bytes) -> None:
    """A well-formed one, with a critical extension beside the device's id."""
    usage = extension(EXTENDED_KEY_USAGE, bytes.fromhex("300a06082b06010505070302"), critical=True)
    data = make(attributes=(extension_request(usage, extension(DEVICE_ID, ID.encode() + b"\0")),))
    assert x509.load_der_x509_csr(data).is_signature_valid
    request = read_csr(data)
    assert (request.public_key_der, request.device_id) == (device_public, ID)
    assert request.subject_raw == x509.load_der_x509_csr(data).subject.public_bytes()


def test_one_that_the_library_makes(device_private: rsa.RSAPrivateKey) -> None:
    """A plain request of anybody else is read as well."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    data = builder.sign(device_private, hashes.SHA512()).public_bytes(Encoding.DER)
    assert read_csr(data).device_id is None


@pytest.mark.parametrize(
    ("identifier", "digest"),
    [
        (OIW_SHA1, hashes.SHA1),
        (SHA1, hashes.SHA1),
        (SHA256, hashes.SHA256),
        (SHA384, hashes.SHA384),
        (SHA512, hashes.SHA512),
    ],
)
@pytest.mark.parametrize("parameters", [b"\x05\0", b""])
def test_each_algorithm(
    make: Make, identifier: bytes, digest: type[hashes.HashAlgorithm], parameters: bytes
) -> None:
    """With NULL for parameters or without; and another digest than the one named does not pass."""
    how = tlv(Tag.SEQUENCE, oid(identifier), parameters)
    assert read_csr(make(algorithm=how, digest=digest)).public_key_der
    with pytest.raises(RefusedRequest, match="not signed by the key"):
        read_csr(make(algorithm=how, digest=hashes.SHA3_256))


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (None, None),
        ((), None),
        ((attribute(OS_VERSION, tlv(IA5, b"10.0")),), None),
        ((extension_request(),), None),
        ((extension_request(extension(DEVICE_ID, b"abc\0")),), "abc"),
        ((extension_request(extension(DEVICE_ID, b"abc")),), "abc"),
        ((extension_request(extension(DEVICE_ID, b"a\0c\0")),), None),
        ((extension_request(extension(DEVICE_ID, "ü".encode())),), None),
        (
            (extension_request(extension(DEVICE_ID, b"abc\0"), identifier=MICROSOFT_EXTENSION_REQUEST),),
            "abc",
        ),
    ],
)
def test_the_device_id(make: Make, attributes: tuple[bytes, ...] | None, expected: str | None) -> None:
    """Printable ASCII, from either attribute, or nothing."""
    assert read_csr(make(attributes=attributes)).device_id == expected


def test_a_changed_octet_is_noticed(windows_10: bytes) -> None:
    """Whatever it is that was changed in what is signed."""
    place = windows_10.index(WINDOWS_10_NAME)
    changed = windows_10[:place] + b"2" + windows_10[place + 1 :]
    with pytest.raises(RefusedRequest, match="not signed by the key"):
        read_csr(changed)


def test_somebody_elses_key_is_noticed(make: Make) -> None:
    """Who sends a public key must have the private one."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    spki = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(RefusedRequest, match="not signed by the key"):
        read_csr(make(public_key=spki))


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"version": b"\x01"}, "version"),
        ({"version": b""}, "version"),
        ({"subject": tlv(Tag.SET, b"")}, "Tag 0x31"),
        ({"public_key": tlv(Tag.OCTET_STRING, b"")}, "Tag 0x04"),
        ({"public_key": tlv(Tag.SEQUENCE, b"")}, "public key of the request cannot be read"),
        ({"unused": b"\x01"}, "whole octets"),
        ({"unused": b""}, "whole octets|not signed"),
        ({"tail": (b"\x05\0",)}, "5 elements where 4"),
        ({"algorithm": tlv(Tag.SEQUENCE, oid(RSA_PSS), b"\x05\0")}, "1.2.840.113549.1.1.10 is none of RSA"),
        ({"algorithm": tlv(Tag.SEQUENCE, oid(SHA256), b"\x04\0")}, "Tag 0x04 stands where 0x05"),
        ({"algorithm": tlv(Tag.SEQUENCE, oid(SHA256), b"\x05\0\x05\0")}, "3 elements where 2"),
        ({"algorithm": tlv(Tag.SEQUENCE)}, "cannot be read. There are 0 elements where 1"),
        ({"algorithm": tlv(Tag.SEQUENCE, oid(SHA256), b"\x05\x01\0")}, "has parameters"),
        ({"algorithm": tlv(Tag.SEQUENCE, oid(b""))}, "object identifier is empty"),
        ({"algorithm": tlv(Tag.SEQUENCE, b"\x05\0")}, "Tag 0x05 stands where 0x06"),
        ({"attributes": (b"\x05\0",)}, "0 elements where 2"),
        ({"attributes": (attribute(EXTENSION_REQUEST),)}, "0 elements where 1"),
        ({"attributes": (extension_request(b"\x05\0"),)}, "0 elements where 2"),
        (
            {"attributes": (extension_request(tlv(0x30, oid(SHA1), b"\x05\0", b"\x04\0")),)},
            "0x05 stands where",
        ),
        (
            {"attributes": (tlv(Tag.SEQUENCE, oid(EXTENSION_REQUEST), b"\x31\x05"),)},
            "longer than what holds it",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(make: Make, members: dict[str, Any], sentence: str) -> None:
    """In a sentence that says where it is wrong."""
    with pytest.raises(RefusedRequest, match=sentence):
        read_csr(make(**members))


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x30\x00", b"\x30\x80" * 5000, tlv(0x30, b"\x30\0" * 1000)]
)
def test_what_is_no_request(data: bytes) -> None:
    """Noise, nesting and floods."""
    with pytest.raises(RefusedRequest, match="cannot be read"):
        read_csr(data)


def spki(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    """A key's SubjectPublicKeyInfo."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def rsa_of(bits: int, exponent: int = 65537) -> bytes:
    """A public key of so many bits; its modulus need be no product of primes."""
    return spki(rsa.RSAPublicNumbers(exponent, (1 << bits - 1) + 1).public_key())


@pytest.mark.parametrize(
    ("public_key", "sentence"),
    [
        (rsa_of(1024), "has 1024 bits; 2048 to 8192 are accepted"),
        (rsa_of(2047), "has 2047 bits"),
        (rsa_of(8193), "has 8193 bits"),
        (rsa_of(2048, 3), "exponent"),
        (rsa_of(2048, 2**32 + 1), "exponent"),
        (spki(ec.generate_private_key(ec.SECP256R1()).public_key()), "is not RSA"),
    ],
    # a key made anew has no name that two processes agree on
    ids=["1024", "2047", "8193", "exponent-3", "exponent-33-bits", "elliptic"],
)
def test_weak_keys_are_refused(make: Make, public_key: bytes, sentence: str) -> None:
    """Too short, too long to verify, with an exponent that invites forgery, or of another kind."""
    with pytest.raises(RefusedRequest, match=sentence):
        read_csr(make(public_key=public_key))


def test_a_machine_that_forbids_the_algorithm(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SHA-1 is switched off, the sentence says so, rather than that the device is wrong."""

    class Forbidding:
        def verify(self, *_: object) -> None:
            raise UnsupportedAlgorithm("sha1")

    monkeypatch.setattr(csr, "device_key", lambda _: Forbidding())
    with pytest.raises(RefusedRequest, match="cryptographic policy"):
        read_csr(make())


@given(st.data())
def test_a_damaged_request_is_refused_or_still_signed(data: st.DataObject) -> None:
    """No octet of what is signed can be changed, and whatever else is, nothing but RefusedRequest comes of it."""
    whole = DAMAGED
    place = data.draw(st.integers(0, len(whole) - 1))
    octet = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    damaged = whole[:place] + bytes((octet,)) + whole[place + 1 :]
    with contextlib.suppress(RefusedRequest):
        assert read_csr(damaged).public_key_der in whole
        # What can change without notice: how the algorithm is named, as long as it is the same one.
        assert place > len(whole) - 290


def _sample() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sample")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.311.66.1.0"), b"id\0"), critical=False
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


DAMAGED = _sample()
