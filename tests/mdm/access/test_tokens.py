"""Tokens: made once, found by hash, expired, revoked, and their use noted once a minute."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select
from sqlmodel import SQLModel

from mdm.access.tokens import (
    DEFAULT_LIFETIME,
    TokenRecord,
    create_token,
    find_token,
    list_tokens,
    revoke_token,
    touch_token,
)
from mdm.audit import Origin
from mdm.errors import NotFound

if TYPE_CHECKING:
    from mdm.storage.engine import Database

ORIGIN = Origin(actor="command-line")


def make(database: Database, now: datetime, **values: Any) -> tuple[TokenRecord, str]:
    """A stored token and its secret."""
    given: dict[str, Any] = {"name": "ci", "scopes": ["devices.read"], "lifetime": DEFAULT_LIFETIME, **values}
    with database.write() as conn:
        return create_token(conn, ORIGIN, now=now, **given)


def test_a_token_is_found_by_its_secret(database: Database, now: datetime) -> None:
    """What was created is what is found, with scopes sorted and each once."""
    token, secret = make(database, now, scopes=["eula.accept", "admin", "admin"])
    assert token.scopes == ("admin", "eula.accept")
    with database.read() as conn:
        assert find_token(conn, secret) == token


def test_the_secret_has_256_bits_a_prefix_and_is_not_stored(sqlite_database: Database, now: datetime) -> None:
    """Only the SHA-256 is kept: no column of the row holds the secret."""
    _, secret = make(sqlite_database, now)
    assert secret.startswith("cspb_")
    assert len(secret) == len("cspb_") + 43
    with sqlite_database.read() as conn:
        row = conn.execute(select(SQLModel.metadata.tables["api_token"])).mappings().one()
    assert row["token_sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in str(dict(row))


@pytest.mark.parametrize(
    "secret", ["", "cspb_", "cspb_unknown", "CSPB_x", "other", "cspb_" + "x" * 1000, "cspb_\x00", "cspb_é"]
)
def test_what_is_no_token_finds_none(sqlite_database: Database, now: datetime, secret: str) -> None:
    """Whatever stands in the header, the answer is None and not an exception."""
    make(sqlite_database, now)
    with sqlite_database.read() as conn:
        assert find_token(conn, secret) is None


def test_a_row_that_a_lenient_collation_would_match_is_refused(
    sqlite_database: Database, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash is compared again outside the database."""
    _, secret = make(sqlite_database, now)
    monkeypatch.setattr("hmac.compare_digest", lambda _a, _b: False)
    with sqlite_database.read() as conn:
        assert find_token(conn, secret) is None


def test_expiry_is_judged_to_the_moment(sqlite_database: Database, now: datetime) -> None:
    """A token is valid until just before `expires_at`; without one it never expires."""
    token, _ = make(sqlite_database, now, lifetime=timedelta(days=1))
    assert token.expires_at == now + timedelta(days=1)
    assert not token.expired(token.expires_at - timedelta(microseconds=1))
    assert token.expired(token.expires_at)
    eternal, _ = make(sqlite_database, now, lifetime=None)
    assert not eternal.expired(now + timedelta(days=36500))


def test_revoking(database: Database, now: datetime) -> None:
    """A revoked token stays in the list as revoked; the second revocation changes nothing."""
    token, secret = make(database, now)
    later = now + timedelta(hours=1)
    with database.write() as conn:
        revoked = revoke_token(conn, ORIGIN, token.id, now=later)
    assert revoked.revoked_at == later
    with database.write() as conn:
        assert revoke_token(conn, ORIGIN, token.id, now=later + timedelta(hours=1)) == revoked
        assert find_token(conn, secret) == revoked
        assert list_tokens(conn) == [revoked]
    audit = SQLModel.metadata.tables["audit_entry"]
    with database.read() as conn:
        created, ended = conn.execute(
            select(audit.c.action, audit.c.before, audit.c.after).order_by(audit.c.seq)
        )
    assert (created.action, created.before, created.after["name"]) == ("token.create", None, token.name)
    moment = later.isoformat().replace("+00:00", "Z")
    assert tuple(ended) == ("token.revoke", {"revoked_at": None}, {"revoked_at": moment})


def test_revoking_an_unknown_token(sqlite_database: Database, now: datetime) -> None:
    """There is nothing to revoke."""
    with pytest.raises(NotFound), sqlite_database.write() as conn:
        revoke_token(conn, ORIGIN, "tok_nowhere", now=now)


def test_use_is_noted_at_most_once_a_minute(database: Database, now: datetime) -> None:
    """`last_used_at` moves after a minute and not before."""
    token, secret = make(database, now)
    assert token.touch_due(now)
    for seconds, noted in ((0, 0), (59, 0), (60, 60), (100, 60), (120, 120)):
        moment = now + timedelta(seconds=seconds)
        with database.write() as conn:
            touch_token(conn, token.id, now=moment)
        with database.read() as conn:
            found = find_token(conn, secret)
        assert found is not None
        assert found.last_used_at == now + timedelta(seconds=noted)
        assert not found.touch_due(moment)


def test_states_for_people(sqlite_database: Database, now: datetime) -> None:
    """Revoked outranks expired."""
    token, _ = make(sqlite_database, now, lifetime=timedelta(days=1))
    after = now + timedelta(days=2)
    assert token.state(now) == "active"
    assert token.state(after) == "expired"
    with sqlite_database.write() as conn:
        assert revoke_token(conn, ORIGIN, token.id, now=now).state(after) == "revoked"


def test_tokens_are_listed_oldest_first(sqlite_database: Database, now: datetime) -> None:
    """Names may repeat; ids tell them apart."""
    second, _ = make(sqlite_database, now + timedelta(seconds=1))
    first, _ = make(sqlite_database, now)
    with sqlite_database.read() as conn:
        assert list_tokens(conn) == [first, second]


def test_two_tokens_cannot_share_a_hash(sqlite_database: Database, now: datetime) -> None:
    """The index that finds a token is unique."""
    token, secret = make(sqlite_database, now)
    assert token.id != secret
    with pytest.raises(Exception, match="UNIQUE"), sqlite_database.write() as conn:
        conn.execute(
            insert(SQLModel.metadata.tables["api_token"]).values(
                id="other",
                name="other",
                token_sha256=hashlib.sha256(secret.encode()).hexdigest(),
                scopes=[],
                created_at=now,
            )
        )
