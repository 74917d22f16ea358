"""`POST /omadm`: OMA DM over HTTP (MS-MDM 2.1). It speaks SyncML statuses; HTTP errors mean "not even that".

A wrong HTTP status makes a device back off or leave, so whatever can be said in SyncML is (HTTP 200).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from anyio import to_thread
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from mdm.checkin.delivery import Delivery
from mdm.clock import utc_now
from mdm.errors import Unavailable
from mdm.tls.peer import is_private, peer_certificate
from syncml.auth import MAC_HEADER
from syncml.errors import LimitExceeded, RemoteProtocolError
from syncml.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from starlette.requests import Request

    from mdm.checkin.service import CheckIn

__all__ = ["MEDIA_TYPE", "omadm_route"]

MEDIA_TYPE: Final = "application/vnd.syncml.dm+xml"

_log: Final = structlog.get_logger("mdm.checkin")


def omadm_route(checkin: CheckIn, path: str = "/omadm", *, clock: Callable[[], datetime] = utc_now) -> Route:
    """The route of the device endpoint; any query (`?mode=Maintenance&Platform=WoA`) is accepted.

    Answers 200 with SyncML, 400 for what is no SyncML message, 413 above the size limit, 415 for another
    media type (WBXML included), 503 with Retry-After while the database is away or too many sessions from
    the same address are open.
    """

    async def post(request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != MEDIA_TYPE:
            return _refusal(request, 415, f"Content-Type must be {MEDIA_TYPE}.")
        try:
            body = await _body(request)
            delivery = Delivery(
                body=body,
                private=is_private(request),
                remote_addr=request.client.host if request.client else "",
                mac=request.headers.get(MAC_HEADER),
                certificate=peer_certificate(request.scope),
            )
            reply = await to_thread.run_sync(checkin.handle, delivery, clock())
        except LimitExceeded as error:
            return _refusal(request, 413, error.detail)
        except RemoteProtocolError as error:
            return _refusal(request, 400, error.detail)
        except ClientDisconnect:
            return _refusal(request, 400, "The connection closed before the message was complete.")
        except Unavailable as error:
            _log.error("dm_unavailable", why=error.detail)
            return Response(
                f"{error.detail}\n", 503, {"Retry-After": str(error.retry_after)}, media_type="text/plain"
            )
        headers = {} if reply.mac is None else {MAC_HEADER: reply.mac}
        return Response(reply.body, headers=headers, media_type=MEDIA_TYPE)

    return Route(path, post, methods=["POST"])


async def _body(request: Request) -> bytes:
    """The request's body, never more than a message may have."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > DEFAULT_LIMITS.bytes:
            raise LimitExceeded(f"the message is larger than {DEFAULT_LIMITS.bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _refusal(request: Request, status: int, detail: str) -> Response:
    peer = request.client.host if request.client else None
    _log.warning("dm_rejected", http_status=status, why=detail, remote_addr=peer)
    return Response(f"{detail}\n", status, media_type="text/plain")
