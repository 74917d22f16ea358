"""What the lab says to the bridge over REST: enrolling devices, and the few calls a story is made of."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx2

from mdm.lab.manners import Terms
from mdm.lab.store import Account, DeviceRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mdm.lab.store import Identity

__all__ = ["ApiProblem", "BridgeApi", "BridgeAway", "Enrolment", "enrol"]

_API: Final = "/api/v1"
_PAGE: Final = 500
_FIRST_ERROR: Final = 400


class BridgeAway(Exception):  # noqa: N818 - named for the state of things
    """No answer came from the bridge; the text says why."""


class ApiProblem(Exception):  # noqa: N818 - RFC 9457's own word
    """The bridge answered with a problem document."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        """`body` is the problem; an answer that is none is an empty one."""
        self.status = status
        self.body = body
        self.code: str = body.get("code", "")
        self.detail: str = body.get("detail", "")
        super().__init__(f"HTTP {status} {self.code}: {self.detail}" if self.code else f"HTTP {status}")


class BridgeApi:
    """The REST API of one bridge with one token."""

    def __init__(self, server: str, token: str, http: httpx2.Client) -> None:
        """`server` is the bridge's URL, e.g. `http://127.0.0.1:8480`."""
        self.server = server.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._http = http

    def get(self, path: str, **params: str) -> Any:
        """The answer to a GET below /api/v1; raises ApiProblem or BridgeAway, as all of these do."""
        return self._call("GET", path, params=params)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer to a POST below /api/v1."""
        return self._call("POST", path, json=body or {})

    def every(self, path: str, **params: str) -> Iterator[dict[str, Any]]:
        """The items of a list, page after page."""
        cursor: str | None = None
        while True:
            more = {} if cursor is None else {"cursor": cursor}
            page = self.get(path, limit=str(_PAGE), **params, **more)
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            response = self._http.request(
                method, f"{self.server}{_API}{path}", headers=self._headers, **arguments
            )
        except httpx2.TransportError as error:
            raise BridgeAway(f"{self.server} does not answer ({type(error).__name__})") from None
        try:
            body = response.json()
        except ValueError:
            body = None
        if response.status_code >= _FIRST_ERROR:
            raise ApiProblem(response.status_code, body if isinstance(body, dict) else {})
        return body


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the bridge gave a device."""

    id: str
    """The bridge's id of the device."""
    account: Account
    nonce: bytes
    server_nonce: bytes

    def record(self, identity: Identity) -> DeviceRecord:
        """The device as it is before its first session."""
        return DeviceRecord(identity, self.account, self.nonce, server_nonce=self.server_nonce)


def enrol(api: BridgeApi, identity: Identity, terms: Terms | None = None) -> Enrolment:
    """Create the device on the bridge; raises ApiProblem `device_exists` if it is known there already."""
    made = api.post(
        "/devices", {"device_id": identity.device_id, "name": identity.name, **asdict(terms or Terms())}
    )
    given = made["credentials"]
    server = given.get("server") or {"scheme": None, "username": "", "password": "", "nonce": ""}
    return Enrolment(
        id=made["id"],
        account=Account(
            server_uri=f"{api.server}/omadm",
            scheme=given["scheme"],
            username=given["username"],
            password=given["password"],
            server_scheme=server["scheme"],
            server_username=server["username"],
            server_password=server["password"],
        ),
        nonce=base64.b64decode(given["nonce"]),
        server_nonce=base64.b64decode(server["nonce"]),
    )
