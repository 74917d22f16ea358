"""`ClientCertificates`: whose word about a client's certificate counts, decided before anything else looks.

| The request comes from | with `Client-Cert` | without |
|---|---|---|
| a configured proxy | the certificate in it; malformed or doubled: 400 | no certificate, whatever the connection has |
| anybody else | 400, logged and counted | the certificate of the TLS connection, if it has one |

A proxy's own TLS certificate is never taken for a device's: a proxy speaks for somebody else, or for nobody.
The middleware stands outside of the one that reads `X-Forwarded-For`, because it asks who is at the other end
of the connection, not who that peer says he forwards for (design rule P6).
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from mdm.tls.client_cert import CLIENT_CERT, CLIENT_CERT_CHAIN, InvalidClientCert, read_client_cert
from mdm.tls.peer import set_peer_certificate
from mdm.tls.refusals import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mdm.tls.refusals import Refusals

__all__ = ["ClientCertificates", "TrustedProxies"]

_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class TrustedProxies:
    """The addresses that may speak for others."""

    def __init__(self, setting: str) -> None:
        """`setting` is a comma-separated list of addresses and networks, already checked by `mdm.settings`."""
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(
            ip_network(entry) for entry in setting.split(",") if entry
        )

    def __contains__(self, host: str) -> bool:
        """Whether a peer with this address is a proxy of ours; what is no address (a socket file) never is."""
        try:
            address = ip_address(host)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


class ClientCertificates:
    """ASGI middleware that leaves in the scope only a certificate that may be believed to be the client's."""

    def __init__(self, app: ASGIApp, proxies: TrustedProxies, refusals: Refusals) -> None:
        """`refusals` count and log what is refused."""
        self._app = app
        self._proxies = proxies
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400."""
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                response = PlainTextResponse(f"{refusal}\n", 400, _HEADERS)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        """Why the request is refused, in one sentence; otherwise the scope has the right certificate."""
        host = scope["client"][0] if scope.get("client") else ""
        values = [value for name, value in scope["headers"] if name == CLIENT_CERT]
        if host not in self._proxies:
            if not values and all(name != CLIENT_CERT_CHAIN for name, _ in scope["headers"]):
                return None
            return self._refused(
                scope,
                host,
                Refusal.FORGED_HEADER,
                "The address that sent it is not in BRIDGE_TRUSTED_PROXIES",
            )
        if len(values) > 1:
            return self._refused(
                scope, host, Refusal.DOUBLED_HEADER, "The proxy has to replace the client's own header"
            )
        try:
            set_peer_certificate(scope, read_client_cert(values[0]) if values else None)
        except InvalidClientCert as error:
            return self._refused(scope, host, Refusal.MALFORMED_HEADER, f"The header cannot be read: {error}")
        return None

    def _refused(self, scope: Scope, host: str, reason: Refusal, why: str) -> str:
        self._refusals.note(
            reason, f"{why}.", remote_addr=host or None, method=scope["method"], path=scope["path"]
        )
        return f"The Client-Cert header is refused. {why}."
