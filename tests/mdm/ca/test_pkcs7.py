"""`mdm.ca.pkcs7`: what one signer has signed, and everything that is wrong with other messages."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from mdm.ca import pkcs7
from mdm.ca.der import Tag
from mdm.ca.errors import RefusedRequest
from mdm.ca.pkcs7 import SignedContent, read_signed
from mdm.lab.mde2 import renewal_request

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
RSA = bytes.fromhex("2a864886f70d0101")
PKCS7 = bytes.fromhex("2a864886f70d0107")
PKCS9 = bytes.fromhex("2a864886f70d0109")
DATA, SIGNED_DATA = PKCS7 + b"\x01", PKCS7 + b"\x02"
CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = (PKCS9 + bytes((arc,)) for arc in (3, 4, 5))
RSA_ENCRYPTION, RSA_PSS = RSA + b"\x01", RSA + b"\x0a"
OIW_SHA1_RSA, OIW_SHA1 = bytes.fromhex("2b0e03021d"), bytes.fromhex("2b0e03021a")
SHA256, SHA384, SHA512 = (bytes.fromhex("6086480165030402") + bytes((arc,)) for arc in (1, 2, 3))
MD5 = bytes.fromhex("2a864886f70d0205")
NULL = b"\x05\0"
CONTENT = b"what is to be signed"


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


def algorithm(octets: bytes, parameters: bytes = NULL) -> bytes:
    """An AlgorithmIdentifier."""
    return tlv(Tag.SEQUENCE, oid(octets), parameters)


def attribute(identifier: bytes, *values: bytes) -> bytes:
    """A signed attribute."""
    return tlv(Tag.SEQUENCE, oid(identifier), tlv(Tag.SET, *values))


def certificate_for(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, serial: int) -> x509.Certificate:
    """A certificate that nobody believes."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an issuer")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(serial)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return builder.public_key(key.public_key()).sign(key, hashes.SHA256())


def encoded(certificate: x509.Certificate) -> bytes:
    """Its octets."""
    return certificate.public_bytes(Encoding.DER)


def name_of(certificate: x509.Certificate) -> bytes:
    """Issuer and serial number."""
    serial = certificate.serial_number
    number = tlv(Tag.INTEGER, serial.to_bytes(serial.bit_length() // 8 + 1))
    return tlv(Tag.SEQUENCE, certificate.issuer.public_bytes(), number)


KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OWN = certificate_for(KEY, 4711)
OTHER = certificate_for(rsa.generate_private_key(public_exponent=65537, key_size=2048), 4712)
ABOUT_CONTENT = (
    attribute(CONTENT_TYPE, oid(DATA)),
    attribute(MESSAGE_DIGEST, tlv(Tag.OCTET_STRING, hashlib.sha256(CONTENT).digest())),
)
"""The two attributes that must be there."""


def signer_info(
    *,
    name: bytes = name_of(OWN),
    digest: bytes = algorithm(SHA256),
    attributes: tuple[bytes, ...] | None = ABOUT_CONTENT,
    how: bytes = algorithm(RSA_ENCRYPTION),
    unsigned: bytes = b"",
    digest_used: type[hashes.HashAlgorithm] = hashes.SHA256,
) -> bytes:
    """A SignerInfo whose signature is over its attributes, or over the content."""
    over = CONTENT if attributes is None else tlv(Tag.SET, *attributes)
    signature = tlv(Tag.OCTET_STRING, KEY.sign(over, PKCS1v15(), digest_used()))
    said = b"" if attributes is None else tlv(Tag.CONTEXT_0, *attributes)
    return tlv(Tag.SEQUENCE, b"\x02\x01\x01", name, digest, said, how, signature, unsigned)


def message(
    *signers: bytes,
    kind: bytes = SIGNED_DATA,
    content: bytes = CONTENT,
    inner_kind: bytes = DATA,
    inner: bytes | None = None,
    certificates: bytes | None = None,
    more: bytes = b"",
) -> bytes:
    """A ContentInfo around SignedData."""
    octets = tlv(Tag.OCTET_STRING, content) if inner is None else inner
    data = tlv(
        Tag.SEQUENCE,
        b"\x02\x01\x01",
        tlv(Tag.SET, algorithm(SHA256)),
        tlv(Tag.SEQUENCE, oid(inner_kind), tlv(Tag.CONTEXT_0, octets)),
        tlv(Tag.CONTEXT_0, encoded(OWN)) if certificates is None else certificates,
        more,
        tlv(Tag.SET, *(signers or (signer_info(),))),
    )
    return tlv(Tag.SEQUENCE, oid(kind), tlv(Tag.CONTEXT_0, data))


GOOD = SignedContent(CONTENT, encoded(OWN))


def test_what_the_lab_writes() -> None:
    """A message of a widely used library, with more attributes than are needed."""
    assert read_signed(renewal_request(CONTENT, KEY, OWN)) == GOOD


@pytest.mark.parametrize(
    "option", [PKCS7Options.NoAttributes, PKCS7Options.NoCapabilities, PKCS7Options.NoCerts]
)
@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_what_a_library_writes(option: PKCS7Options, digest: Any) -> None:
    """Without attributes, with few, and without the certificate, which the connection has shown."""
    builder = PKCS7SignatureBuilder().set_data(CONTENT).add_signer(OWN, KEY, digest)
    data = builder.sign(Encoding.DER, [PKCS7Options.Binary, option])
    assert read_signed(data, shown=encoded(OWN)) == GOOD


def test_our_own() -> None:
    """The message that the others here are changed from."""
    assert read_signed(message()) == GOOD


@pytest.mark.parametrize(
    ("digest", "how", "used"),
    [
        (SHA256, RSA_ENCRYPTION, hashes.SHA256),
        (SHA256, RSA + b"\x0b", hashes.SHA256),
        (SHA384, RSA + b"\x0c", hashes.SHA384),
        (SHA512, RSA + b"\x0d", hashes.SHA512),
        (OIW_SHA1, RSA_ENCRYPTION, hashes.SHA1),
        (OIW_SHA1, RSA + b"\x05", hashes.SHA1),
        (OIW_SHA1, OIW_SHA1_RSA, hashes.SHA1),
    ],
)
@pytest.mark.parametrize("attributed", [True, False])
@pytest.mark.parametrize("parameters", [NULL, b""])
def test_each_algorithm(digest: bytes, how: bytes, used: Any, attributed: bool, parameters: bytes) -> None:  # noqa: FBT001
    """However it is named, over the content or over attributes."""
    value = hashes.Hash(used())
    value.update(CONTENT)
    attributes = (ABOUT_CONTENT[0], attribute(MESSAGE_DIGEST, tlv(Tag.OCTET_STRING, value.finalize())))
    info = signer_info(
        digest=algorithm(digest, parameters),
        how=algorithm(how, parameters),
        digest_used=used,
        attributes=attributes if attributed else None,
    )
    assert read_signed(message(info)) == GOOD


def test_the_shown_certificate_comes_first() -> None:
    """What a message carries under the same name is not even looked at."""
    twin = certificate_for(rsa.generate_private_key(public_exponent=65537, key_size=2048), 4711)
    carried = tlv(Tag.CONTEXT_0, encoded(twin))
    assert read_signed(message(certificates=carried), shown=encoded(OWN)) == GOOD
    with pytest.raises(RefusedRequest, match="not signed by the key"):
        read_signed(message(), shown=encoded(twin))


def test_what_stands_beside() -> None:
    """Other certificates, revocation lists and unsigned attributes change nothing."""
    both = tlv(Tag.CONTEXT_0, encoded(OTHER), encoded(OWN))
    info = signer_info(unsigned=tlv(Tag.CONTEXT_1, attribute(SIGNING_TIME)))
    assert (
        read_signed(message(info, certificates=both, more=tlv(Tag.CONTEXT_1)), shown=encoded(OTHER)) == GOOD
    )


def test_a_certificate_of_the_first_version() -> None:
    """It says no version, so that its serial number stands first; the key is found all the same."""
    name = OWN.issuer.public_bytes()
    key = OWN.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    information = tlv(
        Tag.SEQUENCE,
        b"\x02\x01\x07",
        algorithm(RSA + b"\x0b"),
        name,
        tlv(Tag.SEQUENCE),
        name,
        key,
    )
    old = tlv(Tag.SEQUENCE, information, algorithm(RSA + b"\x0b"), tlv(Tag.BIT_STRING, b"\0"))
    info = signer_info(name=tlv(Tag.SEQUENCE, name, b"\x02\x01\x07"))
    assert read_signed(message(info, certificates=tlv(Tag.CONTEXT_0, old))).signer == old


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"kind": DATA}, "not signed data"),
        ({"inner_kind": SIGNED_DATA}, "not plain data"),
        ({"inner": tlv(Tag.SEQUENCE, CONTENT)}, "Tag 0x30 stands where 0x04"),
        ({"inner": tlv(0x24, tlv(Tag.OCTET_STRING, CONTENT))}, "Tag 0x24 stands where 0x04"),
        ({"inner": b""}, "0 elements where 1"),
        ({"certificates": b""}, "neither in it nor"),
        ({"certificates": tlv(Tag.CONTEXT_0)}, "neither in it nor"),
        ({"certificates": tlv(Tag.CONTEXT_0, encoded(OTHER))}, "neither in it nor"),
        ({"certificates": tlv(Tag.CONTEXT_0, *(encoded(OTHER),) * 9)}, "more than 8 certificates"),
        ({"certificates": tlv(Tag.CONTEXT_0, tlv(Tag.SEQUENCE))}, "0 elements where 3"),
        (
            {
                "certificates": tlv(
                    Tag.CONTEXT_0, tlv(Tag.SEQUENCE, tlv(0x30), tlv(0x30), tlv(Tag.BIT_STRING, b"\0"))
                )
            },
            "cut off",
        ),
        ({"more": tlv(Tag.CONTEXT_1) * 2}, "7 elements where 6"),
        ({"more": b"\x80\0"}, "6 elements where 5"),
        ({"content": b"something else"}, "about another content"),
    ],
)
def test_messages_that_are_refused(members: dict[str, Any], sentence: str) -> None:
    """In a sentence that says where it is wrong."""
    with pytest.raises(RefusedRequest, match=sentence):
        read_signed(message(**members))


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"name": tlv(0x80, b"key id")}, "Tag 0x80 stands where 0x30"),
        ({"name": tlv(Tag.SEQUENCE)}, "0 elements where 2"),
        ({"name": name_of(OTHER)}, "neither in it nor"),
        ({"digest": algorithm(MD5)}, "no RSA with SHA-1 or SHA-2"),
        ({"digest": algorithm(SHA256, tlv(Tag.SEQUENCE))}, "Tag 0x30 stands where 0x05"),
        ({"digest": algorithm(SHA256, b"\x05\x01\0")}, "has parameters"),
        ({"digest": tlv(Tag.SEQUENCE)}, "0 elements where 1"),
        ({"how": algorithm(RSA_PSS)}, "no RSA with SHA-1 or SHA-2"),
        ({"how": algorithm(RSA + b"\x0c")}, "no RSA with SHA-1 or SHA-2"),
        ({"how": algorithm(bytes.fromhex("2a8648ce3d040302"), b"")}, "no RSA with SHA-1 or SHA-2"),
        ({"digest_used": hashes.SHA512}, "not signed by the key"),
        ({"attributes": ()}, "signed attribute is missing"),
        ({"attributes": ABOUT_CONTENT[:1]}, "signed attribute is missing"),
        ({"attributes": ABOUT_CONTENT[1:]}, "signed attribute is missing"),
        ({"attributes": (*ABOUT_CONTENT, ABOUT_CONTENT[1])}, "stands there twice"),
        ({"attributes": (*ABOUT_CONTENT, NULL)}, "0 elements where 2"),
        ({"attributes": (attribute(CONTENT_TYPE), ABOUT_CONTENT[1])}, "0 elements where 1"),
        (
            {"attributes": (attribute(CONTENT_TYPE, oid(SIGNED_DATA)), ABOUT_CONTENT[1])},
            "another kind of content",
        ),
        ({"attributes": (attribute(CONTENT_TYPE, NULL), ABOUT_CONTENT[1])}, "Tag 0x05 stands where"),
        (
            {"attributes": (ABOUT_CONTENT[0], attribute(MESSAGE_DIGEST, tlv(Tag.OCTET_STRING)))},
            "about another content",
        ),
        (
            {
                "attributes": (
                    ABOUT_CONTENT[0],
                    attribute(MESSAGE_DIGEST, tlv(Tag.BIT_STRING, hashlib.sha256(CONTENT).digest())),
                )
            },
            "about another content",
        ),
        ({"unsigned": b"\x80\0"}, "elements where"),
    ],
)
def test_signers_that_are_refused(members: dict[str, Any], sentence: str) -> None:
    """Each of them in a message that is good otherwise."""
    with pytest.raises(RefusedRequest, match=sentence):
        read_signed(message(signer_info(**members)))


def test_one_signer() -> None:
    """Two would leave it open whose message it is; none proves nothing."""
    with pytest.raises(RefusedRequest, match="2 elements where 1"):
        read_signed(message(signer_info(), signer_info()))
    with pytest.raises(RefusedRequest, match="0 elements where 1"):
        read_signed(message(b""))


def test_attributes_cannot_be_passed_off_as_the_content() -> None:
    """What was signed as attributes is no certificate request, whatever is said of it: it begins as a SET."""
    attributes = tlv(Tag.SET, *ABOUT_CONTENT)
    signature = tlv(Tag.OCTET_STRING, KEY.sign(attributes, PKCS1v15(), hashes.SHA256()))
    how = algorithm(SHA256), algorithm(RSA_ENCRYPTION)
    info = tlv(Tag.SEQUENCE, b"\x02\x01\x01", name_of(OWN), *how, signature)
    assert read_signed(message(info, content=attributes)).content[0] == Tag.SET


def test_weak_keys_are_refused() -> None:
    """A signer's key has to be as good as a device's."""
    key = ec.generate_private_key(ec.SECP256R1())
    odd = certificate_for(key, 5)
    info = signer_info(name=name_of(odd))
    with pytest.raises(RefusedRequest, match="not RSA"):
        read_signed(message(info, certificates=tlv(Tag.CONTEXT_0, encoded(odd))))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x30\x00",
        b"\x30\x80" * 5000,
        tlv(0x30, b"\x30\0" * 1000),
        bytes(70_000),
        message()[:-1],
        message() + b"\0",
    ],
)
def test_what_is_no_message(data: bytes) -> None:
    """Noise, nesting, floods, indefinite lengths, and what is cut off or goes on."""
    with pytest.raises(RefusedRequest, match="cannot be read"):
        read_signed(data)
    with pytest.raises(RefusedRequest, match="cannot be read"):
        read_signed(message(certificates=b""), shown=data)


def test_a_machine_that_forbids_the_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SHA-1 is switched off, the sentence says so, rather than that the device is wrong."""

    class Forbidding:
        def verify(self, *_: object) -> None:
            raise UnsupportedAlgorithm("sha1")

    monkeypatch.setattr(pkcs7, "device_key", lambda _: Forbidding())
    with pytest.raises(RefusedRequest, match="cryptographic policy"):
        read_signed(message())


@given(st.data())
def test_a_damaged_message_is_refused_or_says_the_same(data: st.DataObject) -> None:
    """No octet of the content can be changed, and whatever else is, nothing but RefusedRequest comes of it."""
    whole = WHOLE
    place = data.draw(st.integers(0, len(whole) - 1))
    octet = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    with contextlib.suppress(RefusedRequest):
        found = read_signed(whole[:place] + bytes((octet,)) + whole[place + 1 :], shown=encoded(OWN))
        assert found == GOOD


@given(st.binary(max_size=2000))
def test_any_content_comes_back(content: bytes) -> None:
    """What is signed is what is returned, octet by octet."""
    assert read_signed(renewal_request(content, KEY, OWN), shown=encoded(OWN)).content == content


WHOLE = message()
