"""/rules over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.catalog.listing import list_again
from mdm.rules.worker import RuleWorker

if TYPE_CHECKING:
    from conftest import Api

IDS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(1, 5)]
GOOD = {"title": "good*"}
RULE = {"name": "good ones", "criteria": GOOD, "action": "approve", "group_ids": ["all-devices"]}


def fill(api: Api) -> None:
    """Two updates that are good and two that are not, the newest first."""
    for number, update_id in enumerate(IDS):
        api.bench.catalogue(
            update_id,
            title=f"{['Good', 'Bad'][number % 2]} {number}",
            created=api.bench.now - timedelta(days=number),
            kb_all=[str(number)],
        )
    with api.bench.database.write() as conn:
        list_again(conn, IDS)


def work(api: Api) -> None:
    """What the service's own thread does."""
    RuleWorker(api.bench.database, api.clock).run_pending()


def test_a_rule_from_birth_to_death(api: Api) -> None:
    """Made, listed, changed, switched, deleted; each change in the audit."""
    body = RULE | {
        "description": "why",
        "deadline_days": 7,
        "not_before_days": 1,
        "after_sync": True,
        "schedule": {"cron": "30 3 * * *", "time_zone": "Europe/Berlin"},
    }
    response = api("POST", "/rules", json=body)
    assert response.status_code == 201
    rule = response.json()
    path = f"/rules/{rule['id']}"
    assert response.headers["location"] == f"/api/v1{path}"
    assert rule == body | {
        "id": rule["id"],
        "enabled": True,
        "query_id": None,
        "plan_id": None,
        "next_due_at": "2026-11-22T02:30:00Z",
        "created_at": "2026-11-21T12:00:00Z",
        "created_by": "client:tests",
        "changed_at": "2026-11-21T12:00:00Z",
    }
    assert api.get(path) == rule
    assert api.get("/rules")["items"] == [rule]
    changed = api("PUT", path, json=RULE | {"enabled": True, "name": "other"}).json()
    assert (changed["name"], changed["schedule"], changed["description"]) == ("other", None, None)
    assert api.post(f"{path}/disable", {}, 200)["enabled"] is False
    assert api.post(f"{path}/enable", {}, 200)["enabled"] is True
    assert api("DELETE", path).status_code == 204
    actions = [entry["action"] for entry in api.get("/audit", object_id=rule["id"])["items"]]
    assert actions == ["rule.delete", "rule.enable", "rule.disable", "rule.change", "rule.create"]
    for method, end, sent in (
        ("GET", "", None),
        ("PUT", "", RULE | {"enabled": True}),
        ("DELETE", "", None),
        ("POST", "/run", {}),
        ("POST", "/enable", {}),
        ("POST", "/disable", {}),
        ("GET", "/runs", None),
        ("GET", "/runs/rrn_x", None),
        ("GET", "/runs/rrn_x/results", None),
    ):
        api.refused(method, path + end, 404, "not_found", json=sent)


def test_a_run_by_hand_and_its_record(api: Api) -> None:
    """Queued, done by the worker, read with what became of each update and why."""
    fill(api)
    rule = api.post("/rules", RULE)
    response = api("POST", f"/rules/{rule['id']}/run")
    assert response.status_code == 202
    run = response.json()
    path = f"/rules/{rule['id']}/runs/{run['id']}"
    assert response.headers["location"] == f"/api/v1{path}"
    assert (run["state"], run["requested_by"]) == ("queued", "client:tests")
    work(api)
    ended = api.get(path)
    assert {
        name: ended[name] for name in ("state", "trigger", "examined", "matched", "outcomes", "error")
    } == {
        "state": "succeeded",
        "trigger": "manual",
        "examined": 4,
        "matched": 2,
        "outcomes": {"approved": 2, "not_matched": 2},
        "error": None,
    }
    assert api.get(f"/rules/{rule['id']}/runs")["items"] == [ended]
    pages = api.pages(f"{path}/results", limit=3)
    assert [[item["title"] for item in page] for page in pages] == [["Good 0", "Bad 1", "Good 2"], ["Bad 3"]]
    approved = api.get(f"{path}/results", outcome="approved")["items"]
    approval = api.get(f"/approvals/{approved[0]['approval_id']}")
    assert (approval["rule_id"], approval["created_by"]) == (rule["id"], f"rule:{rule['id']}")
    assert approved[0] == {
        "update_id": IDS[0],
        "title": "Good 0",
        "outcome": "approved",
        "reason": 'It matches: its title is "Good 0".',
        "approval_id": approval["id"],
        "eula_id": None,
    }
    api.refused("GET", f"{path}/results", 422, "validation_failed", params={"outcome": "perhaps"})


def test_runs_in_pages(api: Api) -> None:
    """The latest first."""
    rule = api.post("/rules", RULE)
    for _ in range(3):
        api.post(f"/rules/{rule['id']}/run", {}, 202)
        work(api)
        api.clock.now += timedelta(minutes=1)
    pages = api.pages(f"/rules/{rule['id']}/runs", limit=2)
    assert [[item["requested_at"][14:16] for item in page] for page in pages] == [["02", "01"], ["00"]]


def test_rules_in_pages_by_name(api: Api) -> None:
    """And no two of a name; one that is off does not run."""
    made = {
        name: api.post("/rules", RULE | {"name": name, "enabled": name != "b"}) for name in ("b", "c", "a")
    }
    assert [[item["name"] for item in page] for page in api.pages("/rules", limit=2)] == [["a", "b"], ["c"]]
    problem = api.refused("POST", "/rules", 409, "rule_exists", json=RULE | {"name": "a"})
    assert problem["existing"] == {"id": made["a"]["id"], "href": f"/api/v1/rules/{made['a']['id']}"}
    api.refused("POST", f"/rules/{made['b']['id']}/run", 409, "rule_disabled")


def test_a_preview_stores_nothing(api: Api) -> None:
    """It says what a rule would do now; of a rule that is there, what it has done counts."""
    fill(api)
    asked = {name: value for name, value in RULE.items() if name != "name"}
    before = api.bench.dump()
    preview = api.post("/rules/preview", asked, 200)
    after = api.bench.dump()
    assert {name for name in after if after[name] != before[name]} <= {"api_token"}
    assert {
        name: preview[name] for name in ("as_of", "of", "outcomes", "recent_since", "recent_outcomes")
    } == {
        "as_of": "2026-11-21T12:00:00Z",
        "of": 4,
        "outcomes": {"approved": 2, "not_matched": 2},
        "recent_since": "2026-08-23T12:00:00Z",
        "recent_outcomes": {"approved": 2, "not_matched": 2},
    }
    assert preview["not_matched"][0] == {
        "update_id": IDS[1],
        "title": "Bad 1",
        "kb": ["1"],
        "created": "2026-11-20T12:00:00Z",
        "outcome": "not_matched",
        "reason": 'Its title is "Bad 1".',
        "approval_id": None,
        "eula_id": None,
        "group_ids": [],
        "would_have_matched_on": None,
    }
    rule = api.post("/rules", RULE)
    api.post(f"/rules/{rule['id']}/run", {}, 202)
    work(api)
    preview = api.post("/rules/preview", asked | {"rule_id": rule["id"]}, 200)
    assert preview["outcomes"] == {"covered": 2, "not_matched": 2}
    api.refused("POST", "/rules/preview", 404, "not_found", json=asked | {"rule_id": "rul_x"})


def test_what_a_rule_names_cannot_be_deleted(api: Api) -> None:
    """The refusals lead to the rule."""
    group = api.post("/groups", {"name": "pilots"})
    query = api.post("/queries", {"name": "good", "criteria": GOOD})
    body = {"name": "r", "query_id": query["id"], "action": "approve", "group_ids": [group["id"]]}
    rule = api.post("/rules", body)
    named = [{"id": rule["id"], "href": f"/api/v1/rules/{rule['id']}"}]
    assert api.refused("DELETE", f"/groups/{group['id']}", 409, "group_has_rules")["rules"] == named
    assert api.refused("DELETE", f"/queries/{query['id']}", 409, "query_named")["rules"] == named


@pytest.mark.parametrize(
    ("values", "pointer", "code"),
    [
        ({"name": None}, "/name", "wrong_type"),
        ({"name": "a\x00b"}, "/name", "control_character"),
        ({"description": "x" * 201}, "/description", "too_long"),
        ({"criteria": None}, "/criteria", "required"),
        ({"criteria": {"kb": "x"}}, "/criteria/kb", "invalid_value"),
        ({"query_id": "qry_x"}, "/criteria", "required"),
        ({"query_id": "qry_x", "criteria": None}, "/query_id", "unknown_query"),
        ({"query_id": "a\x00b", "criteria": None}, "/query_id", "control_character"),
        ({"action": "delete"}, "/action", "invalid_value"),
        ({"group_ids": []}, "/group_ids", "required"),
        ({"group_ids": ["x"] * 101}, "/group_ids", "too_long"),
        ({"group_ids": ["a\x00b"]}, "/group_ids/0", "control_character"),
        ({"action": "rollout", "group_ids": [], "plan_id": "pln_x"}, "/plan_id", "unknown_plan"),
        ({"plan_id": "pln_x"}, "/plan_id", "not_a_rollout"),
        ({"deadline_days": -1}, "/deadline_days", "invalid_value"),
        ({"deadline_days": 366}, "/deadline_days", "invalid_value"),
        ({"deadline_days": 2**70}, "/deadline_days", "invalid_value"),
        ({"not_before_days": 1.5}, "/not_before_days", "wrong_type"),
        ({"not_before_days": 5, "deadline_days": 4}, "/deadline_days", "too_early"),
        ({"after_sync": "yes"}, "/after_sync", "wrong_type"),
        ({"enabled": 1}, "/enabled", "wrong_type"),
        ({"schedule": {}}, "/schedule", "required"),
        (
            {"schedule": {"cron": "0 0 * * *", "time_zone": "x/../y"}},
            "/schedule/time_zone",
            "unknown_time_zone",
        ),
        ({"colour": "red"}, "/colour", "unknown_member"),
    ],
)
def test_what_is_wrong_is_named(sqlite_api: Api, values: Any, pointer: str, code: str) -> None:
    """Of a new rule, a changed one and a preview alike."""
    rule = sqlite_api.post("/rules", RULE)
    body = RULE | {"enabled": True, "name": "other"} | values
    requests = [("POST", "/rules", body), ("PUT", f"/rules/{rule['id']}", body)]
    if not values.keys() & {"name", "description", "enabled"}:
        asked = {name: value for name, value in body.items() if name not in {"name", "enabled"}}
        requests.append(("POST", "/rules/preview", asked))
    for method, path, sent in requests:
        problem = sqlite_api.refused(method, path, 422, "validation_failed", json=sent)
        assert (pointer, code) in [(error["pointer"], error["code"]) for error in problem["errors"]]


def test_an_unknown_group(sqlite_api: Api) -> None:
    """As everywhere."""
    for path, body in (
        ("/rules", RULE),
        ("/rules/preview", {each: RULE[each] for each in ("criteria", "action")}),
    ):
        sqlite_api.refused("POST", path, 404, "group_not_found", json=body | {"group_ids": ["grp_x"]})


def test_the_switch_is_said_in_a_change(sqlite_api: Api) -> None:
    """A change that forgot it would switch a rule on by accident."""
    rule = sqlite_api.post("/rules", RULE | {"enabled": False})
    problem = sqlite_api.refused("PUT", f"/rules/{rule['id']}", 422, "validation_failed", json=RULE)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("/enabled", "required")]
