"""Certificate requests of the virtual device: what Windows sends, byte for byte where it matters."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mdm.ca.csr import read_csr
from mdm.ca.errors import RefusedRequest
from mdm.lab.certificate_request import Digest, WindowsForm, certificate_request

DEVICE_ID = "B5B954E81FBCB94EB79BD08BE625F4EE"
CONTAINER = "562a7f9a-6cd8-40b0-9e7e-0dbdd8c0ffee"
OIW_SHA1 = bytes.fromhex("06052b0e03021d")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """A device's key."""
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("form", WindowsForm)
@pytest.mark.parametrize("digest", Digest)
def test_the_bridge_reads_it(key: rsa.RSAPrivateKey, form: WindowsForm, digest: Digest) -> None:
    """The signature holds over the exact octets, and key and device are found."""
    der = certificate_request(key, DEVICE_ID, CONTAINER, form, digest)
    request = read_csr(der)
    assert request.device_id == DEVICE_ID
    assert request.public_key_der == key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    spoiled = der.replace(DEVICE_ID.encode(), DEVICE_ID.lower().encode())
    with pytest.raises(RefusedRequest, match="not signed by the key"):
        read_csr(spoiled)


@pytest.mark.parametrize("form", WindowsForm)
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_it(key: rsa.RSAPrivateKey, form: WindowsForm) -> None:
    """A reader that nobody here wrote agrees, as it does with the published requests."""
    done = subprocess.run(
        ["openssl", "req", "-inform", "DER", "-verify", "-noout"],
        input=certificate_request(key, DEVICE_ID, CONTAINER, form),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"verify OK" in done.stdout + done.stderr) == (0, True), done.stderr


def test_windows_10_writes_what_libraries_refuse(key: rsa.RSAPrivateKey) -> None:
    """64 octets of PrintableString with "!" and NUL, the OIW's SHA-1 whatever was asked for, no key usage."""
    der = certificate_request(key, DEVICE_ID, CONTAINER, WindowsForm.WINDOWS_10, Digest.SHA256)
    name = b"562A7F9A-6CD8-40B0-9E7E-0DBDD8!" + DEVICE_ID.encode() + b"\0"
    assert len(name) == 64
    assert b"\x13\x40" + name in der
    assert OIW_SHA1 in der
    assert bytes.fromhex("0603551d25") not in der
    with pytest.raises(ValueError, match="PrintableString"):
        x509.load_der_x509_csr(der)


def test_windows_11_is_a_good_request(key: rsa.RSAPrivateKey) -> None:
    """63 characters of UTF-8, clientAuth, SHA-256: a library loads and verifies it, and finds the bare DeviceID."""
    der = certificate_request(key, DEVICE_ID, CONTAINER, WindowsForm.WINDOWS_11)
    request = x509.load_der_x509_csr(der)
    assert request.is_signature_valid
    (name,) = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == f"562A7F9A-6CD8-40B0-9E7E-0DBDD8!{DEVICE_ID}"
    usage = request.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    own = request.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.4.1.311.66.1.0")).value
    assert isinstance(own, x509.UnrecognizedExtension)
    assert own.value == DEVICE_ID.encode() + b"\0"


def test_windows_11_signs_as_the_policy_says(key: rsa.RSAPrivateKey) -> None:
    """SHA-1 where a server asks for nothing better."""
    der = certificate_request(key, DEVICE_ID, CONTAINER, WindowsForm.WINDOWS_11, Digest.SHA1)
    assert OIW_SHA1 in der
    assert read_csr(der).device_id == DEVICE_ID
