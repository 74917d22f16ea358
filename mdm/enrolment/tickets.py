"""Tickets: what somebody takes from the sign-in page to the enrolment of one device.

Windows shows the ticket twice, with GetPolicies and with RequestSecurityToken (MS-MDE2 3.3 and 3.4), so it is good
until the second: that uses it up, in the transaction that enrols the device. It has 256 random bits and is kept as
its SHA-256.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import delete, func, insert, select, update

from mdm.storage.statements import table_of
from mdm.storage.tables import EnrolmentTicket

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["LIFETIME", "Kind", "TicketView", "find_ticket", "issue_ticket", "repeats_ticket", "use_ticket"]

Kind = Literal["user", "token", "federated"]
"""How somebody has proved who he is: by his password, by a token of IT, or at the OpenID provider."""

LIFETIME: Final = timedelta(minutes=10)
"""From the sign-in to the certificate request: seconds, unless a TPM is slow to make its key."""
_REPETITION: Final = timedelta(hours=1)
"""The certificate request that used the ticket may be sent again for so long, because its answer may be lost."""
_BYTES: Final = 32

_table: Final = table_of(EnrolmentTicket)
_COLUMNS: Final = (
    _table.c.id,
    _table.c.kind,
    _table.c.by_id,
    _table.c.username,
    _table.c.created_at,
    _table.c.expires_at,
    _table.c.used_at,
)


@dataclass(frozen=True, slots=True)
class TicketView:
    """A ticket; the secret itself is not in it, nor anywhere."""

    id: str
    kind: Kind
    by_id: str
    """Id of the enrolment user or token, or the hash of who the OpenID provider says it is."""
    username: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None

    def may_be_shown(self, now: datetime) -> bool:
        """Whether a message with it is worth reading: it is fresh, or its device may be repeating the last one."""
        return now < (self.expires_at if self.used_at is None else self.used_at + _REPETITION)


def issue_ticket(conn: Connection, *, kind: Kind, by_id: str, username: str, now: datetime) -> str:
    """Make a ticket for somebody who has just signed in, and forget those that are long over."""
    conn.execute(delete(_table).where(_table.c.expires_at <= now - _REPETITION))
    secret = secrets.token_urlsafe(_BYTES)
    conn.execute(
        insert(_table).values(
            id=f"eti_{secrets.token_hex(10)}",
            ticket_sha256=_digest(secret),
            kind=kind,
            by_id=by_id,
            username=username,
            created_at=now,
            expires_at=now + LIFETIME,
        )
    )
    return secret


def find_ticket(conn: Connection, secret: str) -> TicketView | None:
    """The ticket with this secret, whatever its state."""
    query = select(*_COLUMNS).where(_table.c.ticket_sha256 == _digest(secret))
    row = conn.execute(query).mappings().one_or_none()
    return None if row is None else TicketView(**row)


def use_ticket(conn: Connection, ticket_id: str, request_sha256: str, *, now: datetime) -> bool:
    """Use the ticket up for this certificate request; False if it is used or over."""
    taken = conn.execute(
        update(_table)
        .where(_table.c.id == ticket_id, _table.c.used_at.is_(None), _table.c.expires_at > now)
        .values(used_at=now, request_sha256=request_sha256)
        .execution_options(preserve_rowcount=True)
    )
    return taken.rowcount == 1


def repeats_ticket(conn: Connection, ticket_id: str, request_sha256: str, *, now: datetime) -> bool:
    """Whether it was this very certificate request that used the ticket up, not long ago."""
    query = (
        select(func.count())
        .select_from(_table)
        .where(
            _table.c.id == ticket_id,
            _table.c.request_sha256 == request_sha256,
            _table.c.used_at > now - _REPETITION,
        )
    )
    return bool(conn.scalar(query))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
