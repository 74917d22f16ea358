"""/groups over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mdm.devices.worker import MembershipWorker

if TYPE_CHECKING:
    from conftest import Api


def refresh(api: Api) -> None:
    """What the service's own thread does."""
    MembershipWorker(api.bench.database).run_pending()


def member_ids(api: Api, group: Any) -> list[str]:
    """The device_ids of a group's members."""
    return [member["device_id"] for member in api.get(f"/groups/{group['id']}/members")["items"]]


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
        "rule": None,
        "include": [],
        "exclude": [],
        "static_count": 0,
        "device_count": 0,
        "freshness": {"devices_behind": 0, "definitions_changed_at": None},
    }
    device = api.post("/devices", {"device_id": "DEV1"})
    member = f"/groups/{group['id']}/devices/{device['id']}"
    assert [api("PUT", member).status_code for _ in range(2)] == [204, 204]
    assert api.get(f"/groups/{group['id']}")["device_count"] == 1
    assert [api("DELETE", member).status_code for _ in range(2)] == [204, 204]
    assert api("DELETE", f"/groups/{group['id']}").status_code == 204
    api.refused("GET", f"/groups/{group['id']}", 404, "group_not_found")


def test_the_builtin_groups(api: Api) -> None:
    """They are listed, and can neither be changed nor deleted nor given members."""
    device = api.post("/devices", {"device_id": "DEV1"})
    found = api.get("/groups")["items"]
    assert [(group["id"], group["builtin"], group["device_count"]) for group in found] == [
        ("all-devices", True, 1),
        ("unassigned", True, 1),
    ]
    for group in ("all-devices", "unassigned"):
        api.refused("DELETE", f"/groups/{group}", 409, "group_builtin")
        api.refused("PUT", f"/groups/{group}", 409, "group_builtin", json={"name": "mine"})
        api.refused("PUT", f"/groups/{group}/devices/{device['id']}", 409, "group_builtin")
        api.refused("DELETE", f"/groups/{group}/devices/{device['id']}", 409, "group_builtin")
        api.refused("POST", f"/groups/{group}/members", 409, "group_builtin", json={"add": [device["id"]]})


def test_a_group_by_rule_with_its_members_and_reasons(api: Api) -> None:
    """Defined, filled by itself, defined anew; each member says why it is one."""
    devices = [api.post("/devices", {"device_id": f"DEV{n}", "name": f"desk-{n}"}) for n in range(3)]
    kiosks = api.post("/groups", {"name": "kiosks", "rule": {"tag": "kiosk"}})
    rest = api.post(
        "/groups",
        {
            "name": "rest",
            "rule": {"name": "desk-*"},
            "include": ["all-devices"],
            "exclude": [kiosks["id"]],
            "members": [devices[0]["id"], devices[1]["id"]],
        },
    )
    assert (rest["static_count"], rest["device_count"]) == (2, 2)
    assert rest["freshness"] == {"devices_behind": 1, "definitions_changed_at": "2026-11-21T12:00:00Z"}
    refresh(api)
    assert api.get(f"/groups/{rest['id']}")["freshness"]["devices_behind"] == 0
    tagged = api("PUT", f"/devices/{devices[0]['id']}/tags", json={"tags": ["Kiosk"]}).json()
    assert (tagged["tags"], tagged["groups"]) == (["kiosk"], ["all-devices", kiosks["id"]])
    assert member_ids(api, kiosks) == ["DEV0"]
    items = api.get(f"/groups/{rest['id']}/members")["items"]
    rule, everybody = {"how": "rule", "group_id": None}, {"how": "group", "group_id": "all-devices"}
    assert items == [
        {
            "id": devices[1]["id"],
            "device_id": "DEV1",
            "name": "desk-1",
            "reasons": [{"how": "static", "group_id": None}, rule, everybody],
            "behind": False,
        },
        {
            "id": devices[2]["id"],
            "device_id": "DEV2",
            "name": "desk-2",
            "reasons": [rule, everybody],
            "behind": False,
        },
    ]
    assert [
        [row["device_id"] for row in page] for page in api.pages(f"/groups/{rest['id']}/members", limit=1)
    ] == [
        ["DEV1"],
        ["DEV2"],
    ]
    changed = api("PUT", f"/groups/{rest['id']}", json={"name": "two", "rule": {"name": "*-2"}}).json()
    assert (changed["name"], changed["rule"], changed["exclude"]) == ("two", {"name": "*-2"}, [])
    refresh(api)
    assert member_ids(api, rest) == ["DEV0", "DEV1", "DEV2"]
    emptied = api.post(
        f"/groups/{rest['id']}/members",
        {"remove": [devices[0]["id"], devices[1]["id"]]},
        status=200,
    )
    assert (emptied["static_count"], emptied["device_count"]) == (0, 1)
    api.refused("GET", "/groups/grp_x/members", 404, "group_not_found")


def test_a_preview_stores_nothing(api: Api) -> None:
    """It counts, names, says what it does not know, and needs no right to write."""
    device = api.post("/devices", {"device_id": "DEV1", "name": "kiosk-1"})
    api.post("/devices", {"device_id": "DEV2", "name": "desk-2"})
    token = api.token_with("devices.read")
    before = api.bench.dump()
    body = {"rule": {"name": "kiosk-*"}}
    response = api("POST", "/groups/preview", token=token, json=body)
    assert (response.status_code, response.json()) == (
        200,
        {
            "matching": 1,
            "unknown": 0,
            "of": 2,
            "as_of": "2026-11-21T12:00:00Z",
            "devices": [{"id": device["id"], "device_id": "DEV1", "name": "kiosk-1"}],
        },
    )
    unknown = api.post("/groups/preview", {"rule": {"edition": "*"}}, status=200)
    assert (unknown["matching"], unknown["unknown"]) == (0, 2)
    after = api.bench.dump()
    for dump in (before, after):
        dump.pop("api_token")  # they know when they were last used
    assert after == before


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"rule": {"tag": 7}}, "/rule/tag", "wrong_type"),
        ({"rule": {"any": [{"tag": "x"}, {"colour": "x"}]}}, "/rule/any/1/colour", "unknown_member"),
        ({"rule": []}, "/rule", "wrong_type"),
        ({"include": ["grp_x"]}, "/include/0", "unknown_group"),
        ({"exclude": ["unassigned"]}, "/exclude/0", "not_nestable"),
        ({"include": "grp_x"}, "/include", "wrong_type"),
        ({"include": ["x"] * 101}, "/include", "too_long"),
        ({"colour": "red"}, "/colour", "unknown_member"),
    ],
)
def test_wrong_definitions_are_named_wherever_they_are_given(
    sqlite_api: Api, body: Any, pointer: str, code: str
) -> None:
    """Made, changed or only thought of: the same problem, and nothing is written."""
    group = sqlite_api.post("/groups", {"name": "one"})
    before = sqlite_api.bench.rows("device_group")
    for method, path, name in (
        ("POST", "/groups", {"name": "two"}),
        ("PUT", f"/groups/{group['id']}", {"name": "two"}),
        ("POST", "/groups/preview", {}),
    ):
        problem = sqlite_api.refused(method, path, 422, "validation_failed", json={**name, **body})
        assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]
    assert sqlite_api.bench.rows("device_group") == before


def test_unknown_devices_are_named(sqlite_api: Api) -> None:
    """In each list of members."""
    device = sqlite_api.post("/devices", {"device_id": "DEV1"})["id"]
    group = sqlite_api.post("/groups", {"name": "one"})
    members = f"/groups/{group['id']}/members"
    for path, body, pointer in (
        ("/groups", {"name": "two", "members": [device, "dev_x"]}, "/members/1"),
        (members, {"add": ["dev_x"]}, "/add/0"),
        (members, {"add": [device], "remove": ["dev_x"]}, "/remove/0"),
    ):
        problem = sqlite_api.refused("POST", path, 422, "validation_failed", json=body)
        assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [
            (pointer, "unknown_device")
        ]


def test_conflicts_and_the_unknown(api: Api) -> None:
    """Names are unique, groups in use stay, strangers are not found, circles are shown."""
    group = api.post("/groups", {"name": "pilots"})
    assert (
        api.refused("POST", "/groups", 409, "group_exists", json={"name": "pilots"})["existing"]["id"]
        == group["id"]
    )
    outer = api.post("/groups", {"name": "outer", "include": [group["id"]]})
    href = f"/api/v1/groups/{outer['id']}"
    assert api.refused("DELETE", f"/groups/{group['id']}", 409, "group_named")["groups"] == [
        {"id": outer["id"], "href": href}
    ]
    body = {"name": "pilots", "include": [outer["id"]]}
    path = api.refused("PUT", f"/groups/{group['id']}", 409, "group_cycle", json=body)["path"]
    assert len(path) == 3
    assert path[0] == path[-1]
    assert {"id": outer["id"], "href": href} in path
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
    assert [len(page) for page in pages] == [2, 2, 2]
    names = {row["name"] for page in pages for row in page}
    assert names == {"a", "b", "c", "d", "All devices", "Unassigned"}
