"""One error shape over the whole API, pinned; the list of codes, and the page that documents it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.testclient import TestClient

from mdm.errors import BridgeError, Conflict, FieldError, Invalid, Unavailable
from mdm.rest.middleware import RequestId, RequestLog
from mdm.rest.problems import (
    _LINKED,
    EXCEPTION_HANDLERS,
    PROBLEM_MEDIA_TYPE,
    PROBLEMS,
    BodyTooLarge,
    Problem,
    UnsupportedMediaType,
    problem_routes,
)

if TYPE_CHECKING:
    from io import StringIO

    from conftest import Api
    from httpx2 import Response
    from starlette.requests import Request

ROOT = Path(__file__).parents[3]
STANDARD = ["type", "title", "status", "detail", "instance", "code", "request_id", "documentation_url"]


def check_shape(response: Response, path: str) -> dict[str, Any]:
    """The members every problem has, with the values that follow from its code."""
    assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE
    body: dict[str, Any] = response.json()
    assert list(body)[: len(STANDARD)] == STANDARD
    kind = PROBLEMS[body["code"]]
    assert (body["status"], body["title"]) == (response.status_code, kind.title)
    assert response.status_code == kind.status
    assert body["type"] == f"/problems/{body['code'].replace('_', '-')}"
    assert body["documentation_url"].endswith(body["type"])
    assert body["instance"] == path
    assert body["request_id"] == response.headers["x-request-id"]
    assert re.fullmatch(r"[^\n]{10,300}\.", body["detail"])
    for error in body.get("errors", []):
        assert set(error) == {"pointer", "code", "detail"}
    return body


REQUESTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("GET", "/nowhere", {}, "not_found"),
    ("GET", "/devices/", {}, "not_found"),
    ("GET", "/devices/dev_x", {}, "not_found"),
    ("GET", f"/devices/{'x' * 201}", {}, "not_found"),
    ("GET", "/devices/a%00b", {}, "not_found"),
    ("GET", "/groups/grp_x", {}, "group_not_found"),
    ("PATCH", "/devices", {}, "method_not_allowed"),
    ("GET", "/devices?colour=red", {}, "unknown_parameter"),
    ("GET", "/devices?cursor=zzz", {}, "invalid_cursor"),
    ("GET", "/devices?limit=0", {}, "validation_failed"),
    ("GET", "/devices?limit=1&limit=2", {}, "validation_failed"),
    ("GET", "/devices", {"headers": {"Authorization": ""}}, "unauthenticated"),
    ("GET", "/devices", {"headers": {"Authorization": "Basic eA=="}}, "unauthenticated"),
    ("GET", "/devices", {"headers": {"Authorization": "Bearer"}}, "unauthenticated"),
    ("GET", "/devices", {"headers": {"Authorization": "Bearer cspb_x"}}, "unauthenticated"),
    ("POST", "/groups", {"json": {}}, "validation_failed"),
    ("POST", "/groups", {}, "unsupported_media_type"),
    (
        "POST",
        "/groups",
        {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
        "unsupported_media_type",
    ),
    ("POST", "/groups", {"content": b"{", "headers": {"Content-Type": "application/json"}}, "malformed_body"),
    ("POST", "/groups", {"content": b" " * 1048577}, "body_too_large"),
    ("POST", "/catalog/syncs", {}, "no_upstream"),
]


@pytest.mark.parametrize(("method", "path", "values", "code"), REQUESTS)
def test_every_error_has_the_one_shape(
    sqlite_api: Api, method: str, path: str, values: dict[str, Any], code: str
) -> None:
    """Whatever goes wrong, a client reads the same members."""
    response = sqlite_api(method, path, **values)
    body = check_shape(response, response.request.url.path)
    assert body["code"] == code


def test_paths_outside_the_api_have_it_too(sqlite_api: Api) -> None:
    """Probes and unknown paths speak the same language."""
    for method, path, status in (("GET", "/", 404), ("POST", "/livez", 405), ("GET", "/problems/x", 404)):
        response = sqlite_api.client.request(method, path)
        assert response.status_code == status
        check_shape(response, path)


def test_a_405_names_every_method_of_the_path(sqlite_api: Api) -> None:
    """Even though the table has a row per method."""
    allowed = sqlite_api("PATCH", "/devices").headers["allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "POST"}


def serve(error: Exception, **options: Any) -> Response:
    """The answer of an application whose only handler raises."""

    async def fail(request: Request) -> Any:
        raise error

    app = Starlette(
        routes=[Route("/x", fail)],
        middleware=[Middleware(RequestId, **options), Middleware(RequestLog)],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    client = TestClient(app)
    response = client.get("/x")
    client.close()
    return response


@pytest.mark.parametrize("code", sorted(PROBLEMS))
def test_each_code_is_rendered_and_explained(code: str) -> None:
    """A domain error with the code becomes its problem, whose `type` leads to an explanation."""
    member = {
        "device_exists": {"existing": "1"},
        "group_exists": {"existing": None},
        "group_in_use": {"approvals": ["1", "2"]},
        "group_named": {"groups": ["1"]},
        "group_has_profiles": {"profiles": ["1"]},
        "profile_assigned": {"groups": ["1"]},
        "profile_exists": {"existing": "1"},
        "group_cycle": {"path": ["1", "2", "1"]},
        "group_has_windows": {"windows": ["1"]},
        "window_exists": {"existing": "1"},
        "eula_not_accepted": {"eulas": []},
        "approval_conflict": {"existing": "1"},
    }.get(code, {_LINKED[code][0]: ["1"]} if code in _LINKED else {})
    response = serve(BridgeError("A sentence for people.", code=code, **member))
    body = check_shape(response, "/x")
    app = Starlette(routes=problem_routes())
    client = TestClient(app)
    page = client.get(body["type"])
    client.close()
    assert page.status_code == 200
    assert page.json() == {
        "code": code,
        "title": PROBLEMS[code].title,
        "status": PROBLEMS[code].status,
        "meaning": PROBLEMS[code].meaning,
    }


def test_objects_in_the_way_are_linked() -> None:
    """An id becomes an id with its path; one that is gone meanwhile stays null."""
    existing = Conflict("It is there already.", code="device_exists", existing="dev_1")
    assert serve(existing).json()["existing"] == {"id": "dev_1", "href": "/api/v1/devices/dev_1"}
    gone = Conflict("It was there just now.", code="device_exists", existing=None)
    assert serve(gone).json()["existing"] is None


def test_validation_errors_are_listed() -> None:
    """`errors` has a pointer, a code and a sentence each."""
    errors = (FieldError("/a", "required", "Give it."), FieldError("/b", "too_long", "Shorter."))
    body = check_shape(serve(Invalid("Two members are wrong.", errors=errors)), "/x")
    assert body["errors"] == [
        {"pointer": "/a", "code": "required", "detail": "Give it."},
        {"pointer": "/b", "code": "too_long", "detail": "Shorter."},
    ]


def test_unavailable_says_when_to_come_back(logged: StringIO) -> None:
    """503 with Retry-After, and the cause in the log only."""
    cause = OSError("socket /var/run/secret")
    error = Unavailable("The database is away.", retry_after=7)
    error.__cause__ = cause
    response = serve(error)
    check_shape(response, "/x")
    assert (response.status_code, response.headers["retry-after"]) == (503, "7")
    assert "secret" not in response.text
    assert "secret" in logged.getvalue()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("password=hunter2"),
        HTTPException(418, "hunter2"),
        BridgeError("hunter2", code="never_heard_of"),
    ],
)
def test_the_unforeseen_is_a_plain_500(error: Exception, logged: StringIO) -> None:
    """The request id and nothing about the cause; the log has the rest."""
    response = serve(error)
    body = check_shape(response, "/x")
    assert body["code"] == "internal"
    assert "hunter2" not in response.text
    assert "hunter2" in logged.getvalue()
    assert body["request_id"] in logged.getvalue()


def test_extra_members_cannot_replace_the_standard_ones() -> None:
    """A domain error may add members, not lie with them."""
    body = serve(Conflict("No, it cannot be.", status=200, type="x", instance="y", hint="z")).json()
    assert (body["status"], body["type"], body["instance"], body["hint"]) == (
        409,
        "/problems/conflict",
        "/x",
        "z",
    )


def test_links_are_absolute_when_the_address_is_known() -> None:
    """`documentation_url` begins with the public URL, `type` does not: it is an identifier."""
    body = serve(Conflict("No, it cannot be."), public_url="https://bridge.example/").json()
    assert body["documentation_url"] == "https://bridge.example/problems/conflict"
    assert body["type"] == "/problems/conflict"


def test_the_documentation_has_every_code_and_no_other() -> None:
    """docs/problems.md and the table are one list, in one order, with status and meaning."""
    page = (ROOT / "docs" / "problems.md").read_text()
    assert re.findall(r"^## (\S+)$", page, re.MULTILINE) == list(PROBLEMS)
    flat = " ".join(page.split())
    for code, kind in PROBLEMS.items():
        assert f"## {code} {kind.status} {kind.title}. {kind.meaning}" in flat


def test_every_code_used_in_the_source_is_in_the_table() -> None:
    """No `code="…"` of a domain error is missing, which would make it a 500."""
    used = {BodyTooLarge.code, UnsupportedMediaType.code}
    for path in (ROOT / "mdm").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {
                "Conflict",
                "NotFound",
                "Malformed",
                "Forbidden",
            }:
                used |= {
                    keyword.value.value
                    for keyword in node.keywords
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
                }
    assert used <= PROBLEMS.keys()
    assert len(used) > 10


def test_default_codes_of_domain_errors_are_in_the_table() -> None:
    """Each class of the tree can be raised without a code."""

    def walk(kind: type[BridgeError]) -> set[str]:
        return {kind.code}.union(*(walk(child) for child in kind.__subclasses__()))

    assert walk(BridgeError) <= PROBLEMS.keys()


def test_a_problem_needs_a_real_status() -> None:
    """A typing error in the table fails at import."""
    with pytest.raises(ValueError, match="999"):
        Problem(999, "x", "y")
