"""/groups over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Api


def test_a_group_from_birth_to_death(api: Api) -> None:
    """Made, listed, read, filled, emptied, deleted."""
    response = api("POST", "/groups", json={"name": " pilots "})
    assert response.status_code == 201
    group = response.json()
    assert response.headers["location"] == f"/api/v1/groups/{group['id']}"
    assert group == {
        "id": group["id"],
        "name": "pilots",
        "builtin": False,
        "created_at": "2026-11-21T12:00:00Z",
        "device_count": 0,
    }
    device = api.post("/devices", {"device_id": "DEV1"})
    member = f"/groups/{group['id']}/devices/{device['id']}"
    assert [api("PUT", member).status_code for _ in range(2)] == [204, 204]
    assert api.get(f"/groups/{group['id']}")["device_count"] == 1
    assert [api("DELETE", member).status_code for _ in range(2)] == [204, 204]
    assert api("DELETE", f"/groups/{group['id']}").status_code == 204
    api.refused("GET", f"/groups/{group['id']}", 404, "group_not_found")


def test_the_builtin_group(api: Api) -> None:
    """It is listed, and can neither be deleted nor given members."""
    device = api.post("/devices", {"device_id": "DEV1"})
    (group,) = api.get("/groups")["items"]
    assert (group["id"], group["builtin"], group["device_count"]) == ("all-devices", True, 1)
    api.refused("DELETE", "/groups/all-devices", 409, "group_builtin")
    api.refused("PUT", f"/groups/all-devices/devices/{device['id']}", 409, "group_builtin")
    api.refused("DELETE", f"/groups/all-devices/devices/{device['id']}", 409, "group_builtin")


def test_conflicts_and_the_unknown(api: Api) -> None:
    """Names are unique, groups in use stay, strangers are not found."""
    group = api.post("/groups", {"name": "pilots"})
    assert (
        api.refused("POST", "/groups", 409, "group_exists", json={"name": "pilots"})["existing"]["id"]
        == group["id"]
    )
    api.post(
        "/approvals",
        {
            "target": {"type": "update", "id": "a317dafe-baf4-453f-b232-a7075efae36e"},
            "action": "approve",
            "group_ids": [group["id"]],
        },
    )
    assert len(api.refused("DELETE", f"/groups/{group['id']}", 409, "group_in_use")["approvals"]) == 1
    api.refused("PUT", f"/groups/{group['id']}/devices/dev_x", 404, "not_found")
    problem = api.refused("PUT", "/groups/grp_x/devices/dev_x", 404, "group_not_found")
    assert problem["group_id"] == "grp_x"


def test_paging_groups(api: Api) -> None:
    """By name, page by page."""
    for name in ("d", "b", "c", "a"):
        api.post("/groups", {"name": name})
    pages = api.pages("/groups", limit=2)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {row["name"] for page in pages for row in page} == {"a", "b", "c", "d", "All devices"}
