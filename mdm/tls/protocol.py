"""`TlsHttpProtocol`: uvicorn's HTTP protocol that tells the application which certificate the client showed.

uvicorn 0.54 leaves it out of the ASGI scope (its issues 3132 and 3133); `on_message_begin` is where the scope of
each request is made. What is overridden here, a test holds against the installed release.

It also bounds what uvicorn does not: how large a request's head may be, and how long a client may be silent in the
middle of a request. Otherwise anybody could fill the memory with headers, or hold every connection there is. And it
does not wait for clients that leave a connection open and look away: they would hold up each stop of the service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mdm.tls.peer import set_peer_certificate

if TYPE_CHECKING:
    import asyncio

__all__ = ["MAX_HEAD", "TlsHttpProtocol"]

MAX_HEAD: Final = 64 * 1024
"""Octets that may come without an end of the head or a part of the body in them: a proxy's Client-Cert has up to 14 KiB."""


_FAREWELL: Final = 1.0


class TlsHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 over TCP or TLS; over TLS each request's scope has the client's certificate, if it showed one."""

    patience: float = 30.0
    """Seconds a client may be silent from its first octet, or from the handshake, to the end of a request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As uvicorn makes it, one for each connection."""
        super().__init__(*args, **kwargs)
        self._certificate: bytes | None = None
        self._head = 0
        self._read_on = False
        self._timer: asyncio.TimerHandle | None = None
        self._farewell: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Keep the certificate of the handshake, which is over by now and has accepted it."""
        super().connection_made(transport)
        session = transport.get_extra_info("ssl_object")
        if session is not None:
            self._certificate = session.getpeercert(binary_form=True)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        if self._farewell is not None:
            self._farewell.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless there is no end to a head, or to what may stand behind a body."""
        self._read_on = False
        super().data_received(data)
        self._head = 0 if self._read_on else self._head + len(data)
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self.logger.warning("The head of a request is too large.")
            self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:
        """The head has come; of the body, each part may take its time."""
        self._read_on = True
        self._wait()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._read_on = True
        self._wait()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """From here on it is not the client who is waited for."""
        self._read_on = True
        self._stop_waiting()
        super().on_message_complete()

    def _wait(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(self.patience, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _give_up(self) -> None:
        if self.flow.read_paused:  # it is us who do not read
            self._wait()
        else:
            self.transport.close()
            self._part()

    def shutdown(self) -> None:
        """The service stops: a connection between two requests ends at once, others with their answer."""
        super().shutdown()
        self._part()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing has come for long: the connection ends."""
        super().timeout_keep_alive_handler()
        self._part()

    def _part(self) -> None:
        """Wait no longer than a second for a client that says no goodbye: over TLS asyncio waits for half a minute."""
        if self.transport.is_closing() and self._farewell is None:
            self._farewell = self.loop.call_later(_FAREWELL, self.transport.abort)

    def on_message_begin(self) -> None:
        """Begin the scope of a request."""
        super().on_message_begin()
        self._wait()
        if self._certificate is not None:
            set_peer_certificate(self.scope, self._certificate)  # type: ignore[arg-type] # a TypedDict is a dict
