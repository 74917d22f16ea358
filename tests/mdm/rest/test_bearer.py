"""Bearer tokens at the door: RFC 6750 challenges, expiry, revocation, and use noted."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.access.tokens import revoke_token
from mdm.audit import Origin
from mdm.errors import Unavailable

if TYPE_CHECKING:
    from io import StringIO

    from conftest import Api

REALM = 'Bearer realm="csp-bridge"'


def challenge(api: Api, authorization: str | None) -> str:
    """The WWW-Authenticate of a 401."""
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    response = api.client.get("/api/v1/devices", headers=headers)
    assert response.status_code == 401
    assert response.json()["code"] == "unauthenticated"
    return response.headers["www-authenticate"]


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwdw==", "cspb_x"])
def test_no_credentials_get_a_bare_challenge(sqlite_api: Api, authorization: str | None) -> None:
    """Without a bearer token the challenge names no error (RFC 6750 section 3.1)."""
    assert challenge(sqlite_api, authorization) == REALM


@pytest.mark.parametrize("token", ["x", "cspb_", "cspb_unknown", "cspb_a b", "é", "cspb_" + "x" * 9000])
def test_a_wrong_token_is_called_invalid(sqlite_api: Api, token: str) -> None:
    """Without a word about what is wrong with it."""
    assert challenge(sqlite_api, f"Bearer {token}") == f'{REALM}, error="invalid_token"'


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(sqlite_api: Api, scheme: str) -> None:
    """RFC 9110 section 11.1."""
    response = sqlite_api("GET", "/devices", headers={"Authorization": f"{scheme} {sqlite_api.token}"})
    assert response.status_code == 200


def test_expired_and_revoked_tokens_look_like_unknown_ones(api: Api) -> None:
    """All three get the same challenge."""
    token = api.token_with("admin", lifetime=timedelta(hours=1))
    assert api("GET", "/devices", token=token).status_code == 200
    api.clock.now += timedelta(hours=1)
    expired = challenge(api, f"Bearer {token}")
    (first, *_) = api.bench.rows("api_token", "created_at")
    with api.bench.database.write() as conn:
        revoke_token(conn, Origin("test"), first["id"], now=api.clock.now)
    assert challenge(api, f"Bearer {api.token}") == expired == f'{REALM}, error="invalid_token"'


def test_admin_does_everything_but_accept_eulas(sqlite_api: Api) -> None:
    """One scope opens all lists."""
    token = sqlite_api.token_with("admin")
    for path in (
        "/devices",
        "/groups",
        "/catalog/updates",
        "/catalog/syncs",
        "/eulas",
        "/approvals",
        "/audit",
    ):
        assert sqlite_api("GET", path, token=token).status_code == 200
    response = sqlite_api("POST", "/eulas/x/accept", token=token)
    assert response.headers["www-authenticate"] == f'{REALM}, error="insufficient_scope", scope="eula.accept"'


def test_use_is_noted_once_a_minute(api: Api) -> None:
    """`last_used_at` follows the requests, a minute behind at most."""

    def used() -> Any:
        return api.bench.rows("api_token")[0]["last_used_at"]

    start = api.clock.now
    for seconds, noted in ((0, 0), (59, 0), (60, 60)):
        api.clock.now = start + timedelta(seconds=seconds)
        api.get("/devices")
        assert used() == start + timedelta(seconds=noted)


def test_refused_requests_are_no_use(sqlite_api: Api) -> None:
    """A token that may not do it is not noted as used."""
    token = sqlite_api.token_with("audit.read")
    sqlite_api.refused("GET", "/devices", 403, "insufficient_scope", token=token)
    assert {row["last_used_at"] for row in sqlite_api.bench.rows("api_token")} == {None}


def test_a_refused_attempt_is_logged_with_its_name(sqlite_api: Api, logged: StringIO) -> None:
    """Who tried what they may not do is worth knowing."""
    sqlite_api.refused(
        "GET", "/devices", 403, "insufficient_scope", token=sqlite_api.token_with("audit.read")
    )
    (line,) = [json.loads(text) for text in logged.getvalue().splitlines() if '"request"' in text]
    assert (line["actor"], line["status"]) == ("client:some", 403)


def test_a_database_that_takes_no_writes_still_answers_reads(
    sqlite_api: Api, monkeypatch: pytest.MonkeyPatch, logged: StringIO
) -> None:
    """The note is skipped with a line in the log."""

    def fail(*_args: object, **_values: object) -> None:
        raise Unavailable("The disk of the database is full.")

    monkeypatch.setattr("mdm.rest.bearer.touch_token", fail)
    assert sqlite_api("GET", "/devices").status_code == 200
    assert "token_use_not_noted" in logged.getvalue()


def test_secrets_are_in_no_log_line(sqlite_api: Api, logged: StringIO) -> None:
    """Neither the token nor the credentials of a device made with it."""
    credentials = sqlite_api.post("/devices", {"device_id": "DEV1"})["credentials"]
    sqlite_api.refused("GET", "/devices", 401, "unauthenticated", token="cspb_wrong-but-secret")
    assert "client:tests" in logged.getvalue()
    for secret in (sqlite_api.token, "wrong-but-secret", credentials["password"], credentials["nonce"]):
        assert secret not in logged.getvalue()
