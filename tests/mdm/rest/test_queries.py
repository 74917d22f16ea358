"""/queries over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.catalog.listing import list_again

if TYPE_CHECKING:
    from conftest import Api

IDS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(1, 9)]


def fill(api: Api) -> None:
    """Six updates, the newest first, every second one of low severity."""
    for number, update_id in enumerate(IDS[:6]):
        api.bench.catalogue(
            update_id,
            title=f"Update {number}",
            created=api.bench.now - timedelta(days=number),
            msrc_severity=[None, "Low"][number % 2],
            kb=str(number),
            kb_all=[str(number)],
        )
    with api.bench.database.write() as conn:
        list_again(conn, IDS[:6])


def save(api: Api, name: str = "low ones", criteria: Any = None, **more: Any) -> Any:
    """Save a query."""
    return api.post("/queries", {"name": name, "criteria": criteria or {"severity": "Low"}, **more})


def test_a_query_from_birth_to_death(api: Api) -> None:
    """Saved, matched before the answer leaves, listed, changed, deleted; each change in the audit."""
    fill(api)
    response = api(
        "POST", "/queries", json={"name": "low ones", "criteria": {"severity": "Low"}, "description": "why"}
    )
    assert response.status_code == 201
    query = response.json()
    assert response.headers["location"] == f"/api/v1/queries/{query['id']}"
    path = f"/queries/{query['id']}"
    found = api.get(path)
    assert found == {
        "id": query["id"],
        "name": "low ones",
        "description": "why",
        "criteria": {"severity": "Low"},
        "matching": 3,
        "matched_at": "2026-11-21T12:00:00Z",
        "current": True,
        "created_at": "2026-11-21T12:00:00Z",
        "created_by": "client:tests",
        "changed_at": "2026-11-21T12:00:00Z",
    }
    assert api.get("/queries")["items"] == [found]
    api.clock.now += timedelta(minutes=1)
    changed = {"name": "newer ones", "criteria": {"age_days": {"max": 1.5}}}
    assert api("PUT", path, json=changed).json()["current"] is False
    assert api.get(path) | changed == api.get(path)
    assert (api.get(path)["matching"], api.get(path)["description"]) == (2, None)
    assert api("PUT", path, json=changed).json()["current"] is True
    assert api("DELETE", path).status_code == 204
    api.refused("GET", path, 404, "not_found")
    api.refused("PUT", path, 404, "not_found", json=changed)
    api.refused("DELETE", path, 404, "not_found")
    assert api.bench.rows("query_match") == []
    entries = api.get("/audit", object_id=query["id"])["items"]
    assert [entry["action"] for entry in entries] == ["query.delete", "query.change", "query.create"]
    assert (entries[1]["before"]["name"], entries[1]["after"]["name"]) == ("low ones", "newer ones")


def test_the_matches_in_pages(api: Api) -> None:
    """The newest first."""
    fill(api)
    query = save(api)
    pages = api.pages(f"/queries/{query['id']}/updates", limit=2)
    assert [[item["title"] for item in page] for page in pages] == [["Update 1", "Update 3"], ["Update 5"]]
    assert pages[0][0] == {
        "update_id": IDS[1],
        "title": "Update 1",
        "kb": "1",
        "created": "2026-11-20T12:00:00Z",
    }
    api.refused("GET", "/queries/qry_none/updates", 404, "not_found")


def test_queries_in_pages_by_name(api: Api) -> None:
    """And no two of a name."""
    ids = {name: save(api, name)["id"] for name in ("b", "c", "a")}
    assert [[item["name"] for item in page] for page in api.pages("/queries", limit=2)] == [["a", "b"], ["c"]]
    problem = api.refused(
        "POST", "/queries", 409, "query_exists", json={"name": "a", "criteria": {"expired": True}}
    )
    assert problem["existing"] == {"id": ids["a"], "href": f"/api/v1/queries/{ids['a']}"}
    problem = api.refused(
        "PUT", f"/queries/{ids['b']}", 409, "query_exists", json={"name": "a", "criteria": {"expired": True}}
    )
    assert problem["existing"]["id"] == ids["a"]


def test_a_preview_stores_nothing(api: Api) -> None:
    """It says what matches, what nobody knows, and why."""
    fill(api)
    before = api.bench.dump()
    preview = api.post("/queries/preview", {"criteria": {"not": {"title": "*1"}}}, 200)
    assert (preview["matching"], preview["unknown"], preview["of"]) == (5, 0, 6)
    assert preview["as_of"] == "2026-11-21T12:00:00Z"
    assert preview["updates"][0] == {
        "update_id": IDS[0],
        "title": "Update 0",
        "kb": ["0"],
        "created": "2026-11-21T12:00:00Z",
        "reason": 'Its title is "Update 0".',
    }
    preview = api.post("/queries/preview", {"criteria": {"size_mb": {"max": 1}}}, 200)
    assert (preview["matching"], preview["unknown"], preview["updates"]) == (0, 6, [])
    assert preview["unknown_updates"][0]["reason"] == "Its size is not known."
    after = api.bench.dump()
    assert {name for name in after if after[name] != before[name]} <= {"api_token"}


def test_a_query_in_use_stays(api: Api) -> None:
    """While an active approval names it; one that is revoked does not count."""
    query = save(api)
    target = {"type": "query", "id": query["id"]}
    approval = api.post("/approvals", {"target": target, "action": "approve", "group_ids": ["all-devices"]})
    problem = api.refused("DELETE", f"/queries/{query['id']}", 409, "query_in_use")
    assert problem["approvals"] == [{"id": approval["id"], "href": f"/api/v1/approvals/{approval['id']}"}]
    assert api("POST", f"/approvals/{approval['id']}/revoke").status_code == 200
    assert api("DELETE", f"/queries/{query['id']}").status_code == 204


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/name", "required"),
        ({"name": "x"}, "/criteria", "required"),
        ({"name": "x", "criteria": []}, "/criteria", "wrong_type"),
        ({"name": "x", "criteria": {}}, "/criteria", "wrong_type"),
        ({"name": "x" * 201, "criteria": {"expired": True}}, "/name", "too_long"),
        ({"name": "a\x00b", "criteria": {"expired": True}}, "/name", "control_character"),
        ({"name": "x", "criteria": {"expired": True}, "description": ""}, "/description", "too_short"),
        ({"name": "x", "criteria": {"title": "a\x00b"}}, "/criteria/title", "control_character"),
        ({"name": "x", "criteria": {"not": {"colour": 1}}}, "/criteria/not/colour", "unknown_member"),
        (
            {"name": "x", "criteria": {"needed_by": {"at_least": 2**70}}},
            "/criteria/needed_by/at_least",
            "invalid_value",
        ),
    ],
)
def test_what_is_wrong_is_named(sqlite_api: Api, body: Any, pointer: str, code: str) -> None:
    """Of a new query, a changed one and a preview alike."""
    query = save(sqlite_api)
    requests = [("POST", "/queries", body), ("PUT", f"/queries/{query['id']}", body)]
    if pointer.startswith("/criteria"):
        asked = {name: value for name, value in body.items() if name == "criteria"}
        requests.append(("POST", "/queries/preview", asked))
    for method, path, sent in requests:
        problem = sqlite_api.refused(method, path, 422, "validation_failed", json=sent)
        assert (pointer, code) in [(error["pointer"], error["code"]) for error in problem["errors"]]
