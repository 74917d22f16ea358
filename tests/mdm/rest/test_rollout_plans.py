"""/rollout-plans over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Api

RING = {
    "name": "pilot",
    "group_ids": ["all-devices"],
    "after": "start",
    "deferral_days": 3,
    "soak_hours": 48,
    "gate": {"percent": 95, "min_devices": 20},
    "halt": {"percent": 5, "min_sample": 40, "failures": 10},
    "offer": {"every_hours": 12, "devices": None, "percent": 10},
    "deadline_days": 7,
    "promote": "auto",
}
PLAN = {"name": "Rings", "rings": [RING]}


def test_a_plan_lives(api: Api) -> None:
    """Made, read, listed, changed, deleted; what is left out asks for nothing."""
    response = api("POST", "/rollout-plans", json=PLAN)
    assert response.status_code == 201, response.text
    made = response.json()
    path = f"/rollout-plans/{made['id']}"
    assert response.headers["location"] == f"/api/v1{path}"
    assert made["rings"] == [RING]
    assert api.get(path) == made
    body = {"name": "Rings", "rings": [{"name": "all", "group_ids": ["all-devices"]}]}
    changed = api("PUT", path, json=body).json()
    assert changed["rings"] == [
        {
            "name": "all",
            "group_ids": ["all-devices"],
            "after": "previous",
            "deferral_days": 0,
            "soak_hours": 0,
            "gate": None,
            "halt": None,
            "offer": None,
            "deadline_days": None,
            "promote": "auto",
        }
    ]
    api.post("/rollout-plans", PLAN | {"name": "Another"})
    assert [[plan["name"] for plan in page] for page in api.pages("/rollout-plans", limit=1)] == [
        ["Another"],
        ["Rings"],
    ]
    assert api("DELETE", path).status_code == 204
    api.refused("GET", path, 404, "not_found")
    api.refused("PUT", path, 404, "not_found", json=body)
    api.refused("DELETE", path, 404, "not_found")


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"rings": []}, "/rings", "too_short"),
        ({"rings": [RING] * 21}, "/rings", "too_long"),
        ({"name": "a\0b"}, "/name", "control_character"),
        ({"name": "x" * 201}, "/name", "too_long"),
        ({"rings": [{**RING, "name": " "}]}, "/rings/0/name", "too_short"),
        ({"rings": [{**RING, "colour": "red"}]}, "/rings/0/colour", "unknown_member"),
        ({"rings": [{"name": "x"}]}, "/rings/0/group_ids", "required"),
        ({"rings": [{**RING, "group_ids": []}]}, "/rings/0/group_ids", "too_short"),
        ({"rings": [{**RING, "group_ids": ["a\0"]}]}, "/rings/0/group_ids/0", "control_character"),
        ({"rings": [{**RING, "group_ids": ["nobody"]}]}, "/rings/0/group_ids/0", "unknown_group"),
        ({"rings": [{**RING, "after": "never"}]}, "/rings/0/after", "invalid_value"),
        ({"rings": [{**RING, "deferral_days": 366}]}, "/rings/0/deferral_days", "invalid_value"),
        ({"rings": [{**RING, "deferral_days": -1}]}, "/rings/0/deferral_days", "invalid_value"),
        ({"rings": [{**RING, "deferral_days": 10**30}]}, "/rings/0/deferral_days", "invalid_value"),
        ({"rings": [{**RING, "deferral_days": "3"}]}, "/rings/0/deferral_days", "wrong_type"),
        ({"rings": [{**RING, "soak_hours": 8761}]}, "/rings/0/soak_hours", "invalid_value"),
        ({"rings": [{**RING, "gate": {"percent": 101}}]}, "/rings/0/gate/percent", "invalid_value"),
        ({"rings": [{**RING, "gate": {"percent": 0}}]}, "/rings/0/gate/percent", "invalid_value"),
        ({"rings": [{**RING, "gate": {}}]}, "/rings/0/gate/percent", "required"),
        (
            {"rings": [{**RING, "gate": {"percent": 9, "min_devices": 0}}]},
            "/rings/0/gate/min_devices",
            "invalid_value",
        ),
        ({"rings": [{**RING, "halt": {}}]}, "/rings/0/halt", "required"),
        ({"rings": [{**RING, "halt": {"failures": 0}}]}, "/rings/0/halt/failures", "invalid_value"),
        ({"rings": [{**RING, "offer": {"devices": 5}}]}, "/rings/0/offer/every_hours", "required"),
        ({"rings": [{**RING, "offer": {"every_hours": 5}}]}, "/rings/0/offer", "one_of_two"),
        (
            {"rings": [{**RING, "offer": {"every_hours": 0, "devices": 1}}]},
            "/rings/0/offer/every_hours",
            "invalid_value",
        ),
        ({"rings": [{**RING, "deadline_days": 0}]}, "/rings/0/deadline_days", "invalid_value"),
        ({"rings": [{**RING, "promote": "approval"}]}, "/rings/0/promote", "last_ring"),
    ],
)
def test_each_wrong_member_is_named(sqlite_api: Api, change: dict[str, Any], pointer: str, code: str) -> None:
    """By its pointer, when a plan is made and when it is changed."""
    plan = sqlite_api.post("/rollout-plans", PLAN)
    body = {**PLAN, **change}
    for method, path in (("POST", "/rollout-plans"), ("PUT", f"/rollout-plans/{plan['id']}")):
        problem = sqlite_api.refused(method, path, 422, "validation_failed", json=body)
        assert (pointer, code) in {(error["pointer"], error["code"]) for error in problem["errors"]}


def test_a_name_that_is_taken_names_the_plan_that_has_it(sqlite_api: Api) -> None:
    """With its path."""
    plan = sqlite_api.post("/rollout-plans", PLAN)
    problem = sqlite_api.refused("POST", "/rollout-plans", 409, "plan_exists", json=PLAN)
    assert problem["existing"] == {"id": plan["id"], "href": f"/api/v1/rollout-plans/{plan['id']}"}


def test_a_group_of_a_plan_cannot_be_deleted(sqlite_api: Api) -> None:
    """The plans are named, with their paths."""
    group = sqlite_api.post("/groups", {"name": "pilot"})["id"]
    plan = sqlite_api.post("/rollout-plans", {"name": "x", "rings": [{"name": "a", "group_ids": [group]}]})
    problem = sqlite_api.refused("DELETE", f"/groups/{group}", 409, "group_has_plans")
    assert problem["plans"] == [{"id": plan["id"], "href": f"/api/v1/rollout-plans/{plan['id']}"}]
