"""The client of an OpenID provider, against one on a real socket that misbehaves in every way that is known."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from pydantic import SecretStr

from mdm.enrolment.oidc import Identity, OpenIdProvider, ProviderAway, ProviderRefuses
from mdm.enrolment.oidc_transport import DEADLINE, ProviderTransport
from mdm.lab.oidc import LabProvider, Spoiler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

BACK = "https://mdm.example.test/EnrollmentServer/SignedIn"
VERIFIER = "v" * 43
NONCE = "nonce-1"


@pytest.fixture
def lab(now: datetime) -> Iterator[LabProvider]:
    """A running provider with the clock of the test."""
    with LabProvider(clock=lambda: now) as running:
        yield running


def client_of(lab: LabProvider, claim: str = "preferred_username") -> OpenIdProvider:
    """The bridge as its client."""
    secret = None if lab.client_secret is None else SecretStr(lab.client_secret)
    return OpenIdProvider(
        issuer=lab.issuer, client_id=lab.client_id, client_secret=secret, username_claim=claim
    )


def sign_in(client: OpenIdProvider, now: datetime, **values: str) -> Identity:
    """Go there and come back; `values` are what the bridge remembers, where that is not right."""
    url = client.authorization_url(
        redirect_uri=BACK, state="state-1", nonce=NONCE, verifier=VERIFIER, login_hint="", now=now
    )
    with httpx2.Client() as http:
        answer = parse_qs(urlsplit(http.get(url).headers["location"]).query)
    remembered = {"redirect_uri": BACK, "nonce": NONCE, "verifier": VERIFIER} | values
    return client.redeem(answer["code"][0], issuer=answer["iss"][0], now=now, **remembered)


@pytest.mark.parametrize(
    ("secret", "method"),
    [
        ("plain", "client_secret_basic"),
        ("50% ä:+/&", "client_secret_basic"),
        ("50% ä:+/&", "client_secret_post"),
        (None, "none"),
    ],
)
def test_a_person_is_known(lab: LabProvider, now: datetime, secret: str | None, method: str) -> None:
    """With each way for a client to prove itself, and any secret."""
    lab.client_secret, lab.auth_method = secret, method
    found = sign_in(client_of(lab), now)
    assert found.username == "user@example.test"
    assert found == sign_in(client_of(lab), now)
    assert "login_hint" not in lab.asked[0]


def test_another_claim_names_the_user(lab: LabProvider, now: datetime) -> None:
    """As the administrator says."""
    assert sign_in(client_of(lab, "sub"), now).username == "subject-1"


@pytest.mark.parametrize(
    ("spoiler", "why"),
    [
        (Spoiler.WRONG_NONCE, "nonce"),
        (Spoiler.NO_NONCE, "nonce"),
        (Spoiler.WRONG_AUDIENCE, "aud"),
        (Spoiler.OTHER_PARTY, "azp"),
        (Spoiler.WRONG_ISSUER, "iss"),
        (Spoiler.EXPIRED, "expired"),
        (Spoiler.NOT_YET, "issued in the future"),
        (Spoiler.OTHER_KEY, "bad_signature"),
        (Spoiler.ALG_NONE, "none"),
        (Spoiler.SHARED_SECRET, "HS256"),
        (Spoiler.NO_TOKEN_AT_ALL, "its ID token is not good"),
        (Spoiler.DEEP_TOKEN, "its ID token is not good"),
        (Spoiler.NO_KEYS, "its ID token is not good"),
        (Spoiler.NO_ID_TOKEN, "no ID token"),
        (Spoiler.NO_USERNAME, "no user name in the claim preferred_username"),
        (Spoiler.LONG_USERNAME, "cannot be used"),
        (Spoiler.NO_SUBJECT, "names nobody"),
        (Spoiler.OTHER_ISSUER_PARAMETER, "another issuer"),
        (Spoiler.REFUSES_CODES, "does not take the code"),
    ],
)
def test_what_does_not_let_anybody_in(lab: LabProvider, now: datetime, spoiler: Spoiler, why: str) -> None:
    """Each wrong token is refused for its own reason, and the reason holds nothing that was given out."""
    lab.spoiler = spoiler
    with pytest.raises(ProviderRefuses) as caught:
        sign_in(client_of(lab), now)
    assert why in str(caught.value)
    assert not any(secret in str(caught.value) for secret in lab.given)
    lab.spoiler = None
    assert sign_in(client_of(lab), now).username == "user@example.test"


@pytest.mark.parametrize(
    ("spoiler", "why"),
    [
        (Spoiler.OTHER_DESCRIPTION, "another issuer than BRIDGE_OIDC_ISSUER"),
        (Spoiler.INSECURE_ENDPOINT, "its token_endpoint is no https URL"),
        (Spoiler.UNREADABLE_ENDPOINT, "its token_endpoint is no https URL"),
        (Spoiler.NOT_JSON, "no JSON object"),
        (Spoiler.TOO_MUCH, "more than 524288 bytes"),
        (Spoiler.REDIRECTS, "HTTP 307"),
    ],
)
def test_a_description_that_is_of_no_use(lab: LabProvider, now: datetime, spoiler: Spoiler, why: str) -> None:
    """What the provider says of itself is held against what IT said, and nobody is sent astray."""
    lab.spoiler = spoiler
    with pytest.raises(ProviderAway, match=why):
        sign_in(client_of(lab), now)


def test_a_provider_elsewhere_cannot_send_us_to_ourselves(now: datetime) -> None:
    """Only a provider that is tried out on this machine may name addresses of it in clear."""
    issuer = "https://login.example.test"
    described = {"issuer": issuer, "authorization_endpoint": "http://localhost/", "jwks_uri": issuer}
    handler = httpx2.MockTransport(
        lambda _: httpx2.Response(200, content=iter([json.dumps(described).encode()]))
    )
    client = OpenIdProvider(
        issuer=issuer,
        client_id="bridge",
        client_secret=None,
        username_claim="sub",
        transport=ProviderTransport(open_client=lambda: httpx2.Client(transport=handler)),
    )
    with pytest.raises(ProviderAway, match="its authorization_endpoint is no https URL"):
        sign_in(client, now)


def test_a_wrong_secret_is_told(lab: LabProvider, now: datetime) -> None:
    """The provider's word for it, and not the secret."""
    client = client_of(lab)
    lab.client_secret = "another"
    with pytest.raises(ProviderAway, match="HTTP 401") as caught:
        sign_in(client, now)
    assert "'invalid_client'" in str(caught.value)
    assert "provider-canary" not in str(caught.value) + repr(client)


@pytest.mark.parametrize("values", [{"verifier": "w" * 43}, {"redirect_uri": BACK + "x"}])
def test_a_code_is_for_who_asked_for_it(lab: LabProvider, now: datetime, values: dict[str, str]) -> None:
    """PKCE: a code that was read on its way is of no use."""
    with pytest.raises(ProviderRefuses, match="does not take the code"):
        sign_in(client_of(lab), now, **values)


def test_the_description_is_kept_for_a_while(lab: LabProvider, now: datetime) -> None:
    """Ten minutes, so that nobody floods the provider through us; a failure is not kept."""
    client = client_of(lab)
    lab.spoiler = Spoiler.NOT_JSON
    with pytest.raises(ProviderAway):
        sign_in(client, now)
    lab.spoiler = None
    for _ in range(3):
        sign_in(client, now)
    assert lab.described == 2
    client.authorization_url(
        redirect_uri=BACK,
        state="s",
        nonce="n",
        verifier=VERIFIER,
        login_hint="",
        now=now + timedelta(minutes=10),
    )
    assert lab.described == 3


def test_nobody_there(lab: LabProvider, now: datetime) -> None:
    """A provider that does not run."""
    client = client_of(lab)
    lab.__exit__()
    with pytest.raises(ProviderAway, match="it cannot be reached"):
        sign_in(client, now)


def test_a_slow_answer_ends(lab: LabProvider) -> None:
    """One call has one deadline, however slowly the answer drips."""
    moments = iter([0.0, DEADLINE + 1])
    with pytest.raises(ProviderAway, match="more than 15 s"):
        ProviderTransport(monotonic=lambda: next(moments)).get(f"{lab.issuer}/jwks")


def test_deep_json_is_no_answer() -> None:
    """A document that no parser likes is told like any other that is of no use."""
    handler = httpx2.MockTransport(lambda _: httpx2.Response(200, content=iter([b"[" * 100_000])))
    transport = ProviderTransport(open_client=lambda: httpx2.Client(transport=handler))
    with pytest.raises(ProviderAway, match="no JSON object"):
        transport.get("https://login.example.test/")
