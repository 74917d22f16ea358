"""The typed table that routes requests: an operation says its method, path, scope, models and handler.

A handler is a plain function in a worker thread. It gets one `Call` with a connection inside one transaction
(a read transaction for GET, a write transaction otherwise), and returns a `Reply`; whatever it raises rolls
everything back. Nothing reaches it that the models have not accepted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import anyio
import anyio.to_thread
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mdm.audit import Origin
from mdm.errors import FieldError, Invalid, Malformed, NotFound
from mdm.rest import API_PREFIX
from mdm.rest.bearer import BearerAuth
from mdm.rest.encoding import to_json
from mdm.rest.fields import Body, NoBody, Query, field_errors, printable
from mdm.rest.paging import Page, Position
from mdm.rest.problems import BodyTooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.access.scopes import Scope
    from mdm.rest.fields import PageQuery
    from mdm.settings import Settings
    from mdm.storage.engine import Database
    from mdm.storage.secrets import SecretBox

__all__ = ["MAX_BODY", "Call", "Operation", "Reply", "Services", "operation_routes"]

MAX_BODY: Final = 1024 * 1024
"""Bytes of a request body."""

_THREADS: Final = 16
"""Requests worked on at once; a thread pool of their own, so that they cannot crowd out device check-ins."""

_MAX_PATH_PART: Final = 200
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})

Q = TypeVar("Q", bound=Query)
B = TypeVar("B", bound=Body)
K = TypeVar("K", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers may use besides their connection."""

    settings: Settings
    database: Database
    secrets: SecretBox
    clock: Callable[[], datetime]
    wake_sync: Callable[[], None]
    """Tell the catalogue worker that there is a run to do."""
    wake_rules: Callable[[], None]
    """Tell the worker of rules the same."""
    wake_push: Callable[[], None] | None = None
    """Tell the worker of push notifications the same; None where none are set up."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """One accepted request."""

    conn: Connection
    now: datetime
    origin: Origin
    services: Services
    path: str
    """As requested, e.g. `/api/v1/devices`."""
    path_params: Mapping[str, str]
    params: tuple[tuple[str, str], ...]
    query: Q
    body: B

    def position(self, query: PageQuery, *kinds: type) -> Position[Any]:
        """Where in its list this request stands (see `Position.of`)."""
        return Position.of(self.path, self.params, query, kinds)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers; `status` None means the operation's usual one."""

    body: Any = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after_commit: Callable[[], None] | None = None
    """Run once the transaction is committed."""

    @classmethod
    def of_page(cls, page: Page) -> Reply:
        """A list's answer: its items, the next cursor and the Link header; nothing is counted unasked."""
        headers = {} if page.link is None else {"Link": page.link}
        return cls({"items": page.items, "next_cursor": page.next_cursor, "total": None}, headers=headers)

    @classmethod
    def created(cls, location: str, body: Any) -> Reply:
        """An answer that names the object's path below /api/v1."""
        return cls(body, headers={"Location": f"{API_PREFIX}{location}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[Q, B]):
    """One row of the table."""

    method: str
    path: str
    """Below /api/v1, with `{name}` for path parameters."""
    scope: Scope
    handler: Callable[[Call[Q, B]], Reply]
    query: type[Q]
    body: type[B]
    status: int = 200
    summary: str
    reads_only: bool = False
    """A POST that changes nothing, because its question needs a body: it runs in a read transaction."""


def operation_routes(operations: Iterable[Operation[Any, Any]], services: Services) -> list[Route]:
    """Starlette routes for the table: one per path, so that a 405 names all the methods the path has."""
    auth = BearerAuth(services.database, services.clock)
    limiter = anyio.CapacityLimiter(_THREADS)
    by_path: dict[str, dict[str, Operation[Any, Any]]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [
        Route(
            API_PREFIX + path,
            _Endpoint(API_PREFIX + path, methods, services, auth, limiter).answer,
            methods=list(methods),
        )
        for path, methods in by_path.items()
    ]


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """All operations of one path."""

    template: str
    methods: Mapping[str, Operation[Any, Any]]
    services: Services
    auth: BearerAuth
    limiter: anyio.CapacityLimiter

    async def answer(self, request: Request) -> Response:
        """Authenticate, read, validate, run in one transaction, render."""
        request.state.route = self.template
        operation = self.methods["GET" if request.method == "HEAD" else request.method]
        principal = await anyio.to_thread.run_sync(
            self.auth.authenticate, request, operation.scope, limiter=self.limiter
        )
        path_params = _path_params(request)
        query = _query(operation.query, request)
        body = await _body(operation, request)
        origin = Origin(
            actor=principal.actor,
            token_id=principal.token_id,
            request_id=request.state.request_id,
            remote_addr=request.client.host if request.client else None,
        )

        def call(conn: Connection) -> Call[Any, Any]:
            return Call(
                conn=conn,
                now=self.services.clock(),
                origin=origin,
                services=self.services,
                path=request.scope["path"],
                path_params=path_params,
                params=tuple(request.query_params.multi_items()),
                query=query,
                body=body,
            )

        reply = await anyio.to_thread.run_sync(self._perform, operation, call, limiter=self.limiter)
        status = reply.status or operation.status
        if reply.body is None:
            return Response(status_code=status, headers=reply.headers)
        return Response(to_json(reply.body), status, reply.headers, "application/json")

    def _perform(self, operation: Operation[Any, Any], call: Callable[[Connection], Call[Any, Any]]) -> Reply:
        database = self.services.database
        reading = operation.method == "GET" or operation.reads_only
        with database.read() if reading else database.write() as conn:
            reply = operation.handler(call(conn))
        if reply.after_commit is not None:
            reply.after_commit()
        return reply


def _path_params(request: Request) -> dict[str, str]:
    """The path's parameters; no object has an id that cannot be stored, so such an id is simply not found."""
    params: dict[str, str] = request.path_params
    if not all(len(value) <= _MAX_PATH_PART and printable(value) for value in params.values()):
        raise NotFound("There is nothing at this path.")
    return params


def _query(model: type[Q], request: Request) -> Q:
    """The query parameters by the operation's model; raises Malformed for unknown ones, Invalid for wrong values."""
    items = request.query_params.multi_items()
    names = [name for name, _ in items]
    unknown = sorted({name[:100] for name in names} - set(model.model_fields))
    if unknown:
        raise Malformed(
            f"There is no query parameter {unknown[0]!r} here.",
            code="unknown_parameter",
            parameters=sorted(model.model_fields),
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        errors = tuple(FieldError(f"/{name}", "repeated", "Give it once.") for name in repeated)
        raise Invalid("A query parameter is given more than once.", errors=errors)
    try:
        return model.model_validate(dict(items))
    except ValidationError as error:
        raise Invalid("A query parameter is wrong.", errors=field_errors(error)) from None


async def _body(operation: Operation[Any, B], request: Request) -> B:
    """The body by the operation's model."""
    if operation.method not in _WITH_BODY:
        return operation.body()
    raw = await _read(request)
    if not raw and operation.body is NoBody:
        return operation.body()
    _require_json(request)
    try:
        return operation.body.model_validate_json(raw)
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
            raise Malformed("The body is not a JSON document in UTF-8.") from None
        raise Invalid("The body has wrong members.", errors=field_errors(error)) from None


async def _read(request: Request) -> bytes:
    """The whole body; raises BodyTooLarge as soon as it is over the limit, before reading it if it says so."""
    refused = BodyTooLarge(f"The body is over {MAX_BODY} bytes.", limit=MAX_BODY)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY:
        raise refused
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise refused
    except ClientDisconnect:
        raise Malformed("The client went away before the body was complete.") from None
    return bytes(body)


def _require_json(request: Request) -> None:
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if media_type.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"}:
        raise UnsupportedMediaType("Send the body as Content-Type: application/json.")
