"""The client of the Windows notification service, against a virtual one on a real socket."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from mdm.push.wns import NotificationService, PushAccount, WnsClient

if TYPE_CHECKING:
    from io import StringIO

    import httpx2

    from mdm.lab.wns import VirtualWns

ACCOUNT = PushAccount("ms-app://s-1-15-2-1-2-3", "c4nary+/=& secret")
MICROSOFT = NotificationService()


class Clock:
    """Seconds that the test lets pass."""

    def __init__(self) -> None:
        """Begin anywhere."""
        self.now = 1000.0

    def __call__(self) -> float:
        """The present second."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The client's clock."""
    return Clock()


@pytest.fixture
def client(wns: VirtualWns, clock: Clock) -> WnsClient:
    """A client of the virtual service."""
    return WnsClient(ACCOUNT, service=wns.service, monotonic=clock)


def test_a_raw_notification_is_sent_with_a_token(
    wns: VirtualWns, http: httpx2.Client, client: WnsClient
) -> None:
    """With the documented headers; one token does for many."""
    for name in ("one", "two"):
        result = client.notify(http, wns.channel(name))
        assert (result.sent, result.gone) == (True, False)
        assert result.why.endswith("is up to Windows.")
    assert wns.tokens_given == 1
    assert [each.channel for each in wns.notifications] == ["one", "two"]
    headers = wns.notifications[0].headers
    assert {name: headers[name] for name in headers if name.startswith(("x-wns", "content"))} == {
        "content-type": "application/octet-stream",
        "content-length": "4",
        "x-wns-type": "wns/raw",
        "x-wns-cache-policy": "cache",
        "x-wns-ttl": "3600",
        "x-wns-requestforstatus": "true",
    }
    assert wns.notifications[0].body == b"sync"


def test_a_token_is_renewed_before_its_end(
    wns: VirtualWns, http: httpx2.Client, client: WnsClient, clock: Clock
) -> None:
    """Five minutes before, as the service has said how long it holds."""
    client.notify(http, wns.channel("one"))
    clock.now += 86_400 - 301
    client.notify(http, wns.channel("one"))
    assert wns.tokens_given == 1
    clock.now += 2
    client.notify(http, wns.channel("one"))
    assert wns.tokens_given == 2


@pytest.mark.parametrize("life", [None, "soon", True, -7, 10, 3_600])
def test_a_token_without_a_sensible_life(
    wns: VirtualWns, http: httpx2.Client, client: WnsClient, clock: Clock, life: object
) -> None:
    """It is used once at least, and never for more than an hour."""
    wns.life = life
    assert client.notify(http, wns.channel("one")).sent
    clock.now += 3_600
    assert client.notify(http, wns.channel("one")).sent
    assert wns.tokens_given == 2


def test_a_token_that_holds_for_ever_is_renewed_daily(
    wns: VirtualWns, http: httpx2.Client, client: WnsClient, clock: Clock
) -> None:
    """No number is too large to be read."""
    wns.life = 10**400
    client.notify(http, wns.channel("one"))
    clock.now += 86_400
    client.notify(http, wns.channel("one"))
    assert wns.tokens_given == 2


def test_a_token_that_is_refused_is_replaced_once(
    wns: VirtualWns, http: httpx2.Client, client: WnsClient
) -> None:
    """A second refusal is told: it is not the token then."""
    client.notify(http, wns.channel("one"))
    wns.end_tokens()
    assert client.notify(http, wns.channel("one")).sent
    assert wns.tokens_given == 2
    wns.statuses["one"] = 401
    result = client.notify(http, wns.channel("one"))
    assert not result.sent
    assert "does not accept the token" in result.why
    assert wns.tokens_given == 3
    assert len(wns.notifications) == 5


@pytest.mark.parametrize(
    ("status", "gone", "words"),
    [
        (404, True, "does not know the device's channel"),
        (410, True, "has expired"),
        (403, False, "belongs to another package"),
        (406, False, "too many notifications"),
        (429, False, "too many notifications"),
        (413, False, "too large"),
        (400, False, "malformed"),
        (302, False, "answered HTTP 302"),
        (500, False, "answered HTTP 500"),
        (503, False, "answered HTTP 503"),
    ],
)
def test_a_refusal_is_told(
    wns: VirtualWns, http: httpx2.Client, client: WnsClient, status: int, *, gone: bool, words: str
) -> None:
    """In a sentence, with what it means for the channel; and it was tried once."""
    wns.statuses["one"] = status
    result = client.notify(http, wns.channel("one"))
    assert (result.sent, result.gone) == (False, gone)
    assert words in result.why
    assert len(wns.notifications) == 1


@pytest.mark.parametrize(
    ("said", "words"), [("dropped", "takes none"), ("CHANNELTHROTTLED", "has had too many")]
)
def test_a_notification_that_is_dropped_is_not_sent(
    wns: VirtualWns, http: httpx2.Client, client: WnsClient, said: str, words: str
) -> None:
    """HTTP 200 alone says little."""
    wns.said = said
    result = client.notify(http, wns.channel("one"))
    assert not result.sent
    assert words in result.why


@pytest.mark.parametrize(
    ("channel", "known"),
    [
        ("https://db5.notify.windows.com/?token=AwYAAAB", True),
        ("https://WNS2-by3p.Notify.Windows.Com/?token=AwYAAAB", True),
        ("https://notify.windows.com/?token=AwYAAAB", True),
        ("http://db5.notify.windows.com/?token=AwYAAAB", False),
        ("https://notify.windows.com.example.test/", False),
        ("https://evilnotify.windows.com/", False),
        ("https://db5.notify.windows.com@example.test/", False),
        ("https://user:pass@db5.notify.windows.com/", False),
        ("https://example.test/#.notify.windows.com", False),
        ("https://example.test\\.notify.windows.com/", False),
        ("https://127.0.0.1/", False),
        ("https://[::1/", False),
        ("https://db5.notify.windows.com:99999/", False),
        ("file:///etc/passwd", False),
        ("//db5.notify.windows.com/", False),
        ("", False),
        ("\x00", False),
        ("https://" + "a" * 70_000, False),
    ],
)
def test_where_notifications_may_go(channel: str, *, known: bool) -> None:
    """The device says it, so only hosts of the service, over TLS, without credentials in the address."""
    assert MICROSOFT.has(channel) is known


def test_nothing_is_sent_elsewhere(wns: VirtualWns, http: httpx2.Client) -> None:
    """Not even a token is asked for, and the device gets the chance to say something better."""
    client = WnsClient(ACCOUNT, service=NotificationService(wns.service.token_url))
    result = client.notify(http, wns.channel("one"))
    assert (result.sent, result.gone) == (False, True)
    assert (wns.notifications, wns.tokens_asked) == ([], 0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (JSONResponse({"error": "invalid_client"}, 400), "refuses our account (invalid_client)"),
        (JSONResponse({"error": "<b>other</b>"}, 400), "answered HTTP 400 and gave no token"),
        (PlainTextResponse("no", 503), "answered HTTP 503 and gave no token"),
        (RedirectResponse("http://127.0.0.1:1/", 302), "answered HTTP 302"),
        (PlainTextResponse("no"), "without a token"),
        (JSONResponse([]), "without a token"),
        (PlainTextResponse("[" * 50_000), "without a token"),
        (JSONResponse({"access_token": ""}), "without a token"),
        (JSONResponse({"access_token": 7}), "without a token"),
        (JSONResponse({"access_token": "a\r\nX: y"}), "without a token"),
        (JSONResponse({"access_token": "ü"}), "without a token"),
        (JSONResponse({"access_token": "a" * 8_193}), "without a token"),
        (Response(b"x" * 70_000), "without end"),
    ],
)
def test_without_a_token_nothing_is_sent(
    wns: VirtualWns, http: httpx2.Client, client: WnsClient, clock: Clock, answer: Response, words: str
) -> None:
    """A sentence says why; and nobody asks again for a minute, because the next device would fare the same."""
    wns.token_answer = answer
    for _ in range(3):
        result = client.notify(http, wns.channel("one"))
        assert (result.sent, result.gone) == (False, False)
        assert words in result.why
    assert (wns.tokens_asked, wns.notifications) == (1, [])
    wns.token_answer = None
    clock.now += 61
    assert client.notify(http, wns.channel("one")).sent


def test_a_wrong_secret_is_told_as_such(wns: VirtualWns, http: httpx2.Client) -> None:
    """By the names of the settings."""
    client = WnsClient(PushAccount(ACCOUNT.package_sid, "wrong"), service=wns.service)
    why = client.notify(http, wns.channel("one")).why
    assert "BRIDGE_WNS_PACKAGE_SID and BRIDGE_WNS_SECRET" in why


def test_a_token_that_somebody_has_replaced_already_is_kept(
    wns: VirtualWns, http: httpx2.Client, client: WnsClient
) -> None:
    """Two refusals of the same old token cost one new one."""
    client.notify(http, wns.channel("one"))
    client._forget("an older token")
    client.notify(http, wns.channel("one"))
    assert wns.tokens_given == 1


def test_a_service_that_cannot_be_reached(wns: VirtualWns, http: httpx2.Client, clock: Clock) -> None:
    """Neither the sign-in nor the channel; the sentence holds no address."""
    deaf = "http://127.0.0.1:9/"
    client = WnsClient(ACCOUNT, service=NotificationService(deaf, "http", "127.0.0.1", 9))
    result = client.notify(http, deaf)
    assert result.why == "Microsoft's sign-in service cannot be reached (ConnectError)."
    client = WnsClient(ACCOUNT, service=replace(wns.service, port=9))
    result = client.notify(http, f"{deaf}?token=c4nary")
    assert (result.sent, result.gone) == (False, False)
    assert result.why == "The notification service cannot be reached (ConnectError)."


def test_secrets_are_in_no_log(
    wns: VirtualWns,
    http: httpx2.Client,
    client: WnsClient,
    logged: StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor in the account's own words; the address of a channel is a secret, too."""
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "disabled", True)  # the service's, not ours
    wns.statuses["two"] = 500
    for name in ("one", "two"):
        client.notify(http, wns.channel(name))
    text = logged.getvalue() + repr(ACCOUNT)
    for secret in ("c4nary", wns.notifications[0].token, "AwYAAAC"):
        assert secret not in text
