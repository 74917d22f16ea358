"""Enrolment tokens: one-time passwords that IT gives out, shown once and kept as a SHA-256.

A token has 120 random bits, so that a plain hash suffices and its lookup by hash tells nothing by its time. It is
made of letters and digits that can be read out, because a person may have to type it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from sqlalchemy import insert, or_, select, update

from mdm.audit import record
from mdm.enrolment.users import username_key
from mdm.errors import NotFound
from mdm.storage.statements import table_of
from mdm.storage.tables import EnrolmentToken

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from mdm.audit import Origin

__all__ = [
    "DEFAULT_HOURS",
    "MAX_HOURS",
    "MAX_USES",
    "TokenView",
    "create_token",
    "find_token",
    "get_token",
    "is_token",
    "list_tokens",
    "qr_payload",
    "revoke_token",
    "use_token",
]

DEFAULT_HOURS: Final = 72
MAX_HOURS: Final = 366 * 24
MAX_USES: Final = 100_000

_ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""32 letters and digits, none of which looks like another: five bits each."""
_LENGTH: Final = 24
_GROUP: Final = 6
_SHAPE: Final = re.compile(f"[{_ALPHABET}]{{{_LENGTH}}}")

_table: Final = table_of(EnrolmentToken)
_COLUMNS: Final = [column for column in _table.columns if column.name != "token_sha256"]


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token; the secret itself is not in it, nor anywhere."""

    id: str
    name: str
    username: str | None
    """The only user name it goes with; None: any."""
    max_uses: int
    uses: int
    replaces: bool
    """Whether it may enrol a device again that another user has enrolled before."""
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None

    def state(self, now: datetime) -> str:
        """`active`, `used`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.uses >= self.max_uses:
            return "used"
        return "expired" if self.expires_at <= now else "active"


def create_token(
    conn: Connection,
    origin: Origin,
    *,
    name: str,
    username: str | None,
    max_uses: int,
    replaces: bool,
    lifetime: timedelta,
    now: datetime,
) -> tuple[TokenView, str]:
    """Store a new token and return it with its secret, which cannot be shown again."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    token = TokenView(
        id=f"ent_{secrets.token_hex(10)}",
        name=name,
        username=username,
        max_uses=max_uses,
        uses=0,
        replaces=replaces,
        created_at=now,
        expires_at=now + lifetime,
        revoked_at=None,
        last_used_at=None,
    )
    stored = {column.name: getattr(token, column.name) for column in _COLUMNS}
    conn.execute(insert(_table).values(token_sha256=_digest(letters), **stored))
    record(
        conn,
        origin,
        now=now,
        action="enrolment_token.create",
        object_type="enrolment_token",
        object_id=token.id,
        after={
            "name": name,
            "username": username,
            "max_uses": max_uses,
            "replaces": replaces,
            "expires_at": token.expires_at,
        },
    )
    return token, "-".join(letters[at : at + _GROUP] for at in range(0, _LENGTH, _GROUP))


def list_tokens(
    conn: Connection, *, after: tuple[datetime, str] | None = None, limit: int | None = None
) -> list[TokenView]:
    """Tokens in order of creation, the used, expired and revoked ones too, beginning after (created_at, id)."""
    query = select(*_COLUMNS).order_by(_table.c.created_at, _table.c.id).limit(limit)
    if after is not None:
        at, last = after
        query = query.where(or_(_table.c.created_at > at, (_table.c.created_at == at) & (_table.c.id > last)))
    return [_view(row) for row in conn.execute(query).mappings()]


def get_token(conn: Connection, token_id: str) -> TokenView:
    """One token; raises NotFound."""
    row = conn.execute(select(*_COLUMNS).where(_table.c.id == token_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no enrolment token {token_id}.")
    return _view(row)


def revoke_token(conn: Connection, origin: Origin, token_id: str, *, now: datetime) -> TokenView:
    """Refuse the token from now on; what it has enrolled stays. Twice changes nothing. Raises NotFound."""
    token = get_token(conn, token_id)
    if token.revoked_at is not None:
        return token
    conn.execute(update(_table).where(_table.c.id == token_id).values(revoked_at=now))
    record(
        conn,
        origin,
        now=now,
        action="enrolment_token.revoke",
        object_type="enrolment_token",
        object_id=token_id,
        detail={"name": token.name},
        before={"revoked_at": None},
        after={"revoked_at": now},
    )
    return replace(token, revoked_at=now)


def is_token(password: str) -> bool:
    """Whether a password has the form of a token, in capitals or not, with or without hyphens and blanks."""
    return _SHAPE.fullmatch(_letters(password)) is not None


def find_token(conn: Connection, password: str, username: str) -> TokenView | None:
    """The token that somebody of this name typed, whatever its state; None if there is none for him."""
    query = select(*_COLUMNS).where(_table.c.token_sha256 == _digest(_letters(password)))
    row = conn.execute(query).mappings().one_or_none()
    if row is None:
        return None
    token = _view(row)
    if token.username is not None and username_key(token.username) != username_key(username):
        return None
    return token


def use_token(conn: Connection, token_id: str, *, now: datetime) -> bool:
    """Take one of its uses; False if it has none left, or was revoked or ended meanwhile."""
    taken = conn.execute(
        update(_table)
        .where(
            _table.c.id == token_id,
            _table.c.uses < _table.c.max_uses,
            _table.c.revoked_at.is_(None),
            _table.c.expires_at > now,
        )
        .values(uses=_table.c.uses + 1, last_used_at=now)
        .execution_options(preserve_rowcount=True)
    )
    return taken.rowcount == 1


def qr_payload(server: str, secret: str, username: str | None) -> str:
    """The link that opens Windows' enrolment with the server and the user filled in; it holds the secret.

    `ms-device-enrollment:` is documented by Microsoft; that every build takes `accesstoken` is not.
    """
    members = {"mode": "mdm", "servername": server, "accesstoken": secret}
    if username is not None:
        members["username"] = username
    return f"ms-device-enrollment:?{urlencode(members)}"


def _letters(password: str) -> str:
    return "".join(password.split()).replace("-", "").upper() if len(password) <= 2 * _LENGTH else ""


def _digest(letters: str) -> str:
    return hashlib.sha256(letters.encode()).hexdigest()


def _view(row: Mapping[Any, Any]) -> TokenView:
    return TokenView(**row)
