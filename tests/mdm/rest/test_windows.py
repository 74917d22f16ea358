"""/maintenance-windows over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Api

GOOD: dict[str, Any] = {
    "name": "sundays",
    "group_ids": ["all-devices"],
    "pattern": {"type": "weekly", "days": ["sunday"]},
    "start": "22:00",
    "duration_minutes": 240,
    "zone": "Europe/Berlin",
}


def test_a_window_from_birth_to_death(api: Api) -> None:
    """Made, read, listed, changed, deleted."""
    response = api("POST", "/maintenance-windows", json=GOOD)
    assert response.status_code == 201
    window = response.json()
    path = f"/maintenance-windows/{window['id']}"
    assert response.headers["location"] == f"/api/v1{path}"
    assert window["id"].startswith("win_")
    assert window == {
        **GOOD,
        "id": window["id"],
        "fallback_zone": None,
        "valid_from": None,
        "valid_until": None,
        "catch_up_hours": 0,
        "enforce_on_device": False,
        "allow_auto_update": 3,
        "reason": None,
        "created_at": "2026-11-21T12:00:00Z",
        "created_by": "client:tests",
        "state": "closed",
        "openings": window["openings"],
        "enforcement": window["enforcement"],
    }
    assert len(window["openings"]) == 5
    assert window["openings"][0] == {
        "opens": "2026-11-22T21:00:00Z",
        "closes": "2026-11-23T01:00:00Z",
        "local_opens": "2026-11-22T22:00:00+01:00",
        "local_closes": "2026-11-23T02:00:00+01:00",
    }
    assert not window["enforcement"]["possible"]
    assert api.get(path) == window
    assert api.get("/maintenance-windows")["items"] == [window]
    body = {
        **GOOD,
        "pattern": {"type": "monthly", "nth": 2, "weekday": "tuesday"},
        "start": "03:00",
        "zone": "device",
        "fallback_zone": "Europe/Berlin",
        "enforce_on_device": True,
        "valid_until": "2027-01-01T00:00:00+01:00",
    }
    changed = api("PUT", path, json=body).json()
    assert (changed["pattern"], changed["valid_until"]) == (body["pattern"], "2026-12-31T23:00:00Z")
    assert changed["enforcement"]["policies"]["ScheduledInstallSecondWeek"] == "1"
    assert [each["local_opens"] for each in changed["openings"]] == ["2026-12-08T03:00:00+01:00"]
    assert api("DELETE", path).status_code == 204
    api.refused("GET", path, 404, "window_not_found")
    api.refused("DELETE", path, 404, "window_not_found")
    api.refused("PUT", path, 404, "window_not_found", json=GOOD)


def test_windows_are_listed_in_pages(api: Api) -> None:
    """By name."""
    for name in ("c", "a", "b"):
        api.post("/maintenance-windows", {**GOOD, "name": name})
    pages = api.pages("/maintenance-windows", limit=2)
    assert [[row["name"] for row in page] for page in pages] == [["a", "b"], ["c"]]


def test_conflicts_lead_to_what_is_in_the_way(api: Api) -> None:
    """A name that is taken, and a group that windows are for."""
    group = api.post("/groups", {"name": "g"})
    window = api.post("/maintenance-windows", {**GOOD, "group_ids": [group["id"]]})
    href = f"/api/v1/maintenance-windows/{window['id']}"
    problem = api.refused("POST", "/maintenance-windows", 409, "window_exists", json=GOOD)
    assert problem["existing"] == {"id": window["id"], "href": href}
    problem = api.refused("DELETE", f"/groups/{group['id']}", 409, "group_has_windows")
    assert problem["windows"] == [{"id": window["id"], "href": href}]
    body = {**GOOD, "name": "other", "group_ids": ["grp_x"]}
    api.refused("POST", "/maintenance-windows", 404, "group_not_found", json=body)


def test_a_preview_stores_nothing_and_needs_no_right_to_write(api: Api) -> None:
    """It counts, names, and says when each device could be given updates."""
    device = api.post("/devices", {"device_id": "DEV1", "name": "desk"})
    window = api.post("/maintenance-windows", {**GOOD, "start": "20:00"})
    token = api.token_with("approvals.read")
    before = api.bench.dump()
    path, body = "/maintenance-windows/preview", {**GOOD, "name": "new"}
    found = api("POST", path, token=token, json=body).json()
    assert (found["devices"], found["overlapping"], found["as_of"]) == (1, 1, "2026-11-21T12:00:00Z")
    assert found["shown"] == [
        {
            "id": device["id"],
            "device_id": "DEV1",
            "name": "desk",
            "other_windows": [window["id"]],
            "open_now": False,
            "opens_next": "2026-11-22T19:00:00Z",
        }
    ]
    replaced = api("POST", path, json={**body, "replaces": window["id"]}).json()
    assert replaced["overlapping"] == 0
    # The token's last use is noted, and nothing else.
    after = api.bench.dump()
    assert {name for name in after if after[name] != before[name]} <= {"api_token"}


@pytest.mark.parametrize(
    ("members", "pointer", "code"),
    [
        ({"name": ""}, "/name", "too_short"),
        ({"name": "x" * 201}, "/name", "too_long"),
        ({"name": "a\0b"}, "/name", "control_character"),
        ({"name": 7}, "/name", "wrong_type"),
        ({"group_ids": []}, "/group_ids", "too_short"),
        ({"group_ids": ["a"] * 101}, "/group_ids", "too_long"),
        ({"group_ids": ["\0"]}, "/group_ids/0", "control_character"),
        ({"group_ids": None}, "/group_ids", "wrong_type"),
        ({"pattern": None}, "/pattern", "wrong_type"),
        ({"pattern": {}}, "/pattern/type", "required"),
        ({"pattern": {"type": "yearly"}}, "/pattern/type", "invalid_value"),
        ({"pattern": {"type": "weekly"}}, "/pattern/days", "required"),
        ({"pattern": {"type": "weekly", "days": []}}, "/pattern/days", "too_short"),
        ({"pattern": {"type": "weekly", "days": ["sun"]}}, "/pattern/days/0", "invalid_value"),
        ({"pattern": {"type": "weekly", "days": ["sunday"], "week": 1}}, "/pattern/week", "unknown_member"),
        ({"pattern": {"type": "monthly", "nth": 5, "weekday": "friday"}}, "/pattern/nth", "invalid_value"),
        ({"pattern": {"type": "monthly", "nth": True, "weekday": "friday"}}, "/pattern/nth", "wrong_type"),
        ({"pattern": {"type": "monthly", "nth": 1}}, "/pattern/weekday", "required"),
        ({"pattern": {"type": "patch_tuesday", "offset_days": 28}}, "/pattern/offset_days", "invalid_value"),
        (
            {"pattern": {"type": "patch_tuesday", "offset_days": 10**30}},
            "/pattern/offset_days",
            "invalid_value",
        ),
        ({"pattern": {"type": "patch_tuesday", "offset_days": 1.5}}, "/pattern/offset_days", "wrong_type"),
        ({"start": "24:00"}, "/start", "invalid_value"),
        ({"start": "9:00"}, "/start", "invalid_value"),
        ({"start": "22:00\n"}, "/start", "invalid_value"),
        ({"start": "２２:00"}, "/start", "invalid_value"),
        ({"duration_minutes": 14}, "/duration_minutes", "invalid_value"),
        ({"duration_minutes": 10_081}, "/duration_minutes", "invalid_value"),
        ({"duration_minutes": "60"}, "/duration_minutes", "wrong_type"),
        ({"zone": "Nowhere/At all"}, "/zone", "unknown_zone"),
        ({"zone": "../../etc/passwd"}, "/zone", "unknown_zone"),
        ({"zone": "device"}, "/fallback_zone", "required"),
        ({"fallback_zone": "UTC"}, "/fallback_zone", "contradiction"),
        ({"valid_from": "2027-01-01"}, "/valid_from", "invalid_value"),
        ({"valid_from": "2027-01-01T00:00:00"}, "/valid_from", "invalid_value"),
        ({"valid_from": "0001-01-01T00:00:00+14:00"}, "/valid_from", "invalid_value"),
        ({"valid_until": "9999-12-31T23:59:59-14:00"}, "/valid_until", "invalid_value"),
        ({"catch_up_hours": 169}, "/catch_up_hours", "invalid_value"),
        ({"catch_up_hours": -1}, "/catch_up_hours", "invalid_value"),
        ({"enforce_on_device": "yes"}, "/enforce_on_device", "wrong_type"),
        ({"allow_auto_update": 5}, "/allow_auto_update", "invalid_value"),
        ({"reason": "x\x1b[31m"}, "/reason", "control_character"),
        ({"colour": "red"}, "/colour", "unknown_member"),
    ],
)
def test_wrong_members_are_named(sqlite_api: Api, members: dict[str, Any], pointer: str, code: str) -> None:
    """When a window is made and when one is thought of; nothing is stored."""
    for path in ("/maintenance-windows", "/maintenance-windows/preview"):
        problem = sqlite_api.refused("POST", path, 422, "validation_failed", json={**GOOD, **members})
        assert (pointer, code) in {(error["pointer"], error["code"]) for error in problem["errors"]}
    assert sqlite_api.get("/maintenance-windows")["items"] == []
