"""Migration 0007 links what is there: the code verifies the chain that the migration made."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from alembic import command
from sqlalchemy import text

from mdm.audit import Origin, list_entries, record
from mdm.audit_chain import Link, verify
from mdm.storage.engine import Database
from mdm.storage.migration import migration_config

if TYPE_CHECKING:
    from collections.abc import Iterator

MOMENT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def before(empty_database_url: str) -> Iterator[Database]:
    """A database of the release before."""
    with closing(Database(empty_database_url)) as database:
        go(database, "0006")
        yield database


def go(database: Database, revision: str, *, down: bool = False) -> None:
    """Migrate to a revision."""
    config = migration_config()
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)


def write(database: Database, numbers: Iterator[int] | range) -> None:
    """Entries as the release before wrote them."""
    rows = [
        {
            "seq": number,
            "at": (MOMENT + timedelta(microseconds=number)).replace(
                tzinfo=None if database.dialect == "sqlite" else UTC
            ),
            "detail": '{"b": ["\\ud83c\\udf89", 1.5, null], "a": {"y": true, "x": "ü"}}',
            "request": None if number % 2 else f"r{number}",
        }
        for number in numbers
    ]
    with database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO audit_entry (seq, at, actor, action, object_type, object_id, detail, request_id) "
                "VALUES (:seq, :at, 'client:Jörg', 'a', 'b', 'c', :detail, :request)"
            ),
            rows,
        )


def test_old_entries_are_linked_and_an_entry_says_so(before: Database) -> None:
    """Over more than one batch, and with numbers missing, as PostgreSQL leaves them out; then it goes on."""
    write(before, range(3, 2505))
    with before.write() as connection:
        connection.execute(text("DELETE FROM audit_entry WHERE seq IN (7, 8, 1500)"))
    go(before, "head")
    with before.read() as connection:
        verdict = verify(connection)
        marker, last, *_ = list_entries(connection, before=None, limit=10)
    assert verdict.fault is None
    assert verdict.checked == 2500
    assert (marker.seq, marker.actor, marker.action, marker.detail) == (
        2505,
        "migration",
        "audit.chain",
        {"entries": 2499, "last_seq": 2504},
    )
    assert abs(marker.at - datetime.now(UTC)) < timedelta(days=1)
    assert (last.seq, last.before, last.after) == (2504, None, None)
    assert last.at == MOMENT + timedelta(microseconds=2504)
    with before.write() as connection:
        record(connection, Origin("x"), now=MOMENT, action="a", object_type="b", object_id="new")
    with before.write() as connection:
        connection.execute(text("UPDATE audit_entry SET actor = 'x' WHERE seq = 5"))
    with before.read() as connection:
        verdict = verify(connection)
    assert verdict.fault is not None
    assert (verdict.fault.seq, verdict.checked) == (5, 2)


def test_a_trail_without_entries_begins_at_the_beginning(before: Database) -> None:
    """Nothing is added to a new database."""
    go(before, "head")
    with before.read() as connection:
        verdict = verify(connection)
    assert (verdict.checked, verdict.head, verdict.fault) == (0, Link(0, "0" * 64), None)


def test_entries_survive_the_way_down_and_up(before: Database) -> None:
    """The older release goes on with the next number; going up again links its entries too."""
    write(before, range(1, 4))
    go(before, "0007")
    go(before, "0006", down=True)
    with before.write() as connection:
        number = connection.execute(
            text(
                "INSERT INTO audit_entry (at, actor, action, object_type, object_id, detail) "
                "SELECT at, actor, action, object_type, object_id, detail FROM audit_entry WHERE seq = 1 RETURNING seq"
            )
        ).scalar_one()
    assert number == 5
    go(before, "head")
    with before.read() as connection:
        verdict = verify(connection)
        actions = [entry.action for entry in list_entries(connection, before=None, limit=10)]
    assert (verdict.checked, verdict.fault) == (6, None)
    assert actions == ["audit.chain", "a", "audit.chain", "a", "a", "a"]
