"""The table of operations: every row is guarded, documented and reachable, and no route is outside it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from starlette.routing import Route

from mdm.access.scopes import Scope
from mdm.rest import API_PREFIX
from mdm.rest.fields import NoBody, PageQuery
from mdm.rest.table import OPERATIONS

if TYPE_CHECKING:
    from conftest import Api
    from starlette.applications import Starlette

    from mdm.rest.operations import Operation

OPEN = {
    "/livez",
    "/readyz",
    "/version",
    "/problems/{slug}",
    "/omadm",
    "/EnrollmentServer/Discovery.svc",
    "/EnrollmentServer/Policy.svc",
    "/EnrollmentServer/Enrollment.svc",
    "/pki/{authority}.crl",
    "/pki/{authority}.cer",
}
"""What answers without a token: probes, explanations, an authority's public side, and the devices' endpoints."""


SINGLE = {
    "/audit/verify",
    "/catalog/upstreams",
    "/catalog/upstreams/{upstream}/replica",
    "/certificate-authorities",
    "/certificate-authorities/{authority}/crl",
    "/devices/{device}/policies",
    "/enrolment",
    "/policies",
    "/policy-presets",
    "/reports/approval-effect",
}
"""What reads one answer, although its path ends in no id; upstreams, policies and presets are so few that they come at once."""


def path_of(operation: Operation[Any, Any]) -> str:
    """The operation's path with made-up parameters."""
    return re.sub(r"\{\w+\}", "some-id", operation.path)


def named(operation: Operation[Any, Any]) -> str:
    """An id for the test report."""
    return f"{operation.method} {operation.path}"


def routes_of(api: Api) -> list[Route]:
    """The application's routes."""
    app: Starlette = api.client.app  # type: ignore[assignment]
    return [route for route in app.routes if isinstance(route, Route)]


def test_every_route_without_credentials_answers_401(sqlite_api: Api) -> None:
    """Walks the application's own routes and methods; only the short list is open."""
    tried = 0
    for route in routes_of(sqlite_api):
        if route.path in OPEN:
            continue
        for method in route.methods or ():
            path = re.sub(r"\{\w+\}", "some-id", route.path)
            response = sqlite_api.client.request(method, path)
            assert response.status_code == 401, (method, path)
            assert response.headers["www-authenticate"] == 'Bearer realm="csp-bridge"'
            tried += 1
    assert tried >= len(OPERATIONS)


def test_the_table_and_the_routes_are_the_same(sqlite_api: Api) -> None:
    """Nothing is served below /api/v1 that the table does not list, and all it lists is."""
    served = {
        (method, route.path.removeprefix(API_PREFIX))
        for route in routes_of(sqlite_api)
        if route.path.startswith(API_PREFIX)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert served == {(operation.method, operation.path) for operation in OPERATIONS}
    assert len(OPERATIONS) == len(served)
    others = {route.path for route in routes_of(sqlite_api) if not route.path.startswith(API_PREFIX)}
    assert others == OPEN


@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_each_operation_needs_exactly_its_scope(kept_api: Api, operation: Operation[Any, Any]) -> None:
    """All other scopes together are not enough; the scope alone passes the gate."""
    others = [scope for scope in Scope if scope not in {operation.scope, Scope.ADMIN}]
    response = kept_api(operation.method, path_of(operation), token=kept_api.token_with(*others))
    assert response.status_code == 403
    assert response.json()["scope"] == operation.scope
    assert f'scope="{operation.scope}"' in response.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
    response = kept_api(operation.method, path_of(operation), token=kept_api.token_with(operation.scope))
    assert response.status_code not in {401, 403} or operation.scope is Scope.EULA_ACCEPT


@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_unknown_query_parameters_are_refused_everywhere(
    kept_api: Api, operation: Operation[Any, Any]
) -> None:
    """The problem lists the parameters there are."""
    problem = kept_api.refused(
        operation.method, path_of(operation), 400, "unknown_parameter", params={"colour": "red"}
    )
    assert problem["parameters"] == sorted(operation.query.model_fields)


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.method in {"POST", "PUT"}], ids=named
)
def test_unknown_body_members_are_refused_everywhere(kept_api: Api, operation: Operation[Any, Any]) -> None:
    """Even where no body is expected at all."""
    problem = kept_api.refused(
        operation.method, path_of(operation), 422, "validation_failed", json={"colour": "red"}
    )
    assert ("/colour", "unknown_member") in {(e["pointer"], e["code"]) for e in problem["errors"]}


@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_rows_are_consistent(operation: Operation[Any, Any]) -> None:
    """Reading rows take no body, lists have pages, and each says in a line what it does."""
    if operation.method == "GET":
        assert operation.body is NoBody
        assert operation.scope.value.endswith(".read")
        is_list = not operation.path.endswith("}") and operation.path not in SINGLE
        assert issubclass(operation.query, PageQuery) is is_list
    else:
        assert operation.scope.value.endswith(".read") is operation.reads_only
    assert re.fullmatch(r"[A-Z][^\n]{5,90}[^.]", operation.summary)
    assert operation.query.model_config["extra"] == "forbid"
    assert operation.body.model_config["extra"] == "forbid"


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if issubclass(each.query, PageQuery)], ids=named
)
def test_every_list_refuses_a_foreign_cursor(sqlite_api: Api, operation: Operation[Any, Any]) -> None:
    """A cursor of the audit list opens no other list; garbage opens none."""
    sqlite_api.bench.enrol("some")
    with sqlite_api.bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET id = 'some-id'")
        conn.exec_driver_sql(
            "INSERT INTO device_group (id, name, builtin, created_at) VALUES ('some-id', 'some', FALSE, '2026-11-21')"
        )
    upstream = sqlite_api.post("/catalog/upstreams", {"url": "http://one.example"})["id"]
    sqlite_api.bench.add(
        "sync_run",
        id="some-id",
        upstream_url="http://one.example",
        trigger="manual",
        requested_by="test",
        state="queued",
        requested_at=sqlite_api.bench.now,
    )
    sqlite_api.bench.add(
        "rollout",
        id="some-id",
        name="some",
        state="stopped",
        state_at=sqlite_api.bench.now,
        state_by="test",
        state_reason={"code": "stopped"},
        created_at=sqlite_api.bench.now,
        created_by="test",
        look_at=sqlite_api.bench.now,
    )
    for table, values in (
        (
            "saved_query",
            {"name": "some", "criteria": {}, "version": 1, "created_by": "test"},
        ),
        (
            "approval_rule",
            {
                "name": "some",
                "criteria": {},
                "action": "notify",
                "enabled": False,
                "after_sync": False,
                "version": 1,
                "armed_at": sqlite_api.bench.now,
                "created_by": "test",
            },
        ),
    ):
        moments = {"created_at": sqlite_api.bench.now, "changed_at": sqlite_api.bench.now}
        sqlite_api.bench.add(table, id="some-id", **values, **moments)
    sqlite_api.bench.add(
        "rule_run",
        id="some-id",
        rule_id="some-id",
        slot="manual:some",
        trigger="manual",
        requested_by="test",
        state="succeeded",
        requested_at=sqlite_api.bench.now,
        examined=0,
        matched=0,
        outcomes={},
        waiting_for_eula=0,
    )
    sqlite_api.bench.add(
        "rollback_job",
        id="some-id",
        kind="quality",
        reason="some",
        group_ids=[],
        created_at=sqlite_api.bench.now,
        created_by="test",
        ends_at=sqlite_api.bench.now,
        pause_from="2026-11-21",
        paused_until=sqlite_api.bench.now,
    )
    path = path_of(operation).replace("/upstreams/some-id", f"/upstreams/{upstream}")
    sqlite_api.post("/groups", {"name": "one"})
    sqlite_api.post("/groups", {"name": "two"})
    foreign = sqlite_api.get("/audit", limit=1, object_type="group")["next_cursor"]
    for cursor in (foreign, "", "x", "é", foreign[:-2], "a" * 1999):
        sqlite_api.refused("GET", path, 400, "invalid_cursor", params={"cursor": cursor})
    body = sqlite_api.get(path)
    assert set(body) == {"items", "next_cursor", "total"}
