"""Cookies of the virtual upstream: opaque to the client, signed, and holding nothing that needs deserialising.

CVE-2025-59287 was a WSUS that deserialised objects from a cookie. Ours is a line of plain fields and an HMAC over
it, checked before anything is read. Lengths are those seen from a real WSUS.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["CookieMint", "CookieRefused", "Ticket", "timestamp"]

_AUTHORIZATION_BYTES = 432
_COOKIE_BYTES = 208
_MAC_BYTES = hashlib.sha256().digest_size


class CookieRefused(ValueError):  # noqa: N818 - named for what happened to it
    """The cookie is malformed, forged or expired; which of these is nobody's business."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a cookie says: which downstream server it was given to, and until when."""

    account_guid: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class CookieMint:
    """Issues and checks both kinds of cookie with one secret key."""

    key: bytes

    def authorization(self, ticket: Ticket) -> str:
        """CookieData of an AuthorizationCookie, base64."""
        return self._issue("authorization", ticket, _AUTHORIZATION_BYTES)

    def cookie(self, ticket: Ticket) -> str:
        """EncryptedData of a Cookie, base64."""
        return self._issue("cookie", ticket, _COOKIE_BYTES)

    def check_authorization(self, text: str | None, now: datetime) -> Ticket:
        """The ticket in a CookieData; raises CookieRefused."""
        return self._check("authorization", text, now)

    def check_cookie(self, text: str | None, expiration: str | None, now: datetime) -> Ticket:
        """The ticket in an EncryptedData; raises CookieRefused, also if Expiration is not what was issued.

        A WSUS may not look at Expiration; a client must echo it unchanged all the same.
        """
        ticket = self._check("cookie", text, now)
        if expiration != timestamp(ticket.expires):
            raise CookieRefused("its Expiration is not the one issued")
        return ticket

    def _issue(self, kind: str, ticket: Ticket, length: int) -> str:
        payload = f"{kind};{ticket.account_guid};{timestamp(ticket.expires)}".encode().ljust(
            length - _MAC_BYTES
        )
        return base64.b64encode(payload + self._mac(payload)).decode("ascii")

    def _check(self, kind: str, text: str | None, now: datetime) -> Ticket:
        try:
            data = base64.b64decode(text or "", validate=True)
        except (binascii.Error, ValueError):
            raise CookieRefused("it is not base64") from None
        payload, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        if not hmac.compare_digest(self._mac(payload), mac):
            raise CookieRefused("it is not one of ours")
        found, account_guid, expires = payload.decode().rstrip().split(";")
        ticket = Ticket(account_guid, datetime.fromisoformat(expires))
        if found != kind or ticket.expires <= now:
            raise CookieRefused("it is of the other kind, or expired")
        return ticket

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self.key, payload, hashlib.sha256)


def timestamp(moment: datetime) -> str:
    """A dateTime as .NET writes it: fraction of a second without trailing zeros, `Z`."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}Z"
