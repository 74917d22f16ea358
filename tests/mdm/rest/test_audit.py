"""/audit over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Api


def test_changes_are_listed_newest_first(api: Api) -> None:
    """With the caller, the request's id and address, and no secret."""
    device = api.post("/devices", {"device_id": "DEV1"})
    group = api.post("/groups", {"name": "pilots"})
    api("PUT", f"/groups/{group['id']}/devices/{device['id']}")
    api("DELETE", f"/devices/{device['id']}")
    items = api.get("/audit")["items"]
    assert [entry["action"] for entry in items] == [
        "device.delete",
        "group.add_device",
        "group.create",
        "device.create",
        "token.create",
    ]
    created = items[3]
    assert (created["actor"], created["request_id"], created["remote_addr"], created["object_id"]) == (
        "client:tests",
        "from-the-test",
        "testclient",
        device["id"],
    )
    assert device["credentials"]["password"] not in str(items)
    pages = api.pages("/audit", limit=2)
    assert [entry for page in pages for entry in page] == items


def test_filters(sqlite_api: Api) -> None:
    """By action, by kind of object, by object."""
    for name in ("a", "b"):
        sqlite_api.post("/groups", {"name": name})
    (newest, _) = sqlite_api.get("/audit", action="group.create")["items"]
    assert len(sqlite_api.get("/audit", object_type="group")["items"]) == 2
    assert sqlite_api.get("/audit", object_id=newest["object_id"])["items"] == [newest]
    assert sqlite_api.get("/audit", object_type="device")["items"] == []


def test_refused_requests_leave_no_row(sqlite_api: Api) -> None:
    """Only what changed something is in the trail."""
    before = len(sqlite_api.get("/audit")["items"])
    sqlite_api.post("/groups", {"name": "a"})
    sqlite_api.refused("POST", "/groups", 409, "group_exists", json={"name": "a"})
    sqlite_api.refused("POST", "/groups", 422, "validation_failed", json={})
    assert len(sqlite_api.get("/audit")["items"]) == before + 1
