"""A virtual Windows notification service: gives tokens for an account and takes notifications, over real sockets."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mdm.lab.app_server import AppServer
from mdm.push.wns import PACKAGE_SCOPE, NotificationService

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from starlette.requests import Request

    from mdm.push.wns import PushAccount

__all__ = ["Notification", "VirtualWns"]

_LIFE: Final = 86_400
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification that arrived, whatever was answered to it."""

    channel: str
    """Name of the channel."""
    token: str
    headers: Mapping[str, str]
    body: bytes


class VirtualWns:
    """The service for one account, as a context; what it does otherwise than well is set by its attributes."""

    def __init__(self, account: PushAccount) -> None:
        """Know one account; nothing listens yet."""
        self._account = account
        self._lock = threading.Lock()
        self._valid: set[str] = set()
        routes = [
            Route("/accesstoken.srf", self._token, methods=["POST"]),
            Route("/channel/{name}", self._notify, methods=["POST"]),
        ]
        self._server = AppServer(Starlette(routes=routes))
        self.notifications: list[Notification] = []
        """All that arrived, in order."""
        self.tokens_given = 0
        self.tokens_asked = 0
        self.token_answer: Response | None = None
        """What a request for a token is answered with instead."""
        self.life: object = _LIFE
        """`expires_in` of the tokens."""
        self.statuses: dict[str, int] = {}
        """HTTP statuses by channel; 200 for the others."""
        self.said = "received"
        """X-WNS-Status of notifications that are taken."""

    @property
    def service(self) -> NotificationService:
        """Where it is, for `mdm.push.wns.WnsClient`."""
        return NotificationService(
            f"{self._server.url}/accesstoken.srf", "http", "127.0.0.1", self._server.port
        )

    def channel(self, name: str) -> str:
        """The channel of a device, as the device would say it."""
        return f"{self._server.url}/channel/{name}?token=AwYAAAC"

    def end_tokens(self) -> None:
        """Refuse all tokens given so far."""
        with self._lock:
            self._valid.clear()

    async def _token(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        wanted = {
            "grant_type": ["client_credentials"],
            "client_id": [self._account.package_sid],
            "client_secret": [self._account.secret],
            "scope": [PACKAGE_SCOPE],
        }
        with self._lock:
            self.tokens_asked += 1
            if self.token_answer is not None:
                return self.token_answer
            if form != wanted:
                return JSONResponse({"error": "invalid_client", "error_description": "No."}, 400)
            token = secrets.token_urlsafe(24)
            self._valid.add(token)
            self.tokens_given += 1
        return JSONResponse({"access_token": token, "token_type": "bearer", "expires_in": self.life})

    async def _notify(self, request: Request) -> Response:
        name, body = request.path_params["name"], await request.body()
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        with self._lock:
            self.notifications.append(Notification(name, token, dict(request.headers), body))
            known = token in self._valid
        if not known:
            return Response(status_code=401)
        status = self.statuses.get(name, _OK)
        return Response(status_code=status, headers={"X-WNS-Status": self.said} if status == _OK else {})

    def __enter__(self) -> Self:
        """Listening."""
        self._server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stopped."""
        self._server.stop()
