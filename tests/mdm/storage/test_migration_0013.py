"""Migration 0013 keeps what devices answered to policies, has it read back, and goes down without losing answers."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from alembic import command
from sqlalchemy import text

from mdm.storage.engine import Database
from mdm.storage.migration import migration_config

if TYPE_CHECKING:
    from datetime import datetime

DEVICE = (
    "INSERT INTO device (pk, id, device_id, name, created_at, auth_scheme, auth_username, auth_verifier, auth_nonce) "
    "VALUES (:pk, :id, :id, :id, :now, 's', 'u', :verifier, 'n')"
)
POLICY = (
    "INSERT INTO device_policy (device_pk, name, status, value, status_code, at) "
    "VALUES (:pk, :name, :status, :value, :code, :now)"
)


def go(database: Database, revision: str, *, down: bool = False) -> None:
    """Migrate to a revision."""
    config = migration_config()
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    """What a query finds."""
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_answers_stay_up_and_down(empty_database_url: str, now: datetime) -> None:
    """Up: what a device has set is due to be read. Down: what never was answered is gone, the rest an older release can read."""
    with closing(Database(empty_database_url)) as database:
        go(database, "0012")
        with database.write() as connection:
            for pk in (1, 2):
                connection.execute(text(DEVICE), {"pk": pk, "id": f"d{pk}", "now": now, "verifier": b"v"})
            for pk, name, status, value, code in (
                (1, "A", "set", "1", 200),
                (2, "A", "failed", None, 500),
                (2, "B", "unsupported", None, 405),
            ):
                values = {"pk": pk, "name": name, "status": status, "value": value, "code": code, "now": now}
                connection.execute(text(POLICY), values)
        go(database, "0013")
        answers = (
            "SELECT device_pk, name, status, value, status_code FROM device_policy ORDER BY device_pk, name"
        )
        assert rows(database, answers) == [
            (1, "A", "set", "1", 200),
            (2, "A", "failed", None, 500),
            (2, "B", "unsupported", None, 405),
        ]
        assert rows(database, "SELECT pk FROM device WHERE policies_due_at IS NOT NULL") == [(1,)]
        assert rows(database, "SELECT DISTINCT repairs FROM device_policy") == [(0,)]
        with database.write() as connection:
            connection.execute(text("UPDATE device_policy SET status = 'sent' WHERE device_pk = 1"))
            unanswered = {"pk": 1, "name": "C", "status": "sent", "value": None, "code": None, "now": now}
            connection.execute(text(POLICY), unanswered)
        go(database, "0012", down=True)
        assert rows(database, answers) == [
            (1, "A", "failed", "1", 200),
            (2, "A", "failed", None, 500),
            (2, "B", "unsupported", None, 405),
        ]
        go(database, "0013")
        assert len(rows(database, answers)) == 3
