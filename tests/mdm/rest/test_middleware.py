"""Request ids, security headers, the one log line, and the 500 of last resort."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from mdm.rest.middleware import RequestId, RequestLog, SecurityHeaders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from io import StringIO

    from conftest import Api
    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send


def lines(stream: StringIO, event: str = "request") -> list[dict[str, Any]]:
    """The events of one name."""
    return [line for text in stream.getvalue().splitlines() if (line := json.loads(text))["event"] == event]


@pytest.mark.parametrize("request_id", ["a", "A-b_c.9", "x" * 128])
def test_a_valid_request_id_is_kept(sqlite_api: Api, request_id: str) -> None:
    """On the answer, in problems and in the audit trail."""
    headers = {"X-Request-Id": request_id}
    assert (
        sqlite_api("POST", "/groups", json={"name": "a"}, headers=headers).headers["x-request-id"]
        == request_id
    )
    problem = sqlite_api("GET", "/nowhere", headers=headers).json()
    assert problem["request_id"] == request_id
    assert sqlite_api.get("/audit")["items"][0]["request_id"] == request_id


@pytest.mark.parametrize("request_id", ["", "x" * 129, "a b", "a\tb", "é", "a,b", "<script>", '"'])
def test_another_one_is_replaced(sqlite_api: Api, request_id: str) -> None:
    """By a fresh one."""
    headers = {"X-Request-Id": request_id.encode("latin-1")}
    given = {sqlite_api("GET", "/groups", headers=headers).headers["x-request-id"] for _ in range(2)}
    assert len(given) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in given)


@pytest.mark.parametrize("path", ["/api/v1/groups", "/livez", "/readyz", "/nowhere", "/omadm", "/version"])
def test_every_answer_has_the_security_headers(sqlite_api: Api, path: str) -> None:
    """Whatever the status; HSTS only where https is known."""
    headers = sqlite_api.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in headers


def test_headers_of_the_answer_win_and_https_adds_hsts() -> None:
    """What a handler says about caching is kept."""

    async def cached(request: Request) -> Response:
        del request
        return Response("x", headers={"Cache-Control": "max-age=60"})

    app = Starlette(routes=[Route("/", cached)], middleware=[Middleware(SecurityHeaders, https=True)])
    client = TestClient(app)
    headers = client.get("/").headers
    client.close()
    assert headers["cache-control"] == "max-age=60"
    assert headers["strict-transport-security"] == "max-age=31536000"


def test_one_line_a_request(sqlite_api: Api, logged: StringIO) -> None:
    """With the template for the path, the caller, and the size of the answer."""
    response = sqlite_api("GET", "/devices/dev_x")
    (line,) = lines(logged)
    assert {name: line[name] for name in ("method", "route", "status", "actor", "bytes", "remote_addr")} == {
        "method": "GET",
        "route": "/api/v1/devices/{device}",
        "status": 404,
        "actor": "client:tests",
        "bytes": len(response.content),
        "remote_addr": "testclient",
    }
    assert line["request_id"] == "from-the-test"
    assert 0 <= line["ms"] < 60_000
    assert line["level"] == "info"


def test_probes_are_quiet(sqlite_api: Api, logged: StringIO) -> None:
    """They are there for who wants to see them."""
    sqlite_api.client.get("/livez")
    (line,) = lines(logged)
    assert line["level"] == "debug"


def test_an_unmatched_path_is_logged_escaped_and_cut(sqlite_api: Api, logged: StringIO) -> None:
    """A stranger's text neither forges a line nor fills the disk."""
    sqlite_api.client.get("/%0Aforged" + "x" * 500)
    (line,) = lines(logged)
    assert line["route"].startswith("/%0Aforged")
    assert len(line["route"]) == 200


def broken_app() -> Starlette:
    """An application that fails before and after its answer began."""

    async def early(request: Request) -> Response:
        raise RuntimeError("hunter2")

    async def late(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"begin"
            raise RuntimeError("hunter2")

        return StreamingResponse(parts())

    return Starlette(
        routes=[Route("/early", early), Route("/late", late)],
        middleware=[Middleware(RequestId), Middleware(SecurityHeaders), Middleware(RequestLog)],
    )


def test_an_unforeseen_exception_is_a_plain_500(logged: StringIO) -> None:
    """With id and headers like any answer; the traceback is in the log under the same id."""
    client = TestClient(broken_app())
    response = client.get("/early")
    client.close()
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "hunter2" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"
    (failure,) = lines(logged, "request_failed")
    assert "hunter2" in failure["exception"]
    assert failure["request_id"] == response.headers["x-request-id"]
    assert lines(logged)[0]["status"] == 500


def test_an_exception_in_the_middle_of_an_answer_breaks_it_off(logged: StringIO) -> None:
    """No second status line can be sent: the server must close the connection."""
    client = TestClient(broken_app())
    with pytest.raises(RuntimeError):
        client.get("/late")
    client.close()
    assert len(lines(logged, "request_failed")) == 1
    assert lines(logged)[0]["status"] == 200


@pytest.mark.parametrize("middleware", [RequestId, RequestLog, SecurityHeaders])
def test_other_protocols_pass_through(middleware: Any) -> None:
    """Lifespan and websocket scopes are not requests."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])
        await send({"type": "lifespan.startup.complete"})

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        seen.append(message["type"])

    asyncio.run(middleware(app)({"type": "lifespan"}, receive, send))
    assert seen == ["lifespan", "lifespan.startup.complete"]
