"""/audit over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from conftest import Api

UPDATE = "aaaaaaaa-0000-4000-8000-000000000000"


def test_changes_are_listed_newest_first(api: Api) -> None:
    """With the caller, the request's id and address, and no secret."""
    device = api.post("/devices", {"device_id": "DEV1"})
    group = api.post("/groups", {"name": "pilots"})
    api("PUT", f"/groups/{group['id']}/devices/{device['id']}")
    api("DELETE", f"/devices/{device['id']}")
    items = api.get("/audit")["items"]
    assert [entry["action"] for entry in items] == [
        "device.delete",
        "group.add_device",
        "group.create",
        "device.create",
        "token.create",
    ]
    created = items[3]
    assert (created["actor"], created["request_id"], created["remote_addr"], created["object_id"]) == (
        "client:tests",
        "from-the-test",
        "testclient",
        device["id"],
    )
    assert device["credentials"]["password"] not in str(items)
    pages = api.pages("/audit", limit=2)
    assert [entry for page in pages for entry in page] == items


def test_filters(sqlite_api: Api) -> None:
    """By action, by kind of object, by object."""
    for name in ("a", "b"):
        sqlite_api.post("/groups", {"name": name})
    (newest, _) = sqlite_api.get("/audit", action="group.create")["items"]
    assert len(sqlite_api.get("/audit", object_type="group")["items"]) == 2
    assert sqlite_api.get("/audit", object_id=newest["object_id"])["items"] == [newest]
    assert sqlite_api.get("/audit", object_type="device")["items"] == []


def test_refused_requests_leave_no_row(sqlite_api: Api) -> None:
    """Only what changed something is in the trail."""
    before = len(sqlite_api.get("/audit")["items"])
    sqlite_api.post("/groups", {"name": "a"})
    sqlite_api.refused("POST", "/groups", 409, "group_exists", json={"name": "a"})
    sqlite_api.refused("POST", "/groups", 422, "validation_failed", json={})
    assert len(sqlite_api.get("/audit")["items"]) == before + 1


def test_filters_by_actor_and_time(sqlite_api: Api) -> None:
    """`since` is included, `until` is not; a time has a zone."""
    start = sqlite_api.clock.now
    for hours in range(3):
        sqlite_api.clock.now = start + timedelta(hours=hours)
        sqlite_api.post("/groups", {"name": str(hours)})

    def found(**params: str) -> list[str]:
        return [entry["at"] for entry in sqlite_api.get("/audit", actor="client:tests", **params)["items"]]

    assert found() == ["2026-11-21T14:00:00Z", "2026-11-21T13:00:00Z", "2026-11-21T12:00:00Z"]
    assert found(since="2026-11-21T14:00:00+01:00") == found()[:2]
    assert found(until="2026-11-21T13:00:00Z") == found()[2:]
    assert sqlite_api.get("/audit", actor="client:nobody")["items"] == []
    assert len(sqlite_api.get("/audit", actor="test")["items"]) == 1
    for wrong in ("2026-11-21T12:00:00", "1763726400", "soon", "0001-01-01T00:00:00+14:00"):
        problem = sqlite_api.refused("GET", "/audit", 422, "validation_failed", params={"since": wrong})
        assert [error["pointer"] for error in problem["errors"]] == ["/since"]


def test_entries_say_what_was_before_and_after(api: Api) -> None:
    """What was made has no before, what was deleted has no after, and of a change there is what differs."""
    device = api.post("/devices", {"device_id": "DEV1", "name": "Desk"})
    approval = api.post(
        "/approvals",
        {"action": "approve", "target": {"type": "update", "id": UPDATE}, "group_ids": ["all-devices"]},
    )
    api("POST", f"/approvals/{approval['id']}/revoke")
    api("DELETE", f"/devices/{device['id']}")
    deleted, revoked, approved, created, _ = api.get("/audit")["items"]
    assert (created["before"], created["after"]["name"]) == (None, "Desk")
    assert (approved["before"], approved["after"]["group_ids"]) == (None, ["all-devices"])
    assert revoked["before"] == {"revoked_at": None, "revoked_by": None}
    assert revoked["after"] == {"revoked_at": "2026-11-21T12:00:00Z", "revoked_by": "client:tests"}
    assert (deleted["before"]["device_id"], deleted["before"]["name"], deleted["after"]) == (
        "DEV1",
        "Desk",
        None,
    )
    assert "all-devices" in deleted["before"]["group_ids"]


def test_no_secret_is_in_the_trail(api: Api) -> None:
    """Not a password, nonce or token that the API or the command line ever gave out."""
    token = api.token_with("devices.read")
    given = [
        api.post("/devices", {"device_id": f"DEV{number}", **more})["credentials"]
        for number, more in enumerate(({}, {"server_auth": "syncml:auth-md5"}))
    ]
    trail = str(api.bench.rows("audit_entry"))
    secrets = [token, api.token, given[1]["server"]["password"], given[1]["server"]["nonce"]]
    for secret in [*secrets, *(each[name] for each in given for name in ("password", "nonce"))]:
        assert secret not in trail


def test_the_chain_is_verified_over_http(api: Api) -> None:
    """In parts that join, with the end and the first fault; the list shows the same hashes."""
    for name in ("a", "b", "c", "d"):
        api.post("/groups", {"name": name})
    hashes = {entry["seq"]: entry["hash"] for entry in api.get("/audit")["items"]}
    head = {"seq": 5, "hash": hashes[5]}
    whole = {"intact": True, "checked": 5, "last": head, "head": head, "fault": None, "next_after": None}
    assert api.get("/audit/verify") == whole
    first = api.get("/audit/verify", limit=3)
    assert first == whole | {"checked": 3, "last": {"seq": 3, "hash": hashes[3]}, "next_after": 3}
    assert api.get("/audit/verify", after=3, limit=3) == whole | {"checked": 2}
    api.refused("GET", "/audit/verify", 404, "not_found", params={"after": 6})
    for wrong in ({"limit": 0}, {"limit": 10_001}, {"after": -1}, {"after": 2**31}, {"after": "x"}):
        api.refused("GET", "/audit/verify", 422, "validation_failed", params=wrong)
    with api.bench.database.write() as conn:
        conn.execute(text("UPDATE audit_entry SET actor = 'x' WHERE seq = 3"))
    found = api.get("/audit/verify")
    assert (found["intact"], found["checked"], found["fault"]["seq"], found["next_after"]) == (
        False,
        2,
        3,
        None,
    )
    assert found["fault"]["reason"].endswith(".")
