"""The sign-in page: from Discover to the ticket, by password or token, in one browser and for one device only."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from lxml import html as lxml_html
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from mdm.app import build_app
from mdm.enrolment.authentication import TICKET_TYPE
from mdm.enrolment.oidc import OpenIdProvider
from mdm.enrolment.service import DISCOVERY_PATH, ENROLMENT_PATH, POLICY_PATH
from mdm.enrolment.sign_in import SignIn
from mdm.enrolment.sign_in_routes import configured_sign_in, sign_in_routes
from mdm.enrolment.sign_in_visit import LIFETIME, Visit
from mdm.enrolment.throttle import ADDRESS_TRIES, NAME_TRIES
from mdm.errors import Unavailable
from mdm.lab.mde2 import NAMESPACES, discover, get_policies, security_token, username_token
from mdm.lab.oidc import LabProvider, Spoiler
from mdm.rest.middleware import RequestId, RequestLog, SecurityHeaders
from mdm.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import StringIO

    from conftest import Station
    from httpx2 import Response

BASE = "https://mdm.example.test"
PATH = "/EnrollmentServer/Authenticate"
BACK = "/EnrollmentServer/SignedIn"
TARGET = "ms-app://windows.immersivecontrolpanel"
PASSWORD = "correct horse battery"
USER = "user@example.test"


def browser(
    station: Station, provider: OpenIdProvider | None = None, *, base: str = BASE, client: str = "192.0.2.7"
) -> TestClient:
    """A browser before the endpoints, which follows no redirect by itself."""
    bench = station.bench
    sign_in = SignIn(bench.database, bench.secrets, organization="Jörg & Söhne", provider=provider)
    app = Starlette(
        routes=sign_in_routes(sign_in, public_url=None, clock=lambda: bench.now),
        middleware=[Middleware(RequestId), Middleware(SecurityHeaders), Middleware(RequestLog)],
    )
    return TestClient(app, base_url=base, client=(client, 50000), follow_redirects=False)


def arrive(client: TestClient, **query: str) -> Response:
    """Open the page as Windows does."""
    return client.get(PATH, params={"appru": TARGET, "login_hint": USER} | query)


def fields(response: Response) -> dict[str, str]:
    """The inputs of the page's form, hidden ones included."""
    (form,) = lxml_html.fromstring(response.text).forms
    return {name: value or "" for name, value in form.fields.items()}


def submit(client: TestClient, page: Response, username: str, password: str) -> Response:
    """Fill in the form."""
    form = fields(page) | {"username": username, "password": password}
    return client.post(PATH, data=form)


def ticket_in(response: Response) -> str:
    """What the last page gives the device."""
    assert response.status_code == 200, response.text
    return fields(response)["wresult"]


def with_ticket(message: bytes, ticket: str) -> bytes:
    """The same message with a ticket in its header."""
    header = (
        f'<wsse:Security><wsse:BinarySecurityToken ValueType="{TICKET_TYPE}">'
        f"{base64.b64encode(ticket.encode()).decode()}</wsse:BinarySecurityToken></wsse:Security>"
    )
    return message.replace(username_token("", "").encode(), header.encode())


def enrols(station: Station, ticket: str) -> None:
    """Enrol a device with the ticket, through both steps."""
    for path, message in (
        (POLICY_PATH, get_policies("", "")),
        (ENROLMENT_PATH, security_token("", "", station.csr)),
    ):
        found = station.answer(path, with_ticket(message, ticket))
        assert not found.xpath("//s:Fault", namespaces=NAMESPACES)


def refusals(logged: StringIO) -> list[str]:
    """The reasons in the log."""
    lines = (json.loads(line) for line in logged.getvalue().splitlines())
    return [line["why"] for line in lines if line["event"] == "enrolment_sign_in_refused"]


# --- discovery ------------------------------------------------------------------------------------------


def test_a_device_that_can_is_sent_to_the_page(sqlite_station: Station) -> None:
    """Federated with the page's address where it is offered; else what the device has."""
    station = sqlite_station.open(web_sign_in=True)
    found = station.discover("OnPremise", "Federated")
    (result,) = found.xpath("//d:DiscoverResult", namespaces=NAMESPACES)
    assert {each.tag.split("}")[1]: each.text for each in result} == {
        "AuthPolicy": "Federated",
        "EnrollmentVersion": "4.0",
        "EnrollmentPolicyServiceUrl": f"{BASE}/EnrollmentServer/Policy.svc",
        "EnrollmentServiceUrl": f"{BASE}/EnrollmentServer/Enrollment.svc",
        "AuthenticationServiceUrl": f"{BASE}{PATH}",
    }
    found = station.discover("OnPremise")
    assert found.findtext(".//d:AuthPolicy", namespaces=NAMESPACES) == "OnPremise"
    assert found.find(".//d:AuthenticationServiceUrl", NAMESPACES) is None


def test_what_is_not_offered_is_refused_in_words(sqlite_station: Station) -> None:
    """The device's ways and ours, both ways round."""
    _, why, error = sqlite_station.fault(DISCOVERY_PATH, discover("Federated"))
    assert (error, "OnPremise) only" in why) == ("NotSupported", True)
    station = sqlite_station.open(web_sign_in=True)
    _, why, error = station.fault(DISCOVERY_PATH, discover("Smoke"))
    assert (error, "Smoke" in why, "sign-in page (Federated)" in why) == ("NotSupported", True, True)


# --- the page -------------------------------------------------------------------------------------------


def test_a_password_gives_a_ticket(station: Station) -> None:
    """Page, form, ticket, certificate; the device is the user's."""
    user = station.user()
    client = browser(station)
    page = arrive(client)
    assert fields(page)["username"] == USER
    done = submit(client, page, USER, PASSWORD)
    (form,) = lxml_html.fromstring(done.text).forms
    assert (form.method.upper(), form.action) == ("POST", TARGET)
    enrols(station, ticket_in(done))
    (row,) = station.bench.rows("enrolment")
    assert (row["kind"], row["by_id"], row["username"]) == ("user", user, USER)


def test_a_token_is_used_once(station: Station) -> None:
    """A one-time token typed into the page enrols one device, by this page or any other way."""
    token = station.token()
    client = browser(station)
    first = ticket_in(submit(client, arrive(client), USER, token))
    second = ticket_in(submit(client, arrive(client), USER, token))
    enrols(station, first)
    other = with_ticket(security_token("", "", station.other_csr, DeviceID="B", HWDevID="C" * 64), second)
    assert station.fault(ENROLMENT_PATH, other)[0] == "s:Authorization"
    assert [row["uses"] for row in station.bench.rows("enrolment_token")] == [1]
    assert [row["kind"] for row in station.bench.rows("enrolment")] == ["token"]


def test_the_page_is_guarded(sqlite_station: Station) -> None:
    """Its policy lets it do what it has to and nothing else; nobody frames or keeps it, or learns its address."""
    sqlite_station.user()
    client = browser(sqlite_station)
    page = arrive(client)
    done = submit(client, page, USER, PASSWORD)
    for response, action in ((page, "'self'"), (done, "ms-app:")):
        policy = dict(
            each.strip().split(" ", 1) for each in response.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["form-action"] == action
        assert (policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'")
        nonce = re.fullmatch(r"'nonce-([A-Za-z0-9_-]{22})'", policy["style-src"])
        assert nonce is not None
        assert f'<style nonce="{nonce[1]}">' in response.text
        assert ("script-src" in policy) == (response is done)
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["referrer-policy"] == "no-referrer"
    assert lxml_html.fromstring(done.text).xpath("//script/text()") == ["document.forms[0].submit()"]
    assert lxml_html.fromstring(done.text).xpath("//button/text()") == ["Continue"]
    assert page.headers["content-security-policy"] != arrive(client).headers["content-security-policy"]


def test_the_cookie_is_guarded(sqlite_station: Station) -> None:
    """For this host, for https, for no script, for a while; and gone after the sign-in."""
    sqlite_station.user()
    client = browser(sqlite_station)
    page = arrive(client)
    cookie = page.headers["set-cookie"]
    assert cookie.startswith("__Host-enrolment-sign-in=")
    assert {each.strip().lower() for each in cookie.split(";")[1:]} == {
        "httponly",
        "max-age=900",
        "path=/",
        "samesite=lax",
        "secure",
    }
    assert PASSWORD not in cookie
    assert "Max-Age=0" in submit(client, page, USER, PASSWORD).headers["set-cookie"]
    plain = browser(sqlite_station, base="http://localhost", client="127.0.0.1")
    assert arrive(plain).headers["set-cookie"].startswith("enrolment-sign-in=")
    assert "secure" not in arrive(plain).headers["set-cookie"].lower()


def test_the_page_is_accessible(sqlite_station: Station) -> None:
    """Each field has a label and its error beside it; language, title, one heading, and sizes that grow."""
    client = browser(sqlite_station)
    document = lxml_html.fromstring(submit(client, arrive(client), "", "").text)
    assert document.get("lang") == "en"
    assert document.findtext(".//title").startswith("Error: ")
    assert len(document.xpath("//h1")) == 1
    assert "user-scalable" not in document.xpath("//meta[@name='viewport']/@content")[0]
    for name in ("username", "password"):
        (field,) = document.xpath(f"//input[@name='{name}']")
        assert document.xpath(f"//label[@for='{field.get('id')}']")
        assert field.get("aria-invalid") == "true"
        errors = [document.get_element_by_id(each) for each in field.get("aria-describedby").split()]
        assert errors[0].text.startswith("Enter your")
        assert errors[0].get("role") == "alert"
    assert not re.search(r"\d(px|vw|vh)", document.findtext(".//style"))


@pytest.mark.parametrize(
    "target",
    [
        "",
        "https://evil.example.test/",
        "javascript:alert(1)",
        "ms-app:",
        "ms-app://",
        "ms-app://a b",
        'ms-app://"><script>',
        "ms-app://a\x00",
        "ms-app://a?b=c",
        "ms-app://a@b",
        "ms-app://" + "a" * 501,
        "xms-app://a",
        "ms-app://a\n",
    ],
)
def test_another_target_is_refused(sqlite_station: Station, logged: StringIO, target: str) -> None:
    """The ticket goes to Windows and nowhere else, and what was asked for is not shown."""
    response = arrive(browser(sqlite_station), appru=target)
    assert response.status_code == 400
    assert "Settings, Accounts, Access work or school" in response.text
    assert not lxml_html.fromstring(response.text).forms
    assert not lxml_html.fromstring(response.text).xpath("//script")
    assert "evil" not in response.text
    assert refusals(logged) == ["appru is not one ms-app URL"]


@pytest.mark.parametrize("query", ["", f"?appru={TARGET}&appru=ms-app://other"])
def test_one_target_is_needed(sqlite_station: Station, query: str) -> None:
    """None, or two of which a filter may have read the other, is nothing."""
    assert browser(sqlite_station).get(PATH + query).status_code == 400


def test_what_is_reflected_is_escaped(sqlite_station: Station) -> None:
    """A hint, a typed name and a target cannot become elements."""
    client = browser(sqlite_station)
    evil = '"><script>alert(1)</script>'
    page = arrive(client, login_hint=evil)
    assert fields(page)["username"] == evil
    again = submit(client, page, evil, "wrong")
    assert fields(again)["username"] == evil
    for response in (page, again):
        assert not lxml_html.fromstring(response.text).xpath("//script")
        assert "Jörg &amp; Söhne" in response.text


@pytest.mark.parametrize("hint", ["u" * 201, "a\x00b", "a\nb"])
def test_a_strange_hint_is_left_out(sqlite_station: Station, hint: str) -> None:
    """A hint that nobody can be called is no reason to refuse the person."""
    assert fields(arrive(browser(sqlite_station), login_hint=hint))["username"] == ""


def test_a_wrong_password_may_be_tried_again(station: Station, logged: StringIO) -> None:
    """The form comes back with the reason beside the field and the user name in it; then it goes on."""
    station.user()
    client = browser(station)
    page = submit(client, arrive(client), USER, "wrong")
    assert page.status_code == 200
    assert "The user name or the password is wrong" in page.text
    assert fields(page)["username"] == USER
    assert refusals(logged) == ["no such user, or a wrong password"]
    ticket_in(submit(client, page, USER, PASSWORD))


def test_guessing_is_throttled(sqlite_station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page has the limits of the device's own question, and counts with it."""
    monkeypatch.setattr("mdm.enrolment.authentication.password_matches", lambda *_: False)
    sqlite_station.user()
    client = browser(sqlite_station)
    page = arrive(client)
    for _ in range(NAME_TRIES):
        page = submit(client, page, USER, "guess")
        assert "is wrong" in page.text
    assert "Wait 15 minutes" in submit(client, page, USER, PASSWORD).text
    assert "Wait 15 minutes" in sqlite_station.fault(POLICY_PATH, get_policies(USER, PASSWORD))[1]


# --- one browser ----------------------------------------------------------------------------------------


def test_another_browser_cannot_go_on(station: Station, logged: StringIO) -> None:
    """Without the cookie, with another visit's, or a made-up one, the right password signs nobody in."""
    station.user()
    mine, other = browser(station), browser(station)
    page = arrive(mine)
    assert submit(other, page, USER, PASSWORD).status_code == 400
    arrive(other)
    assert submit(other, page, USER, PASSWORD).status_code == 400
    sealed = base64.urlsafe_b64encode(station.bench.secrets.seal(b'{"for":"something else"}')).decode()
    listed = base64.urlsafe_b64encode(station.bench.secrets.seal(b"[]")).decode()
    for cookie in ("x", "AAAA", sealed, listed, "A" * 8000):
        other.cookies.clear()
        response = other.post(
            PATH,
            data=fields(page) | {"username": USER, "password": PASSWORD},
            headers={"Cookie": f"__Host-enrolment-sign-in={cookie}"},
        )
        assert response.status_code == 400
        assert "begin the enrolment again" in response.text
    assert set(refusals(logged)) == {"no visit of this browser"}
    assert station.bench.rows("enrolment_ticket") == []
    ticket_in(submit(mine, page, USER, PASSWORD))


def test_a_visit_ends(sqlite_station: Station) -> None:
    """Who comes back the next day begins again."""
    sqlite_station.user()
    client = browser(sqlite_station)
    page = arrive(client)
    sqlite_station.bench.now += LIFETIME
    assert submit(client, page, USER, PASSWORD).status_code == 400


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"state=x", "application/json"),
        (b"state=%ff", "application/x-www-form-urlencoded"),
        (b"\xff=x", "application/x-www-form-urlencoded"),
        (b"a=1&" * 30, "application/x-www-form-urlencoded"),
        (b"a" * 17000, "application/x-www-form-urlencoded"),
        (b"state=a&state=b", "application/x-www-form-urlencoded"),
        (b"", "application/x-www-form-urlencoded"),
    ],
)
def test_what_is_no_form(sqlite_station: Station, body: bytes, content_type: str) -> None:
    """A page that says so, and never more."""
    client = browser(sqlite_station)
    arrive(client)
    response = client.post(PATH, content=body, headers={"Content-Type": content_type})
    assert response.status_code == 400
    assert "This sign-in cannot go on" in response.text


@pytest.mark.parametrize("path", [PATH, BACK])
@pytest.mark.parametrize(
    ("more", "why"),
    [("&".join(f"{number:x}" for number in range(30)), "more parameters"), ("x=" + "a" * 17000, "longer")],
)
def test_an_address_of_many_parameters(sqlite_station: Station, path: str, more: str, why: str) -> None:
    """It is refused before anything is looked up in it: thousands of names would hold up everybody."""
    response = browser(sqlite_station).get(f"{path}?appru={TARGET}&{more}")
    assert (response.status_code, why in response.text) == (400, True)


def test_a_form_that_ends_early(sqlite_station: Station, logged: StringIO) -> None:
    """A browser that is closed while it sends is no error of the service."""
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "headers": [(b"content-type", b"application/x-www-form-urlencoded")],
        "query_string": b"",
    }
    asyncio.run(browser(sqlite_station).app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 400
    assert refusals(logged) == ["The connection closed before the form was complete."]


def test_the_page_is_for_https(sqlite_station: Station, logged: StringIO) -> None:
    """In clear nothing is asked for, nor taken."""
    client = browser(sqlite_station, base="http://mdm.example.test")
    for response in (arrive(client), client.post(PATH, data={"state": "x"}), client.get(BACK)):
        assert response.status_code == 403
        assert "BRIDGE_TRUSTED_PROXIES" in response.text
    assert refusals(logged) == ["not reached by https"] * 3
    assert browser(sqlite_station).get(PATH, headers={"Host": "a b"}).status_code == 400


def test_a_database_that_is_away_is_a_page(sqlite_station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person is told to try later."""
    client = browser(sqlite_station)
    page = arrive(client)

    def away(*_: object, **__: object) -> None:
        raise Unavailable("The database is away.")

    monkeypatch.setattr("mdm.enrolment.sign_in.authenticate", away)
    response = submit(client, page, USER, PASSWORD)
    assert (response.status_code, "The database is away. Try again later." in response.text) == (503, True)


def test_secrets_are_never_written(station: Station, logged: StringIO) -> None:
    """Password, token, ticket, state: in no log line, no row and no representation."""
    canary = "canary-password-7f3a"
    station.user(password=canary)
    token = station.token()
    client = browser(station)
    page = arrive(client)
    state, cookie = fields(page)["state"], client.cookies["__Host-enrolment-sign-in"]
    submit(client, page, USER, f"{canary}x")
    tickets = [ticket_in(submit(client, page, USER, canary))]
    tickets.append(ticket_in(submit(client, arrive(client), USER, token)))
    client.get(f"{BACK}?code=code-canary&state={state}")
    visit = Visit.begin(TARGET, USER, station.now)
    assert visit is not None
    everything = logged.getvalue() + json.dumps(station.bench.dump(), default=repr) + repr(visit)
    for secret in (
        canary,
        token,
        token.replace("-", ""),
        *tickets,
        state,
        cookie,
        "code-canary",
        visit.state,
        visit.verifier,
    ):
        assert secret not in everything
    assert "enrolment_signed_in" in everything


@pytest.mark.parametrize("change", ["more", "less", "other purpose", "no object"])
def test_a_cookie_of_another_release_is_no_visit(sqlite_station: Station, change: str) -> None:
    """Sealed with the same key and with other members in it: its owner signs in again, and nothing breaks."""
    box, now = sqlite_station.bench.secrets, sqlite_station.now
    visit = Visit.begin(TARGET, USER, now)
    assert visit is not None
    members = json.loads(box.open(base64.b64decode(visit.seal(box), altchars=b"-_")))
    match change:
        case "more":
            members["news"] = 1
        case "less":
            del members["nonce"]
        case "other purpose":
            members["for"] = "something else"
        case _:
            members = [members]
    sealed = base64.urlsafe_b64encode(box.seal(json.dumps(members).encode())).decode()
    assert Visit.unseal(box, sealed, now) is None
    assert Visit.unseal(box, visit.seal(box), now) == visit


def test_no_page_without_the_setting(sqlite_station: Station) -> None:
    """By default there is none; with the settings it is there, with a provider or without."""
    bench = sqlite_station.bench
    assert configured_sign_in(load_settings(), bench.database, bench.secrets) is None
    assert sign_in_routes(None, public_url=None) == []
    web = configured_sign_in(load_settings(enrolment_sign_in="web"), bench.database, bench.secrets)
    assert web is not None
    assert web.provider is None
    settings = load_settings(
        enrolment_sign_in="web",
        oidc_issuer="https://login.example.test/",
        oidc_client_id="bridge",
        oidc_client_secret="c4nary",
    )
    federated = configured_sign_in(settings, bench.database, bench.secrets)
    assert federated is not None
    assert federated.provider is not None
    assert federated.provider.issuer == "https://login.example.test"
    assert "c4nary" not in repr(federated)


def test_the_application_has_the_page(sqlite_station: Station) -> None:
    """With the setting, Discover names a page and the page is there; without it, neither."""
    for way, policy, status in (("web", "Federated", 200), ("password", "OnPremise", 404)):
        bench = sqlite_station.bench
        settings = load_settings(enrolment_sign_in=way, public_url=BASE)
        app = build_app(settings, bench.database, bench.secrets, background=False)
        client = TestClient(app, base_url=BASE, client=("192.0.2.7", 50000))
        headers = {"Content-Type": "application/soap+xml"}
        answer = client.post(DISCOVERY_PATH, content=discover("Federated", "OnPremise"), headers=headers)
        assert f"<AuthPolicy>{policy}</AuthPolicy>" in answer.text
        assert arrive(client).status_code == status


# --- at an OpenID provider ------------------------------------------------------------------------------


@pytest.fixture
def provider(station: Station) -> Iterator[LabProvider]:
    """A running provider with the clock of the test."""
    with LabProvider(clock=lambda: station.now) as running:
        yield running


def client_of(provider: LabProvider) -> OpenIdProvider:
    """The bridge as a client of that provider."""
    return OpenIdProvider(
        issuer=provider.issuer,
        client_id=provider.client_id,
        client_secret=SecretStr(provider.client_secret or ""),
        username_claim="preferred_username",
    )


def at_provider(response: Response) -> str:
    """Follow the redirect to the provider, over a socket; returns where it sends the browser."""
    assert response.status_code == 303, response.text
    assert response.headers["cache-control"] == "no-store"
    with httpx2.Client() as http:
        back = http.get(response.headers["location"])
    location: str = back.headers["location"]
    assert location.startswith(f"{BASE}{BACK}?")
    return location


def test_the_provider_signs_in(station: Station, provider: LabProvider, logged: StringIO) -> None:
    """Redirect, code, ID token, ticket, certificate; and neither code nor token is written anywhere."""
    client = browser(station, client_of(provider))
    location = at_provider(arrive(client))
    (asked,) = provider.asked
    assert asked["login_hint"] == USER
    assert asked["redirect_uri"] == BASE + BACK
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert "openid" in asked["scope"].split()
    done = client.get(location)
    enrols(station, ticket_in(done))
    (row,) = station.bench.rows("enrolment")
    assert (row["kind"], row["username"]) == ("federated", USER)
    assert re.fullmatch(r"fed_[0-9a-f]{40}", row["by_id"])
    everything = logged.getvalue() + json.dumps(station.bench.dump(), default=repr)
    assert len(provider.given) == 3
    for secret in (*provider.given, asked["state"], asked["nonce"], "provider-canary"):
        assert secret not in everything
    assert all(row["failures"] == 0 for row in station.bench.rows("enrolment_failure"))


def test_a_person_is_the_same_person_again(station: Station, provider: LabProvider) -> None:
    """By issuer and subject: whoever gets another name stays, and another subject is somebody else."""
    for subject, name in (("one", USER), ("one", "renamed@example.test"), ("two", USER)):
        provider.subject, provider.username = subject, name
        client = browser(station, client_of(provider))
        ticket_in(client.get(at_provider(arrive(client))))
    known = {(row["username"], row["by_id"]) for row in station.bench.rows("enrolment_ticket")}
    assert len({by_id for _, by_id in known}) == 2
    assert len(known) == 3


def test_the_code_is_for_one_browser(station: Station, provider: LabProvider, logged: StringIO) -> None:
    """Somebody else's redirect, sent to a victim, signs the victim in nowhere (login CSRF); nor twice."""
    bridge = client_of(provider)
    attacker, victim = browser(station, bridge), browser(station, bridge)
    location = at_provider(arrive(attacker))
    assert victim.get(location).status_code == 400
    arrive(victim)
    assert victim.get(location).status_code == 400
    assert refusals(logged) == ["no visit of this browser"] * 2
    ticket_in(attacker.get(location))
    assert attacker.get(location).status_code == 400
    assert len(station.bench.rows("enrolment_ticket")) == 1


@pytest.mark.parametrize(
    ("spoiler", "why"),
    [
        (Spoiler.DENIED, "the OpenID provider says access_denied"),
        (Spoiler.WRONG_NONCE, "OpenID provider: its ID token is not good: "),
        (Spoiler.OTHER_ISSUER_PARAMETER, "OpenID provider: the answer is of another issuer"),
    ],
)
def test_who_is_not_let_in_is_told(
    station: Station, provider: LabProvider, logged: StringIO, spoiler: Spoiler, why: str
) -> None:
    """A page with a way to try again, and the reason in the log."""
    client = browser(station, client_of(provider))
    provider.spoiler = spoiler
    response = client.get(at_provider(arrive(client)))
    assert (response.status_code, "You are not signed in" in response.text) == (403, True)
    (found,) = refusals(logged)
    assert found.startswith(why)
    assert station.bench.rows("enrolment_ticket") == []
    provider.spoiler = None
    (link,) = lxml_html.fromstring(response.text).xpath("//a/@href")
    assert parse_qs(urlsplit(link).query) == {"appru": [TARGET], "login_hint": [USER]}
    ticket_in(client.get(at_provider(client.get(f"/EnrollmentServer/{link}"))))


def test_an_error_is_not_repeated(station: Station, provider: LabProvider, logged: StringIO) -> None:
    """What the redirect says is anybody's text: only a name of the protocol gets into the log, nothing into the page."""
    client = browser(station, client_of(provider))
    state = parse_qs(urlsplit(arrive(client).headers["location"]).query)["state"][0]
    response = client.get(BACK, params={"state": state, "error": "<b>evil</b>", "error_description": "evil"})
    assert (response.status_code, "evil" in response.text + logged.getvalue()) == (403, False)
    assert refusals(logged) == ["the OpenID provider says an error without a name"]


def test_a_provider_that_is_away_is_told(station: Station, provider: LabProvider, logged: StringIO) -> None:
    """At the beginning and at the end a page, never a 500."""
    bridge = client_of(provider)
    client = browser(station, bridge)
    location = at_provider(arrive(client))
    fresh = client_of(provider)
    provider.__exit__()
    for response in (client.get(location), arrive(browser(station, fresh))):
        assert (response.status_code, "cannot be reached" in response.text) == (502, True)
        assert "Try again" in response.text
    assert all(why.startswith("OpenID provider: it cannot be reached") for why in refusals(logged))


def test_bad_codes_are_throttled(station: Station, provider: LabProvider) -> None:
    """An address that comes back with many bad codes waits, and the provider is spared."""
    client = browser(station, client_of(provider))
    provider.spoiler = Spoiler.REFUSES_CODES
    location = at_provider(arrive(client))
    for _ in range(ADDRESS_TRIES):
        assert client.get(location).status_code == 403
    provider.spoiler = None
    response = client.get(location)
    assert (response.status_code, "Wait 15 minutes" in response.text) == (429, True)


def test_the_password_is_not_taken_beside_a_provider(station: Station, provider: LabProvider) -> None:
    """The form is not there, and a made-up one is refused."""
    station.user()
    client = browser(station, client_of(provider))
    state = parse_qs(urlsplit(arrive(client).headers["location"]).query)["state"][0]
    assert client.post(PATH, data={"state": state, "username": USER, "password": PASSWORD}).status_code == 400
    local = browser(station)
    state = fields(arrive(local))["state"]
    assert local.get(BACK, params={"state": state, "code": "x"}).status_code == 400
    assert station.bench.rows("enrolment_ticket") == []
