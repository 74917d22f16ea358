"""How a device's connections are made: whom it trusts, the certificate it shows, and the address it goes to."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx2
from cryptography import x509

from mdm.lab.provisioning_document import finds

if TYPE_CHECKING:
    from collections.abc import Callable

    from mdm.lab.store import DeviceCertificate, Link

__all__ = ["connect", "shows"]

_TIMEOUT: Final = 30.0


def connect(
    link: Link,
    certificate: DeviceCertificate | None = None,
    *,
    around: Callable[[httpx2.BaseTransport], httpx2.BaseTransport] | None = None,
) -> httpx2.Client:
    """HTTP connections of one device, with its certificate where the search criteria find it.

    `around` may put something between the device and the wire, that counts or meddles. Raises ValueError where what is to be trusted, or the certificate itself, cannot be read.
    """
    try:
        context = ssl.create_default_context(cadata=link.trust_pem or None)
        if certificate is not None:
            context.load_verify_locations(cadata=certificate.root_pem)
            if shows(certificate):
                _load(context, certificate)
    except ssl.SSLError as problem:
        raise ValueError(f"a certificate cannot be used ({problem.reason or problem})") from None
    transport: httpx2.BaseTransport = httpx2.HTTPTransport(verify=context, trust_env=False)
    if link.address:
        transport = _Elsewhere(transport, link.address)
    if around is not None:
        transport = around(transport)
    return httpx2.Client(transport=transport, trust_env=False, timeout=_TIMEOUT)


def shows(certificate: DeviceCertificate) -> bool:
    """Whether Windows would find its certificate by the search criteria of its account, and show it."""
    loaded = x509.load_pem_x509_certificate(certificate.certificate_pem.encode())
    return finds(certificate.search_criteria, loaded, certificate.store)


def _load(context: ssl.SSLContext, certificate: DeviceCertificate) -> None:
    """OpenSSL takes keys from files only: one of its owner's, gone at once."""
    with tempfile.TemporaryDirectory(prefix="csp-device-") as directory:
        path = Path(directory) / "device.pem"
        path.touch(0o600)
        path.write_text(
            certificate.key_pem + certificate.certificate_pem + certificate.intermediate_pem, encoding="ascii"
        )
        context.load_cert_chain(path)


class _Elsewhere(httpx2.BaseTransport):
    """Connects to one address whatever the URL says; TLS goes on verifying the URL's name, as `curl --connect-to`."""

    def __init__(self, inner: httpx2.BaseTransport, address: str) -> None:
        """`address` is `HOST:PORT`."""
        self._inner = inner
        self._to = urlsplit(f"//{address}")

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request there; its Host header is already that of its URL."""
        return self._inner.handle_request(
            httpx2.Request(
                request.method,
                request.url.copy_with(host=self._to.hostname, port=self._to.port),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": request.url.host},
            )
        )

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()
