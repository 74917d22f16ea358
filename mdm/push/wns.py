"""The Windows notification service: a token for our package, and a raw notification that asks a device to check in.

A device says itself where notifications for it have to be sent, so nothing is sent anywhere but to hosts of the
service, over TLS. Token, secret and channel stand in no log: who has them can send notifications as we do.

Sources: Microsoft's "Push notification service request and response headers"; DMClient CSP, Push.
"""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PACKAGE_SCOPE", "NotificationService", "PushAccount", "PushResult", "WnsClient"]

PACKAGE_SCOPE: Final = "notify.windows.com"
"""The OAuth scope of a token for notifications."""
TIME_TO_LIVE: Final = 3_600
"""Seconds that a notification waits for a device without network; after that it comes by itself soon anyway."""

_TIMEOUT: Final = httpx2.Timeout(10.0)
_DEADLINE: Final = 30.0
"""Seconds for the whole answer to a request for a token."""
_MAX_TOKEN_ANSWER: Final = 64 * 1024
_MAX_TOKEN: Final = 8_192
_DEFAULT_LIFE: Final = 3_600.0
"""Seconds a token is used that does not say how long it holds; those of Microsoft's hold for a day."""
_LONGEST_LIFE: Final = 86_400
_SPARE: Final = 300.0
"""Seconds before its end from which on a token is not used any more."""
_HOLD_OFF: Final = 60.0
"""Seconds for which no token is asked for after none was given: a wrong secret is wrong for all devices."""
_HOST: Final = re.compile(r"[a-z0-9.-]{1,253}")
_OK: Final = 200
_UNAUTHORIZED: Final = 401
_GONE: Final = frozenset({404, 410})

_SAID: Final = {
    400: "The notification service found the notification malformed (HTTP 400).",
    401: "The notification service does not accept the token that it has just given (HTTP 401).",
    403: "The device's channel belongs to another package than BRIDGE_WNS_PACKAGE_SID (HTTP 403).",
    404: "The notification service does not know the device's channel (HTTP 404); the device is asked for another one.",
    406: "The notification service has had too many notifications from us (HTTP 406).",
    410: "The device's channel has expired (HTTP 410); the device is asked for another one.",
    413: "The notification service found the notification too large (HTTP 413).",
    429: "The notification service has had too many notifications from us (HTTP 429).",
}
_DROPPED: Final = {
    "dropped": "The notification service took the notification and dropped it: the device takes none, or is away.",
    "channelthrottled": "The notification service took the notification and dropped it: this device has had too many.",
}
_SENT: Final = (
    "The notification service has taken the notification. Whether the device acts on it is up to Windows."
)
_FOREIGN: Final = "The channel that the device names is not an address of the notification service, so nothing was sent there."


@dataclass(frozen=True, slots=True)
class PushAccount:
    """Whose notifications these are; both parts come from the registration of the package."""

    package_sid: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotificationService:
    """Where the service is: Microsoft's, unless a test has one of its own."""

    token_url: str = "https://login.live.com/accesstoken.srf"  # noqa: S105 - an address
    scheme: str = "https"
    domain: str = "notify.windows.com"
    """Channels are at hosts below this one."""
    port: int | None = None
    """None: the scheme's own."""

    def has(self, channel: str) -> bool:
        """Whether a channel is an address of this service."""
        try:
            url = httpx2.URL(channel)
        except (httpx2.InvalidURL, ValueError):
            return False
        host = url.host.lower()
        below = _HOST.fullmatch(host) is not None and f".{host}".endswith(f".{self.domain}")
        return url.scheme == self.scheme and below and url.port == self.port and not url.userinfo


@dataclass(frozen=True, slots=True)
class PushResult:
    """What became of one notification."""

    sent: bool
    why: str
    """A sentence for people."""
    gone: bool = False
    """Whether the channel is of no use any more."""


class WnsClient:
    """Sends notifications for one account; keeps the token in memory, until shortly before its end."""

    def __init__(
        self,
        account: PushAccount,
        *,
        service: NotificationService | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nobody for anything yet."""
        self._account = account
        self._service = service or NotificationService()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._token: str | None = None
        self._token_until = 0.0
        self._refusal: _NoToken | None = None
        self._refused_until = 0.0

    def notify(self, http: httpx2.Client, channel: str) -> PushResult:
        """Ask the device behind a channel to check in; never raises for what the network or the service does."""
        if not self._service.has(channel):
            return PushResult(False, _FOREIGN, gone=True)
        try:
            token = self._current_token(http)
            status, said = self._send(http, channel, token)
            if status == _UNAUTHORIZED:
                # It may have been taken back before its time; a second new one would not be better.
                self._forget(token)
                status, said = self._send(http, channel, self._current_token(http))
        except _NoToken as problem:
            return PushResult(False, problem.why)
        except httpx2.RequestError as problem:
            return PushResult(False, _unreachable("the notification service", problem))
        if status == _OK:
            return PushResult(False, _DROPPED[said]) if said in _DROPPED else PushResult(True, _SENT)
        why = _SAID.get(status, f"The notification service answered HTTP {status}.")
        return PushResult(False, why, gone=status in _GONE)

    def _send(self, http: httpx2.Client, channel: str, token: str) -> tuple[int, str]:
        """The status of the answer, and what the service says it did with the notification."""
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/octet-stream",
            "X-WNS-Type": "wns/raw",
            "X-WNS-Cache-Policy": "cache",
            "X-WNS-TTL": str(TIME_TO_LIVE),
            "X-WNS-RequestForStatus": "true",
        }
        with http.stream(
            "POST", channel, content=b"sync", headers=headers, timeout=_TIMEOUT, follow_redirects=False
        ) as response:
            return response.status_code, response.headers.get("X-WNS-Status", "").lower()

    def _current_token(self, http: httpx2.Client) -> str:
        with self._lock:
            now = self._monotonic()
            if self._token is not None and now < self._token_until:
                return self._token
            if self._refusal is not None and now < self._refused_until:
                raise self._refusal
            try:
                self._token, life = self._new_token(http)
            except _NoToken as refusal:
                self._refusal, self._refused_until = refusal, now + _HOLD_OFF
                raise
            self._refusal, self._token_until = None, now + max(life - _SPARE, 0.0)
            return self._token

    def _forget(self, token: str) -> None:
        with self._lock:
            if self._token == token:
                self._token = None

    def _new_token(self, http: httpx2.Client) -> tuple[str, float]:
        """A token and the seconds that it holds; raises _NoToken."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self._account.package_sid,
            "client_secret": self._account.secret,
            "scope": PACKAGE_SCOPE,
        }
        body = bytearray()
        deadline = time.monotonic() + _DEADLINE
        try:
            with http.stream(
                "POST", self._service.token_url, data=form, timeout=_TIMEOUT, follow_redirects=False
            ) as response:
                status = response.status_code
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > _MAX_TOKEN_ANSWER or time.monotonic() > deadline:
                        raise _NoToken("Microsoft's sign-in service gave an answer without end.")
        except httpx2.RequestError as problem:
            raise _NoToken(_unreachable("Microsoft's sign-in service", problem)) from None
        if status != _OK:
            raise _NoToken(_refused(status, bytes(body)))
        return _read_token(bytes(body))


class _NoToken(Exception):  # noqa: N818 - named for the state
    """No token was given; `why` is a sentence for people."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def _refused(status: int, body: bytes) -> str:
    if status in {400, 401, 403}:
        # RFC 6749 5.2; only what is known is repeated.
        error = _members(body).get("error")
        if error in {"invalid_client", "invalid_request", "unauthorized_client", "invalid_scope"}:
            return (
                f"Microsoft's sign-in service refuses our account ({error}): look at BRIDGE_WNS_PACKAGE_SID and "
                "BRIDGE_WNS_SECRET."
            )
    return f"Microsoft's sign-in service answered HTTP {status} and gave no token."


def _read_token(body: bytes) -> tuple[str, float]:
    members = _members(body)
    token, life = members.get("access_token"), members.get("expires_in", _DEFAULT_LIFE)
    is_token = isinstance(token, str) and token.isascii() and token.isprintable()
    if not is_token or not isinstance(token, str) or not 0 < len(token) <= _MAX_TOKEN:
        raise _NoToken("Microsoft's sign-in service gave an answer without a token.")
    if isinstance(life, bool) or not isinstance(life, (int, float)):
        return token, _DEFAULT_LIFE
    return token, float(min(life, _LONGEST_LIFE))


def _members(body: bytes) -> dict[str, object]:
    """The members of a JSON object; none for anything else."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _unreachable(what: str, problem: httpx2.RequestError) -> str:
    """Without the error's own text, which may hold an address with a token in it."""
    return f"{what[0].upper()}{what[1:]} cannot be reached ({type(problem).__name__})."
