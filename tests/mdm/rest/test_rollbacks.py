"""/rollbacks over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Api


def test_a_rollback_from_birth_to_release(api: Api) -> None:
    """Asked for, read, listed with its devices, cancelled, released."""
    device = api.post("/devices", {"device_id": "DEV1", "name": "desk"})
    body = {"kind": "quality", "device_ids": [device["id"]], "reason": "KB1 breaks VPN", "days": 3}
    response = api("POST", "/rollbacks", json=body)
    assert response.status_code == 201
    rollback = response.json()
    path = f"/rollbacks/{rollback['id']}"
    assert response.headers["location"] == f"/api/v1{path}"
    assert rollback == {
        "id": rollback["id"],
        "kind": "quality",
        "reason": "KB1 breaks VPN",
        "group_ids": [],
        "created_at": "2026-11-21T12:00:00Z",
        "created_by": "client:tests",
        "ends_at": "2026-11-24T12:00:00Z",
        "state": "running",
        "devices": 1,
        "states": {"waiting": 1},
        "pause_from": "2026-11-21",
        "paused_until": "2026-12-26T12:00:00Z",
        "cancelled_at": None,
        "cancelled_by": None,
        "released_at": None,
        "released_by": None,
    }
    assert rollback["id"].startswith("rbk_")
    assert api.get(path) == rollback
    assert api.get("/rollbacks")["items"] == [rollback]
    assert api.get(f"{path}/devices")["items"] == [
        {
            "id": device["id"],
            "device_id": "DEV1",
            "name": "desk",
            "state": "waiting",
            "since": "2026-11-21T12:00:00Z",
            "sentence": "Waits for the next session of the device.",
            "version_before": None,
            "sent_at": None,
            "status_code": None,
            "error": None,
            "error_text": None,
            "status_text": None,
            "status_at": None,
        }
    ]
    assert api.get(f"{path}/devices", state="sent")["items"] == []
    api.refused("GET", f"{path}/devices", 422, "validation_failed", params={"state": "gone"})
    api.refused("POST", "/rollbacks", 409, "rollback_empty", json=body)
    cancelled = api.post(f"{path}/cancel", {}, status=200)
    assert (cancelled["state"], cancelled["states"], cancelled["residual"]) == (
        "cancelled",
        {"cancelled": 1},
        None,
    )
    api.refused("POST", f"{path}/cancel", 409, "rollback_over")
    released = api.post(f"{path}/release", {}, status=200)
    assert released["released_by"] == "client:tests"
    api.refused("POST", f"{path}/release", 409, "rollback_over")
    actions = [entry["action"] for entry in api.get("/audit", object_type="rollback")["items"]]
    assert actions == ["rollback.release", "rollback.cancel", "rollback.create"]


def test_what_cannot_be_taken_back_is_said(api: Api) -> None:
    """Devices that were told go on."""
    device = api.post("/devices", {"device_id": "DEV1"})
    body = {"kind": "feature", "device_ids": [device["id"]], "reason": "slow"}
    rollback = api.post("/rollbacks", body)
    with api.bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE rollback_device SET state = 'sent'")
    for verb in ("cancel", "release"):
        ended = api.post(f"/rollbacks/{rollback['id']}/{verb}", {}, status=200)
        assert ended["residual"] == {
            "devices": 1,
            "detail": "1 devices had been told to roll back, which cannot be taken back.",
        }


def test_rollbacks_and_their_devices_come_in_pages(api: Api) -> None:
    """Newest first, and in order of enrolment."""
    devices = [api.post("/devices", {"device_id": f"DEV{n}"})["id"] for n in range(3)]
    jobs = [
        api.post("/rollbacks", {"kind": kind, "device_ids": devices, "reason": "r"})["id"]
        for kind in ("quality", "feature")
    ]
    pages = api.pages("/rollbacks", limit=1)
    assert sorted(row["id"] for page in pages for row in page) == sorted(jobs)
    pages = api.pages(f"/rollbacks/{jobs[0]}/devices", limit=2)
    assert [[row["device_id"] for row in page] for page in pages] == [["DEV0", "DEV1"], ["DEV2"]]
    for path in ("/rollbacks/rbk_x", "/rollbacks/rbk_x/devices"):
        api.refused("GET", path, 404, "rollback_not_found")
    for verb in ("cancel", "release"):
        api.refused("POST", f"/rollbacks/rbk_x/{verb}", 404, "rollback_not_found")


def test_a_preview_stores_nothing_and_needs_no_right_to_write(api: Api) -> None:
    """It tells who would roll back and who cannot."""
    device = api.post("/devices", {"device_id": "DEV1", "name": "desk"})
    token = api.token_with("approvals.read")
    path, body = "/rollbacks/preview", {"kind": "quality", "group_ids": ["all-devices"]}
    response = api("POST", path, token=token, json=body)
    assert (response.status_code, response.json()) == (
        200,
        {
            "devices": 1,
            "examined": 1,
            "would": 1,
            "cannot": 0,
            "as_of": "2026-11-21T12:00:00Z",
            "shown": [
                {
                    "id": device["id"],
                    "device_id": "DEV1",
                    "name": "desk",
                    "os_version": None,
                    "last_checkin_at": None,
                    "paused": False,
                    "why_not": None,
                }
            ],
        },
    )
    assert api.get("/rollbacks")["items"] == []
    api.refused("POST", path, 404, "group_not_found", json={**body, "group_ids": ["grp_x"]})


@pytest.mark.parametrize(
    ("members", "pointer", "code"),
    [
        ({"kind": "driver"}, "/kind", "invalid_value"),
        ({"kind": None}, "/kind", "invalid_value"),
        ({"group_ids": [], "device_ids": []}, "/group_ids", "required"),
        ({"group_ids": "all-devices"}, "/group_ids", "wrong_type"),
        ({"group_ids": ["a"] * 101}, "/group_ids", "too_long"),
        ({"group_ids": [""]}, "/group_ids/0", "too_short"),
        ({"device_ids": ["dev_x"]}, "/device_ids/0", "unknown_device"),
        ({"device_ids": ["a\0b"]}, "/device_ids/0", "control_character"),
        ({"device_ids": ["a"] * 501}, "/device_ids", "too_long"),
        ({"device_ids": [7]}, "/device_ids/0", "wrong_type"),
        ({"colour": "red"}, "/colour", "unknown_member"),
    ],
)
def test_wrong_members_are_named(sqlite_api: Api, members: dict[str, Any], pointer: str, code: str) -> None:
    """When a rollback is asked for and when it is thought of."""
    for path, more in (("/rollbacks", {"reason": "r"}), ("/rollbacks/preview", {})):
        body = {"kind": "quality", "group_ids": ["all-devices"], **more, **members}
        problem = sqlite_api.refused("POST", path, 422, "validation_failed", json=body)
        assert (pointer, code) in {(error["pointer"], error["code"]) for error in problem["errors"]}


@pytest.mark.parametrize(
    ("members", "pointer", "code"),
    [
        ({"reason": None}, "/reason", "wrong_type"),
        ({"reason": " "}, "/reason", "too_short"),
        ({"reason": "x" * 201}, "/reason", "too_long"),
        ({"reason": "a\0b"}, "/reason", "control_character"),
        ({"days": 0}, "/days", "invalid_value"),
        ({"days": 35}, "/days", "invalid_value"),
        ({"days": 10**30}, "/days", "invalid_value"),
        ({"days": "3"}, "/days", "wrong_type"),
    ],
)
def test_wrong_members_of_a_new_one_are_named(
    sqlite_api: Api, members: dict[str, Any], pointer: str, code: str
) -> None:
    """And nothing is stored."""
    sqlite_api.post("/devices", {"device_id": "DEV1"})
    body = {"kind": "quality", "group_ids": ["all-devices"], "reason": "r", **members}
    problem = sqlite_api.refused("POST", "/rollbacks", 422, "validation_failed", json=body)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]
    assert sqlite_api.get("/rollbacks")["items"] == []
