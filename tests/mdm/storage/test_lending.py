"""What the tests rely on: a PostgreSQL database lent to one after the other is new to each."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text
from sqlmodel import SQLModel

from mdm.audit import Origin, record
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from datetime import datetime

pytestmark = pytest.mark.postgres


def contents(database: Database) -> dict[str, list[Any]]:
    """Every row of every table."""
    with database.read() as conn:
        return {
            table.name: [tuple(row) for row in conn.execute(select(table))]
            for table in SQLModel.metadata.sorted_tables
        }


def test_what_a_test_wrote_is_gone_and_what_it_took_away_is_back(_server: Any, now: datetime) -> None:  # noqa: PT019 - its own methods are at stake
    """Rows, those of the migrations too, and the numbers that follow."""
    name = _server.lend()
    with closing(Database(_server.url_of(name))) as database:
        for entries in (1, 2):
            before = contents(database)
            with database.write() as conn:
                for number in range(entries):
                    record(conn, Origin("x"), now=now, action="a", object_type="t", object_id=str(number))
                conn.execute(text("DELETE FROM device_group"))
            assert contents(database) != before
            _server.take_back(name)
            assert _server.lend() == name
            assert contents(database) == before
    _server.take_back(name)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE eula ADD COLUMN more integer",
        "DROP INDEX ix_device_tag_tag",
        "CREATE TABLE more (id integer)",
        "UPDATE alembic_version SET version_num = '0001'",
    ],
)
def test_a_database_with_another_schema_is_not_lent_again(_server: Any, change: str) -> None:  # noqa: PT019 - as above
    """Whatever was changed but rows, the next test gets another database."""
    name = _server.lend()
    with closing(Database(_server.url_of(name))) as database, database.write() as conn:
        conn.execute(text(change))
    _server.take_back(name)
    other = _server.lend()
    assert other != name
    _server.take_back(other)


def test_a_database_that_is_still_in_use_is_not_lent_again(_server: Any) -> None:  # noqa: PT019 - as above
    """A test that leaves a transaction behind keeps nobody waiting."""
    name = _server.lend()
    with closing(Database(_server.url_of(name))) as database, database.write() as conn:
        conn.execute(text("LOCK TABLE device"))
        assert not _server._is_emptied(name)
    _server.take_back(name)
