"""/approvals over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from csp.classifications import DEFINITION_UPDATES

if TYPE_CHECKING:
    from conftest import Api

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
EULA = "eeeeeeee-0000-4000-8000-000000000001"
LATER = "2026-11-23T00:00:00Z"


def body(target_id: str = A, target_type: str = "update", **values: Any) -> dict[str, Any]:
    """A request for all devices."""
    target = {"type": target_type, "id": target_id}
    return {"target": target, "action": "approve", "group_ids": ["all-devices"], **values}


@pytest.mark.parametrize("text", [A, A.upper(), f"{{{A}}}", f"{{{A.upper()}}}", f"%7B{A}%7D"])
def test_a_guid_in_any_form(sqlite_api: Api, text: str) -> None:
    """It comes out in one form."""
    sqlite_api.bench.catalogue(A, title="One")
    response = sqlite_api("POST", "/approvals", json=body(text))
    assert response.status_code == 201
    approval = response.json()
    assert response.headers["location"] == f"/api/v1/approvals/{approval['id']}"
    assert approval == {
        "id": approval["id"],
        "target": {"type": "update", "id": A, "title": "One"},
        "action": "approve",
        "delivery": None,
        "group_ids": ["all-devices"],
        "rollout_id": None,
        "stage": None,
        "rule_id": None,
        "not_before": None,
        "expires_at": None,
        "deadline": None,
        "allow_without_metadata": False,
        "reason": None,
        "created_at": "2026-11-21T12:00:00Z",
        "created_by": "client:tests",
        "revoked_at": None,
        "revoked_by": None,
        "requested_state": "active",
        "effective_state": "active",
        "reasons": [],
        "warnings": [],
    }
    assert sqlite_api.get(f"/approvals/{approval['id']}") == approval


def test_unknown_metadata_is_said(api: Api) -> None:
    """Approved, and held."""
    approval = api.post("/approvals", body())
    assert (approval["effective_state"], approval["reasons"]) == ("held", ["metadata_unknown"])
    assert api.post("/approvals", body(B, allow_without_metadata=True))["effective_state"] == "active"


def test_conflicts(api: Api) -> None:
    """Each names what stands in the way."""
    api.bench.add("eula", id=EULA, first_seen_at=api.bench.now)
    api.bench.catalogue(A, eula_id=EULA, title=".NET", classification_id=CLASS)
    api.bench.catalogue(B, publication_state="Expired")
    eulas = [{"id": EULA, "title": ".NET", "href": f"/api/v1/eulas/{EULA}"}]
    for target in (body(), body(CLASS, "classification", delivery="device")):
        problem = api.refused("POST", "/approvals", 409, "eula_not_accepted", json=target)
        assert problem["eulas"] == eulas
    api.refused("POST", "/approvals", 409, "update_expired", json=body(B))
    unknown = body(B.replace("b", "d", 1))
    first = api.post("/approvals", unknown)
    problem = api.refused("POST", "/approvals", 409, "approval_conflict", json=unknown)
    assert problem["existing"]["id"] == first["id"]
    problem = api.refused(
        "POST", "/approvals", 404, "group_not_found", json=body(group_ids=["all-devices", "x"])
    )
    assert problem["group_id"] == "x"


def test_a_superseded_update_warns(api: Api) -> None:
    """201 with the newer one named."""
    api.bench.catalogue(A)
    api.bench.catalogue(B)
    api.bench.add(
        "revision_relation", update_id=B, revision_number=200, kind="supersedes", clause=0, target_id=A
    )
    (warning,) = api.post("/approvals", body())["warnings"]
    assert (warning["code"], warning["superseded_by"]) == ("update_superseded", [B])


@pytest.mark.parametrize(
    ("wrong", "pointer", "code"),
    [
        ({"target": None}, "/target", "wrong_type"),
        ({"target": {"type": "update"}}, "/target/id", "required"),
        ({"target": {"type": "update", "id": "KB5041585"}}, "/target/id", "invalid_guid"),
        ({"target": {"type": "update", "id": f"{{{A}"}}, "/target/id", "invalid_guid"),
        ({"target": {"type": "company", "id": A}}, "/target/type", "invalid_value"),
        ({"target": {"type": "product", "id": A}}, "/target/id", "unknown_product"),
        ({"target": {"type": "query", "id": "qry_0123456789abcdef0123"}}, "/target/id", "unknown_query"),
        ({"target": {"type": "query", "id": A}}, "/target/id", "unknown_query"),
        ({"target": {"type": "query", "id": "qry_"}}, "/target/id", "invalid_guid"),
        ({"target": {"type": "update", "id": CLASS}}, "/target/id", "not_update"),
        ({"action": "decline"}, "/action", "invalid_value"),
        ({"action": "block"}, "/reason", "required"),
        ({"action": "block", "reason": None}, "/reason", "required"),
        ({"action": "block", "reason": ""}, "/reason", "too_short"),
        ({"action": "block", "reason": " "}, "/reason", "too_short"),
        ({"action": "block", "reason": "x", "not_before": LATER}, "/not_before", "not_for_blocks"),
        (
            {"action": "block", "reason": "x", "allow_without_metadata": True},
            "/allow_without_metadata",
            "not_an_update",
        ),
        ({"action": "block", "reason": "x", "delivery": "device"}, "/delivery", "not_a_classification"),
        ({"delivery": "device"}, "/delivery", "not_a_classification"),
        ({"delivery": "expanded"}, "/delivery", "not_a_classification"),
        (
            {"target": {"type": "classification", "id": CLASS}, "delivery": "all"},
            "/delivery",
            "invalid_value",
        ),
        (
            {"target": {"type": "classification", "id": CLASS}, "allow_without_metadata": True},
            "/allow_without_metadata",
            "not_an_update",
        ),
        ({"expires_at": "2026-11-21T12:00:00Z"}, "/expires_at", "too_early"),
        ({"expires_at": "2026-11-21T13:59:59+02:00"}, "/expires_at", "too_early"),
        ({"expires_at": LATER, "not_before": LATER}, "/expires_at", "too_early"),
        ({"expires_at": LATER, "not_before": "2026-11-24T00:00:00Z"}, "/expires_at", "too_early"),
        ({"expires_at": "2026-12-01T00:00:00"}, "/expires_at", "invalid_value"),
        ({"expires_at": "tomorrow"}, "/expires_at", "invalid_value"),
        ({"not_before": "2026-12-01"}, "/not_before", "invalid_value"),
        ({"not_before": 1795000000}, "/not_before", "invalid_value"),
        ({"group_ids": []}, "/group_ids", "too_short"),
        ({"group_ids": "all-devices"}, "/group_ids", "wrong_type"),
        ({"group_ids": [""]}, "/group_ids/0", "too_short"),
        ({"group_ids": ["x"] * 101}, "/group_ids", "too_long"),
        ({"allow_without_metadata": "true"}, "/allow_without_metadata", "wrong_type"),
        ({"allow_without_metadata": 1}, "/allow_without_metadata", "wrong_type"),
        ({"deadline": "2026-12-01"}, "/deadline", "invalid_value"),
        ({"deadline": "2026-11-21T12:00:00Z"}, "/deadline", "too_early"),
        ({"deadline": "2026-11-24T00:00:00Z", "expires_at": LATER}, "/deadline", "too_late"),
        ({"action": "block", "reason": "INC-1", "deadline": LATER}, "/deadline", "not_for_blocks"),
        ({"rollout_id": "rol_1"}, "/rollout_id", "unknown_member"),
    ],
)
def test_wrong_members(sqlite_api: Api, wrong: dict[str, Any], pointer: str, code: str) -> None:
    """Named by pointer, nothing written."""
    problem = sqlite_api.refused("POST", "/approvals", 422, "validation_failed", json=body(**wrong))
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]
    assert sqlite_api.bench.rows("approval") == []


def test_lists_and_revocation(api: Api) -> None:
    """Revoking answers with the object and what stays behind; lists tell both kinds apart."""
    first, second = api.post("/approvals", body(A)), api.post("/approvals", body(B))
    revoked = api("POST", f"/approvals/{first['id']}/revoke").json()
    assert revoked["requested_state"] == revoked["effective_state"] == "revoked"
    assert revoked["revoked_by"] == "client:tests"
    assert revoked["residual"]["devices"] == 0
    assert api.post(f"/approvals/{first['id']}/revoke", {}, 200) == revoked
    assert [row["id"] for row in api.get("/approvals", active="true")["items"]] == [second["id"]]
    assert [row["id"] for row in api.get("/approvals", active="false")["items"]] == [first["id"]]
    assert [row["id"] for row in api.get("/approvals", target_id=f"{{{A.upper()}}}")["items"]] == [
        first["id"]
    ]
    pages = api.pages("/approvals", limit=1)
    assert sorted(row["id"] for page in pages for row in page) == sorted([first["id"], second["id"]])
    api.refused("GET", "/approvals/apr_x", 404, "not_found")
    api.refused("POST", "/approvals/apr_x/revoke", 404, "not_found")


def test_an_approved_update_reaches_the_device(api: Api) -> None:
    """The whole point: approved over REST, delivered at the next check-in, seen over REST."""
    device = api.bench.enrol("DEV1")
    device.installable = {A: (1, 200)}
    api.bench.catalogue(A)
    device.check_in()
    api.post("/approvals", body())
    assert api.get("/devices/id-DEV1/updates")["items"][0]["reason"] == "awaiting_checkin"
    device.check_in()
    device.check_in()
    (row,) = api.get("/devices/id-DEV1/updates")["items"]
    assert (row["approved"], row["delivered"]) == (True, True)
    approval_id = row["approval_ids"][0]
    residual = api.post(f"/approvals/{approval_id}/revoke", {}, 200)["residual"]
    assert residual["devices"] == 1


def blocking(target_id: str = A, target_type: str = "update", **values: Any) -> dict[str, Any]:
    """A block for all devices."""
    return body(target_id, target_type, action="block", **{"reason": "breaks VPN, INC-4471", **values})


def test_every_wrong_member_is_named_at_once(sqlite_api: Api) -> None:
    """One answer is enough to mend the request."""
    wrong = body(action="block", not_before=LATER, delivery="device", expires_at="2026-11-22T00:00:00Z")
    problem = sqlite_api.refused("POST", "/approvals", 422, "validation_failed", json=wrong)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [
        ("/reason", "required"),
        ("/not_before", "not_for_blocks"),
        ("/delivery", "not_a_classification"),
        ("/expires_at", "too_early"),
    ]
    assert sqlite_api.bench.rows("approval") == []


def test_a_block_holds_an_approval_until_it_ends(api: Api) -> None:
    """Times come back in UTC however they were sent; the lists tell what is over from what holds."""
    api.bench.catalogue(A)
    approval = api.post("/approvals", body())
    block = api.post("/approvals", blocking(expires_at="2026-11-21T16:00:00.5+02:00"))
    assert (block["action"], block["delivery"], block["reason"]) == ("block", None, "breaks VPN, INC-4471")
    assert block["expires_at"] == "2026-11-21T14:00:00.500000Z"
    assert (block["requested_state"], block["effective_state"]) == ("active", "active")
    held = api.get(f"/approvals/{approval['id']}")
    assert (held["requested_state"], held["effective_state"], held["reasons"]) == (
        "active",
        "held",
        ["blocked"],
    )
    api.clock.now += timedelta(hours=3)
    assert api.get(f"/approvals/{approval['id']}")["effective_state"] == "active"
    over = api.get(f"/approvals/{block['id']}")
    assert (over["requested_state"], over["effective_state"], over["reasons"]) == ("expired", "expired", [])
    assert [row["id"] for row in api.get("/approvals", active="true")["items"]] == [approval["id"]]
    assert [row["id"] for row in api.get("/approvals", active="false")["items"]] == [block["id"]]
    assert len(api.get("/approvals", target_id=A)["items"]) == 2


def test_an_approval_to_come_says_so(api: Api) -> None:
    """Held with the reason not_before, until its moment."""
    api.bench.catalogue(A)
    approval = api.post("/approvals", body(not_before="2026-11-21T13:00:00Z", expires_at=LATER))
    assert (approval["not_before"], approval["expires_at"]) == ("2026-11-21T13:00:00Z", LATER)
    assert (approval["effective_state"], approval["reasons"]) == ("held", ["not_before"])
    api.clock.now += timedelta(hours=1)
    assert api.get(f"/approvals/{approval['id']}")["effective_state"] == "active"


def test_the_delivery_of_a_classification(api: Api) -> None:
    """Recommended if left out, and said in the answer."""
    chosen = [
        api.post("/approvals", body(class_id, "classification", **values))["delivery"]
        for class_id, values in (
            (CLASS, {}),
            (DEFINITION_UPDATES, {}),
            (B, {"delivery": "device"}),
        )
    ]
    assert chosen == ["expanded", "device", "device"]


def test_twins_are_told_apart_by_their_action(api: Api) -> None:
    """The problem links to the one there is; once that is over it is no twin."""
    approval = api.post("/approvals", body())
    block = api.post("/approvals", blocking(expires_at="2026-11-21T13:00:00Z"))
    for again, existing in ((body(reason="more"), approval), (blocking(reason="more"), block)):
        problem = api.refused("POST", "/approvals", 409, "approval_conflict", json=again)
        assert problem["existing"]["id"] == existing["id"]
        assert problem["existing"]["href"] == f"/api/v1/approvals/{existing['id']}"
    api.clock.now += timedelta(hours=1)
    assert api.post("/approvals", blocking())["id"] != block["id"]


def test_the_life_of_a_block_is_in_the_audit(api: Api) -> None:
    """Who blocked what, why, until when; and that it was a block that was revoked."""
    block = api.post("/approvals", blocking(expires_at=LATER))
    revoked = api.post(f"/approvals/{block['id']}/revoke", {}, 200)
    assert revoked["residual"] == {
        "devices": 0,
        "detail": "What other approvals of these groups allow is delivered again.",
    }
    entries = api.get("/audit", object_type="approval")["items"]
    made, gone = sorted(entries, key=lambda entry: entry["action"])
    assert (made["action"], gone["action"]) == ("approval.create", "approval.revoke")
    assert made["object_id"] == gone["object_id"] == block["id"]
    assert made["after"] == {
        "target": {"type": "update", "id": A},
        "action": "block",
        "delivery": "device",
        "group_ids": ["all-devices"],
        "not_before": None,
        "expires_at": "2026-11-23T00:00:00Z",
        "deadline": None,
        "allow_without_metadata": False,
        "reason": "breaks VPN, INC-4471",
        "rule_id": None,
    }
    assert gone["detail"]["action"] == "block"


def test_a_block_keeps_an_update_from_the_device(api: Api) -> None:
    """From its classification's approval to the device and back to the explanation, all over REST."""
    device = api.bench.enrol("DEV1")
    device.installable = {A: (1, 200), B: (1, 200)}
    for update_id in (A, B):
        api.bench.catalogue(update_id, classification_id=CLASS)
    api.post("/approvals", body(CLASS, "classification"))
    block = api.post("/approvals", blocking())
    device.check_in()
    assert device.approved == [B]
    blocked, delivered = api.get("/devices/id-DEV1/updates")["items"]
    assert (blocked["update_id"], blocked["reason"]) == (A, "blocked")
    assert blocked["reason_text"] == f"Blocked for this device ({block['id']}): breaks VPN, INC-4471."
    assert (delivered["update_id"], delivered["reason"]) == (B, "delivered")
    api.post(f"/approvals/{block['id']}/revoke", {}, 200)
    device.check_in()
    assert device.approved == [B, A]


def test_a_product_and_a_saved_query(api: Api) -> None:
    """Both are expanded, go by name, and reach the device update by update."""
    product = "a3c2375d-0c8a-42f9-bce0-28333e198407"
    api.bench.add("category", id=product, revision_number=1, category_type="Product", title="Windows 11")
    device = api.bench.enrol("DEV1")
    device.installable = {A: (1, 200), B: (1, 200)}
    for update_id in (A, B):
        api.bench.catalogue(update_id, classification_id=CLASS)
    api.bench.add("revision_category", update_id=A, revision_number=200, category_id=product)
    query = api.post("/queries", {"name": "By title", "criteria": {"title": "Update b*"}})
    device.check_in()
    assert device.approved == []
    made = api.post("/approvals", body(product, "product", deadline=LATER))
    assert (made["target"]["title"], made["delivery"], made["deadline"]) == ("Windows 11", "expanded", LATER)
    device.check_in()
    assert device.approved == [A]
    found = api.post("/approvals/preview", body(query["id"], "query"), 200)
    assert (found["obstacles"], found["reach"]["offered"]) == ([], 1)
    made = api.post("/approvals", body(query["id"], "query"))
    assert (made["target"]["title"], made["delivery"]) == ("By title", "expanded")
    device.check_in()
    assert device.approved == [A, B]
    revoked = api.post(f"/approvals/{made['id']}/revoke", {}, 200)
    assert revoked["residual"]["detail"].startswith("1 device holds updates that this query finds already")


def test_what_a_rollout_has_made_is_not_revoked_by_itself(sqlite_api: Api) -> None:
    """Else the rollout would go on without it, and nobody would know."""
    api = sqlite_api
    api.bench.catalogue(A)
    plan = api.post(
        "/rollout-plans", {"name": "One", "rings": [{"name": "All", "group_ids": ["all-devices"]}]}
    )
    rollout = api.post("/rollouts", {"name": "November", "plan_id": plan["id"], "update_ids": [A]})
    (approval,) = api.get("/approvals")["items"]
    assert (approval["rollout_id"], approval["stage"]) == (rollout["id"], 1)
    assert (approval["effective_state"], approval["reasons"]) == ("held", ["rollout_gate"])
    problem = api.refused("POST", f"/approvals/{approval['id']}/revoke", 409, "belongs_to_rollout", json={})
    assert problem["rollout"]["id"] == rollout["id"]
    api.post(f"/rollouts/{rollout['id']}/stop", {}, 200)
    assert api.get(f"/approvals/{approval['id']}")["requested_state"] == "revoked"
