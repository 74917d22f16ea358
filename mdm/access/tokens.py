"""Bearer tokens of the API: 256 random bits shown once, kept as a SHA-256, with scopes and an expiry."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, or_, select, update
from sqlmodel import col

from mdm.audit import record
from mdm.errors import NotFound
from mdm.storage.tables import ApiToken

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

    from mdm.audit import Origin

__all__ = [
    "DEFAULT_LIFETIME",
    "TOKEN_PREFIX",
    "TokenRecord",
    "create_token",
    "find_token",
    "list_tokens",
    "revoke_token",
    "touch_token",
]

TOKEN_PREFIX = "cspb_"  # noqa: S105 - the public mark that secret scanners look for, not a secret
DEFAULT_LIFETIME = timedelta(days=90)

TOUCH_INTERVAL = timedelta(minutes=1)
"""`last_used_at` is at most this stale: a write a minute, not one a request."""

MAX_TOKEN_LENGTH = 128
"""A token of ours has 48 characters; a longer one is not worth hashing."""


_COLUMNS = (
    col(ApiToken.id),
    col(ApiToken.name),
    col(ApiToken.scopes),
    col(ApiToken.created_at),
    col(ApiToken.expires_at),
    col(ApiToken.revoked_at),
    col(ApiToken.last_used_at),
)


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A stored token; the secret itself is not in it, nor anywhere."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def expired(self, now: datetime) -> bool:
        """True from the moment of `expires_at` on."""
        return self.expires_at is not None and self.expires_at <= now

    def touch_due(self, now: datetime) -> bool:
        """True when `last_used_at` is missing or older than a minute."""
        return self.last_used_at is None or self.last_used_at <= now - TOUCH_INTERVAL

    def state(self, now: datetime) -> str:
        """`active`, `expired` or `revoked`, for people."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expired(now) else "active"


def create_token(
    conn: Connection,
    origin: Origin,
    *,
    name: str,
    scopes: Iterable[str],
    lifetime: timedelta | None,
    now: datetime,
) -> tuple[TokenRecord, str]:
    """Store a new token and return it with its secret, which cannot be shown again.

    `lifetime` None means the token never expires.
    """
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = TokenRecord(
        id=f"tok_{secrets.token_hex(10)}",
        name=name,
        scopes=tuple(sorted(set(scopes))),
        created_at=now,
        expires_at=None if lifetime is None else now + lifetime,
        revoked_at=None,
        last_used_at=None,
    )
    conn.execute(
        insert(ApiToken).values(
            id=token.id,
            name=token.name,
            token_sha256=_digest(secret),
            scopes=list(token.scopes),
            created_at=token.created_at,
            expires_at=token.expires_at,
        )
    )
    record(
        conn,
        origin,
        now=now,
        action="token.create",
        object_type="token",
        object_id=token.id,
        after={"name": name, "scopes": token.scopes, "expires_at": token.expires_at},
    )
    return token, secret


def find_token(conn: Connection, secret: str) -> TokenRecord | None:
    """The token with this secret, be it expired or revoked, or None.

    The unique index finds the hash, so timing tells nothing about any stored secret; the comparison in
    constant time guards against a collation that calls unequal texts equal.
    """
    if not secret.startswith(TOKEN_PREFIX) or len(secret) > MAX_TOKEN_LENGTH:
        return None
    digest = _digest(secret)
    query = select(col(ApiToken.token_sha256), *_COLUMNS).where(col(ApiToken.token_sha256) == digest)
    row = conn.execute(query).mappings().one_or_none()
    if row is None:
        return None
    fields = dict(row)
    return _record(fields) if hmac.compare_digest(fields.pop("token_sha256"), digest) else None


def list_tokens(conn: Connection) -> list[TokenRecord]:
    """All tokens, oldest first, with the expired and revoked ones."""
    rows = conn.execute(select(*_COLUMNS).order_by(col(ApiToken.created_at), col(ApiToken.id)))
    return [_record(row) for row in rows.mappings()]


def touch_token(conn: Connection, token_id: str, *, now: datetime) -> None:
    """Note that the token was used; changes nothing if that was noted within the last minute."""
    conn.execute(
        update(ApiToken)
        .where(
            col(ApiToken.id) == token_id,
            or_(col(ApiToken.last_used_at).is_(None), col(ApiToken.last_used_at) <= now - TOUCH_INTERVAL),
        )
        .values(last_used_at=now)
    )


def revoke_token(conn: Connection, origin: Origin, token_id: str, *, now: datetime) -> TokenRecord:
    """Refuse the token from now on; revoking twice changes nothing. Raises NotFound for an unknown id."""
    row = conn.execute(select(*_COLUMNS).where(col(ApiToken.id) == token_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no token {token_id}.")
    token = _record(row)
    if token.revoked_at is not None:
        return token
    conn.execute(update(ApiToken).where(col(ApiToken.id) == token_id).values(revoked_at=now))
    record(
        conn,
        origin,
        now=now,
        action="token.revoke",
        object_type="token",
        object_id=token_id,
        detail={"name": token.name},
        before={"revoked_at": None},
        after={"revoked_at": now},
    )
    return replace(token, revoked_at=now)


def _digest(secret: str) -> str:
    """Hash for storage: plain SHA-256 suffices, 256 random bits cannot be guessed by trying."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _record(row: Mapping[Any, Any]) -> TokenRecord:
    return TokenRecord(**{**row, "scopes": tuple(row["scopes"])})
