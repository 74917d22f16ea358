"""Sync now and the terms of enrolment over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from mdm.push.worker import PushWorker
from mdm.storage.statements import table_of
from mdm.storage.tables import Device

if TYPE_CHECKING:
    from conftest import Api, Bench

_device = table_of(Device)


def change(api: Api, **values: Any) -> None:
    """Change all devices."""
    with api.bench.database.write() as conn:
        conn.execute(update(_device).values(**values))


def test_sync_now_is_answered_by_the_next_session(api: Api) -> None:
    """The answer says what can be expected, and the device shows the wish until it is done."""
    device = api.bench.enrol()
    api.bench.now += timedelta(minutes=1)
    device.check_in()
    assert api.get("/devices/id-DEV1")["sync_answered"] is None
    api.clock.now = api.bench.now + timedelta(minutes=1)
    answer = api("POST", "/devices/id-DEV1/sync")
    assert answer.status_code == 200
    assert answer.json() == {
        "id": "id-DEV1",
        "sync_requested_at": "2026-11-21T12:02:02Z",
        "push": "not_possible",
        "push_why": "Push notifications are not set up (BRIDGE_WNS_PFN), so the device comes when it comes by itself.",
        "expected_by": None,
        "expected_why": "The bridge has not given the device its poll schedule and does not know when it comes.",
    }
    shown = api.get("/devices/id-DEV1")
    assert (shown["sync_requested_at"], shown["sync_answered"]) == ("2026-11-21T12:02:02Z", False)
    api.bench.now = api.clock.now + timedelta(minutes=1)
    device.asked.clear()
    device.check_in()
    assert "Get ./Vendor/MSFT/Update/InstalledUpdates?list=StructData" in device.asked
    assert "Get ./DevDetail/SwV" in device.asked
    assert api.get("/devices/id-DEV1")["sync_answered"] is True
    kinds = [event["kind"] for event in api.get("/devices/id-DEV1/timeline")["items"]]
    assert "sync_requested" in kinds
    (entry,) = api.get("/audit", action="device.sync")["items"]
    assert entry["object_id"] == "id-DEV1"


def test_a_wish_wakes_the_worker_after_the_transaction(
    request: pytest.FixtureRequest, sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where notifications are set up; the wish is committed by then."""
    seen: list[Any] = []
    monkeypatch.setattr(
        PushWorker, "wake", lambda _: seen.append(sqlite_bench.rows("device")[0]["sync_requested_at"])
    )
    pushing_api: Api = request.getfixturevalue("pushing_api")
    pushing_api.bench.enrol()
    change(pushing_api, push_channel="https://db5.notify.windows.com/?token=c4nary", push_status=0)
    answer = pushing_api.post("/devices/id-DEV1/sync", {}, status=200)
    assert answer["push"] == "queued"
    assert seen == [pushing_api.clock.now]
    pushing_api.post("/devices/sync", {"devices": ["id-DEV1"]}, status=200)
    assert len(seen) == 2
    device = pushing_api("GET", "/devices/id-DEV1")
    assert device.json()["push"] == {
        "channel": True,
        "status": 0,
        "status_text": "Notifications work.",
        "as_of": None,
    }
    assert "c4nary" not in device.text


def test_several_devices_or_a_group(api: Api) -> None:
    """Those that have left are named apart."""
    for name in ("DEV1", "DEV2"):
        api.bench.enrol(name)
    group = api.post("/groups", {"name": "some", "members": ["id-DEV2"]})["id"]
    answer = api.post("/devices/sync", {"devices": ["id-DEV2", "id-DEV1"]}, status=200)
    assert [item["id"] for item in answer["items"]] == ["id-DEV1", "id-DEV2"]
    assert answer["left_management"] == []
    answer = api.post("/devices/sync", {"group": group}, status=200)
    assert [item["id"] for item in answer["items"]] == ["id-DEV2"]
    change(api, unenrolled_at=api.bench.now)
    answer = api.post("/devices/sync", {"devices": ["id-DEV2"]}, status=200)
    assert answer == {"items": [], "left_management": ["id-DEV2"]}
    api.refused("POST", "/devices/id-DEV1/sync", 409, "device_left")
    api.refused("POST", "/devices/dev_nowhere/sync", 404, "not_found")
    api.refused("POST", "/devices/sync", 404, "group_not_found", json={"group": "grp_nowhere"})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, [("/devices", "either_or"), ("/group", "either_or")]),
        ({"devices": ["id-DEV1"], "group": "g"}, [("/devices", "either_or"), ("/group", "either_or")]),
        ({"devices": []}, [("/devices", "either_or"), ("/group", "either_or")]),
        ({"devices": ["x"] * 501}, [("/devices", "too_long")]),
        ({"devices": ["a\x00"]}, [("/devices/0", "control_character")]),
        ({"devices": [""]}, [("/devices/0", "too_short")]),
        ({"devices": "id-DEV1"}, [("/devices", "wrong_type")]),
        ({"devices": ["id-DEV1", "nobody"]}, [("/devices/1", "unknown_device")]),
        ({"group": "g" * 201}, [("/group", "too_long")]),
        ({"group": 7}, [("/group", "wrong_type")]),
        ({"all": True}, [("/all", "unknown_member")]),
    ],
)
def test_wrong_members_are_named(sqlite_api: Api, body: Any, expected: list[tuple[str, str]]) -> None:
    """And nobody is asked for anything."""
    sqlite_api.bench.enrol()
    problem = sqlite_api.refused("POST", "/devices/sync", 422, "validation_failed", json=body)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == expected
    assert sqlite_api.bench.rows("device")[0]["sync_requested_at"] is None


def test_the_terms_of_enrolment(pushing_api: Api) -> None:
    """Addresses, names and days as a device is told them, and the load of the devices that poll by the schedule."""
    for number in range(3):
        pushing_api.bench.enrol(f"DEV{number}", certificate_required=number < 2)
    assert pushing_api.get("/enrolment") == {
        "urls": {
            "discovery": "https://mdm.example.test/EnrollmentServer/Discovery.svc",
            "policy": "https://mdm.example.test/EnrollmentServer/Policy.svc",
            "enrolment": "https://mdm.example.test/EnrollmentServer/Enrollment.svc",
            "management": "https://mdm.example.test/omadm",
        },
        "provider_id": "CSPBridge",
        "sign_in": "password",
        "certificate_days": 365,
        "renew_days": 42,
        "poll": {
            "schedule": "5x3, 8x15, 480",
            "devices": 2,
            "sessions_per_device_and_day": 3.0,
            "sessions_per_second": pytest.approx(2 / 28_800),
            "sessions_per_newcomer": 13,
            "newcomer_minutes": 135,
            "sentences": [
                "2 devices every 480 minutes: less than 0.01 sessions/s, 3 a day from each.",
                "100 enrolments at a time: 0.56 sessions/s at first, 13 sessions from each within 2.25 hours.",
            ],
        },
        "push": True,
    }


def test_terms_without_an_address_of_our_own(api: Api) -> None:
    """A device is told the address that it came by, which nobody knows before."""
    api.bench.enrol(certificate_required=True)
    change(api, unenrolled_at=api.bench.now)
    terms = api.get("/enrolment")
    assert set(terms["urls"].values()) == {None}
    assert (terms["poll"]["devices"], terms["push"]) == (0, False)
