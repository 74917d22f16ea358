"""/policies, /policy-presets, /policy-profiles, and what came of them on a device."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from csp.policy import POLICIES

if TYPE_CHECKING:
    from conftest import Api

AUTO = "AllowAutoUpdate"
DEFER = "DeferQualityUpdatesPeriodInDays"
APPROVAL = "RequireUpdateApproval"
TARGET = "0fa1201d-4330-4fa8-8ae9-b877473b6441"


def create(api: Api, name: str = "One", **settings: int | str) -> dict[str, Any]:
    """A profile for nobody."""
    body: dict[str, Any] = api.post("/policy-profiles", {"name": name, "settings": settings or {AUTO: 2}})
    return body


def put(api: Api, path: str, body: Any) -> Any:
    """The JSON of a PUT that succeeds."""
    response = api("PUT", path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_every_policy_is_described(sqlite_api: Api) -> None:
    """With what it may be set to, in a form a program can check."""
    policies = {each["name"]: each for each in sqlite_api.get("/policies")["policies"]}
    assert policies.keys() == POLICIES.keys()
    assert policies[AUTO]["allowed"] == {"values": [0, 1, 2, 3, 4, 5]}
    assert policies[DEFER]["allowed"] == {"minimum": 0, "maximum": 30}
    assert policies["PauseQualityUpdatesStartTime"]["allowed"] == {"pattern": "[0-9]{4}-[0-9]{2}-[0-9]{2}"}
    assert policies["UpdateServiceUrl"]["allowed"]["pattern"].startswith("https?")
    assert policies["ScheduledInstallDay"]["needs"] == [{"name": AUTO, "values": [3, 4]}]
    assert all(each["description"].endswith(".") for each in policies.values())


def test_a_preset_is_a_profile_to_start_from(api: Api) -> None:
    """What the list shows can be posted as it is."""
    presets = api.get("/policy-presets")["presets"]
    assert [each["name"] for each in presets] == ["test", "pilot", "broad", "kiosk", "server"]
    for preset in presets:
        profile = create(api, preset["title"], **preset["settings"])
        assert profile["settings"] == dict(sorted(preset["settings"].items()))


def test_the_life_of_a_profile(api: Api) -> None:
    """Made, read, listed, changed, given, paused, resumed, taken back, deleted."""
    response = api(
        "POST", "/policy-profiles", json={"name": " One ", "settings": {AUTO: 2}, "drift": "report"}
    )
    assert response.status_code == 201
    made = response.json()
    path = f"/policy-profiles/{made['id']}"
    assert response.headers["location"] == f"/api/v1{path}"
    assert (made["name"], made["drift"], made["description"]) == ("One", "report", None)
    assert api.get(path) == made
    create(api, "Two")
    assert [[each["name"] for each in page] for page in api.pages("/policy-profiles", limit=1)] == [
        ["One"],
        ["Two"],
    ]
    changed = put(api, path, {"name": "One", "description": "For all.", "settings": {AUTO: 3, DEFER: 1}})
    assert (changed["settings"], changed["drift"]) == ({AUTO: 3, DEFER: 1}, "repair")
    given = put(api, f"{path}/groups/all-devices", {"rank": 7})
    assert given["assignments"] == [{"group_id": "all-devices", "group_name": "All devices", "rank": 7}]
    paused = put(api, f"{path}/pauses/quality", {})
    assert paused["pauses"] == [
        {"kind": "quality", "since": "2026-11-21", "until": "2026-12-26", "days_left": 35}
    ]
    assert put(api, f"{path}/pauses/feature", {"since": "2026-11-30"})["pauses"][1]["days_left"] == 44
    for kind in ("feature", "quality"):
        resumed = api("DELETE", f"{path}/pauses/{kind}").json()
    assert resumed["pauses"] == []
    assert api("DELETE", f"{path}/groups/all-devices").json()["assignments"] == []
    assert api("DELETE", path).status_code == 204
    api.refused("GET", path, 404, "profile_not_found")
    actions = [
        each["action"]
        for each in api.get("/audit", object_type="policy_profile", object_id=made["id"])["items"]
    ]
    assert [action.removeprefix("policy_profile.") for action in reversed(actions)] == [
        "create",
        "change",
        "assign",
        "pause",
        "pause",
        "resume",
        "resume",
        "unassign",
        "delete",
    ]


GOOD: dict[str, Any] = {"name": "One", "settings": {AUTO: 2}}


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({**GOOD, "name": ""}, "/name", "too_short"),
        ({**GOOD, "name": "x" * 201}, "/name", "too_long"),
        ({**GOOD, "name": "a\x00b"}, "/name", "control_character"),
        ({**GOOD, "description": "x" * 201}, "/description", "too_long"),
        ({**GOOD, "description": 1}, "/description", "wrong_type"),
        ({**GOOD, "drift": "ignore"}, "/drift", "invalid_value"),
        ({**GOOD, "colour": "red"}, "/colour", "unknown_member"),
        ({"name": "One"}, "/settings", "required"),
        ({**GOOD, "settings": []}, "/settings", "wrong_type"),
        ({**GOOD, "settings": {f"P{number}": 1 for number in range(100)}}, "/settings", "too_long"),
        ({**GOOD, "settings": {"NoSuchPolicy": 1}}, "/settings/NoSuchPolicy", "unknown_policy"),
        ({**GOOD, "settings": {"a/b": 1}}, "/settings/a~1b", "unknown_policy"),
        ({**GOOD, "settings": {"\x00": 1}}, "/settings/\x00", "unknown_policy"),
        ({**GOOD, "settings": {AUTO: "2"}}, f"/settings/{AUTO}", "wrong_type"),
        ({**GOOD, "settings": {AUTO: 2.5}}, f"/settings/{AUTO}", "wrong_type"),
        ({**GOOD, "settings": {AUTO: None}}, f"/settings/{AUTO}", "wrong_type"),
        ({**GOOD, "settings": {AUTO: 6}}, f"/settings/{AUTO}", "invalid_value"),
        ({**GOOD, "settings": {AUTO: 10**400}}, f"/settings/{AUTO}", "invalid_value"),
        ({**GOOD, "settings": {"ProductVersion": "a\x00b"}}, "/settings/ProductVersion", "invalid_value"),
        ({**GOOD, "settings": {"ProductVersion": "x" * 600}}, "/settings/ProductVersion", "too_long"),
        ({**GOOD, "settings": {"ScheduledInstallDay": 1}}, "/settings", "dependency"),
    ],
)
def test_a_wrong_profile_is_refused_by_name(sqlite_api: Api, body: Any, pointer: str, code: str) -> None:
    """The same when it is made and when it is changed; and nothing is stored."""
    profile = create(sqlite_api, "Kept")
    for method, path in (("POST", "/policy-profiles"), ("PUT", f"/policy-profiles/{profile['id']}")):
        problem = sqlite_api.refused(method, path, 422, "validation_failed", json=body)
        assert [(each["pointer"], each["code"]) for each in problem["errors"]] == [(pointer, code)]
    assert sqlite_api.get("/policy-profiles")["items"] == [profile]


@pytest.mark.parametrize("name", ["\\ud800", "\\u0000", "\\udfff\\ud800"])
def test_a_name_that_is_no_text_is_refused_all_the_same(sqlite_api: Api, name: str) -> None:
    """Half a character in a member's name, escaped as JSON allows it."""
    content = f'{{"name": "One", "settings": {{"{name}": 1}}}}'
    response = sqlite_api(
        "POST", "/policy-profiles", content=content.encode(), headers={"Content-Type": "application/json"}
    )
    assert response.status_code in {400, 422}, response.text


@pytest.mark.parametrize(
    ("path", "body", "pointer", "code"),
    [
        ("groups/all-devices", {}, "/rank", "required"),
        ("groups/all-devices", {"rank": -1}, "/rank", "invalid_value"),
        ("groups/all-devices", {"rank": 1_000_001}, "/rank", "invalid_value"),
        ("groups/all-devices", {"rank": "1"}, "/rank", "wrong_type"),
        ("groups/all-devices", {"rank": 1.5}, "/rank", "wrong_type"),
        ("pauses/quality", {"since": "2026-02-30"}, "/since", "invalid_value"),
        ("pauses/quality", {"since": "tomorrow"}, "/since", "invalid_value"),
        ("pauses/quality", {"since": "2026-11-210"}, "/since", "too_long"),
        ("pauses/quality", {"since": 20261121}, "/since", "wrong_type"),
        ("pauses/quality", {"since": "2026-10-01"}, "/since", "out_of_range"),
    ],
)
def test_a_wrong_assignment_or_pause_is_refused_by_name(
    sqlite_api: Api, path: str, body: Any, pointer: str, code: str
) -> None:
    """And the profile stays as it is."""
    profile = create(sqlite_api)
    problem = sqlite_api.refused(
        "PUT", f"/policy-profiles/{profile['id']}/{path}", 422, "validation_failed", json=body
    )
    assert [(each["pointer"], each["code"]) for each in problem["errors"]] == [(pointer, code)]
    assert sqlite_api.get(f"/policy-profiles/{profile['id']}") == profile


def test_what_stands_in_the_way_is_linked(sqlite_api: Api) -> None:
    """Another profile of that name, groups that a profile is for, profiles that are for a group."""
    profile = create(sqlite_api)
    path = f"/policy-profiles/{profile['id']}"
    link = {"id": profile["id"], "href": f"/api/v1{path}"}
    problem = sqlite_api.refused("POST", "/policy-profiles", 409, "profile_exists", json=GOOD)
    assert problem["existing"] == link
    group = sqlite_api.post("/groups", {"name": "Sales"})["id"]
    put(sqlite_api, f"{path}/groups/{group}", {"rank": 1})
    problem = sqlite_api.refused("DELETE", path, 409, "profile_assigned")
    assert problem["groups"] == [{"id": group, "href": f"/api/v1/groups/{group}"}]
    problem = sqlite_api.refused("DELETE", f"/groups/{group}", 409, "group_has_profiles")
    assert problem["profiles"] == [link]
    sqlite_api.refused("PUT", f"{path}/groups/grp_x", 404, "group_not_found", json={"rank": 1})
    sqlite_api.refused("PUT", f"{path}/pauses/drivers", 404, "not_found", json={})
    sqlite_api.refused("DELETE", f"{path}/pauses/drivers", 404, "not_found")


def test_a_change_is_previewed(api: Api) -> None:
    """Devices, winners, what stays; and nothing is written."""
    api.bench.enrol("DEV1")
    profile = create(api)
    put(api, f"/policy-profiles/{profile['id']}/groups/all-devices", {"rank": 7})
    before = api.bench.dump()
    shown = api.post(
        "/policy-profiles/preview", {"profile_id": profile["id"], "settings": {DEFER: 3}}, status=200
    )
    # Using the token is noted with it, and nothing else is written.
    assert {**api.bench.dump(), "api_token": None} == {**before, "api_token": None}
    claim = {"source": profile["id"], "profile": "One", "rank": 7, "group_id": "all-devices"}
    assert (shown["devices"], shown["devices_affected"], shown["as_of"]) == (1, 1, "2026-11-21T12:00:00Z")
    assert shown["changes"] == [
        {"name": AUTO, "before": {"value": 2, **claim}, "after": None, "devices": 1},
        {"name": DEFER, "before": None, "after": {"value": 3, **claim}, "devices": 1},
    ]
    assert list(shown["cannot_be_undone"]) == [DEFER]
    body = {"assignments": [{"group_id": "grp_x", "rank": 1}]}
    problem = api.refused("POST", "/policy-profiles/preview", 422, "validation_failed", json=body)
    assert [each["pointer"] for each in problem["errors"]] == ["/assignments/0/group_id"]


def test_a_device_shows_its_policies(api: Api) -> None:
    """From the profile to what is in force there, over three sessions."""
    device = api.bench.enrol("DEV1")
    profile = create(api)
    put(api, f"/policy-profiles/{profile['id']}/groups/all-devices", {"rank": 7})

    def status() -> tuple[str, bool, str | None]:
        (policy,) = api.get("/devices/id-DEV1/policies")["policies"]
        return policy["status"], policy["in_force"], policy["reason_text"]

    assert status() == ("waiting", False, "The device is told in its next session.")
    device.check_in()
    assert status()[0] == "set"
    device.check_in()
    assert status() == ("in_force", True, None)
    shown = api.get("/devices/id-DEV1/policies")
    (policy,) = shown["policies"]
    assert (policy["set_value"], policy["shown_value"], policy["set_source"]) == (2, 2, profile["id"])
    assert policy["wanted"]["profile"] == "One"
    assert (shown["problems"], shown["until"]) == ([], None)
    api.refused("GET", "/devices/dev_x/policies", 404, "not_found")


def test_devices_whose_approvals_have_no_effect_are_found(api: Api) -> None:
    """By a flag on the list of devices."""
    api.bench.enrol("DEV1")
    api.bench.enrol("DEV2")
    api.bench.approve(TARGET)
    assert api.get("/devices", flag="approvals_not_enforced")["items"] == []
    (pk,) = [row["pk"] for row in api.bench.rows("device") if row["device_id"] == "DEV2"]
    api.bench.add(
        "device_policy", device_pk=pk, name=APPROVAL, status="failed", status_code=500, at=api.bench.now
    )
    assert [each["device_id"] for each in api.get("/devices", flag="approvals_not_enforced")["items"]] == [
        "DEV2"
    ]
    policies = api.get("/devices/id-DEV2/policies")["policies"]
    assert [(each["name"], each["status"], each["wanted"]["source"]) for each in policies] == [
        (APPROVAL, "failed", "approvals")
    ]
    api.refused("GET", "/devices", 422, "validation_failed", params={"flag": "other"})


def test_the_end_of_a_pause_is_shown_with_the_device(sqlite_api: Api) -> None:
    """And after it nobody wants it."""
    sqlite_api.bench.enrol("DEV1")
    profile = create(sqlite_api)
    path = f"/policy-profiles/{profile['id']}"
    put(sqlite_api, f"{path}/groups/all-devices", {"rank": 7})
    put(sqlite_api, f"{path}/pauses/quality", {})
    shown = sqlite_api.get("/devices/id-DEV1/policies")
    assert [each["name"] for each in shown["policies"]] == [AUTO, "PauseQualityUpdatesStartTime"]
    assert shown["until"] == "2026-12-26T12:00:00Z"
    sqlite_api.clock.now += timedelta(days=36)
    assert [each["name"] for each in sqlite_api.get("/devices/id-DEV1/policies")["policies"]] == [AUTO]


def test_a_window_that_is_enforced_fills_the_gaps_that_profiles_leave(sqlite_api: Api) -> None:
    """Its schedule is wanted as the window's, until the window ends; a profile's own value wins."""
    sqlite_api.bench.enrol("DEV1")
    put(sqlite_api, f"/policy-profiles/{create(sqlite_api)['id']}/groups/all-devices", {"rank": 7})
    window = {
        "name": "nights",
        "group_ids": ["all-devices"],
        "pattern": {"type": "weekly", "days": ["sunday"]},
        "start": "03:00",
        "duration_minutes": 60,
        "zone": "device",
        "fallback_zone": "Europe/Berlin",
        "enforce_on_device": True,
        "valid_until": "2027-01-01T00:00:00Z",
    }
    window_id = sqlite_api.post("/maintenance-windows", window)["id"]
    shown = sqlite_api.get("/devices/id-DEV1/policies")
    found = {each["name"]: each for each in shown["policies"]}
    assert found["ScheduledInstallTime"]["wanted"]["source"] == window_id
    assert found[AUTO]["wanted"]["value"] == 2
    assert [each["source"] for each in found[AUTO]["losers"]] == [window_id]
    assert shown["problems"] != []
    assert shown["until"] == "2027-01-01T00:00:00Z"
