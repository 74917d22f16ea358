"""Target: any octets as the value of `Client-Cert`, and what they hold on its way to the certificate authority."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from mdm.ca.certificates import read_certificate
from mdm.ca.errors import InvalidDer
from mdm.tls.client_cert import MAX_CERTIFICATE, InvalidClientCert, read_client_cert
from mdm.tls.peer import peer_certificate, set_peer_certificate

__all__ = ["NAME", "run", "value"]

NAME: Final = "client_cert"


def value(data: bytes) -> bytes:
    """The field value under test: `data` itself when it looks like one, else one that holds `data`."""
    return data if data.lstrip(b" ").startswith(b":") else b":" + b64encode(data) + b":"


def run(data: bytes) -> None:
    """Raises for anything but the documented errors, and for a certificate that changes on its way."""
    field = value(data)
    der = _read(field)
    if der is None:
        return
    assert 0 < len(der) <= MAX_CERTIFICATE + 8
    # The last digit may have bits that stand for nothing.
    assert b64encode(der).rstrip(b"=")[:-1] == field.strip(b" :").rstrip(b"=")[:-1]
    scope: dict[str, object] = {}
    set_peer_certificate(scope, der)
    assert peer_certificate(scope) == der
    try:
        read_certificate(der)
    except InvalidDer:
        return


def _read(field: bytes) -> bytes | None:
    try:
        der = read_client_cert(field)
    except InvalidClientCert as error:
        why = str(error)
    else:
        assert der is not None or not field.strip(b" :=")
        return der
    assert why.isprintable(), why
    assert len(why) < 200, why
    return None
