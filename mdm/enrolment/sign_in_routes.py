"""The sign-in page over HTTP: forms and queries in, pages and redirects out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import structlog
from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from mdm.clock import utc_now
from mdm.enrolment.arrival import own_url
from mdm.enrolment.pages import problem_page
from mdm.enrolment.service import SIGN_IN_PATH
from mdm.enrolment.sign_in import RETURN_PATH, Caller, Reply, SignIn
from mdm.enrolment.sign_in_visit import LIFETIME
from mdm.errors import Unavailable
from mdm.tls.peer import is_private

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from starlette.requests import Request

    from mdm.settings import Settings
    from mdm.storage.engine import Database
    from mdm.storage.secrets import SecretBox

__all__ = ["configured_sign_in", "sign_in_routes"]

_THREADS: Final = 8
"""Sign-ins worked on at once; they are not in the way of devices, even while a provider is slow to answer."""
_MAX_FORM: Final = 16 * 1024
_MAX_FIELDS: Final = 20
_FORM: Final = "application/x-www-form-urlencoded"
_COOKIE: Final = "enrolment-sign-in"

_log: Final = structlog.get_logger("mdm.enrolment")


class _Unreadable(Exception):  # noqa: N818 - named for the state
    """A form or an address that is not what the page, Windows or a provider sends."""


def configured_sign_in(settings: Settings, database: Database, box: SecretBox) -> SignIn | None:
    """The sign-in that the settings ask for; None where devices ask for user name and password themselves."""
    if settings.enrolment_sign_in != "web":
        return None
    provider = None
    if settings.oidc_issuer is not None and settings.oidc_client_id is not None:
        # Imported here: reading authlib is a good part of a start, and most bridges ask no provider.
        from mdm.enrolment.oidc import OpenIdProvider  # noqa: PLC0415

        provider = OpenIdProvider(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            client_secret=settings.oidc_client_secret,
            username_claim=settings.oidc_username_claim,
        )
    return SignIn(database, box, organization=settings.organization, provider=provider)


def sign_in_routes(
    sign_in: SignIn | None, *, public_url: str | None, clock: Callable[[], datetime] = utc_now
) -> list[Route]:
    """The routes of the page, none if there is no sign-in; without `public_url` people stay on the host they asked."""
    if sign_in is None:
        return []
    limiter = CapacityLimiter(_THREADS)

    async def answer(
        request: Request,
        values: Mapping[str, list[str]],
        handle: Callable[[Caller, Mapping[str, list[str]], datetime], Reply],
    ) -> Response:
        base_url = public_url or own_url(request)
        if base_url is None:
            return _problem(request, 400, "The Host header names no host.")
        secure = base_url.startswith("https://")
        caller = Caller(
            base_url=base_url,
            remote_addr=request.client.host if request.client else "",
            private=is_private(request),
            cookie=request.cookies.get(_cookie_name(secure=secure)),
        )
        try:
            reply = await to_thread.run_sync(handle, caller, values, clock(), limiter=limiter)
        except Unavailable as problem:
            return _problem(request, 503, f"{problem.detail} Try again later.")
        return _response(reply, secure=secure)

    def endpoint(
        read: Callable[[Request], Awaitable[dict[str, list[str]]]],
        handle: Callable[[Caller, Mapping[str, list[str]], datetime], Reply],
    ) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            try:
                values = await read(request)
            except ClientDisconnect:
                return _problem(request, 400, "The connection closed before the form was complete.")
            except _Unreadable as problem:
                return _problem(request, 400, str(problem))
            return await answer(request, values, handle)

        return respond

    return [
        Route(SIGN_IN_PATH, endpoint(_query, sign_in.arrive), methods=["GET"]),
        Route(SIGN_IN_PATH, endpoint(_form, sign_in.submit), methods=["POST"]),
        Route(RETURN_PATH, endpoint(_query, sign_in.come_back), methods=["GET"]),
    ]


async def _query(request: Request) -> dict[str, list[str]]:
    """The parameters of the address; raises _Unreadable."""
    raw: bytes = request.scope["query_string"]
    if len(raw) > _MAX_FORM:
        raise _Unreadable("The address is longer than what Windows or a sign-in service sends.")
    try:
        return parse_qs(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise _Unreadable(
            "The address has more parameters than Windows or a sign-in service sends."
        ) from None


async def _form(request: Request) -> dict[str, list[str]]:
    """The fields of a form; raises _Unreadable."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise _Unreadable("The form has to be sent as the page sends it.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_FORM:
            raise _Unreadable("The form is larger than what anybody types.")
    try:
        return parse_qs(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError:
        raise _Unreadable("The form cannot be read.") from None


def _response(reply: Reply, *, secure: bool) -> Response:
    response: Response
    if reply.page is None:
        response = RedirectResponse(reply.location or "", 303, {"Cache-Control": "no-store"})
    else:
        response = HTMLResponse(reply.page.html, reply.page.status, reply.page.headers)
    if reply.cookie is not None:
        response.set_cookie(
            _cookie_name(secure=secure),
            reply.cookie,
            max_age=int(LIFETIME.total_seconds()) if reply.cookie else 0,
            path="/",
            secure=secure,
            httponly=True,
            samesite="lax",  # the provider's redirect back comes from another site
        )
    return response


def _cookie_name(*, secure: bool) -> str:
    """With a prefix by which browsers let nobody else on the domain set it (RFC 6265bis 4.1.3.2)."""
    return f"__Host-{_COOKIE}" if secure else _COOKIE


def _problem(request: Request, status: int, detail: str) -> Response:
    peer = request.client.host if request.client else None
    _log.warning("enrolment_sign_in_refused", why=detail, remote_addr=peer)
    page = problem_page(status, "This sign-in cannot go on", detail)
    return HTMLResponse(page.html, page.status, page.headers)
