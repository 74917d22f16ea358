"""`mdm.ca.issued`: what was issued is listed, bound to its device, and taken back once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from mdm.audit import Origin, list_entries
from mdm.ca.issued import REASONS, bind, list_issued, revoke, revoke_device, serial_text
from mdm.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mdm.ca.authority import Authority, Issued
    from mdm.storage.engine import Database

DEVICE = (
    "INSERT INTO device (pk, id, device_id, name, created_at, auth_scheme, auth_username, auth_verifier, auth_nonce, "
    "auth_each_message, membership_version) VALUES (:pk, :id, :id, 'd', :now, 's', 'u', :verifier, 'n', true, 0)"
)


@pytest.fixture
def issue(
    database: Database, authority: Authority, device_public: bytes, now: datetime
) -> Callable[..., Issued]:
    """Issues a certificate, and makes its device where there is none."""

    def one(
        name: str,
        device_pk: int | None = None,
        at: datetime = now,
        lifetime: timedelta = timedelta(days=365),
    ) -> Issued:
        with database.write() as conn:
            if device_pk is not None:
                found = conn.execute(text("SELECT 1 FROM device WHERE pk = :pk"), {"pk": device_pk})
                if found.one_or_none() is None:
                    values = {"pk": device_pk, "id": f"dev{device_pk}", "now": now, "verifier": b"v"}
                    conn.execute(text(DEVICE), values)
            return replace(authority, lifetime=lifetime).issue(
                conn, public_key=device_public, subject_name=name, device_pk=device_pk, now=at
            )

    return one


Issue = Any


def test_the_newest_comes_first(
    database: Database, issue: Issue, authority: Authority, now: datetime
) -> None:
    """All, a number of them, one device's, one thumbprint's."""
    old = issue("old", 1, lifetime=timedelta(minutes=1))
    new = issue("new", 2, now + timedelta(minutes=2))
    middle = issue("middle", None, now + timedelta(minutes=1))
    with database.read() as conn:
        every = list_issued(conn, limit=9)
        assert [each.serial for each in every] == [new.serial, middle.serial, old.serial]
        assert list_issued(conn, limit=2) == every[:2]
        assert list_issued(conn, limit=9, device_id="dev1") == every[2:]
        assert list_issued(conn, limit=9, device_id="dev9") == []
        assert list_issued(conn, limit=9, thumbprint=middle.thumbprint_sha1) == [every[1]]
    assert [(each.device_id, each.subject, each.state(now + timedelta(hours=1))) for each in every] == [
        ("dev2", "CN=new", "active"),
        (None, "CN=middle", "active"),
        ("dev1", "CN=old", "expired"),
    ]
    assert {each.authority_id for each in every} == {authority.id}
    assert every[0].not_after == new.not_after
    assert every[0].state(new.not_after) == "active"


def test_a_certificate_is_bound_to_a_device_made_later(database: Database, issue: Issue) -> None:
    """Enrolment may issue before the device's row is there."""
    unbound, _ = issue("unbound"), issue("other", 7)
    with database.write() as conn:
        bind(conn, unbound.serial, 7)
        assert len(list_issued(conn, limit=9, device_id="dev7")) == 2
        with pytest.raises(NotFound, match=serial_text(5)):
            bind(conn, serial_text(5), 7)


def test_a_deleted_device_leaves_its_certificates_behind(database: Database, issue: Issue) -> None:
    """They belong to nobody, and are still listed."""
    one = issue("one", 1)
    with database.write() as conn:
        conn.execute(text("DELETE FROM device"))
        (left,) = list_issued(conn, limit=9)
    assert (left.serial, left.device_id) == (one.serial, None)


@pytest.mark.parametrize("reason", REASONS)
def test_revoked_once(database: Database, issue: Issue, now: datetime, reason: str) -> None:
    """The first time counts and is audited; the second changes nothing."""
    origin = Origin("client:ci")
    one, other = issue("one", 1), issue("other", 1)
    with database.write() as conn:
        done = revoke(conn, origin, one.serial, reason, now)
    assert (done.state(now), done.revoked_at, done.revocation_reason) == ("revoked", now, reason)
    with database.write() as conn:
        again = revoke(conn, origin, one.serial, "superseded", now + timedelta(days=1))
    assert again == done
    with database.read() as conn:
        states = {each.serial: each.state(now) for each in list_issued(conn, limit=9)}
        entries = list_entries(conn, before=None, limit=9, action="certificate.revoke")
    assert states == {one.serial: "revoked", other.serial: "active"}
    (entry,) = entries
    assert (entry.actor, entry.object_id) == ("client:ci", one.serial)
    assert entry.detail == {"subject": "CN=one", "device_id": "dev1"}
    assert entry.before == {"revoked_at": None, "revocation_reason": None}
    assert entry.after is not None
    assert entry.after["revocation_reason"] == reason


def test_what_cannot_be_revoked(database: Database, issue: Issue, now: datetime) -> None:
    """A serial number of nobody's, and a reason that is none; nothing is changed."""
    one = issue("one")
    with database.write() as conn, pytest.raises(NotFound, match="0000000005' was issued here"):
        revoke(conn, Origin("a"), serial_text(5), "unspecified", now)
    for text_of_nobody in ("", "\0" * 40, one.serial.upper() + "0", "x" * 100_000, "٣" * 40):
        with database.write() as conn, pytest.raises(NotFound):
            revoke(conn, Origin("a"), text_of_nobody, "unspecified", now)
    with database.write() as conn, pytest.raises(Invalid, match="one of unspecified") as caught:
        revoke(conn, Origin("a"), one.serial, "because", now)
    assert [each.pointer for each in caught.value.errors] == ["/reason"]
    with database.write() as conn, pytest.raises(Invalid):
        revoke_device(conn, Origin("a"), 1, "because", now)
    with database.read() as conn:
        assert [each.state(now) for each in list_issued(conn, limit=9)] == ["active"]


def test_a_device_loses_all_that_it_could_use(database: Database, issue: Issue, now: datetime) -> None:
    """Its active ones; not what has ended, what was taken back before, nor another device's."""
    expired = issue("expired", 1, lifetime=timedelta(minutes=1))
    before, one, two = (issue(name, 1) for name in ("before", "one", "two"))
    other = issue("other", 2)
    with database.write() as conn:
        revoke(conn, Origin("a"), before.serial, "keyCompromise", now)
    later = now + timedelta(hours=1)
    with database.write() as conn:
        done = revoke_device(conn, Origin("a"), 1, "cessationOfOperation", later)
    assert {each.serial for each in done} == {one.serial, two.serial}
    assert {each.revocation_reason for each in done} == {"cessationOfOperation"}
    with database.read() as conn:
        states = {each.serial: each.state(later) for each in list_issued(conn, limit=9)}
        assert len(list_entries(conn, before=None, limit=9, action="certificate.revoke")) == 3
    assert (states[expired.serial], states[other.serial]) == ("expired", "active")
