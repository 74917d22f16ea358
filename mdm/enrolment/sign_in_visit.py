"""A visit to the sign-in page: what it is for, bound to one browser by a sealed cookie, and over after a while.

The form and the redirect to an OpenID provider carry the visit's `state`; only the browser that has the cookie can
bring it back. So nobody can sign another's device in under his own name (RFC 6749 10.12), and the page's target
never comes from the answer.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import secrets
from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

from mdm.errors import Unavailable

if TYPE_CHECKING:
    from datetime import datetime

    from mdm.storage.secrets import SecretBox

__all__ = ["LIFETIME", "Visit"]

LIFETIME: Final = timedelta(minutes=15)
"""Time to find a password, or to do what the provider asks for."""
_PURPOSE: Final = "enrolment sign-in"
"""So that nothing else that is sealed passes for a visit."""
_SECRET_BYTES: Final = 32
_MAX_SEALED: Final = 4096
_MAX_HINT: Final = 200
_TARGET: Final = re.compile(r"(?i:ms-app)://[A-Za-z0-9._~%/!-]{1,500}")
"""What Windows gives as `appru` (MS-MDE2 3.2): its own scheme and an opaque string."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit."""

    target: str
    """Where the ticket goes: `ms-app://...` of the device that showed the page."""
    hint: str
    """The user name that the device suggests."""
    until: int
    """When it is over, in seconds since 1970."""
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    """Of PKCE (RFC 7636 4.1)."""

    @classmethod
    def begin(cls, target: str, hint: str, now: datetime) -> Self | None:
        """A new visit; None for a target that is not the enrolment of Windows."""
        if _TARGET.fullmatch(target) is None:
            return None
        usable = hint.strip() if len(hint) <= _MAX_HINT and hint.isprintable() else ""
        state, nonce, verifier = (secrets.token_urlsafe(_SECRET_BYTES) for _ in range(3))
        return cls(target, usable, int((now + LIFETIME).timestamp()), state, nonce, verifier)

    @classmethod
    def unseal(cls, box: SecretBox, cookie: str, now: datetime) -> Self | None:
        """The visit of a browser that brought this cookie; None if it is no visit, or over."""
        try:
            sealed = base64.b64decode(cookie[:_MAX_SEALED], altchars=b"-_", validate=True)
            members = json.loads(box.open(sealed))
        except (binascii.Error, ValueError, Unavailable):  # anybody may send any cookie
            return None
        if not isinstance(members, dict) or members.pop("for", None) != _PURPOSE:
            return None
        if members.keys() != {each.name for each in fields(cls)}:  # of another release: sign in again
            return None
        visit = cls(**members)
        return visit if now.timestamp() < visit.until else None

    def seal(self, box: SecretBox) -> str:
        """The cookie."""
        members = json.dumps({"for": _PURPOSE, **asdict(self)}, ensure_ascii=False, separators=(",", ":"))
        return base64.urlsafe_b64encode(box.seal(members.encode())).decode()

    def is_of(self, state: str) -> bool:
        """Whether an answer with this state belongs to the visit."""
        return hmac.compare_digest(self.state.encode(), state.encode("utf-8", "replace"))

    @property
    def parameters(self) -> dict[str, str]:
        """What the device began with, to begin once more."""
        return {"appru": self.target} | ({"login_hint": self.hint} if self.hint else {})
