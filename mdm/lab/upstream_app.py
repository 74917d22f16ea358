"""The virtual upstream as an ASGI application: requests in, answers out, each noted, some made to fail.

Paths are taken in any letter case and with double slashes, as IIS does; what an operation answers is
`upstream_service`'s business.
"""

from __future__ import annotations

import re
import secrets
import threading
import uuid
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from mdm.lab.faults import CONTENT, FaultKind, FaultPlan
from mdm.lab.soap import (
    REQUEST_LIMITS,
    Call,
    ErrorCode,
    Fault,
    Unreadable,
    envelope,
    fault_envelope,
    read_call,
)
from mdm.lab.upstream_cookies import CookieMint, CookieRefused
from mdm.lab.upstream_service import SERVICES, Context, Operation
from mdm.lab.upstream_spoilers import spoil
from mdm.lab.upstream_store import UpstreamStore
from mdm.lab.xpress import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mdm.lab.bulk import BulkCatalogue
    from mdm.lab.documents import Document
    from mdm.lab.faults import FaultRule
    from mdm.lab.upstream_options import UpstreamOptions

__all__ = ["RequestRecord", "VirtualUpstream"]

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_XML = {"Content-Type": "text/xml; charset=utf-8", "Cache-Control": "private, max-age=0"}


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as the upstream saw it."""

    operation: str
    """`GetCookie`, ..., `Content` for a file, `unreadable` for what is no call."""
    at: datetime
    status: int
    """HTTP status of the answer."""
    error: str | None = None
    """ErrorCode of the fault, if it was one."""
    struck: FaultKind | None = None
    """What was done to it on purpose."""


class VirtualUpstream:
    """One upstream's state and its endpoints; everything but the endpoints may be used from other threads."""

    def __init__(
        self,
        documents: Iterable[Document],
        options: UpstreamOptions,
        clock: Callable[[], datetime],
        bulk: BulkCatalogue | None = None,
        released: int | None = None,
    ) -> None:
        """`clock` gives the moment of each request; for the others see UpstreamStore."""
        self.clock = clock
        self.store = UpstreamStore(documents, clock(), options.generation, bulk, released)
        self.requests: list[RequestRecord] = []
        self._mint = _new_mint()
        self._lock = threading.Lock()
        self.options = options

    def app(self) -> Starlette:
        """The application; it answers 413 by itself to requests over the limit."""
        return Starlette(
            routes=[
                *(Route(path, self._soap, methods=["POST"]) for path in SERVICES),
                Route("/content/{path:path}", self._content, methods=["GET", "HEAD"]),
            ],
            middleware=[Middleware(_LenientPaths)],
            max_body_size=REQUEST_LIMITS.bytes,
        )

    @property
    def options(self) -> UpstreamOptions:
        """The switches as last set; what has been used up of `fail_next` and `faults` does not show."""
        return self._options

    @options.setter
    def options(self, options: UpstreamOptions) -> None:
        with self._lock:
            self._options = options
            self._failures = options.fail_next
            self._plan = FaultPlan(options.rules, options.seed)
            self._faults = {name: deque(map(ErrorCode, codes)) for name, codes in options.faults.items()}
            self.store.generation = options.generation

    def bump_generation(self) -> None:
        """Count the generation up, leaving failures that are still waiting as they are."""
        with self._lock:
            self._options = replace(self._options, generation=self._options.generation + 1)
            self.store.generation = self._options.generation

    async def _soap(self, request: Request) -> Response:
        now = self.clock()
        received = _receive(await request.body())
        name = received.operation if isinstance(received, Call) else "unreadable"
        if await self._trouble():
            return self._note(name, now, Response(status_code=503))
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/xml":
            return self._note(name, now, Response(status_code=415))
        rule = await self._struck(name)
        base_url = str(request.base_url).rstrip("/")
        action = ""
        try:
            call, operation = _dispatch(request.url.path, received)
            action = f"{operation.namespace}/{name}"
            self._scheduled_fault(name)
            self._injected_fault(rule, name)
            context = Context(self.store, self._mint, self._options, base_url, now)
            answer = envelope(operation.namespace, name, _answer(operation, call, context))
        except (Fault, Unreadable) as fault:
            content = fault_envelope(
                fault,
                actor=f"{base_url}{request.scope['original_path']}",
                fault_id=str(uuid.uuid4()),
                action=action,
            )
            code = fault.code if isinstance(fault, Fault) else None
            return self._note(name, now, Response(content, 500, _XML), code, rule)
        return self._note(name, now, _packed(Response(answer, 200, _XML), request), rule=rule)

    async def _content(self, request: Request) -> Response:
        now = self.clock()
        if await self._trouble():
            return self._note(CONTENT, now, Response(status_code=503))
        rule = await self._struck(CONTENT)
        path = request.url.path
        data = self.store.content(path, lazy=self._options.lazy_content)
        if data is not None:
            return self._note(CONTENT, now, _file(data, request.headers.get("range")), rule=rule)
        # IIS knows no type for a name without extension, and so forbids it before it looks for the file
        status = 404 if "." in path.rpartition("/")[2] else 403
        return self._note(CONTENT, now, Response(status_code=status), rule=rule)

    async def _struck(self, operation: str) -> FaultRule | None:
        """The rule that strikes at this request; it may hold it back already."""
        rule = self._plan.next(operation)
        if rule is not None and rule.kind == FaultKind.SLOW:
            await anyio.sleep(rule.amount)
        return rule

    def _injected_fault(self, rule: FaultRule | None, operation: str) -> None:
        """Raise the fault of a rule, after doing to this server what would cause it."""
        match rule.kind if rule is not None else None:
            case FaultKind.ABSENT:
                raise Unreadable(f"{operation} is not an operation of this service")
            case FaultKind.COOKIES:
                self._mint = _new_mint()
                raise Fault(ErrorCode.INVALID_COOKIE)
            case FaultKind.GENERATION:
                self.bump_generation()
                raise Fault(ErrorCode.SERVER_CHANGED)
            case FaultKind.FAULT if rule is not None:
                raise Fault(rule.code) if rule.code is not None else Unreadable("an unexpected error")

    async def _trouble(self) -> bool:
        """Wait as long as the options say; True if this request is one of those to fail."""
        await anyio.sleep(self._options.delay)
        with self._lock:
            failing = self._failures > 0
            self._failures -= failing
            return failing

    def _scheduled_fault(self, operation: str) -> None:
        with self._lock:
            waiting = self._faults.get(operation)
            code = waiting.popleft() if waiting else None
        if code is not None:
            raise Fault(code)

    def _note(
        self,
        operation: str,
        at: datetime,
        response: Response,
        error: str | None = None,
        rule: FaultRule | None = None,
    ) -> Response:
        """Note what goes out, which is what the rule makes of the answer."""
        if rule is not None:
            response = spoil(rule, response)
        self.requests.append(
            RequestRecord(operation, at, response.status_code, error, rule.kind if rule is not None else None)
        )
        return response


def _new_mint() -> CookieMint:
    return CookieMint(secrets.token_bytes(32))


def _receive(body: bytes) -> Call | Unreadable:
    """The call, or why there is none: both are noted before anything is decided."""
    try:
        return read_call(body)
    except Unreadable as problem:
        return problem


def _dispatch(path: str, received: Call | Unreadable) -> tuple[Call, Operation]:
    if isinstance(received, Unreadable):
        raise received
    operation = SERVICES[path].get(received.name)
    if operation is None:
        raise Unreadable(f"{received.operation} is not an operation of this service")
    return received, operation


def _answer(operation: Operation, call: Call, context: Context) -> str | None:
    if operation.needs_cookie:
        cookie = call.arguments.members("cookie")
        try:
            context.mint.check_cookie(cookie.text("EncryptedData"), cookie.text("Expiration"), context.now)
        except CookieRefused:
            raise Fault(ErrorCode.INVALID_COOKIE) from None
    return operation.answer(call.arguments, context)


def _packed(response: Response, request: Request) -> Response:
    """The answer in the one content coding that a Windows client asks for, and a WSUS knows."""
    codings = request.headers.get("accept-encoding", "").lower().split(",")
    if "xpress" not in (coding.partition(";")[0].strip() for coding in codings):
        return response
    return Response(pack(bytes(response.body)), response.status_code, {**_XML, "Content-Encoding": "xpress"})


def _file(data: bytes, wanted: str | None) -> Response:
    """A file, or the one range of it that was asked for (RFC 9110 14); several ranges get the whole file."""
    headers = {"Content-Type": "text/plain", "Accept-Ranges": "bytes"}
    match = _RANGE.fullmatch(wanted or "")
    if match is None or match[0] == "bytes=-":
        return Response(data, 200, headers)
    size = len(data)
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
    else:
        first, last = max(size - int(match[2]), 0), size - 1
    if first > last:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(data[first : last + 1], 206, headers)


class _LenientPaths:
    """Lets `//DssAuthWebService/…` and any letter case reach the routes; the original path is kept for faults."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = re.sub("/+", "/", scope["path"])
            scope = {**scope, "path": path.lower(), "original_path": path}
        await self._app(scope, receive, send)
