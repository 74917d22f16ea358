"""How a server answers on the wire, seen from a device: names, TLS, one HTTP exchange; nothing is waited for for ever.

A `Deadline` bounds a whole step and not each read of it, so that a server that sends an octet now and then holds
nobody up. Headers and bodies are bounded in size. Nothing secret is sent, so an exchange goes on over TLS that nobody
should trust: whoever looks for faults wants to see all of them.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "Deadline",
    "Endpoint",
    "Flight",
    "Response",
    "Unanswered",
    "exchange",
    "flight",
    "resolve",
    "verdict",
]

MAX_BODY: Final = 256 * 1024
"""Octets of an answer that are read; the largest that belongs there, GetPolicies', has some 4 KiB."""
_MAX_FLIGHT: Final = 256 * 1024
"""Octets of a server's part of the handshake."""
_RECORD_HEAD: Final = 5
_MESSAGE_HEAD: Final = 4
_ALERT, _HANDSHAKE = 21, 22  # RFC 5246 section 6.2.1
_CERTIFICATE, _CERTIFICATE_REQUEST, _HELLO_DONE = 11, 13, 14  # RFC 5246 section 7.4
_ALERTS: Final = {40: "handshake failure", 70: "it speaks no TLS 1.2", 112: "it does not know this name"}
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: whether a certificate has expired is said apart from whether it is trusted."""


class Unanswered(Exception):  # noqa: N818 - named for the state of things
    """A server did not answer as its protocol wants; the text is half a sentence that says what happened."""


class Deadline:
    """A moment after which nothing is waited for."""

    def __init__(self, seconds: float) -> None:
        """It is so many seconds from now."""
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """The seconds that are left; raises TimeoutError if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host as a device names it, and where it is."""

    host: str
    port: int = 443
    addresses: tuple[tuple[str, int], ...] = ()
    """Where to connect, one after the other."""

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port in {80, 443} else f"{host}:{self.port}"

    def __str__(self) -> str:
        """The host and port that a person would look for."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Flight:
    """What a server sends first in a TLS 1.2 handshake, where it is not encrypted yet."""

    chain: tuple[bytes, ...]
    """Its certificates (DER), its own first."""
    asks_certificate: bool
    """Whether it asks the client for a certificate."""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case; of several of a name, the last."""
    body: bytes
    """At most `MAX_BODY` octets of it."""

    @property
    def media_type(self) -> str:
        """Without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def chunked(self) -> bool:
        """Whether the body came in chunks instead of after its length."""
        return "chunked" in self.headers.get("transfer-encoding", "").lower()


def resolve(host: str, deadline: Deadline) -> tuple[str, tuple[str, ...]]:
    """The canonical name of a host and its addresses; raises Unanswered.

    The resolver knows no time limit, so it is asked in a thread that may be left behind.
    """
    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.append(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME))
        except (OSError, UnicodeError) as error:
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(deadline.left)
    if not answer:
        raise Unanswered("the name servers do not answer")
    found = answer[0]
    if isinstance(found, Exception):
        raise Unanswered(f"the name servers know no address ({getattr(found, 'strerror', None) or found})")
    return found[0][3] or host, tuple(dict.fromkeys(entry[4][0] for entry in found))


def verdict(
    endpoint: Endpoint, trust: str | None, deadline: Deadline
) -> tuple[str | None, tuple[bytes, ...]]:
    """Why the server's chain is not trusted, in OpenSSL's words or None, and the roots (DER) that were looked at.

    Neither the name nor the time is judged here. `trust` is PEM text of authorities that count in place of the
    system's. Raises Unanswered.
    """
    context = ssl.create_default_context(cadata=trust)
    context.check_hostname = False
    context.verify_flags |= cast("ssl.VerifyFlags", _NO_CHECK_TIME)
    why = None
    try:
        with _secured(endpoint, context, deadline):
            pass
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message
    # Authorities of the system's folder are read when they are needed: after the handshake those in use are here.
    return why, tuple(context.get_ca_certs(binary_form=True))


def flight(endpoint: Endpoint, deadline: Deadline) -> Flight:
    """What a server says in the clear at the start of TLS 1.2, which Windows 10 speaks; raises Unanswered."""
    context = _open_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=endpoint.host)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        hello = outgoing.read()
    chain: tuple[bytes, ...] = ()
    asks = False
    with _connected(endpoint, deadline) as sock, _plain_words():
        sock.settimeout(deadline.left)
        sock.sendall(hello)
        for kind, content in _messages(sock, deadline):
            if kind == _CERTIFICATE:
                chain = tuple(_vectors(content[3:]))
            asks = asks or kind == _CERTIFICATE_REQUEST
            if kind == _HELLO_DONE:
                break
    return Flight(chain, asks)


def exchange(
    endpoint: Endpoint,
    method: str,
    path: str,
    deadline: Deadline,
    *,
    body: bytes = b"",
    media_type: str | None = None,
    secure: bool = True,
) -> Response:
    """One request on a connection of its own, and its answer; raises Unanswered. No redirect is followed."""
    opened = _secured(endpoint, _open_context(), deadline) if secure else _connected(endpoint, deadline)
    head = [
        f"{method} {path} HTTP/1.1",
        f"Host: {endpoint.authority}",
        "User-Agent: ENROLLClient",
        "Cache-Control: no-cache",
        "Connection: close",
    ]
    if media_type is not None:
        head += [f"Content-Type: {media_type}; charset=utf-8", f"Content-Length: {len(body)}"]
    with opened as sock, _plain_words():
        sock.settimeout(deadline.left)
        sock.sendall("\r\n".join([*head, "", ""]).encode() + body)
        answer = http.client.HTTPResponse(cast("socket.socket", _Source(sock, deadline)), method=method)
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, headers, answer.read(MAX_BODY))


# --- sockets --------------------------------------------------------------------------------------------


@contextmanager
def _plain_words() -> Iterator[None]:
    """Turn what sockets, TLS and HTTP raise into Unanswered; a certificate's refusal passes."""
    try:
        yield
    except TimeoutError:
        raise Unanswered("it did not answer in time") from None
    except ssl.SSLCertVerificationError:
        raise
    except ssl.SSLError as error:
        words = (error.reason or "protocol error").replace("_", " ").lower()
        raise Unanswered(f"TLS failed ({words})") from None
    except OSError as error:
        raise Unanswered(f"the connection failed ({(error.strerror or 'closed').lower()})") from None
    except http.client.HTTPException as error:
        raise Unanswered(f"what it answers is not HTTP ({type(error).__name__})") from None


class _Source(io.RawIOBase):
    """A socket to be read by `http.client`, each read with what is left of the time."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        """As a socket does it."""
        assert mode == "rb"  # noqa: S101 - http.client reads in no other
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._deadline.left)
        return self._sock.recv_into(buffer)


def _open_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _connected(endpoint: Endpoint, deadline: Deadline) -> socket.socket:
    """A connection to the first address that takes one, each getting its share of the time."""
    with _plain_words():
        for index, address in enumerate(endpoint.addresses[:-1]):
            share = deadline.left / (len(endpoint.addresses) - index)
            with suppress(OSError):
                return socket.create_connection(address, timeout=share)
        return socket.create_connection(endpoint.addresses[-1], timeout=deadline.left)


def _secured(endpoint: Endpoint, context: ssl.SSLContext, deadline: Deadline) -> ssl.SSLSocket:
    sock = _connected(endpoint, deadline)
    try:
        with _plain_words():
            sock.settimeout(deadline.left)
            return context.wrap_socket(sock, server_hostname=endpoint.host)
    except BaseException:
        sock.close()
        raise


def _messages(sock: socket.socket, deadline: Deadline) -> Iterator[tuple[int, bytes]]:
    """The handshake messages of a server, out of its records; raises Unanswered for an alert or other octets."""
    pending = b""
    total = 0
    while total < _MAX_FLIGHT:
        head = _exactly(sock, _RECORD_HEAD, deadline)
        if head[0] not in {_ALERT, _HANDSHAKE} or head[1] != 3:  # noqa: PLR2004 - TLS's major version
            raise Unanswered("what it answers is not TLS")
        content = _exactly(sock, int.from_bytes(head[3:]), deadline)
        if head[0] == _ALERT:
            number = content[1] if len(content) == 2 else 0  # noqa: PLR2004 - level and description
            raise Unanswered(f"it refuses the handshake ({_ALERTS.get(number, f'alert {number}')})")
        total += len(content)
        pending += content
        while len(pending) >= _MESSAGE_HEAD:
            end = _MESSAGE_HEAD + int.from_bytes(pending[1:_MESSAGE_HEAD])
            if len(pending) < end:
                break
            yield pending[0], pending[_MESSAGE_HEAD:end]
            pending = pending[end:]
    raise Unanswered("its part of the TLS handshake has no end")


def _exactly(sock: socket.socket, size: int, deadline: Deadline) -> bytes:
    found = b""
    while len(found) < size:
        sock.settimeout(deadline.left)
        part = sock.recv(size - len(found))
        if not part:
            raise Unanswered("it closed the connection during the TLS handshake")
        found += part
    return found


def _vectors(content: bytes) -> Iterator[bytes]:
    """The entries of a certificate list, each after its length in three octets."""
    while content:
        end = 3 + int.from_bytes(content[:3])
        yield content[3:end]
        content = content[end:]
