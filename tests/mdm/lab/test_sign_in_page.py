"""The web view: forms are filled in and posted until the token comes; a page that leads nowhere is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

import pytest

from mdm.lab.elements import Unfit
from mdm.lab.sign_in_page import APPRU, sign_in

if TYPE_CHECKING:
    import httpx2

LOGIN = (
    "<html><head><title>no words</title></head><body><h1>Sign in</h1><form method=post action='login'>"
    "<input type=hidden name=state value='a&amp;b'><input name=user><input type=password name=word>"
    "<input type=submit name=go value=Go></form></body></html>"
)
TOKEN = f"<form method='post' action='{APPRU}'><input type='hidden' name='wresult' value='t&quot;1'></form>"


def page(content: str, status: int = 200, **headers: str) -> Any:
    """An answer of the scripted server."""
    return lambda _: (status, {"Content-Type": "text/html", **headers}, content.encode())


def test_the_form_is_filled_in(scripted: Any, http: httpx2.Client) -> None:
    """The address has who and where to; hidden fields go back; name and password go where the page asks for them."""
    scripted.script = [page(LOGIN), page(TOKEN)]
    assert sign_in(http, f"{scripted.url}/auth", "user@x.test", "secret") == 't"1'
    (path, _, _), (posted_to, _, body) = scripted.requests
    assert path == f"/auth?appru={quote(APPRU, safe='')}&login_hint=user%40x.test"
    assert posted_to == "/login"
    assert parse_qs(body.decode()) == {"state": ["a&b"], "user": ["user@x.test"], "word": ["secret"]}


def test_redirects_and_other_pages_on_the_way(scripted: Any, http: httpx2.Client) -> None:
    """A provider elsewhere sends the browser on, and forms that ask for nothing are sent as they are."""
    consent = "<form action='/consent?x=1'><input type=hidden name=ok value=1></form>"
    scripted.script = [page("", 302, Location="/provider"), page(LOGIN), page(consent), page(TOKEN)]
    assert sign_in(http, f"{scripted.url}/auth?tenant=1", "u", "p") == 't"1'
    paths = [path for path, _, _ in scripted.requests]
    assert paths[0].startswith("/auth?tenant=1&appru=")
    assert paths[1:] == ["/provider", "/login", "/consent?ok=1"]


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ([page("<p>Not you</p>", 403)], "HTTP 403: Not you"),
        ([page("<h1>Come back later</h1>")], "no form: Come back later"),
        ([page(LOGIN), page(LOGIN)], "asks again for a user name and a password: Sign in"),
        ([page(TOKEN.replace("post", "get"))], "does not post a wresult"),
        ([page(TOKEN.replace("t&quot;1", ""))], "does not post a wresult"),
        ([page(TOKEN.replace(APPRU, "ms-app://else"))], "posts to ms-app://else"),
        ([page("<form method=post action='/x'></form>")] * 9, "does not end within 8 forms"),
    ],
)
def test_a_page_that_leads_nowhere(
    scripted: Any, http: httpx2.Client, script: list[Any], problem: str
) -> None:
    """The words of the page are in the error, because the person who reads it has not seen the page."""
    scripted.script = list(script)
    with pytest.raises(Unfit, match=problem):
        sign_in(http, f"{scripted.url}/auth", "u", "p")
