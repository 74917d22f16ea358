"""`TlsHttpProtocol`: uvicorn's HTTP protocol that tells the application which certificate the client showed.

uvicorn 0.54 leaves it out of the ASGI scope (its issues 3132 and 3133); `on_message_begin` is where the scope of
each request is made. What is overridden here, a test holds against the installed release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mdm.tls.peer import set_peer_certificate

if TYPE_CHECKING:
    import asyncio

__all__ = ["TlsHttpProtocol"]


class TlsHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 over TCP or TLS; over TLS each request's scope has the client's certificate, if it showed one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As uvicorn makes it, one for each connection."""
        super().__init__(*args, **kwargs)
        self._certificate: bytes | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Keep the certificate of the handshake, which is over by now and has accepted it."""
        super().connection_made(transport)
        session = transport.get_extra_info("ssl_object")
        if session is not None:
            self._certificate = session.getpeercert(binary_form=True)

    def on_message_begin(self) -> None:
        """Begin the scope of a request."""
        super().on_message_begin()
        if self._certificate is not None:
            set_peer_certificate(self.scope, self._certificate)  # type: ignore[arg-type] # a TypedDict is a dict
