"""What happens to a request before and after its handler."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from mdm.access.scopes import Scope
from mdm.rest.fields import Body, NoQuery
from mdm.rest.middleware import RequestId, RequestLog
from mdm.rest.operations import MAX_BODY, Call, Operation, Reply, Services, operation_routes
from mdm.rest.problems import EXCEPTION_HANDLERS
from mdm.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from conftest import Api

JSON = {"Content-Type": "application/json"}


def test_head_is_a_get_without_its_body(sqlite_api: Api) -> None:
    """Status and headers as GET, nothing written."""
    response = sqlite_api("HEAD", "/devices")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"',
    ],
)
def test_json_in_utf8_is_taken(sqlite_api: Api, content_type: str) -> None:
    """However the type is written."""
    content = '{"name":"Bürö"}'.encode()
    response = sqlite_api("POST", "/groups", content=content, headers={"Content-Type": content_type})
    assert response.status_code == 201
    assert response.json()["name"] == "Bürö"
    assert "Bürö".encode() in response.content


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/json",
        "application/jsonx",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/json; boundary=x",
    ],
)
def test_other_types_are_refused(sqlite_api: Api, content_type: str) -> None:
    """Also for operations that need no body, if one is sent."""
    for path in ("/groups", "/approvals/x/revoke"):
        sqlite_api.refused(
            "POST",
            path,
            415,
            "unsupported_media_type",
            content=b'{"name":"x"}',
            headers={"Content-Type": content_type},
        )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nul",
        b'{"name": "x"} trailing',
        b"\xff\xfe{\x00",
        '{"name":"ü"}'.encode("latin-1"),
        b'{"name": "\\ud800"}',
        b"[" * 100_000,
        b'{"name":' * 10_000,
    ],
)
def test_what_is_no_json(sqlite_api: Api, content: bytes) -> None:
    """Malformed, cut, badly encoded or absurdly nested: 400, and never a 500."""
    sqlite_api.refused("POST", "/groups", 400, "malformed_body", content=content, headers=JSON)


def test_a_body_at_the_limit_is_read_and_one_over_it_is_not(sqlite_api: Api) -> None:
    """The limit is exact, whether the length is announced or the body comes in chunks."""

    def body(size: int) -> bytes:
        return b'{"name":"x"' + b" " * (size - 12) + b"}"

    def chunks(size: int) -> Iterator[bytes]:
        whole = body(size)
        for start in range(0, size, 65536):
            yield whole[start : start + 65536]

    assert sqlite_api("POST", "/groups", content=body(MAX_BODY), headers=JSON).status_code == 201
    for content in (body(MAX_BODY + 1), chunks(MAX_BODY + 1)):
        problem = sqlite_api.refused("POST", "/groups", 413, "body_too_large", content=content, headers=JSON)
        assert problem["limit"] == MAX_BODY
    assert len(sqlite_api.get("/groups")["items"]) == 3


def test_a_body_said_to_be_too_large_is_not_read(sqlite_api: Api) -> None:
    """Refused by its Content-Length alone."""

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    for announced in ("1048577", "9" * 5000):
        sent = call_asgi(sqlite_api, receive, [(b"content-length", announced.encode())])
        assert sent[0]["status"] == 413


def test_a_client_that_goes_away(sqlite_api: Api) -> None:
    """Nothing happens, and the log is not full of tracebacks."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    sent = call_asgi(sqlite_api, receive, [])
    assert sent[0]["status"] == 400
    assert len(sqlite_api.get("/groups")["items"]) == 2


def call_asgi(api: Api, receive: Any, headers: list[tuple[bytes, bytes]]) -> list[MutableMapping[str, Any]]:
    """POST /groups with a `receive` of the test's own; the messages sent."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    path = "/api/v1/groups"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {api.token}".encode()), *headers],
        "client": None,
    }
    with api.client as client:
        assert client.portal is not None
        client.portal.call(api.client.app, scope, receive, send)  # type: ignore[arg-type]
    return sent


def test_unauthenticated_bodies_are_not_read(sqlite_api: Api) -> None:
    """A stranger cannot make the service hold a body."""

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    sqlite_api.token = "cspb_wrong"
    assert call_asgi(sqlite_api, receive, [])[0]["status"] == 401


def test_a_body_on_get_is_ignored(sqlite_api: Api) -> None:
    """HTTP gives it no meaning (RFC 9110 section 9.3.1)."""
    assert sqlite_api("GET", "/devices", json={"colour": "red"}).status_code == 200


def test_many_unknown_parameters_are_not_echoed_at_length(sqlite_api: Api) -> None:
    """The problem stays small, whatever was sent."""
    params = {("x" * 5000) + str(number): "y" for number in range(3)}
    problem = sqlite_api.refused("GET", "/devices", 400, "unknown_parameter", params=params)
    assert len(problem["detail"]) < 200


def test_many_wrong_members_are_not_listed_at_length(sqlite_api: Api) -> None:
    """At most twenty, with pointers cut short."""
    body = {("x" * 500) + str(number): 1 for number in range(100)}
    problem = sqlite_api.refused("POST", "/groups", 422, "validation_failed", json=body)
    assert len(problem["errors"]) == 20
    assert max(len(error["pointer"]) for error in problem["errors"]) <= 200


def test_repeated_parameters_are_refused(sqlite_api: Api) -> None:
    """Which of the two was meant is not for us to guess."""
    response = sqlite_api("GET", "/devices?q=a&limit=1&q=b")
    assert response.status_code == 422
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [("/q", "repeated")]


class Thing(Body):
    """A body of the test's own."""

    fail: bool = False


@pytest.mark.usefixtures("logged")
def test_a_failing_handler_leaves_nothing_behind(api: Api, data_dir: Any) -> None:
    """The transaction is rolled back, and what was to follow the commit does not happen."""
    done: list[str] = []

    def handle(call: Call[NoQuery, Thing]) -> Reply:
        call.conn.exec_driver_sql("DELETE FROM device_group")
        if call.body.fail:
            raise RuntimeError
        rows = len(api.bench.rows("device_group"))
        return Reply({"seen": rows}, after_commit=lambda: done.append("committed"))

    operation = Operation(
        method="POST",
        path="/things",
        scope=Scope.ADMIN,
        handler=handle,
        query=NoQuery,
        body=Thing,
        status=203,
        summary="Do a thing",
    )
    services = Services(
        load_settings(data_dir=data_dir),
        api.bench.database,
        api.bench.secrets,
        api.clock,
        lambda: None,
        lambda: None,
    )
    app = Starlette(routes=operation_routes([operation], services), exception_handlers=EXCEPTION_HANDLERS)
    client = TestClient(RequestId(RequestLog(app)), headers={"Authorization": f"Bearer {api.token}"})
    with pytest.raises(RuntimeError):
        client.post("/api/v1/things", json={"fail": True})
    assert (done, len(api.bench.rows("device_group"))) == ([], 2)
    response = client.post("/api/v1/things", json={})
    client.close()
    assert (response.status_code, response.json()) == (203, {"seen": 2})
    assert (done, api.bench.rows("device_group")) == (["committed"], [])


@pytest.mark.usefixtures("logged")
def test_a_read_cannot_write(api: Api, data_dir: Any) -> None:
    """A handler of GET that writes fails instead of writing outside the table's promise."""

    def handle(call: Call[NoQuery, Any]) -> Reply:
        call.conn.exec_driver_sql("DELETE FROM device_group")
        return Reply()

    operation: Operation[NoQuery, Any] = Operation(
        method="GET",
        path="/things",
        scope=Scope.ADMIN,
        handler=handle,
        query=NoQuery,
        body=Body,
        summary="Read a thing",
    )
    services = Services(
        load_settings(data_dir=data_dir),
        api.bench.database,
        api.bench.secrets,
        api.clock,
        lambda: None,
        lambda: None,
    )
    app = Starlette(routes=operation_routes([operation], services), exception_handlers=EXCEPTION_HANDLERS)
    client = TestClient(
        RequestId(RequestLog(app)),
        headers={"Authorization": f"Bearer {api.token}"},
        raise_server_exceptions=False,
    )
    assert client.get("/api/v1/things").status_code == 500
    client.close()
    assert len(api.bench.rows("device_group")) == 2


def test_answers_are_compact_json(sqlite_api: Api) -> None:
    """No blanks between members."""
    response = sqlite_api("GET", "/groups")
    assert response.content == json.dumps(response.json(), separators=(",", ":")).encode()
