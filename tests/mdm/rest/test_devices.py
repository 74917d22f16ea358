"""/devices over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from mdm.storage.statements import table_of
from mdm.storage.tables import IssuedCertificate
from syncml.client import Outcome
from syncml.messages import Item, Location

if TYPE_CHECKING:
    from conftest import Api

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"


def enrol(api: Api, device_id: str, **values: Any) -> Any:
    """A device enrolled through the API."""
    return api.post("/devices", {"device_id": device_id, **values})


def test_enrolment_shows_credentials_once(api: Api) -> None:
    """The 201 has the credentials and a Location; reading the device again does not."""
    response = api("POST", "/devices", json={"device_id": "DEV1", "name": "Desk", "auth": "syncml:auth-md5"})
    assert response.status_code == 201
    body = response.json()
    assert response.headers["location"] == f"/api/v1/devices/{body['id']}"
    assert set(body["credentials"]) == {"scheme", "username", "password", "nonce", "each_message", "server"}
    assert (body["device_id"], body["name"], body["auth"]) == ("DEV1", "Desk", "syncml:auth-md5")
    again = api.get(f"/devices/{body['id']}")
    assert again == {name: value for name, value in body.items() if name != "credentials"}
    assert again["created_at"] == "2026-11-21T12:00:00Z"


def test_name_and_auth_have_defaults(api: Api) -> None:
    """A device_id alone is enough."""
    body = enrol(api, "DEV1")
    assert (body["name"], body["auth"]) == ("DEV1", "syncml:auth-md5")


def test_an_enrolled_device_can_check_in(api: Api) -> None:
    """The credentials of the answer are those the device endpoint accepts."""
    credentials = enrol(api, "DEV1")["credentials"]
    (row,) = api.bench.rows("device")
    assert (row["auth_username"], row["auth_nonce"]) == (credentials["username"], credentials["nonce"])


def test_a_second_enrolment_is_refused(api: Api) -> None:
    """The problem names the device that exists."""
    first = enrol(api, "DEV1")
    problem = api.refused("POST", "/devices", 409, "device_exists", json={"device_id": "DEV1"})
    assert problem["existing"]["id"] == first["id"]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/device_id", "required"),
        ({"device_id": ""}, "/device_id", "too_short"),
        ({"device_id": "   "}, "/device_id", "too_short"),
        ({"device_id": "x" * 201}, "/device_id", "too_long"),
        ({"device_id": "a\x00b"}, "/device_id", "control_character"),
        ({"device_id": "a\nb"}, "/device_id", "control_character"),
        ({"device_id": 7}, "/device_id", "wrong_type"),
        ({"device_id": None}, "/device_id", "wrong_type"),
        ({"device_id": "D", "auth": "syncml:auth-none"}, "/auth", "invalid_value"),
        ({"device_id": "D", "colour": "red"}, "/colour", "unknown_member"),
        ({"device_id": "D", "a/b~c": 1}, "/a~1b~0c", "unknown_member"),
        ([], "", "wrong_type"),
        ("text", "", "wrong_type"),
    ],
)
def test_wrong_members_are_named(sqlite_api: Api, body: Any, pointer: str, code: str) -> None:
    """Each wrong member has its pointer and code, and nothing is written."""
    before = sqlite_api.bench.dump()
    problem = sqlite_api.refused("POST", "/devices", 422, "validation_failed", json=body)
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]
    assert problem["errors"][0]["detail"].endswith(".")
    assert sqlite_api.bench.rows("device") == before["device"]


def test_the_list_shows_groups_and_filters(api: Api) -> None:
    """A device appears as soon as its creation was answered, in its groups."""
    first, second = enrol(api, "DEV1", name="Front desk"), enrol(api, "DEV2", name="Lab")
    group = api.post("/groups", {"name": "pilots"})
    assert api("PUT", f"/groups/{group['id']}/devices/{second['id']}").status_code == 204
    everything = api.get("/devices")["items"]
    assert [device["id"] for device in everything] == [first["id"], second["id"]]
    assert everything[1]["groups"] == ["all-devices", group["id"]]
    assert [device["device_id"] for device in api.get("/devices", group=group["id"])["items"]] == ["DEV2"]
    assert [device["device_id"] for device in api.get("/devices", q="front")["items"]] == ["DEV1"]
    api.refused("GET", "/devices", 404, "group_not_found", params={"group": "grp_nowhere"})


def test_updates_of_a_device(api: Api) -> None:
    """Rows are what the service explains, with the members the contract names."""
    device = api.bench.enrol("DEV1")
    device.installable = {A: (1, 200)}
    device.failed = {B: (-2147024784, 256, 101)}
    device.check_in()
    items = api.get("/devices/id-DEV1/updates")["items"]
    assert [(row["update_id"], row["revision_number"], row["state"]) for row in items] == [
        (A, 200, "installable"),
        (B, 101, "failed"),
    ]
    assert items[1]["hresult"] == "0x80070070"
    assert items[0]["approved"] is False
    assert [row["update_id"] for row in api.get("/devices/id-DEV1/updates", state="failed")["items"]] == [B]
    assert [
        [row["update_id"] for row in page] for page in api.pages("/devices/id-DEV1/updates", limit=1)
    ] == [
        [A],
        [B],
    ]
    api.refused("GET", "/devices/id-DEV1/updates", 422, "validation_failed", params={"state": "listed"})
    api.refused("GET", "/devices/dev_nowhere/updates", 404, "not_found")


def test_a_refusal_is_shown_with_its_error(api: Api) -> None:
    """The device has the policy's HRESULT and its words, its session protocol, and the timeline the same facts."""
    api.bench.enrol("DEV1")
    (row,) = api.bench.rows("device")
    api.bench.add(
        "device_policy",
        device_pk=row["pk"],
        name="RequireUpdateApproval",
        status="failed",
        status_code=500,
        error="0x80070005",
        at=api.bench.now,
    )
    detail = {
        "verb": "Exec",
        "loc_uri": "./Vendor/MSFT/Reboot/RebootNow",
        "status": 405,
        "error": "0x86000011",
    }
    api.bench.add("device_event", device_pk=row["pk"], at=api.bench.now, kind="command_failed", detail=detail)
    with api.bench.database.write() as connection:
        connection.exec_driver_sql("UPDATE device SET sync_version = '3.0'")
    device = api.get("/devices/id-DEV1")
    assert device["sync_version"] == "3.0"
    assert device["require_update_approval"] == {
        "status": "failed",
        "value": None,
        "status_code": 500,
        "at": "2026-11-21T12:00:00Z",
        "error": "0x80070005",
        "error_text": "Access to a file or registry key was denied.",
    }
    (event,) = api.get("/devices/id-DEV1/timeline")["items"]
    assert (event["kind"], event["detail"]) == (
        "command_failed",
        {
            **detail,
            "error_text": "The setting does not allow this command, or this build or edition lacks it.",
        },
    )


def test_deleting_a_device(api: Api) -> None:
    """204 when nothing stays behind, else 200 with what the device keeps; then it is not found."""
    plain = enrol(api, "DEV0")
    response = api("DELETE", f"/devices/{plain['id']}")
    assert (response.status_code, response.content) == (204, b"")
    api.bench.enrol("DEV1")
    (row,) = api.bench.rows("device")
    api.bench.add(
        "device_update", device_pk=row["pk"], update_id=A, lists=17, state="installable", since=api.bench.now
    )
    response = api("DELETE", "/devices/id-DEV1")
    assert response.status_code == 200
    assert response.json()["residual"]["approvals"] == 1
    api.refused("DELETE", "/devices/id-DEV1", 404, "not_found")


def test_paging_devices(api: Api) -> None:
    """Pages join to the whole, in order, without repetition."""
    for number in range(5):
        enrol(api, f"DEV{number}")
    for limit, sizes in ((1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (500, [5])):
        pages = api.pages("/devices", limit=limit)
        assert [len(page) for page in pages] == sizes
        assert [row["device_id"] for page in pages for row in page] == [f"DEV{n}" for n in range(5)]


def test_tags_are_shown_wherever_the_device_is(api: Api) -> None:
    """In the answer that set them, in the device, and in the list; each call says all of them."""
    device = enrol(api, "DEV1")
    path = f"/devices/{device['id']}"
    response = api("PUT", f"{path}/tags", json={"tags": ["Lobby", "kiosk"]})
    assert (response.status_code, response.json()["tags"]) == (200, ["kiosk", "lobby"])
    assert api.get(path) == response.json()
    assert api.get("/devices")["items"][0]["tags"] == ["kiosk", "lobby"]
    assert api("PUT", f"{path}/tags", json={"tags": []}).json()["tags"] == []
    api.refused("PUT", "/devices/dev_nowhere/tags", 404, "not_found", json={"tags": []})


@pytest.mark.parametrize(
    ("tags", "pointer", "code"),
    [
        (None, "/tags", "wrong_type"),
        (["x", 7], "/tags/1", "wrong_type"),
        (["  "], "/tags/0", "too_short"),
        (["x" * 65], "/tags/0", "too_long"),
        (["a\nb"], "/tags/0", "control_character"),
        ([str(number) for number in range(51)], "/tags", "too_long"),
    ],
)
def test_wrong_tags_are_named(sqlite_api: Api, tags: Any, pointer: str, code: str) -> None:
    """By their place."""
    device = enrol(sqlite_api, "DEV1")
    path = f"/devices/{device['id']}/tags"
    problem = sqlite_api.refused("PUT", path, 422, "validation_failed", json={"tags": tags})
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]


def test_the_windows_of_a_device_is_shown(api: Api) -> None:
    """Build and edition, once it has said them, and when it was asked."""
    device = api.bench.enrol("DEV1")
    for leaf, value in (("SwV", "10.0.26100.4652"), ("Ext/Microsoft/OSPlatform", "Windows 11 Enterprise")):
        uri = f"./DevDetail/{leaf}"
        device.answers[uri] = Outcome(200, (Item(source=Location(uri), data=value),))
    device.check_in()
    for shown in (api.get("/devices/id-DEV1"), api.get("/devices")["items"][0]):
        assert (shown["os_version"], shown["os_edition"]) == ("10.0.26100.4652", "Windows 11 Enterprise")
    assert api.get("/devices/id-DEV1")["identity_as_of"] == "2026-11-21T12:00:02Z"


def test_any_update_is_explained(api: Api) -> None:
    """One the device offers, one it never spoke of, by a GUID in any form; with how fresh that is."""
    device = api.bench.enrol("DEV1")
    device.installable = {A: (1, 200)}
    device.check_in()
    found = api.get(f"/devices/id-DEV1/updates/{{{A.upper()}}}")
    (listed,) = api.get("/devices/id-DEV1/updates")["items"]
    assert found["update"] == listed
    assert (listed["reason"], listed["failures"], listed["advice"], listed["until"]) == (
        "not_approved",
        0,
        None,
        None,
    )
    assert found["as_of"] == "2026-11-21T12:00:00Z"
    assert set(found["freshness"]) == {
        "device_seen",
        "lists_read",
        "installed_read",
        "scanned",
        "catalogue_synced",
    }
    unknown = api.get(f"/devices/id-DEV1/updates/{B}")["update"]
    assert (unknown["reason"], unknown["state"]) == ("unknown_update", None)


@pytest.mark.parametrize(
    "path",
    [
        f"/devices/dev_nowhere/updates/{A}",
        "/devices/id-DEV1/updates/KB5041585",
        "/devices/id-DEV1/updates/a%00b",
        "/devices/id-DEV1/updates/0fa1201d-4330-4fa8-8ae9-b877473b6441",
    ],
)
def test_what_is_no_update_of_a_device_is_not_found(sqlite_api: Api, path: str) -> None:
    """Neither is a classification."""
    sqlite_api.bench.enrol("DEV1")
    sqlite_api.refused("GET", path, 404, "not_found")


def test_a_device_shows_its_channel(api: Api) -> None:
    """In the answer that created it, in its page, and after its tags were set."""
    device = enrol(api, "DEV1")
    path = f"/devices/{device['id']}"
    assert device["update_channel"]["channel"] == "none"
    assert api("PUT", f"{path}/tags", json={"tags": []}).json()["update_channel"] == device["update_channel"]
    api.bench.approve(A)
    shown = api.get(path)["update_channel"]
    assert (shown["channel"], shown["verdict"], shown["recommendation"]) == (
        "approvals",
        "not_enforced",
        "enforce",
    )
    assert shown["evidence"] == {
        "scans_needed": 3,
        "waiting": 0,
        "scans_waited": 0,
        "installed": 0,
        "failed": 0,
        "acted_at": None,
    }


def test_whose_device_it_is(sqlite_api: Api) -> None:
    """It is told when the device is made, and a rule of a group finds it at once."""
    group = sqlite_api.post("/groups", {"name": "Contoso", "rule": {"enrolment_user": "*@contoso.example"}})
    body = {"device_id": "DEV1", "enrolment_user": "Ada@Contoso.example"}
    device = sqlite_api.post("/devices", body)
    assert device["enrolment_user"] == "Ada@Contoso.example"
    assert group["id"] in device["groups"]
    assert sqlite_api.post("/devices", {"device_id": "DEV2"})["enrolment_user"] is None
    sqlite_api.refused(
        "POST", "/devices", 422, "validation_failed", json={"device_id": "DEV3", "enrolment_user": ""}
    )


def test_a_certificate_and_its_end(api: Api) -> None:
    """In the device, and as a filter; the days are those of the setting."""
    now = api.bench.now
    api.bench.enrol("DEV1")
    api.bench.enrol("DEV2", certificate_required=True)
    api.bench.add(
        "certificate_authority",
        id="ca_1",
        origin="created",
        root_der=b"r",
        sealed_key=b"k",
        created_at=now,
    )
    api.bench.add(
        "issued_certificate",
        serial="ab" * 20,
        authority_id="ca_1",
        device_pk=next(each["pk"] for each in api.bench.rows("device") if each["device_id"] == "DEV2"),
        subject="CN=x",
        sha256="0" * 64,
        thumbprint="0" * 40,
        issued_at=now,
        not_before=now,
        not_after=now + timedelta(days=30),
    )

    def found(**params: Any) -> list[str]:
        return [each["device_id"] for each in api.get("/devices", **params)["items"]]

    assert api.get("/devices/id-DEV1")["certificate"] is None
    assert api.get("/devices/id-DEV2")["certificate"] == {
        "serial": "ab" * 20,
        "not_after": "2026-12-21T12:00:00Z",
        "state": "renewal_due",
        "sentence": "Good until 2026-12-21; the device should renew it when it is on next.",
    }
    assert found(certificate="renewal_due") == ["DEV2"]
    assert found(certificate="renewal_due", state="retiring") == found(certificate="good") == []
    with api.bench.database.write() as conn:
        conn.execute(update(table_of(IssuedCertificate)).values(not_after=now - timedelta(seconds=1)))
    assert found(certificate="ended") == ["DEV2"]
    assert api.get("/devices/id-DEV2")["certificate"]["state"] == "ended"
    for wrong in ("", "soon", "a\x00b"):
        problem = api.refused("GET", "/devices", 422, "validation_failed", params={"certificate": wrong})
        assert [each["pointer"] for each in problem["errors"]] == ["/certificate"]
