"""/rollouts over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.rollouts.worker import RolloutWorker

if TYPE_CHECKING:
    from conftest import Api

UPDATE = "11111111-0000-4000-8000-000000000001"
OTHER = "11111111-0000-4000-8000-000000000002"


def plan(api: Api, **first: Any) -> str:
    """A plan of two rings; returns its id."""
    groups = [api.post("/groups", {"name": name})["id"] for name in ("test", "pilot")]
    rings = [{"name": "test", "group_ids": groups[:1], **first}, {"name": "pilot", "group_ids": groups[1:]}]
    made: str = api.post("/rollout-plans", {"name": "Rings", "rings": rings})["id"]
    return made


def start(api: Api, **first: Any) -> str:
    """A rollout through these rings; returns its path."""
    body = {"name": "November", "plan_id": plan(api, **first), "update_ids": [UPDATE]}
    return f"/rollouts/{api.post('/rollouts', body)['id']}"


def look(api: Api) -> None:
    """What the service's own thread does."""
    RolloutWorker(api.bench.database, api.clock).run_pending(api.clock.now)


GATE = {"gate": {"percent": 90, "min_devices": 2}}


def test_a_rollout_is_started_and_read(api: Api) -> None:
    """With what was asked, what is, and each stage's figures."""
    plan_id = plan(api, **GATE)
    body = {"name": "November", "plan_id": plan_id, "update_ids": [UPDATE.upper(), f"{{{OTHER}}}"]}
    response = api("POST", "/rollouts", json=body)
    assert response.status_code == 201, response.text
    made = response.json()
    assert response.headers["location"] == f"/api/v1/rollouts/{made['id']}"
    assert (made["name"], made["plan_id"], made["update_ids"]) == ("November", plan_id, [UPDATE, OTHER])
    assert (made["requested_state"], made["effective_state"], made["reasons"]) == ("running", "running", [])
    assert made["created_by"] == "client:tests"
    assert made["as_of"] == "2026-11-21T12:00:00Z"
    first = made["stages"][0]
    assert (first["number"], first["ring"]["name"], first["state"]) == (1, "test", "waiting")
    assert first["devices"]["targeted"] == 0
    assert first["progress"]["needs_percent"] == 90
    assert first["progress"]["text"] == "opens as soon as the stage before has passed"
    assert api.get(f"/rollouts/{made['id']}") == made
    look(api)
    first = api.get(f"/rollouts/{made['id']}")["stages"][0]
    assert first["progress"]["text"] == "no device has taken it up yet, needs 90 % and 2 devices"


def test_rollouts_and_their_events_are_listed(api: Api) -> None:
    """Newest first, by state, page by page."""
    paths = [start(api, **GATE)]
    plan_id = api.get(paths[0])["plan_id"]
    for name in ("December", "January"):
        api.clock.now += timedelta(days=30)
        body = {"name": name, "plan_id": plan_id, "update_ids": [UPDATE]}
        paths.append(f"/rollouts/{api.post('/rollouts', body)['id']}")
    api.post(f"{paths[1]}/pause", {}, 200)
    assert [[line["name"] for line in page] for page in api.pages("/rollouts", limit=2)] == [
        ["January", "December"],
        ["November"],
    ]
    assert [line["name"] for line in api.get("/rollouts", state="paused")["items"]] == ["December"]
    assert api.get("/rollouts", rule_id="rul_x")["items"] == []
    api.refused("GET", "/rollouts", 422, "validation_failed", params={"state": "odd"})
    look(api)
    events = [event for page in api.pages(f"{paths[0]}/events", limit=1) for event in page]
    assert [event["kind"] for event in events] == ["opened", "started"]


def test_people_steer_it(api: Api) -> None:
    """Pause, resume, promote with a second person, stop; each answers with the rollout."""
    path = start(api, promote="approval", **GATE)
    paused = api.post(f"{path}/pause", {"remark": "VPN"}, 200)
    assert (paused["effective_state"], paused["state_reason"]["remark"]) == ("paused", "VPN")
    problem = api.refused("POST", f"{path}/promote", 409, "rollout_state", json={"stage": 1, "remark": "x"})
    assert (problem["state"], problem["possible"]) == ("paused", ["resume", "roll_back", "stop"])
    assert api.post(f"{path}/resume", {}, 200)["effective_state"] == "running"
    look(api)
    api.refused(
        "POST", f"{path}/approve-promotion", 409, "promotion_not_asked", json={"stage": 1, "remark": "x"}
    )
    problem = api.refused(
        "POST", f"{path}/promote", 409, "stage_not_current", json={"stage": 2, "remark": "x"}
    )
    assert problem["current"] == 1
    asked = api.post(f"{path}/promote", {"stage": 1, "remark": "urgent"}, 200)
    assert (asked["stages"][0]["promotion"], asked["stages"][0]["promotion_by"]) == ("asked", "client:tests")
    agree = {"stage": 1, "remark": "seen"}
    api.refused("POST", f"{path}/promote", 409, "promotion_asked", json=agree)
    api.refused("POST", f"{path}/approve-promotion", 403, "second_person_required", json=agree)
    other = api.token_with("rollouts.write")
    agreed = api("POST", f"{path}/approve-promotion", token=other, json=agree)
    assert agreed.status_code == 200, agreed.text
    assert [stage["state"] for stage in agreed.json()["stages"]] == ["passed", "waiting"]
    stopped = api.post(f"{path}/stop", {}, 200)
    assert (stopped["requested_state"], stopped["effective_state"]) == ("stopped", "stopped")
    assert {approval["requested_state"] for approval in api.get("/approvals")["items"]} == {"revoked"}


def test_an_approval_of_a_rollout_is_not_revoked_by_itself(api: Api) -> None:
    """The rollout is stopped as a whole."""
    path = start(api)
    approval = api.get("/approvals")["items"][0]["id"]
    problem = api.refused("POST", f"/approvals/{approval}/revoke", 409, "belongs_to_rollout")
    assert problem["rollout"]["href"] == f"/api/v1{path}"


def test_a_roll_back_stops_and_blocks(api: Api) -> None:
    """Whatever the devices are asked."""
    path = start(api)
    api.refused("POST", f"{path}/roll-back", 422, "validation_failed", json={})
    api.refused("POST", f"{path}/roll-back", 422, "validation_failed", json={"reason": "x", "kind": "odd"})
    look(api)
    done = api.post(f"{path}/roll-back", {"reason": "INC-1", "kind": "quality"}, 200)
    assert done["effective_state"] == "stopped"
    approvals = {(each["action"], each["requested_state"]) for each in api.get("/approvals")["items"]}
    assert approvals == {("approve", "revoked"), ("block", "active")}
    api.post(f"{path}/roll-back", {"reason": "INC-1"}, 200)


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"update_ids": []}, "/update_ids", "too_short"),
        ({"update_ids": [UPDATE] * 101}, "/update_ids", "too_long"),
        ({"update_ids": ["x"]}, "/update_ids/0", "invalid_guid"),
        ({"update_ids": [UPDATE, UPDATE.upper()]}, "/update_ids/1", "repeated"),
        ({"update_ids": ["e6cf1350-c01b-414d-a61f-263d14d133b4"]}, "/update_ids/0", "not_update"),
        ({"plan_id": "pln_none"}, "/plan_id", "unknown_plan"),
        ({"plan_id": "a\0"}, "/plan_id", "control_character"),
        ({"name": ""}, "/name", "too_short"),
        ({"name": "a\nb"}, "/name", "control_character"),
        ({"colour": "red"}, "/colour", "unknown_member"),
    ],
)
def test_each_wrong_member_is_named(sqlite_api: Api, change: dict[str, Any], pointer: str, code: str) -> None:
    """By its pointer; nothing is started."""
    body = {"name": "November", "plan_id": plan(sqlite_api), "update_ids": [UPDATE], **change}
    problem = sqlite_api.refused("POST", "/rollouts", 422, "validation_failed", json=body)
    assert (pointer, code) in {(error["pointer"], error["code"]) for error in problem["errors"]}
    assert sqlite_api.get("/rollouts")["items"] == []


@pytest.mark.parametrize(
    ("action", "body", "pointer"),
    [
        ("pause", {"remark": "a\0"}, "/remark"),
        ("resume", {"remark": ""}, "/remark"),
        ("stop", {"remark": "x" * 201}, "/remark"),
        ("promote", {"stage": 1}, "/remark"),
        ("promote", {"remark": "x"}, "/stage"),
        ("promote", {"stage": 0, "remark": "x"}, "/stage"),
        ("promote", {"stage": 21, "remark": "x"}, "/stage"),
        ("approve-promotion", {"stage": True, "remark": "x"}, "/stage"),
        ("roll-back", {"reason": ""}, "/reason"),
    ],
)
def test_actions_refuse_what_they_cannot_read(
    sqlite_api: Api, action: str, body: dict[str, Any], pointer: str
) -> None:
    """Naming the member, whatever state the rollout is in."""
    problem = sqlite_api.refused("POST", f"{start(sqlite_api)}/{action}", 422, "validation_failed", json=body)
    assert pointer in {error["pointer"] for error in problem["errors"]}


def test_going_on_after_a_halt_asks_for_a_remark(sqlite_api: Api) -> None:
    """By the domain, with the same pointer."""
    path = start(sqlite_api)
    with sqlite_api.bench.database.write() as connection:
        connection.exec_driver_sql("UPDATE rollout SET state = 'halted'")
    problem = sqlite_api.refused("POST", f"{path}/resume", 422, "validation_failed", json={})
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("/remark", "required")]


def test_a_preview_writes_nothing(api: Api) -> None:
    """By a plan there is, or by rings that nobody has saved."""
    plan_id = plan(api, **GATE)
    found = api.post("/rollouts/preview", {"plan_id": plan_id, "update_ids": [UPDATE]}, 200)
    assert [stage["name"] for stage in found["stages"]] == ["test", "pilot"]
    assert [update["update_id"] for update in found["updates"]] == [UPDATE]
    rings = [{"name": "all", "group_ids": ["all-devices"]}]
    found = api.post("/rollouts/preview", {"rings": rings, "update_ids": [UPDATE, OTHER]}, 200)
    assert (found["approvals"], found["stages"][0]["name"]) == (2, "all")
    assert api.get("/rollouts")["items"] == api.get("/approvals")["items"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/plan_id"),
        ({"plan_id": "pln_x", "rings": [{"name": "a", "group_ids": ["all-devices"]}]}, "/plan_id"),
        ({"plan_id": "pln_x"}, "/plan_id"),
        ({"rings": [{"name": "a", "group_ids": ["nobody"]}]}, "/rings/0/group_ids/0"),
    ],
)
def test_a_preview_needs_rings(sqlite_api: Api, body: dict[str, Any], pointer: str) -> None:
    """From one of the two."""
    problem = sqlite_api.refused(
        "POST", "/rollouts/preview", 422, "validation_failed", json={**body, "update_ids": [UPDATE]}
    )
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_what_is_not_there_is_not_found(sqlite_api: Api) -> None:
    """Neither the rollout nor its timeline, nor anything to do with it."""
    sqlite_api.refused("GET", "/rollouts/rol_x", 404, "not_found")
    sqlite_api.refused("GET", "/rollouts/rol_x/events", 404, "not_found")
    sqlite_api.refused("POST", "/rollouts/rol_x/stop", 404, "not_found", json={})
