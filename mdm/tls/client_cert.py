"""The header field `Client-Cert` (RFC 9440): a certificate as a byte sequence of RFC 8941 section 3.3.5."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

__all__ = ["CLIENT_CERT", "CLIENT_CERT_CHAIN", "MAX_CERTIFICATE", "InvalidClientCert", "read_client_cert"]

CLIENT_CERT: Final = b"client-cert"
"""The name of the header that holds the client's own certificate, as ASGI spells names."""
CLIENT_CERT_CHAIN: Final = b"client-cert-chain"
"""The name of the header with its issuers; nothing reads it, the bridge knows its own chain."""
MAX_CERTIFICATE: Final = 10 * 1024
"""Octets a certificate may have: a device's has 1 to 2 KiB, and Cloudflare passes none above 10 KiB of text."""

_MAX_TEXT: Final = MAX_CERTIFICATE * 4 // 3 + 8
_BYTE_SEQUENCE: Final = re.compile(rb" *:([A-Za-z0-9+/]*={0,2}): *", re.ASCII)
_SEQUENCE_TAG: Final = 0x30


class InvalidClientCert(ValueError):  # noqa: N818 - named for what is wrong
    """A field value that is no certificate; the message says why and never repeats the value."""


def read_client_cert(value: bytes) -> bytes | None:
    """Return the certificate (DER) of one field value, or None for the empty byte sequence `::`.

    RFC 9440 has no value for "the client showed no certificate": then the field is absent. A proxy whose
    configuration cannot leave a field out (Caddy, docs/tls.md) sends `::`, and means the same.

    Parameters after the sequence are refused: RFC 9440 defines none. Whether the octets are a certificate that
    anybody trusts is not asked here. Raises InvalidClientCert.
    """
    if len(value) > _MAX_TEXT:
        raise InvalidClientCert(f"it is longer than a certificate of {MAX_CERTIFICATE} octets can be")
    found = _BYTE_SEQUENCE.fullmatch(value)
    if found is None:
        raise InvalidClientCert("it is no byte sequence, which is base64 between two colons")
    try:
        # Padding may be absent (RFC 8941 section 4.2.7), so it is made whole.
        text = found[1].rstrip(b"=")
        der = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise InvalidClientCert("its base64 is cut short") from None
    if not der:
        return None
    if der[0] != _SEQUENCE_TAG:
        raise InvalidClientCert("it holds no certificate in DER")
    return der
