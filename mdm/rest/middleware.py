"""What every request passes through, as pure ASGI: request id, security headers, one log line, no bare 500.

The order is `RequestId` (outermost), `SecurityHeaders`, `RequestLog`: the line then counts the answer that
left, and a failed request still carries its id and headers.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders

from mdm.log import request_context
from mdm.rest.problems import unexpected_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["RequestId", "RequestLog", "SecurityHeaders"]

log = structlog.get_logger(__name__)

_VALID_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")

_QUIET: Final = frozenset({"/livez", "/readyz"})
"""Probes come every few seconds; a line for each would bury the rest."""

_SECURITY_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_TRANSPORT_SECURITY: Final = "max-age=31536000"
"""One year; sent only when the public address is https, since browsers ignore it on http."""


class RequestId:
    """Gives each request an id (a valid incoming X-Request-Id is kept) and puts it on the answer and log lines."""

    def __init__(self, app: ASGIApp, *, public_url: str | None = None) -> None:
        """`public_url` is the address clients know, for links in problems."""
        self.app = app
        self.public_url = (public_url or "").rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        incoming = Headers(scope=scope).get("x-request-id", "")
        request_id = incoming if _VALID_REQUEST_ID.fullmatch(incoming) else secrets.token_hex(16)
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["public_url"] = self.public_url

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        with request_context(request_id):
            await self.app(scope, receive, send_with_id)


class SecurityHeaders:
    """Adds the headers that keep browsers from sniffing, framing, caching or leaking an answer."""

    def __init__(self, app: ASGIApp, *, https: bool = False) -> None:
        """`https` says that clients reach the service by https, directly or through a proxy."""
        self.app = app
        self.headers = dict(_SECURITY_HEADERS)
        if https:
            self.headers["Strict-Transport-Security"] = _TRANSPORT_SECURITY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection; a header the answer already has is left alone."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class RequestLog:
    """Writes one canonical line per request, and answers an unforeseen exception with a plain `internal` problem."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection.

        An exception after the answer began is raised again: only the server can break the connection off.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status: int | None = None
        sent = 0

        async def send_counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        except Exception:
            log.exception("request_failed", method=scope["method"], route=_route(scope))
            if status is not None:
                raise
            await unexpected_response(scope)(scope, receive, send_counted)
        finally:
            write = log.debug if scope["path"] in _QUIET else log.info
            write(
                "request",
                method=scope["method"],
                route=_route(scope),
                status=status,
                ms=round((time.perf_counter() - started) * 1000, 1),
                bytes=sent,
                actor=scope["state"].get("actor"),
                remote_addr=scope["client"][0] if scope.get("client") else None,
            )


def _route(scope: Scope) -> str:
    """The route's template, or the path for what matched none (percent-encoded and cut: it is a stranger's text)."""
    template = scope["state"].get("route")
    if isinstance(template, str):
        return template
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("ascii", "backslashreplace")[:200]
