"""Enrolment tokens and users over REST."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mdm.lab.mde2 import discover, get_policies

if TYPE_CHECKING:
    from conftest import Api

POLICY = "/EnrollmentServer/Policy.svc"


def enrols(api: Api, username: str, password: str) -> bool:
    """Whether a device may go on with these."""
    response = api.client.post(
        f"https://testserver{POLICY}",
        content=get_policies(username, password),
        headers={"Content-Type": "application/soap+xml; charset=utf-8"},
    )
    assert response.status_code == 200
    return b"GetPoliciesResponse>" in response.content


def test_a_token(api: Api) -> None:
    """It is shown once, kept as a hash, listed, read, and refused after it was revoked."""
    made = api.post("/enrolment-tokens", {"name": "for Ann"})
    secret = made.pop("token")
    assert made.pop("qr_payload") is None  # without BRIDGE_PUBLIC_URL
    assert len(secret.replace("-", "")) == 24
    assert (made["state"], made["max_uses"], made["uses"], made["username"]) == ("active", 1, 0, None)
    assert api.get(f"/enrolment-tokens/{made['id']}") == made
    assert api.get("/enrolment-tokens")["items"] == [made]
    stored = hashlib.sha256(secret.replace("-", "").encode()).hexdigest()
    assert [row["token_sha256"] for row in api.bench.rows("enrolment_token")] == [stored]
    assert enrols(api, "ann@example.test", secret)
    for _ in range(2):
        gone = api.post(f"/enrolment-tokens/{made['id']}/revoke", {}, 200)
        assert gone["state"] == "revoked"
    assert not enrols(api, "ann@example.test", secret)
    actions = [row["action"] for row in api.bench.rows("audit_entry", "seq")]
    assert [each for each in actions if "enrolment" in each] == [
        "enrolment_token.create",
        "enrolment_token.revoke",
    ]
    assert secret not in str(api.bench.rows("audit_entry"))


def test_the_states_of_a_token(api: Api) -> None:
    """Bound, expiring, for many devices."""
    made = api.post(
        "/enrolment-tokens",
        {"name": "x", "username": "Ann@Example.test", "max_uses": 5, "expires_in_hours": 1, "replaces": True},
    )
    assert enrols(api, "ann@example.test", made["token"])
    assert not enrols(api, "bob@example.test", made["token"])
    api.clock.now += timedelta(hours=1)
    assert api.get(f"/enrolment-tokens/{made['id']}")["state"] == "expired"
    assert not enrols(api, "ann@example.test", made["token"])


def test_the_text_for_a_qr_code(addressed_api: Api) -> None:
    """It opens Windows' own enrolment with the server, the token and the user filled in."""
    made = addressed_api.post("/enrolment-tokens", {"name": "x", "username": "a+b@example.test"})
    link = urlsplit(made["qr_payload"])
    assert link.scheme == "ms-device-enrollment"
    assert parse_qs(link.query) == {
        "mode": ["mdm"],
        "servername": ["https://mdm.example.test"],
        "accesstoken": [made["token"]],
        "username": ["a+b@example.test"],
    }


def test_a_user(api: Api) -> None:
    """With a password that is made for him, changed, disabled, deleted."""
    made = api.post("/enrolment-users", {"username": "ann@example.test", "max_devices": 3})
    password = made.pop("password")
    assert api.get(f"/enrolment-users/{made['id']}") == made
    assert api.get("/enrolment-users")["items"] == [made]
    assert enrols(api, "ANN@example.test", password)
    assert not enrols(api, "ann@example.test", f"{password}x")
    user = f"/enrolment-users/{made['id']}"
    changed = api("PUT", user, json={"enabled": False})
    assert (changed.json()["enabled"], changed.json()["max_devices"]) == (False, None)
    assert api("PUT", user, json={"enabled": False}).status_code == 200
    assert not enrols(api, "ann@example.test", password)
    api("PUT", user, json={"enabled": True, "max_devices": 1})
    again = api.post(f"{user}/password", {}, 200)
    assert again["password"] not in {None, password}
    assert enrols(api, "ann@example.test", again["password"])
    given = api.post(f"{user}/password", {"password": "one two three four"}, 200)
    assert given["password"] is None
    assert enrols(api, "ann@example.test", "one two three four")
    assert api("DELETE", user).status_code == 204
    assert not enrols(api, "ann@example.test", "one two three four")
    api.refused("DELETE", user, 404, "not_found")
    entries = [row for row in api.bench.rows("audit_entry", "seq") if "enrolment_user" in row["action"]]
    assert [row["action"].partition(".")[2] for row in entries] == [
        "create",
        "change",
        "change",
        "password",
        "password",
        "delete",
    ]
    assert "one two" not in str(entries) + str(api.bench.rows("enrolment_user"))


def test_a_name_is_given_once(api: Api) -> None:
    """Whatever its case; the one there is, is named."""
    made = api.post("/enrolment-users", {"username": "ann@example.test", "password": "long enough for it"})
    assert made["password"] is None
    body = {"username": " ANN@example.test", "password": "long enough for it"}
    problem = api.refused("POST", "/enrolment-users", 409, "enrolment_user_exists", json=body)
    assert problem["existing"]["href"] == f"/api/v1/enrolment-users/{made['id']}"


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/enrolment-tokens", {}, "/name"),
        ("/enrolment-tokens", {"name": "a\0b"}, "/name"),
        ("/enrolment-tokens", {"name": "x" * 201}, "/name"),
        ("/enrolment-tokens", {"name": "x", "max_uses": 0}, "/max_uses"),
        ("/enrolment-tokens", {"name": "x", "max_uses": 10**30}, "/max_uses"),
        ("/enrolment-tokens", {"name": "x", "max_uses": True}, "/max_uses"),
        ("/enrolment-tokens", {"name": "x", "expires_in_hours": 0}, "/expires_in_hours"),
        ("/enrolment-tokens", {"name": "x", "expires_in_hours": 8785}, "/expires_in_hours"),
        ("/enrolment-tokens", {"name": "x", "replaces": "yes"}, "/replaces"),
        ("/enrolment-tokens", {"name": "x", "username": ""}, "/username"),
        ("/enrolment-tokens", {"name": "x", "other": 1}, "/other"),
        ("/enrolment-users", {}, "/username"),
        ("/enrolment-users", {"username": "x" * 201}, "/username"),
        ("/enrolment-users", {"username": "x", "max_devices": 0}, "/max_devices"),
        ("/enrolment-users", {"username": "x", "password": "short"}, "/password"),
        ("/enrolment-users", {"username": "x", "password": "x" * 201}, "/password"),
        ("/enrolment-users", {"username": "x", "password": "with a nul \0 in it"}, "/password"),
        ("/enrolment-users", {"username": "x", "password": " blanks around it "}, "/password"),
        ("/enrolment-users", {"username": "x", "password": 123456789012}, "/password"),
    ],
)
def test_what_is_refused(sqlite_api: Api, path: str, body: dict[str, Any], pointer: str) -> None:
    """Each wrong member is named, and nothing is stored."""
    problem = sqlite_api.refused("POST", path, 422, "validation_failed", json=body)
    assert [each["pointer"] for each in problem["errors"]] == [pointer]
    assert sqlite_api.bench.rows("enrolment_token") == sqlite_api.bench.rows("enrolment_user") == []


@pytest.mark.parametrize("path", ["/enrolment-tokens", "/enrolment-users"])
def test_pages(api: Api, path: str) -> None:
    """In order of creation, without a gap."""
    for number in range(5):
        api.post(path, {"name": f"t{number}"} if "tokens" in path else {"username": f"u{number}"})
        api.clock.now += timedelta(seconds=number % 2)
    pages = api.pages(path, limit=2)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {each.get("name") or each.get("username") for page in pages for each in page} == {
        f"{'t' if 'tokens' in path else 'u'}{number}" for number in range(5)
    }


def test_unknown_ids(sqlite_api: Api) -> None:
    """Nothing by that id."""
    for method, path, body in [
        ("GET", "/enrolment-tokens/x", None),
        ("POST", "/enrolment-tokens/x/revoke", {}),
        ("GET", "/enrolment-users/x", None),
        ("PUT", "/enrolment-users/x", {"enabled": True}),
        ("POST", "/enrolment-users/x/password", {}),
    ]:
        sqlite_api.refused(method, path, 404, "not_found", json=body)


# --- the endpoints as the application has them ----------------------------------------------------------


def post(api: Api, path: str, body: bytes, **headers: str) -> Any:
    """One message of a device, over plain HTTP from somewhere else."""
    return api.client.post(path, content=body, headers={"Content-Type": "application/soap+xml", **headers})


def test_the_address_is_the_one_that_was_asked(sqlite_api: Api) -> None:
    """Without BRIDGE_PUBLIC_URL the device goes on where it began."""
    answer = post(
        sqlite_api, "/EnrollmentServer/Discovery.svc", discover("OnPremise"), Host="pc.example:8443"
    )
    assert b"<EnrollmentServiceUrl>http://pc.example:8443/EnrollmentServer/Enrollment.svc<" in answer.content


def test_a_forged_host_is_refused(sqlite_api: Api) -> None:
    """What is no host does not come back in an answer."""
    answer = post(sqlite_api, "/EnrollmentServer/Discovery.svc", discover("OnPremise"), Host="a/b?c")
    assert answer.status_code == 400


def test_passwords_do_not_go_in_clear(sqlite_api: Api) -> None:
    """Over plain HTTP from another machine nothing is looked at."""
    answer = post(sqlite_api, POLICY, get_policies("ann", "x"))
    assert b"a:InvalidSecurity" in answer.content
    assert b"BRIDGE_TRUSTED_PROXIES" in answer.content
    assert sqlite_api.bench.rows("enrolment_failure") == []


def test_other_media_types_and_sizes(sqlite_api: Api) -> None:
    """SOAP 1.1 and what is too long are HTTP errors, before anything is read."""
    path = "/EnrollmentServer/Discovery.svc"
    assert post(sqlite_api, path, b"x", **{"Content-Type": "text/xml"}).status_code == 415
    assert post(sqlite_api, path, b"x" * (512 * 1024 + 1)).status_code == 413
