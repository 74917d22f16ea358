"""The enrolment endpoints over HTTP: what is refused before a message is read, and who may send a password."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any, cast

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from mdm.enrolment.endpoint import MEDIA_TYPE, enrolment_routes
from mdm.enrolment.envelope import LIMITS
from mdm.enrolment.service import DISCOVERY_PATH, POLICY_PATH
from mdm.lab.mde2 import discover, get_policies
from mdm.rest.middleware import RequestId

if TYPE_CHECKING:
    from datetime import datetime
    from io import StringIO

    from conftest import Station

    from mdm.enrolment.service import Asked, EnrolmentService

SOAP = {"Content-Type": MEDIA_TYPE}


def reached(station: Station, base: str, client: str) -> TestClient:
    """The same endpoints, reached under another URL from another address."""
    return TestClient(station.client.app, base_url=base, client=(client, 50000))


def rejections(logged: StringIO) -> list[str]:
    """The reasons in the log."""
    lines = (json.loads(line) for line in logged.getvalue().splitlines())
    return [line["why"] for line in lines if line["event"] == "enrolment_rejected"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "why"),
    [
        (b"<x/>", "text/xml", 415, "Content-Type must be application/soap+xml"),
        (b"<x/>", "", 415, "Content-Type must be application/soap+xml"),
        (b"x" * (LIMITS.bytes + 1), MEDIA_TYPE, 413, "larger than"),
    ],
)
def test_what_is_no_message(
    sqlite_station: Station, logged: StringIO, body: bytes, content_type: str, status: int, why: str
) -> None:
    """It is refused in one line of text, and logged."""
    response = sqlite_station.client.post(
        DISCOVERY_PATH, content=body, headers={"Content-Type": content_type}
    )
    assert (response.status_code, why in response.text) == (status, True)
    assert len(rejections(logged)) == 1


def test_a_message_that_ends_early(sqlite_station: Station, logged: StringIO) -> None:
    """A device that goes away while it sends is no error of the service."""
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": DISCOVERY_PATH,
        "headers": [(b"content-type", MEDIA_TYPE.encode())],
        "query_string": b"",
    }
    asyncio.run(sqlite_station.client.app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 400
    assert rejections(logged) == ["The connection closed before the message was complete."]


def test_the_host_is_where_the_device_came_to(sqlite_station: Station, logged: StringIO) -> None:
    """Without a public URL the device is sent to the host that it asked; one that is none is refused."""
    service = sqlite_station.open(public_url=None).client
    answer = service.post(
        DISCOVERY_PATH, content=discover("OnPremise"), headers=SOAP | {"Host": "[::1]:8443"}
    )
    assert "https://[::1]:8443/EnrollmentServer/Policy.svc" in answer.text
    for host in ("a b", "<x>", "a/b", "user@host"):
        response = service.post(DISCOVERY_PATH, content=discover("OnPremise"), headers=SOAP | {"Host": host})
        assert response.status_code == 400
    assert rejections(logged) == ["The Host header names no host."] * 4


@pytest.mark.parametrize(
    ("base", "client", "private"),
    [
        ("https://mdm.example.test", "192.0.2.7", True),
        ("http://mdm.example.test", "127.0.0.1", True),
        ("http://mdm.example.test", "::1", True),
        ("http://mdm.example.test", "192.0.2.7", False),
        ("http://mdm.example.test", "unix", False),
    ],
)
def test_a_password_goes_by_tls(sqlite_station: Station, base: str, client: str, private: bool) -> None:  # noqa: FBT001 - a table
    """Or from this machine; in clear it is refused before it is looked at."""
    sqlite_station.user()
    body = get_policies("user@example.test", "correct horse battery")
    answer = reached(sqlite_station, base, client).post(POLICY_PATH, content=body, headers=SOAP)
    assert ("in clear" not in answer.text) == private
    assert ("GetPoliciesResponse" in answer.text) == private


def test_the_routes_are_those_of_windows(sqlite_station: Station) -> None:
    """The paths that Windows knows, and their methods."""
    routes = sqlite_station.client.app.routes  # type: ignore[attr-defined]
    assert {(route.path.rpartition("/")[2], min(route.methods)) for route in routes} == {
        ("Discovery.svc", "GET"),
        ("Discovery.svc", "POST"),
        ("Policy.svc", "POST"),
        ("Enrollment.svc", "POST"),
    }


def test_discovery_waits_for_nobody() -> None:
    """Where to go is told while as many passwords are looked at as may be at a time, and more wait for that."""
    release, busy = threading.Event(), threading.Semaphore(0)

    class Busy:
        """A service whose policies take as long as the test wants."""

        def discover(self, _asked: Asked, _now: datetime) -> bytes:
            return b"here"

        def get_policies(self, _asked: Asked, _now: datetime) -> bytes:
            busy.release()
            release.wait(20)
            return b"policies"

        request_token = get_policies

    routes = enrolment_routes(cast("EnrolmentService", Busy()), public_url="https://mdm.example.test")
    app = Starlette(routes=routes, middleware=[Middleware(RequestId)])

    async def ask() -> None:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="https://mdm.example.test") as http:
            asked = [asyncio.create_task(http.post(POLICY_PATH, headers=SOAP)) for _ in range(6)]
            try:
                for _ in range(4):
                    assert await asyncio.to_thread(busy.acquire, timeout=20)
                answer = await asyncio.wait_for(http.post(DISCOVERY_PATH, headers=SOAP), 20)
                assert (answer.status_code, answer.content) == (200, b"here")
                assert not any(task.done() for task in asked)
            finally:
                release.set()
            assert {response.content for response in await asyncio.gather(*asked)} == {b"policies"}

    asyncio.run(ask())
