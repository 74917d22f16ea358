"""The enrolment endpoints over HTTP: answers have a Content-Length and are never chunked (MS-MDE2 via Microsoft Learn).

A fault is answered with 200, as a server does that is deployed for Windows; what went wrong is in the envelope, and
in the log as `enrolment_refused`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from mdm.clock import utc_now
from mdm.enrolment.arrival import own_url
from mdm.enrolment.envelope import LIMITS
from mdm.enrolment.service import DISCOVERY_PATH, ENROLMENT_PATH, POLICY_PATH, Asked
from mdm.tls.peer import is_private, peer_certificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from starlette.requests import Request

    from mdm.enrolment.service import EnrolmentService

__all__ = ["MEDIA_TYPE", "enrolment_routes"]

MEDIA_TYPE: Final = "application/soap+xml"

_THREADS: Final = 4
"""Messages worked on at once: each may take 19 MiB and a core for its password. Check-ins are not in their way."""

_log: Final = structlog.get_logger("mdm.enrolment")


def enrolment_routes(
    service: EnrolmentService, *, public_url: str | None, clock: Callable[[], datetime] = utc_now
) -> list[Route]:
    """The routes a device goes through; without `public_url` it is sent to the host it has asked."""
    limiter = CapacityLimiter(_THREADS)
    # No password and no database: where to go is told while a whole site waits for those.
    discovering = CapacityLimiter(1)

    async def present(request: Request) -> Response:
        # Windows asks so before it sends anything.
        del request
        return Response(b"", 200)

    def endpoint(
        path: str, handle: Callable[[Asked, datetime], bytes], threads: CapacityLimiter = limiter
    ) -> Route:
        async def post(request: Request) -> Response:
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media_type != MEDIA_TYPE:
                return _refusal(request, 415, f"Content-Type must be {MEDIA_TYPE}, as SOAP 1.2 has it.")
            base_url = public_url or own_url(request)
            if base_url is None:
                return _refusal(request, 400, "The Host header names no host.")
            try:
                body = await _body(request)
            except ClientDisconnect:
                return _refusal(request, 400, "The connection closed before the message was complete.")
            if body is None:
                return _refusal(request, 413, f"The message is larger than {LIMITS.bytes} bytes.")
            asked = Asked(
                body=body,
                base_url=base_url,
                remote_addr=request.client.host if request.client else "",
                private=is_private(request),
                request_id=request.state.request_id,
                certificate=peer_certificate(request.scope),
            )
            answer = await to_thread.run_sync(handle, asked, clock(), limiter=threads)
            return Response(answer, headers={"Content-Type": f"{MEDIA_TYPE}; charset=utf-8"})

        return Route(path, post, methods=["POST"])

    return [
        Route(DISCOVERY_PATH, present, methods=["GET"]),
        endpoint(DISCOVERY_PATH, service.discover, discovering),
        endpoint(POLICY_PATH, service.get_policies),
        endpoint(ENROLMENT_PATH, service.request_token),
    ]


async def _body(request: Request) -> bytes | None:
    """The request's body; None if it is larger than any message."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LIMITS.bytes:
            return None
    return bytes(body)


def _refusal(request: Request, status: int, detail: str) -> Response:
    peer = request.client.host if request.client else None
    _log.warning("enrolment_rejected", http_status=status, why=detail, remote_addr=peer)
    return Response(f"{detail}\n", status, media_type="text/plain")
