"""The pages of the sign-in: plain HTML that reads well at any size, in any colours, and without a script.

Everything that comes from outside is escaped here and nowhere else. Each page says in its Content-Security-Policy
what it may do; what is not named, nothing may.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Page", "hand_over_page", "problem_page", "sign_in_page"]

_OK: Final = 200
_NONCE_BYTES: Final = 16
_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,'Segoe UI',sans-serif;margin:0}"
    "main{max-width:26rem;margin:0 auto;padding:1.5rem 1rem}"
    "h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}"
    "label{display:block;font-weight:600;margin-top:1rem}"
    "input,button{box-sizing:border-box;width:100%;font:inherit;padding:.6rem;margin-top:.25rem}"
    "button{margin-top:1.5rem;min-height:2.75rem;cursor:pointer}"
    ".error{border-left:.3rem solid #c50f1f;padding-left:.6rem;margin:.25rem 0 0}"
    ".hint{margin:.25rem 0 0}"
)


@dataclass(frozen=True, slots=True)
class Page:
    """One page, as it is answered."""

    status: int
    html: str = field(repr=False)
    """It may hold a ticket."""
    policy: str
    """Its Content-Security-Policy."""

    @property
    def headers(self) -> dict[str, str]:
        """With the policy, what keeps the page out of frames and stores, and its address to itself."""
        return {
            "Content-Security-Policy": self.policy,
            "X-Frame-Options": "DENY",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }


def sign_in_page(
    *, organization: str | None, username: str, state: str, errors: Mapping[str, str] | None = None
) -> Page:
    """The form for user name and password; `errors` has a text for the fields `username` and `password`.

    It is answered with 200 even if something is wrong: a device may show a page of its own in place of any other.
    """
    wrong = errors or {}
    title = "Sign in to enrol this device"
    ask = f" by {escape(organization)}" if organization else ""
    return _page(
        _OK,
        f"Error: {title}" if wrong else title,
        f"<h1>{title}</h1>"
        f"<p>This device will then be managed{ask}: it gets updates and settings from there.</p>"
        '<form method="post" action="Authenticate" autocomplete="on">'
        f'<input type="hidden" name="state" value="{escape(state)}">'
        + _field("username", "User name", "text", "username", wrong, value=username)
        + _field(
            "password",
            "Password or enrolment token",
            "password",
            "current-password",
            wrong,
            hint="The administrator gives out both. A token is typed with or without its hyphens.",
        )
        + "<button>Sign in</button></form>",
        form_action="'self'",
    )


def hand_over_page(*, target: str, ticket: str) -> Page:
    """The page that gives the device its ticket: by itself, or by the button where scripts do not run."""
    return _page(
        _OK,
        "You are signed in",
        "<h1>You are signed in</h1><p>The enrolment goes on by itself. If it does not, choose Continue.</p>"
        f'<form method="post" action="{escape(target)}">'
        f'<input type="hidden" name="wresult" value="{escape(ticket)}">'
        "<button>Continue</button></form>",
        form_action="ms-app:",
        script="document.forms[0].submit()",
    )


def problem_page(status: int, title: str, text: str, *, again: Mapping[str, str] | None = None) -> Page:
    """Why it does not go on, and what to do; `again` are the parameters to begin the sign-in with once more."""
    link = ""
    if again is not None:
        link = f'<p><a href="Authenticate?{escape(urlencode(again))}">Try again</a></p>'
    return _page(
        status,
        title,
        f'<h1>{escape(title)}</h1><p role="alert">{escape(text)}</p>{link}',
        form_action="'none'",
    )


def _field(
    name: str,
    label: str,
    kind: str,
    autocomplete: str,
    errors: Mapping[str, str],
    *,
    value: str = "",
    hint: str = "",
) -> str:
    error = errors.get(name)
    described = " ".join(
        f"{name}-{part}" for part, text in (("error", error), ("hint", hint)) if text is not None and text
    )
    return (
        f'<label for="{name}">{label}</label>'
        + (f'<p class="error" id="{name}-error" role="alert">{escape(error)}</p>' if error else "")
        + (f'<p class="hint" id="{name}-hint">{hint}</p>' if hint else "")
        + f'<input id="{name}" name="{name}" type="{kind}" autocomplete="{autocomplete}" required '
        'autocapitalize="none" spellcheck="false"'
        + (f' value="{escape(value)}"' if value else "")
        + (f' aria-describedby="{described}"' if described else "")
        + (' aria-invalid="true" autofocus' if error else "")
        + ">"
    )


def _page(status: int, title: str, body: str, *, form_action: str, script: str | None = None) -> Page:
    nonce = secrets.token_urlsafe(_NONCE_BYTES)
    policy = f"default-src 'none'; style-src 'nonce-{nonce}'"
    run = ""
    if script is not None:
        policy += f"; script-src 'nonce-{nonce}'"
        run = f'<script nonce="{nonce}">{script}</script>'
    html = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><style nonce="{nonce}">{_STYLE}</style></head>'
        f"<body><main>{body}</main>{run}</body></html>"
    )
    return Page(status, html, f"{policy}; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'")
