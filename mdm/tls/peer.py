"""What the transport knows of a client: its certificate, which lies in the ASGI scope, and whether anybody could listen.

It lies where the ASGI TLS extension puts it, `scope["extensions"]["tls"]["client_cert_chain"]` (PEM, the leaf
alone). Two writers: `mdm.tls.protocol` for TLS that this process ended, `mdm.tls.forwarded` for what a configured
proxy says. Whoever reads it still has to ask the certificate authority whether it is valid, and whose it is.
"""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from typing import Any

    from starlette.requests import Request

__all__ = ["is_private", "peer_certificate", "set_peer_certificate"]

_EXTENSIONS: Final = "extensions"
_TLS: Final = "tls"
_CHAIN: Final = "client_cert_chain"


def peer_certificate(scope: Mapping[str, Any]) -> bytes | None:
    """The client's certificate (DER), or None if it showed none."""
    chain = scope.get(_EXTENSIONS, {}).get(_TLS, {}).get(_CHAIN, ())
    return ssl.PEM_cert_to_DER_cert(chain[0]) if chain else None


def is_private(request: Request) -> bool:
    """True if nobody on the way could read it: TLS, or a peer on this machine (a TLS terminator, a trial)."""
    if request.url.scheme == "https":
        return True
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def set_peer_certificate(scope: MutableMapping[str, Any], der: bytes | None) -> None:
    """Say whose request this is; None takes back what was said before."""
    extensions = scope.get(_EXTENSIONS, {})
    chain = [] if der is None else [ssl.DER_cert_to_PEM_cert(der)]
    scope[_EXTENSIONS] = {**extensions, _TLS: {**extensions.get(_TLS, {}), _CHAIN: chain}}
