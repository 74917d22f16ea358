"""Who asks: an enrolment user with a password, whoever holds a token that IT made, or somebody who has signed in.

Everybody who fails gets the same words after the same work, so that an answer tells neither which users there are
nor what became of a token; the log tells the administrator.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mdm.enrolment.envelope import BinaryToken, UsernameToken
from mdm.enrolment.faults import EnrolmentFault, Subcode
from mdm.enrolment.passwords import password_matches
from mdm.enrolment.throttle import (
    ADDRESS_TRIES,
    NAME_TRIES,
    WINDOW,
    address_key,
    count_try,
    is_locked,
    name_key,
    take_back,
)
from mdm.enrolment.tickets import find_ticket
from mdm.enrolment.tokens import find_token, get_token, is_token
from mdm.enrolment.users import find_user, get_user, username_key
from mdm.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.enrolment.tickets import Kind, TicketView
    from mdm.enrolment.tokens import TokenView
    from mdm.enrolment.users import UserView
    from mdm.storage.engine import Database

__all__ = ["MAX_USERNAME", "TICKET_TYPE", "Enroller", "Refused", "authenticate"]

MAX_USERNAME: Final = 200
TICKET_TYPE: Final = (
    "http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/DeviceEnrollmentUserToken"
)
"""ValueType of what our own sign-in page gave out (MS-MDE2 3.3)."""
_ENTRA_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"
_MAX_TICKET: Final = 512
"""Characters in base64; ours has 60."""
_WRONG: Final = (
    "The user name or the password is wrong, or the enrolment token is used up, expired or revoked. "
    "An administrator sees which in the log of the server, and can make a new token."
)
_LOCKED: Final = (
    f"Too many attempts have failed. Wait {int(WINDOW.total_seconds()) // 60} minutes, then try again; "
    "a new password given by an administrator works at once."
)
_SIGN_IN_OVER: Final = (
    "The sign-in is used up, or was too long ago. Begin the enrolment again and sign in. "
    "An administrator sees the reason in the log of the server."
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

    kind: Kind
    id: str
    """Of the enrolment user or token; of a federated user, the hash of who he is."""
    username: str
    """As the device or the sign-in page sent it; with a token that is bound to nobody, a claim."""
    vouched: bool
    """Whether the user name is proven: by its password, or by a token that is bound to it."""
    max_devices: int | None = None
    replaces: bool = False
    """Whether IT lets this token enrol what somebody else has enrolled."""
    ticket: str | None = None
    """Id of the ticket that the sign-in page gave him; the enrolment uses it up."""


def authenticate(
    database: Database, offered: UsernameToken | BinaryToken | None, *, remote_addr: str, now: datetime
) -> Enroller:
    """Who it is; raises Refused. Writes nothing but the number of tries."""
    if offered is None:
        raise Refused(
            Subcode.INVALID_SECURITY, "The message carries no user name and password.", "no security header"
        )
    if isinstance(offered, BinaryToken):
        return _signed_in(database, offered, remote_addr=remote_addr, now=now)
    username = offered.username
    if len(username) > MAX_USERNAME or not username.isprintable():
        raise Refused(Subcode.AUTHENTICATION, _WRONG, "a user name that nobody can have")
    if is_token(offered.password):  # whoever locks a user out should not lock out IT's tokens too
        return _unguessable(database, remote_addr, now, lambda conn: _by_token(conn, offered, now))
    tries = {address_key(remote_addr): ADDRESS_TRIES, name_key(username_key(username)): NAME_TRIES}
    with database.write() as conn:
        counted = count_try(conn, tries, now=now)
    if not counted:
        raise _locked()
    enroller = _by_password(database, offered)
    with database.write() as conn:
        take_back(conn, tries)
    return enroller


def _unguessable(
    database: Database, remote_addr: str, now: datetime, look: Callable[[Connection], Enroller]
) -> Enroller:
    """Who it is by `look`, which raises Refused, where the secret has so many random bits that nobody guesses it."""
    address = address_key(remote_addr)
    with database.read() as conn:
        if is_locked(conn, address, ADDRESS_TRIES, now=now):
            raise _locked()
        try:
            return look(conn)
        except Refused as refused:
            wrong = refused
    with database.write() as conn:
        counted = count_try(conn, {address: ADDRESS_TRIES}, now=now)
    raise wrong if counted else _locked()


def _locked() -> Refused:
    return Refused(Subcode.AUTHENTICATION, _LOCKED, "too many failed attempts")


def _signed_in(database: Database, offered: BinaryToken, *, remote_addr: str, now: datetime) -> Enroller:
    """Who took this ticket from the sign-in page."""
    if offered.value_type == _ENTRA_TYPE:
        raise Refused(
            Subcode.INVALID_SECURITY,
            "The device has signed in at Microsoft Entra ID, and this server takes no tokens of Entra ID. Enrol by "
            "Settings, Accounts, Access work or school, Enrol only in device management.",
            "a token of Entra ID",
        )
    if offered.value_type != TICKET_TYPE:
        raise Refused(
            Subcode.INVALID_SECURITY,
            "This server takes a user name and a password, or the token of its own sign-in page, and no other "
            "security token.",
            "a binary security token of another kind",
        )
    return _unguessable(database, remote_addr, now, lambda conn: _by_ticket(conn, offered, now))


def _by_ticket(conn: Connection, offered: BinaryToken, now: datetime) -> Enroller:
    secret = _ticket_secret(offered.content)
    ticket = None if secret is None else find_ticket(conn, secret)
    if ticket is None:
        raise Refused(Subcode.AUTHENTICATION, _SIGN_IN_OVER, "no such ticket")
    if not ticket.may_be_shown(now):
        raise Refused(Subcode.AUTHENTICATION, _SIGN_IN_OVER, f"the ticket {ticket.id} is over")
    return _holder(conn, ticket, now)


def _ticket_secret(content: str) -> str | None:
    """What the page gave out: Windows hands it on in base64, which may hold line breaks."""
    letters = "".join(content.split()) if len(content) <= _MAX_TICKET else ""
    try:
        return base64.b64decode(letters, validate=True).decode("ascii")
    except (binascii.Error, ValueError):  # which the caller tells as a ticket that does not exist
        return None


def _holder(conn: Connection, ticket: TicketView, now: datetime) -> Enroller:
    """Who holds the ticket, as IT lets him today."""
    if ticket.kind == "federated":
        # The name is a claim that people may be able to change (OpenID Connect Core 5.7); issuer and subject count.
        return Enroller("federated", ticket.by_id, ticket.username, vouched=False, ticket=ticket.id)
    try:
        if ticket.kind == "token":
            token = get_token(conn, ticket.by_id)
            return _enroller_of_token(token, ticket.username, now, ticket=ticket.id)
        user = get_user(conn, ticket.by_id)
    except NotFound as gone:
        raise Refused(Subcode.AUTHENTICATION, _SIGN_IN_OVER, gone.detail) from None
    if user.password_set_at > ticket.created_at:
        raise Refused(
            Subcode.AUTHENTICATION, _SIGN_IN_OVER, f"the user {user.id} has got another password since"
        )
    return _enroller_of_user(user, ticket.username, ticket=ticket.id)


def _by_token(conn: Connection, offered: UsernameToken, now: datetime) -> Enroller:
    token = find_token(conn, offered.password, offered.username)
    if token is None:
        raise Refused(Subcode.AUTHENTICATION, _WRONG, "no such token, or one of another user")
    return _enroller_of_token(token, offered.username, now)


def _enroller_of_token(
    token: TokenView, username: str, now: datetime, *, ticket: str | None = None
) -> Enroller:
    # One without a use left passes: its device may repeat a request whose answer was lost. `mdm.enrolment.joining` knows.
    if token.revoked_at is not None or token.expires_at <= now:
        over = "has expired" if token.revoked_at is None else "is revoked"
        raise Refused(Subcode.AUTHENTICATION, _WRONG, f"the token {token.id} {over}")
    return Enroller(
        "token",
        token.id,
        username,
        vouched=token.username is not None,
        replaces=token.replaces,
        ticket=ticket,
    )


def _by_password(database: Database, offered: UsernameToken) -> Enroller:
    with database.read() as conn:
        found = find_user(conn, offered.username)
    user, stored = (None, None) if found is None else found
    if not password_matches(offered.password, stored) or user is None:
        raise Refused(Subcode.AUTHENTICATION, _WRONG, "no such user, or a wrong password")
    return _enroller_of_user(user, offered.username)


def _enroller_of_user(user: UserView, username: str, *, ticket: str | None = None) -> Enroller:
    if not user.enabled:
        raise Refused(Subcode.AUTHENTICATION, _WRONG, f"the user {user.id} is disabled")
    return Enroller("user", user.id, username, vouched=True, max_devices=user.max_devices, ticket=ticket)
