"""Good answers made bad: cut off, dripped, swollen, damaged or replaced, on the way out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import anyio
from starlette.responses import HTMLResponse, Response

from mdm.lab.faults import FaultKind

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from mdm.lab.faults import FaultRule

__all__ = ["spoil"]

_PIECES: Final = 20
_MIB: Final = 1 << 20
_PAGE: Final = (
    "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to use the proxy.</body></html>"
)
_BLOBS: Final = (b"<XmlUpdateBlob>", b"<XmlUpdateBlobCompressed>")
_INSIDE: Final = b"<soap:Body>"


def spoil(rule: FaultRule, response: Response) -> Response:
    """The answer as this rule lets it go out; a rule that has done its work before leaves it as it is."""
    body = bytes(response.body)
    match rule.kind:
        case FaultKind.STATUS:
            return Response(status_code=int(rule.amount))
        case FaultKind.GARBAGE:
            return Response(_noise(body), response.status_code, media_type="text/xml")
        case FaultKind.PAGE:
            return HTMLResponse(_PAGE)
        case FaultKind.CORRUPT:
            headers = {name: value for name, value in response.headers.items() if name != "content-length"}
            return Response(_damaged(body), response.status_code, headers)
        case FaultKind.DRIP | FaultKind.TRUNCATED | FaultKind.OVERSIZE:
            return _Spoilt(rule, response)
        case _:
            return response


class _Spoilt(Response):
    """An answer whose bytes do not go out as its header says, or not at once."""

    def __init__(self, rule: FaultRule, response: Response) -> None:
        super().__init__(response.body, response.status_code)
        self.raw_headers = response.raw_headers
        self._rule = rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        body = bytes(self.body)
        headers = self.raw_headers
        if self._rule.kind == FaultKind.OVERSIZE:
            headers = [header for header in headers if header[0] != b"content-length"]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        if self._rule.kind == FaultKind.TRUNCATED:
            # that is all: the server closes a connection whose answer is not complete
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            return
        if self._rule.kind == FaultKind.DRIP:
            await self._drip(body, send)
        else:
            await self._swell(body, send)
        await send({"type": "http.response.body"})

    async def _drip(self, body: bytes, send: Send) -> None:
        size = -(-len(body) // _PIECES) or 1
        for start in range(0, len(body), size):
            await send({"type": "http.response.body", "body": body[start : start + size], "more_body": True})
            await anyio.sleep(self._rule.amount / _PIECES)

    async def _swell(self, body: bytes, send: Send) -> None:
        """White space in the envelope: it is still XML, and nobody should read all of it."""
        head, inside, tail = body.partition(_INSIDE)
        await send({"type": "http.response.body", "body": head, "more_body": True})
        for _ in range(int(self._rule.amount)):
            await send({"type": "http.response.body", "body": b" " * _MIB, "more_body": True})
        await send({"type": "http.response.body", "body": inside + tail, "more_body": True})


def _noise(body: bytes) -> bytes:
    """Bytes that are no XML, as long as the answer would have been, and the same each time."""
    return hashlib.shake_128(body).digest(max(1, len(body)))


def _damaged(body: bytes) -> bytes:
    """One byte of a document or of a file changed: the first letter of the first blob, or the first byte."""
    places = [body.find(mark) + len(mark) for mark in _BLOBS if mark in body]
    place = min(places, default=0)
    return body[:place] + (b"!" if body[place : place + 1] != b"!" else b"?") + body[place + 1 :]
