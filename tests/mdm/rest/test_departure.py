"""/devices/{device}/retire over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Api

ASKED = "2026-11-21T12:00:00Z"


def enrol(api: Api, device_id: str = "DEV1") -> str:
    """A device's id."""
    api.bench.enrol(device_id)
    return f"id-{device_id}"


def written(api: Api) -> Any:
    """What a refused request must not have changed."""
    return [api.bench.rows(table) for table in ("device", "device_event", "audit_entry")]


def states(api: Api, **params: Any) -> dict[str, str]:
    """What the list says, by device_id."""
    return {each["device_id"]: each["state"] for each in api.get("/devices", **params)["items"]}


def test_a_device_is_retired_and_kept(api: Api) -> None:
    """Asked, seen in device and list, cancelled, and as it was."""
    device = enrol(api)
    plain = api.get(f"/devices/{device}")
    assert (plain["state"], plain["departure"], plain["retire_requested_at"]) == ("enrolled", None, None)
    answer = api.post(f"/devices/{device}/retire", {"reason": "INC-1"}, 200)
    assert answer == {
        "id": device,
        "state": "retiring",
        "retire_requested_at": ASKED,
        "retire_told_at": None,
        "unenrolled_at": None,
        "departure": "Asked to leave management on 2026-11-21 12:00 UTC; it is told so at its next session, and it has "
        "never checked in. If it will not come back, retire it at once.",
    }
    whole = api.get(f"/devices/{device}")
    assert {name: whole[name] for name in answer} == answer
    assert states(api) == {"DEV1": "retiring"}
    assert api.post(f"/devices/{device}/retire", {}, 200) == answer
    response = api("DELETE", f"/devices/{device}/retire")
    assert (response.status_code, response.json()["state"], response.json()["departure"]) == (
        200,
        "enrolled",
        None,
    )
    assert api.get(f"/devices/{device}") == plain
    api.refused("DELETE", f"/devices/{device}/retire", 409, "not_retiring")
    actions = [entry["action"] for entry in api.get("/audit", object_type="device")["items"]]
    assert actions == ["device.retire_cancel", "device.retire"]
    (entry, *_) = api.get("/audit", action="device.retire")["items"]
    assert (entry["actor"], entry["detail"]["reason"]) == ("client:tests", "INC-1")


def test_a_lost_device_is_refused_at_once(api: Api) -> None:
    """Nothing is left to ask it, nor to cancel."""
    device = enrol(api)
    answer = api.post(f"/devices/{device}/retire", {"now": True}, 200)
    assert (answer["state"], answer["unenrolled_at"]) == ("unenrolled", ASKED)
    assert "Its approvals and settings stay on it" in answer["departure"]
    for method in ("POST", "DELETE"):
        problem = api.refused(method, f"/devices/{device}/retire", 409, "device_left", json={})
        assert "has left management already" in problem["detail"]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"now": "yes"}, "/now", "wrong_type"),
        ({"now": None}, "/now", "wrong_type"),
        ({"reason": ""}, "/reason", "too_short"),
        ({"reason": "x" * 201}, "/reason", "too_long"),
        ({"reason": "a\x00b"}, "/reason", "control_character"),
        ({"reason": 7}, "/reason", "wrong_type"),
        ({"when": "now"}, "/when", "unknown_member"),
        ([], "", "wrong_type"),
    ],
)
def test_wrong_members_are_named(sqlite_api: Api, body: Any, pointer: str, code: str) -> None:
    """And nothing is written."""
    device = enrol(sqlite_api)
    before = written(sqlite_api)
    problem = sqlite_api.refused("POST", f"/devices/{device}/retire", 422, "validation_failed", json=body)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]
    assert written(sqlite_api) == before


@pytest.mark.parametrize(
    ("ids", "pointer", "code"),
    [
        ([], "/ids", "too_short"),
        (["x"] * 501, "/ids", "too_long"),
        (["", "id-DEV1"], "/ids/0", "too_short"),
        (["a\x00", "id-DEV1"], "/ids/0", "control_character"),
        ([7, "id-DEV1"], "/ids/0", "wrong_type"),
        ("id-DEV1", "/ids", "wrong_type"),
        (None, "/ids", "wrong_type"),
    ],
)
def test_wrong_lists_are_named(sqlite_api: Api, ids: Any, pointer: str, code: str) -> None:
    """None of the devices is retired then."""
    enrol(sqlite_api)
    before = written(sqlite_api)
    problem = sqlite_api.refused("POST", "/devices/retire", 422, "validation_failed", json={"ids": ids})
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]
    assert written(sqlite_api) == before


def test_several_are_answered_apart(api: Api) -> None:
    """In the order of the question, each once; what one is refused for is no obstacle to the others."""
    first, second, gone = (enrol(api, name) for name in ("DEV1", "DEV2", "DEV3"))
    api.post(f"/devices/{gone}/retire", {"now": True}, 200)
    answer = api.post(
        "/devices/retire", {"ids": [second, gone, "dev_x", first, second], "reason": "Sold"}, 200
    )
    assert [(each["id"], each["code"]) for each in answer["items"]] == [
        (second, None),
        (gone, "device_left"),
        ("dev_x", "not_found"),
        (first, None),
    ]
    assert [each["device"] and each["device"]["state"] for each in answer["items"]] == [
        "retiring",
        None,
        None,
        "retiring",
    ]
    assert answer["items"][2]["detail"] == "There is no device 'dev_x'."
    assert len(api.get("/audit", action="device.retire")["items"]) == 3
    api.refused("POST", "/devices/retire", 422, "validation_failed", json={"now": True})


def test_the_list_can_be_asked_for_a_state(api: Api) -> None:
    """Together with whatever else is asked for."""
    for name in ("DEV1", "DEV2", "DEV3"):
        enrol(api, name)
    api.post("/devices/id-DEV2/retire", {}, 200)
    api.post("/devices/id-DEV3/retire", {"now": True}, 200)
    assert states(api) == {"DEV1": "enrolled", "DEV2": "retiring", "DEV3": "unenrolled"}
    for name, state in states(api).items():
        assert states(api, state=state) == {name: state}
    assert states(api, state="retiring", q="dev1") == {}
    assert states(api, state="enrolled", flag="approvals_not_enforced") == {}
    problem = api.refused("GET", "/devices", 422, "validation_failed", params={"state": "lost"})
    assert problem["errors"][0]["pointer"] == "/state"


def test_the_timeline_tells_the_story(api: Api) -> None:
    """Who asked, and that it has gone."""
    device = enrol(api)
    api.post(f"/devices/{device}/retire", {"reason": "INC-1"}, 200)
    api.clock.now += timedelta(days=4)
    api.post(f"/devices/{device}/retire", {"now": True}, 200)
    told = api.get(f"/devices/{device}/timeline")["items"]
    assert [(each["kind"], each["detail"]) for each in reversed(told)] == [
        ("retire_requested", {"by": "client:tests", "at_once": False, "reason": "INC-1"}),
        ("retire_requested", {"by": "client:tests", "at_once": True}),
        ("unenrolled", {"by": "server", "told": False}),
    ]


def test_deleting_says_what_to_do_sooner(api: Api) -> None:
    """A device that has checked in and was not told keeps its enrolment; one that has left keeps nothing."""
    enrol(api)
    api.bench.add("device_tag", device_pk=1, tag="x")
    with api.bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET last_checkin_at = created_at")
    response = api("DELETE", "/devices/id-DEV1")
    assert response.status_code == 200
    residual = response.json()["residual"]
    assert (residual["approvals"], residual["enrolled"]) == (0, True)
    assert "Retire a device first" in residual["detail"]
    enrol(api)
    api.post("/devices/id-DEV1/retire", {"now": True}, 200)
    assert api("DELETE", "/devices/id-DEV1").status_code == 204


def test_unknown_devices_are_not_found(sqlite_api: Api) -> None:
    """Whatever is asked of them."""
    for method in ("POST", "DELETE"):
        sqlite_api.refused(method, "/devices/dev_x/retire", 404, "not_found", json={})
