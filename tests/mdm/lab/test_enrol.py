"""What the lab says to the bridge over REST."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mdm.lab.enrol import ApiProblem, BridgeApi, BridgeAway, enrol
from mdm.lab.manners import Terms
from mdm.lab.store import Identity

if TYPE_CHECKING:
    import httpx2


def test_enrolling_gives_an_account(served: Any, http: httpx2.Client) -> None:
    """The bridge makes the credentials; the device endpoint is the server's /omadm."""
    api = served.api(http)
    made = enrol(api, Identity("ENROL-1", "PC-1", "26100"), Terms("syncml:auth-basic"))
    assert made.account.server_uri == f"{served.bridge.url}/omadm"
    assert made.account.scheme == "syncml:auth-basic"
    assert api.get(f"/devices/{made.id}")["name"] == "PC-1"
    assert len(made.nonce) >= 16


def test_a_device_is_enrolled_once(served: Any, http: httpx2.Client) -> None:
    """A second enrolment is a problem with a code, a status and a sentence."""
    api = served.api(http)
    enrol(api, Identity("ENROL-2", "PC-1", "26100"))
    with pytest.raises(ApiProblem, match=r"HTTP 409 device_exists: .*enrolled already") as caught:
        enrol(api, Identity("ENROL-2", "PC-1", "26100"))
    assert (caught.value.status, caught.value.code) == (409, "device_exists")
    assert "existing" in caught.value.body


def test_a_token_that_may_not_is_a_problem(served: Any, http: httpx2.Client) -> None:
    """Refusals of the token come as problems, too."""
    with pytest.raises(ApiProblem) as caught:
        BridgeApi(served.bridge.url, "cspb_wrong", http).get("/devices")
    assert (caught.value.status, caught.value.code) == (401, "unauthenticated")


def test_all_pages_are_read(scripted: Any, http: httpx2.Client) -> None:
    """`every` follows the cursors to the end, keeping its parameters."""

    def page(items: list[int], cursor: str | None) -> Any:
        content = json.dumps({"items": [{"n": item} for item in items], "next_cursor": cursor}).encode()
        return lambda _: (200, {"Content-Type": "application/json"}, content)

    scripted.script += [page([1, 2], "more"), page([3], None)]
    api = BridgeApi(f"{scripted.url}/", "token", http)
    assert [item["n"] for item in api.every("/devices", group="all-devices")] == [1, 2, 3]
    paths = [path for path, _, _ in scripted.requests]
    assert paths == [
        "/api/v1/devices?limit=500&group=all-devices",
        "/api/v1/devices?limit=500&group=all-devices&cursor=more",
    ]
    assert scripted.requests[0][1]["Authorization"] == "Bearer token"


@pytest.mark.parametrize("content", [b"<html>", b"[]", b""])
def test_a_stranger_in_the_bridges_place_is_a_problem(
    scripted: Any, http: httpx2.Client, content: bytes
) -> None:
    """An error that is no problem document has a status and no code."""
    scripted.script.append(lambda _: (502, {}, content))
    with pytest.raises(ApiProblem, match=r"^HTTP 502$"):
        BridgeApi(scripted.url, "token", http).post("/devices")


def test_an_answer_without_body_is_none(scripted: Any, http: httpx2.Client) -> None:
    """204 and the like."""
    scripted.script.append(lambda _: (204, {}, b""))
    assert BridgeApi(scripted.url, "token", http).post("/devices") is None


def test_a_bridge_that_is_away_is_named(http: httpx2.Client) -> None:
    """No answer is not an answer: another exception, with the server's URL."""
    with pytest.raises(BridgeAway, match=r"http://127\.0\.0\.1:9 does not answer"):
        BridgeApi("http://127.0.0.1:9", "token", http).get("/devices")
