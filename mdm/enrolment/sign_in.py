"""Signing in at the web page to enrol: by password or token here, or at an OpenID provider.

Whoever has signed in takes a ticket to the device, by which `authenticate` knows him again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from mdm.enrolment.authentication import Enroller, Refused, authenticate
from mdm.enrolment.envelope import UsernameToken
from mdm.enrolment.oidc_transport import ProviderAway, ProviderRefuses
from mdm.enrolment.pages import Page, hand_over_page, problem_page, sign_in_page
from mdm.enrolment.sign_in_visit import Visit
from mdm.enrolment.throttle import ADDRESS_TRIES, address_key, count_try, take_back
from mdm.enrolment.tickets import issue_ticket

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mdm.enrolment.oidc import Identity, OpenIdProvider
    from mdm.storage.engine import Database
    from mdm.storage.secrets import SecretBox

__all__ = ["RETURN_PATH", "Caller", "Reply", "SignIn"]

RETURN_PATH: Final = "/EnrollmentServer/SignedIn"
"""Where an OpenID provider sends people back to; it has to be registered there."""

_BAD_REQUEST, _FORBIDDEN, _TOO_MANY, _BAD_GATEWAY = 400, 403, 429, 502
_ERROR_NAME: Final = re.compile(r"[A-Za-z_.-]{1,60}")
_log: Final = structlog.get_logger("mdm.enrolment")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who shows the page, as far as the transport knows."""

    base_url: str
    """The URL under which he reaches this service, without a slash at the end."""
    remote_addr: str
    private: bool
    """Whether nobody on the way can read it."""
    cookie: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer: a page, or another place to go to."""

    page: Page | None = None
    location: str | None = field(default=None, repr=False)
    cookie: str | None = field(default=None, repr=False)
    """The visit for the browser to keep; an empty one is to be forgotten."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """Answers the requests of the page; safe to be used by several threads."""

    database: Database
    secrets: SecretBox
    organization: str | None = None
    provider: OpenIdProvider | None = None
    """Where people sign in; without it, here."""

    def arrive(self, caller: Caller, query: Mapping[str, list[str]], now: datetime) -> Reply:
        """Somebody whom a device has sent here, with `appru` and perhaps `login_hint`."""
        if not caller.private:
            return self._in_clear(caller)
        targets, hints = query.get("appru", []), query.get("login_hint", [""])
        visit = Visit.begin(targets[0], hints[0], now) if len(targets) == 1 else None
        if visit is None:
            return _refuse(
                caller,
                "appru is not one ms-app URL",
                problem_page(
                    _BAD_REQUEST,
                    "This page belongs to the enrolment of a Windows device",
                    "Open it from Windows: Settings, Accounts, Access work or school, Enrol only in device management.",
                ),
            )
        if self.provider is None:
            page = sign_in_page(organization=self.organization, username=visit.hint, state=visit.state)
            return Reply(page=page, cookie=visit.seal(self.secrets))
        try:
            location = self.provider.authorization_url(
                redirect_uri=caller.base_url + RETURN_PATH,
                state=visit.state,
                nonce=visit.nonce,
                verifier=visit.verifier,
                login_hint=visit.hint,
                now=now,
            )
        except ProviderAway as problem:
            return _refuse(caller, f"OpenID provider: {problem}", _away(visit))
        return Reply(location=location, cookie=visit.seal(self.secrets))

    def submit(self, caller: Caller, form: Mapping[str, list[str]], now: datetime) -> Reply:
        """Somebody who has filled in the form."""
        if not caller.private:
            return self._in_clear(caller)
        visit = self._visit(caller, form, now)
        if visit is None or self.provider is not None:
            return _lost(caller)
        username, password = _one(form, "username").strip(), _one(form, "password")
        missing = {
            name: text
            for name, text, value in (
                ("username", "Enter your user name.", username),
                ("password", "Enter your password, or an enrolment token.", password),
            )
            if not value
        }
        if missing:
            return Reply(page=self._form(visit, username, missing))
        try:
            enroller = authenticate(
                self.database,
                UsernameToken(username, password),
                remote_addr=caller.remote_addr,
                now=now,
            )
        except Refused as refused:
            return _refuse(caller, refused.why, self._form(visit, username, {"password": refused.text}))
        return self._signed_in(caller, visit, enroller, now)

    def come_back(self, caller: Caller, query: Mapping[str, list[str]], now: datetime) -> Reply:
        """Somebody whom the OpenID provider has sent back."""
        if not caller.private:
            return self._in_clear(caller)
        visit = self._visit(caller, query, now)
        if visit is None or self.provider is None:
            return _lost(caller)
        who = self._identified(caller, visit, self.provider, query, now)
        if isinstance(who, Reply):
            return who
        return self._signed_in(caller, visit, Enroller("federated", who.id, who.username, vouched=False), now)

    def _identified(
        self,
        caller: Caller,
        visit: Visit,
        provider: OpenIdProvider,
        query: Mapping[str, list[str]],
        now: datetime,
    ) -> Identity | Reply:
        """Who it is by the provider, or why he is not let in."""
        if "error" in query:
            error = _one(query, "error")
            named = error if _ERROR_NAME.fullmatch(error) else "an error without a name"
            return _refuse(caller, f"the OpenID provider says {named}", _not_let_in(visit))
        tries = {address_key(caller.remote_addr): ADDRESS_TRIES}
        with self.database.write() as conn:
            counted = count_try(conn, tries, now=now)
        if not counted:
            page = problem_page(
                _TOO_MANY,
                "Too many attempts have failed",
                "Wait 15 minutes, then begin the enrolment again.",
            )
            return _refuse(caller, "too many failed attempts", page)
        try:
            identity = provider.redeem(
                _one(query, "code"),
                issuer=_one(query, "iss") or None,
                redirect_uri=caller.base_url + RETURN_PATH,
                nonce=visit.nonce,
                verifier=visit.verifier,
                now=now,
            )
        except ProviderAway as problem:
            return _refuse(caller, f"OpenID provider: {problem}", _away(visit))
        except ProviderRefuses as problem:
            return _refuse(caller, f"OpenID provider: {problem}", _not_let_in(visit))
        with self.database.write() as conn:
            take_back(conn, tries)
        return identity

    def _signed_in(self, caller: Caller, visit: Visit, who: Enroller, now: datetime) -> Reply:
        with self.database.write() as conn:
            ticket = issue_ticket(conn, kind=who.kind, by_id=who.id, username=who.username, now=now)
        _log.info(
            "enrolment_signed_in",
            user=who.username,
            kind=who.kind,
            by_id=who.id,
            remote_addr=caller.remote_addr,
        )
        return Reply(page=hand_over_page(target=visit.target, ticket=ticket), cookie="")

    def _visit(self, caller: Caller, answer: Mapping[str, list[str]], now: datetime) -> Visit | None:
        """The visit that this answer belongs to, begun in this browser."""
        visit = None if caller.cookie is None else Visit.unseal(self.secrets, caller.cookie, now)
        return visit if visit is not None and visit.is_of(_one(answer, "state")) else None

    def _form(self, visit: Visit, username: str, errors: Mapping[str, str]) -> Page:
        return sign_in_page(
            organization=self.organization, username=username, state=visit.state, errors=errors
        )

    def _in_clear(self, caller: Caller) -> Reply:
        page = problem_page(
            _FORBIDDEN,
            "This page is not protected on its way",
            "What you type would go through the network in clear. The page has to be opened by https; behind a proxy, "
            "BRIDGE_TRUSTED_PROXIES has to name it.",
        )
        return _refuse(caller, "not reached by https", page)


def _one(values: Mapping[str, list[str]], name: str) -> str:
    """The value of that name; nothing if there are several, because somebody may read the other one."""
    found = values.get(name, [])
    return found[0] if len(found) == 1 else ""


def _refuse(caller: Caller, why: str, page: Page) -> Reply:
    """A page that lets nobody in, and the reason for the log."""
    _log.warning("enrolment_sign_in_refused", why=why, remote_addr=caller.remote_addr)
    return Reply(page=page)


def _lost(caller: Caller) -> Reply:
    page = problem_page(
        _BAD_REQUEST,
        "This sign-in cannot go on",
        "It was begun too long ago, in another window, or without cookies. Close this window and begin the enrolment "
        "again.",
    )
    return _refuse(caller, "no visit of this browser", page)


def _away(visit: Visit) -> Page:
    return problem_page(
        _BAD_GATEWAY,
        "The sign-in service cannot be reached",
        "The enrolment server gets no usable answer from it. Try again in some minutes; an administrator sees the "
        "reason in the log of the enrolment server.",
        again=visit.parameters,
    )


def _not_let_in(visit: Visit) -> Page:
    return problem_page(
        _FORBIDDEN,
        "You are not signed in",
        "The sign-in was cancelled or refused, or its answer was not good. Try again; an administrator sees the reason "
        "in the log of the enrolment server.",
        again=visit.parameters,
    )
