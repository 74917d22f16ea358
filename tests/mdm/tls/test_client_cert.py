"""The field `Client-Cert`: what is read, and that nothing else gets through."""

from __future__ import annotations

import contextlib
from base64 import b64encode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mdm.tls.client_cert import MAX_CERTIFICATE, InvalidClientCert, read_client_cert


@given(st.binary(max_size=3000))
def test_what_a_proxy_writes_is_read(content: bytes) -> None:
    """Any octets that begin like a certificate, padded or not, with blanks around."""
    der = b"\x30" + content
    text = b64encode(der)
    assert read_client_cert(b":" + text + b":") == der
    assert read_client_cert(b"  :" + text.rstrip(b"=") + b": ") == der


def test_an_empty_sequence_is_no_certificate() -> None:
    """What a proxy sends that cannot leave the header out."""
    assert read_client_cert(b"::") is None


def test_the_largest_certificate_is_read() -> None:
    """And one octet more is not."""
    text = b64encode(b"\x30" * MAX_CERTIFICATE)
    assert read_client_cert(b":" + text + b":") == b"\x30" * MAX_CERTIFICATE
    with pytest.raises(InvalidClientCert, match="longer than a certificate of 10240 octets"):
        read_client_cert(b":" + b64encode(b"\x30" * (MAX_CERTIFICATE + 9)) + b":")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "no byte sequence"),
        (b":", "no byte sequence"),
        (b"MIIB", "no byte sequence"),
        (b"MIIB:", "no byte sequence"),
        (b":MIIB", "no byte sequence"),
        (b'"MIIB"', "no byte sequence"),
        (b":MII B:", "no byte sequence"),
        (b":MIIB:;a=1", "no byte sequence"),
        (b":MIIB:, :MIIB:", "no byte sequence"),
        (b":MII_:", "no byte sequence"),
        (b":M=IB:", "no byte sequence"),
        (b"\t:MIIB:", "no byte sequence"),
        (b":MIIB:\n", "no byte sequence"),
        (b":-----BEGIN CERTIFICATE-----:", "no byte sequence"),
        (b"-----BEGIN%20CERTIFICATE-----%0AMIIB", "no byte sequence"),
        (":MIIÅ:".encode(), "no byte sequence"),
        (b":MIIBM:", "cut short"),
        (b":AAAA:", "no certificate in DER"),
    ],
)
def test_anything_else_is_refused(value: bytes, why: str) -> None:
    """With a reason that does not repeat it; nginx's escaped PEM is the usual mistake."""
    with pytest.raises(InvalidClientCert, match=why):
        read_client_cert(value)


@given(st.binary(max_size=300))
@example(b":" + b"A" * 20_000 + b":")
def test_only_the_documented_error_is_raised(value: bytes) -> None:
    """Whatever a peer sends."""
    found = None
    with contextlib.suppress(InvalidClientCert):
        found = read_client_cert(value)
    assert found is None or found.startswith(b"\x30")
