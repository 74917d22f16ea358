"""Who asks: an enrolment user with a password, or whoever holds a token that IT made.

Everybody who fails gets the same words after the same work, so that an answer tells neither which users there are
nor what became of a token; the log tells the administrator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mdm.enrolment.envelope import UsernameToken
from mdm.enrolment.faults import EnrolmentFault, Subcode
from mdm.enrolment.passwords import password_matches
from mdm.enrolment.throttle import (
    ADDRESS_TRIES,
    NAME_TRIES,
    WINDOW,
    address_key,
    count_try,
    name_key,
    take_back,
)
from mdm.enrolment.tokens import find_token, is_token
from mdm.enrolment.users import find_user, username_key

if TYPE_CHECKING:
    from datetime import datetime

    from mdm.enrolment.envelope import BinaryToken
    from mdm.storage.engine import Database

__all__ = ["Enroller", "Refused", "authenticate"]

_MAX_USERNAME: Final = 200
_WRONG: Final = (
    "The user name or the password is wrong, or the enrolment token is used up, expired or revoked. "
    "An administrator sees which in the log of the server, and can make a new token."
)
_LOCKED: Final = (
    f"Too many attempts have failed. Wait {int(WINDOW.total_seconds()) // 60} minutes, then try again; "
    "a new password given by an administrator works at once."
)


class Refused(EnrolmentFault):
    """Somebody who is not let in; `why` is for the log, which the device does not see."""

    def __init__(self, subcode: Subcode, text: str, why: str) -> None:
        """`why` names no secret either."""
        super().__init__(subcode, text)
        self.why = why


@dataclass(frozen=True, slots=True)
class Enroller:
    """Somebody who may enrol a device."""

    kind: Literal["user", "token"]
    id: str
    """Of the enrolment user or token."""
    username: str
    """As the device sent it; with a token that is bound to nobody, a claim."""
    vouched: bool
    """Whether the user name is proven: by its password, or by a token that is bound to it."""
    max_devices: int | None = None
    replaces: bool = False
    """Whether IT lets this token enrol what somebody else has enrolled."""


def authenticate(
    database: Database, offered: UsernameToken | BinaryToken | None, *, remote_addr: str, now: datetime
) -> Enroller:
    """Who it is; raises Refused. Writes nothing but the number of tries."""
    if offered is None:
        raise Refused(
            Subcode.INVALID_SECURITY, "The message carries no user name and password.", "no security header"
        )
    if not isinstance(offered, UsernameToken):
        raise Refused(
            Subcode.INVALID_SECURITY,
            "This server takes a user name and a password, and no other security token.",
            "a binary security token",
        )
    username = offered.username
    if len(username) > _MAX_USERNAME or not username.isprintable():
        raise Refused(Subcode.AUTHENTICATION, _WRONG, "a user name that nobody can have")
    by_token = is_token(offered.password)
    tries = {address_key(remote_addr): ADDRESS_TRIES}
    if (
        not by_token
    ):  # nobody guesses a token, and whoever locks a user out should not lock out IT's tokens too
        tries[name_key(username_key(username))] = NAME_TRIES
    with database.write() as conn:
        counted = count_try(conn, tries, now=now)
    if not counted:
        raise Refused(Subcode.AUTHENTICATION, _LOCKED, "too many failed attempts")
    enroller = _by_token(database, offered, now) if by_token else _by_password(database, offered)
    with database.write() as conn:
        take_back(conn, tries)
    return enroller


def _by_token(database: Database, offered: UsernameToken, now: datetime) -> Enroller:
    with database.read() as conn:
        token = find_token(conn, offered.password, offered.username)
    if token is None:
        raise Refused(Subcode.AUTHENTICATION, _WRONG, "no such token, or one of another user")
    # One without a use left passes: its device may repeat a request whose answer was lost. `mdm.enrolment.joining` knows.
    if token.revoked_at is not None or token.expires_at <= now:
        over = "has expired" if token.revoked_at is None else "is revoked"
        raise Refused(Subcode.AUTHENTICATION, _WRONG, f"the token {token.id} {over}")
    return Enroller(
        "token", token.id, offered.username, vouched=token.username is not None, replaces=token.replaces
    )


def _by_password(database: Database, offered: UsernameToken) -> Enroller:
    with database.read() as conn:
        found = find_user(conn, offered.username)
    user, stored = (None, None) if found is None else found
    if not password_matches(offered.password, stored) or user is None:
        raise Refused(Subcode.AUTHENTICATION, _WRONG, "no such user, or a wrong password")
    if not user.enabled:
        raise Refused(Subcode.AUTHENTICATION, _WRONG, f"the user {user.id} is disabled")
    return Enroller("user", user.id, offered.username, vouched=True, max_devices=user.max_devices)
