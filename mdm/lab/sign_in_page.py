"""The web view of a federated enrolment: opens the server's page, fills in its forms, and takes away `wresult`."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urljoin, urlsplit

from mdm.lab.elements import Unfit

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

__all__ = ["APPRU", "sign_in"]

APPRU: Final = "ms-app://s-1-15-2-1234567890-123456789-1234567890-1234567890-123456789-1234567890-1234567890"
"""Where the last form posts to: the enrolment client's own address, in the form that Windows gives it."""
_MOST_PAGES: Final = 8
_OK: Final = 200
_TYPED: Final = frozenset({"text", "email"})


def sign_in(http: httpx2.Client, url: str, username: str, password: str) -> str:
    """The token of the page; raises Unfit where the page leads nowhere, and httpx2.TransportError."""
    query = urlencode({"appru": APPRU, "login_hint": username})
    page = http.get(f"{url}{'&' if urlsplit(url).query else '?'}{query}", follow_redirects=True)
    sent = False
    for _ in range(_MOST_PAGES):
        if page.status_code != _OK:
            raise Unfit(f"it is HTTP {page.status_code}: {_text(page)}")
        form = _form(page)
        if form.action == APPRU:
            token = form.fields.get("wresult")
            if form.method != "post" or not token:
                raise Unfit("its last form does not post a wresult")
            return token
        if sent and form.asks:
            raise Unfit(f"it asks again for a user name and a password: {_text(page)}")
        sent = sent or form.asks
        fields = form.filled(username, password)
        target = urljoin(str(page.url), form.action)
        if urlsplit(target).scheme not in {"http", "https"}:
            raise Unfit(f"it posts to {target}, and not to where Windows waits for it")
        page = (
            http.post(target, data=fields, follow_redirects=True)
            if form.method == "post"
            else http.get(target, params=fields, follow_redirects=True)
        )
    raise Unfit(f"it does not end within {_MOST_PAGES} forms")


def _text(page: httpx2.Response) -> str:
    reader = _Page()
    reader.feed(page.text)
    return " ".join(" ".join(reader.words).split())[:300]


def _form(page: httpx2.Response) -> _Form:
    reader = _Page()
    reader.feed(page.text)
    if not reader.forms:
        raise Unfit(f"it has no form: {_text(page)}")
    return reader.forms[0]


class _Form:
    """One form of a page."""

    def __init__(self, action: str, method: str) -> None:
        self.action = action
        self.method = method
        self.fields: dict[str, str] = {}
        self.typed: list[str] = []
        self.secret: list[str] = []

    @property
    def asks(self) -> bool:
        return bool(self.secret)

    def filled(self, username: str, password: str) -> Mapping[str, str]:
        return {
            **self.fields,
            **dict.fromkeys(self.typed, username),
            **dict.fromkeys(self.secret, password),
        }


class _Page(HTMLParser):
    """The forms of a page, and its words."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[_Form] = []
        self.words: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(_Form(said.get("action", ""), said.get("method", "get").lower()))
        elif tag in {"script", "style", "head"}:
            self._hidden += 1
        elif tag == "input" and self.forms and said.get("name"):
            form, kind = self.forms[-1], said.get("type", "text").lower()
            if kind == "password":
                form.secret.append(said["name"])
            elif kind in _TYPED:
                form.typed.append(said["name"])
            elif kind == "hidden":
                form.fields[said["name"]] = said.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style", "head"}:
            self._hidden -= 1

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)
