"""HTTP to the upstream: bounded, patient, and the only place that knows httpx.

A call is tried up to four times, with exponential back-off and jitter, after a connection error, a timeout,
HTTP 429 or 502-504, HTTP 500 without a readable fault, and the fault ServerBusy. What is read is counted while
it streams, and one attempt has one deadline however slowly the peer drips. Of content codings only `xpress` is
ever asked for, and only by who wants it; it is counted on the wire and decompressed. Any other would defeat the count.
"""

from __future__ import annotations

import importlib.metadata
import random
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import httpx2

from mdm.upstream.answers import read_fault
from mdm.upstream.errors import AnswerTimeout, AnswerTooLarge, InvalidAnswer, SoapFault, TransportError
from mdm.upstream.xpress import XpressReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mdm.upstream.requests import SoapRequest

__all__ = ["DEADLINE", "TRIES", "Patience", "Reader", "Transport", "open_http_client", "origin_of"]

TRIES: Final = 4
"""Attempts per call. Precedents: 10 in Microsoft's own open client, which pauses 5 s; 3 in Windows' reporting."""
DEADLINE: Final = 180.0
"""Seconds one attempt may take as a whole; the same as in Microsoft's open client."""
_LONGEST_PAUSE: Final = 30.0
_FAULT_BYTES: Final = 1024 * 1024
_OK: Final = 200
_MAY_HOLD_FAULT: Final = frozenset({400, 500})
"""SOAP 1.1 answers a fault with 500; SOAP 1.2 blames the sender with 400."""
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_LATER: Final = frozenset({429, 500, 502, 503, 504})
_IDENTITY: Final = "identity"
_XPRESS: Final = "xpress"


def open_http_client(*, proxy: str | None = None, ca_file: Path | None = None) -> httpx2.Client:
    """Return a client for one sync run; the caller closes it.

    TLS is verified against the operating system's store and the authorities in `ca_file`: Microsoft Update's root,
    "Microsoft Root Certificate Authority 2011", is not in Mozilla's list. A loopback upstream is never asked
    through a proxy. Raises TransportError if the file cannot be used.
    """
    version = importlib.metadata.version("update-csp-bridge")
    loopback: dict[str, httpx2.BaseTransport | None] = {
        "all://127.0.0.1": None,
        "all://localhost": None,
        "all://[::1]": None,
    }
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as problem:  # ssl.SSLError is one
            reason = problem.strerror or type(problem).__name__
            raise TransportError(
                f"the file of certificate authorities {ca_file} cannot be used: {reason}"
            ) from problem
    return httpx2.Client(
        timeout=httpx2.Timeout(30.0, read=120.0),
        follow_redirects=False,
        headers={"User-Agent": f"csp-bridge/{version}"},
        mounts=loopback,
        proxy=proxy,
        verify=context,
    )


@dataclass(frozen=True, slots=True)
class Patience:
    """How a call waits; tests give it clocks of their own."""

    sleep: Callable[[float], object] = time.sleep
    jitter: Callable[[], float] = random.random
    """From 0 to 1."""
    monotonic: Callable[[], float] = time.monotonic
    tries: int = TRIES
    deadline: float = DEADLINE

    def pause(self, attempt: int) -> float:
        """Seconds to wait after a failed attempt (the first is 1): 0.5-1, 1-2, 2-4, ... up to 30."""
        longest = min(_LONGEST_PAUSE, 2.0 ** (attempt - 1))
        return longest * (0.5 + self.jitter() / 2)


class Reader(Protocol[T_co]):
    """What takes an answer as it arrives."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""

    def close(self) -> T_co:
        """Return what they come to."""


class Transport:
    """Posts calls and gets files over one httpx client."""

    def __init__(self, http: httpx2.Client, patience: Patience, *, xpress: bool = False) -> None:
        """Use a client that somebody else closes; with `xpress`, have answers of calls compressed (MS-WSUSSS 2.1)."""
        self._http = http
        self._patience = patience
        self._coding = _XPRESS if xpress else _IDENTITY
        self.before_attempt: Callable[[], None] = _nothing
        """Runs before every attempt; what it raises ends the call."""
        self.bytes_received = 0
        """Body bytes read so far as they came over the line, refused and failed answers included."""

    def post(self, url: str, request: SoapRequest, *, max_bytes: int, retry_timeouts: bool = True) -> bytes:
        """Return the body of an HTTP 200 answer.

        Raises SoapFault for a fault; AnswerTooLarge over `max_bytes`; TransportError once the tries are used
        up (after one AnswerTimeout unless `retry_timeouts`); InvalidAnswer for any other status.
        """
        return self.post_for(url, request, _Whole, max_bytes=max_bytes, retry_timeouts=retry_timeouts)

    def post_for(
        self,
        url: str,
        request: SoapRequest,
        open_reader: Callable[[], Reader[T]],
        *,
        max_bytes: int,
        retry_timeouts: bool = True,
    ) -> T:
        """Return what a reader makes of the body of an HTTP 200 answer while it arrives; raises as `post` does.

        Each try has a reader of its own, whose errors end the call.
        """

        def attempt() -> T:
            reader = open_reader()
            status, body = self._exchange("POST", url, max_bytes, request, reader)
            if status == _OK:
                return reader.close()
            if status in _MAY_HOLD_FAULT and (fault := read_fault(body)):
                raise fault
            raise _status_error(status, url)

        return self._patiently(attempt, retry_timeouts=retry_timeouts)

    def get(self, url: str, *, max_bytes: int) -> bytes:
        """Return the body of an HTTP 200 answer; raises as `post` does, faults apart."""

        def attempt() -> bytes:
            reader = _Whole()
            status, _ = self._exchange("GET", url, max_bytes, None, reader)
            if status == _OK:
                return reader.close()
            raise _status_error(status, url)

        return self._patiently(attempt, retry_timeouts=True)

    def _patiently(self, attempt: Callable[[], T], *, retry_timeouts: bool) -> T:
        for number in range(1, self._patience.tries):
            self.before_attempt()
            try:
                return attempt()
            except AnswerTimeout:
                if not retry_timeouts:
                    raise
            except TransportError:
                pass  # the next attempt, or the last one below, tells
            except SoapFault as fault:
                if fault.error_code != "ServerBusy":
                    raise
            self._patience.sleep(self._patience.pause(number))
        self.before_attempt()
        return attempt()

    def _exchange(
        self, method: str, url: str, max_bytes: int, request: SoapRequest | None, reader: Reader[object]
    ) -> tuple[int, bytes]:
        """Status and, unless that is 200, body; the body of a 200 goes to the reader."""
        deadline = self._patience.monotonic() + self._patience.deadline
        # files are asked for as they are: their digests are of that, and a WSUS compresses answers only
        accepted = self._coding if request else _IDENTITY
        headers = {"Accept-Encoding": accepted, **(request.headers if request else {})}
        content = request.body if request else None
        where = _place(url)
        try:
            with self._http.stream(
                method, url, content=content, headers=headers, follow_redirects=False
            ) as response:
                coding = response.headers.get("Content-Encoding", _IDENTITY)
                if coding.lower() not in {accepted, _IDENTITY}:
                    raise InvalidAnswer(
                        f"{where} sent the content coding {coding[:40]!r}, which nobody asked for"
                    )
                if response.status_code == _OK:
                    self._read(response, reader, max_bytes, deadline, where)
                    return _OK, b""
                refusal = _Whole()
                self._read(response, refusal, _FAULT_BYTES, deadline, where)
                return response.status_code, refusal.close()
        except (httpx2.ReadTimeout, httpx2.WriteTimeout) as problem:
            raise AnswerTimeout(f"{where} did not answer in time") from problem
        except httpx2.RequestError as problem:
            raise TransportError(
                f"{where} cannot be reached: {str(problem) or type(problem).__name__}"
            ) from problem

    def _read(
        self, response: httpx2.Response, reader: Reader[object], limit: int, deadline: float, where: str
    ) -> None:
        chunks = self._chunks(response, limit, deadline, where)
        if response.headers.get("Content-Encoding", _IDENTITY).lower() == _XPRESS:
            chunks = _unpacked(chunks, limit, where)
        for chunk in chunks:
            reader.feed(chunk)

    def _chunks(self, response: httpx2.Response, limit: int, deadline: float, where: str) -> Iterator[bytes]:
        """The body as it comes over the line."""
        length = 0
        for chunk in response.iter_raw():
            self.bytes_received += len(chunk)
            length += len(chunk)
            _check_length(length, limit, where)
            if self._patience.monotonic() > deadline:
                raise AnswerTimeout(f"{where} took more than {self._patience.deadline:g} s to answer")
            yield chunk


class _Whole:
    """The reader that keeps the body."""

    def __init__(self) -> None:
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        self._body += data

    def close(self) -> bytes:
        return bytes(self._body)


def _unpacked(chunks: Iterable[bytes], limit: int, where: str) -> Iterator[bytes]:
    """The body as it was before `xpress`, under the limit of answers that come as they are.

    What comes over the line keeps its own count: blocks that come to nothing would have no limit otherwise.
    """
    reader = XpressReader()
    length = 0
    for chunk in chunks:
        for block in reader.feed(chunk):
            length += len(block)
            _check_length(length, limit, where)
            yield block
    reader.close()


def _check_length(length: int, limit: int, where: str) -> None:
    if length > limit:
        raise AnswerTooLarge(f"the answer of {where} has more than {limit} bytes")


def _nothing() -> None:
    """Nobody watches."""


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port (None where it is the scheme's own) of an http or https URL.

    Raises InvalidAnswer for any other URL.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as problem:
        raise InvalidAnswer("a URL cannot be read") from problem
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise InvalidAnswer(f"a URL is not http or https but {parsed.scheme[:20]!r}")
    return parsed.scheme, parsed.host, parsed.port


def _place(url: str) -> str:
    """Host and port of a URL: what a sentence may say of it, without credentials."""
    _, host, port = origin_of(url)
    return host if port is None else f"{host}:{port}"


def _status_error(status: int, url: str) -> TransportError | InvalidAnswer:
    kind = TransportError if status in _LATER else InvalidAnswer
    return kind(f"{_place(url)} answered HTTP {status}")
