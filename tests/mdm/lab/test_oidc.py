"""The lab's OpenID provider checks what comes back to it, as a real one does."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from mdm.lab.oidc import LabProvider, Spoiler

if TYPE_CHECKING:
    from collections.abc import Iterator

BACK = "https://client.example.test/back"
VERIFIER = "v" * 43
SECRET = "provider-canary"


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    """A client that follows no redirect."""
    with httpx2.Client() as client:
        yield client


def code_of(provider: LabProvider, http: httpx2.Client) -> str:
    """A code for somebody who has signed in."""
    query = {
        "redirect_uri": BACK,
        "nonce": "n",
        "state": "s",
        "code_challenge": create_s256_code_challenge(VERIFIER),
    }
    response = http.get(f"{provider.issuer}/authorize", params=query)
    answer = parse_qs(urlsplit(response.headers["location"]).query)
    assert (answer["state"], answer["iss"]) == (["s"], [provider.issuer])
    return answer["code"][0]


def redeem(provider: LabProvider, http: httpx2.Client, code: str, **values: str) -> httpx2.Response:
    """Redeem a code; `values` is what is wrong with it."""
    form = {"code": code, "redirect_uri": BACK, "code_verifier": VERIFIER, **values}
    return http.post(f"{provider.issuer}/token", data=form, auth=(provider.client_id, SECRET))


def test_a_code_is_good_once(http: httpx2.Client) -> None:
    """For its client, with its verifier and its redirect, and for nobody afterwards."""
    with LabProvider() as provider:
        code = code_of(provider, http)
        assert redeem(provider, http, code).json()["id_token"].count(".") == 2
        assert redeem(provider, http, code).json() == {"error": "invalid_grant"}


@pytest.mark.parametrize("values", [{"code_verifier": "w" * 43}, {"redirect_uri": "x"}])
def test_a_code_is_bound(http: httpx2.Client, values: dict[str, str]) -> None:
    """What does not belong together is refused."""
    with LabProvider() as provider:
        assert redeem(provider, http, code_of(provider, http), **values).status_code == 400


def test_a_client_proves_itself(http: httpx2.Client) -> None:
    """In the way that the provider takes, and in no other; a public client has no secret."""
    with LabProvider() as provider:
        code = code_of(provider, http)
        assert http.post(f"{provider.issuer}/token", data={"code": code}).status_code == 401
        provider.auth_method = "client_secret_post"
        assert redeem(provider, http, code).status_code == 401
        given = {"client_id": "bridge", "client_secret": SECRET}
        assert redeem(provider, http, code, **given).status_code == 200
        provider.client_secret = None
        assert redeem(provider, http, code_of(provider, http), **given).status_code == 401
        assert redeem(provider, http, code_of(provider, http), client_id="bridge").status_code == 200


def test_a_person_may_cancel(http: httpx2.Client) -> None:
    """The redirect then has an error and no code."""
    with LabProvider(spoiler=Spoiler.DENIED) as provider:
        query = {"redirect_uri": BACK, "nonce": "n", "state": "s", "code_challenge": "c"}
        response = http.get(f"{provider.issuer}/authorize", params=query)
        answer = parse_qs(urlsplit(response.headers["location"]).query)
    assert (answer["error"], "code" in answer) == (["access_denied"], False)


def test_it_has_no_url_before_it_runs() -> None:
    """Nobody is sent to where nothing listens."""
    provider = LabProvider()
    provider.__exit__()
    with pytest.raises(RuntimeError, match="does not run"):
        assert provider.issuer
