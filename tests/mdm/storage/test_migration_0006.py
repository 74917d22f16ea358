"""Migration 0006 keeps who is in which group, and going down keeps it too."""

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


def test_members_stay_members_up_and_down(empty_database_url: str, now: datetime) -> None:
    """Up: they were put in by hand, and are worked out anew. Down: whoever is in, by rule or by hand, stays in."""
    with closing(Database(empty_database_url)) as database:
        go(database, "0005")
        with database.write() as connection:
            for pk in (1, 2):
                values = {"pk": pk, "id": f"d{pk}", "now": now, "verifier": b"v"}
                connection.execute(text(DEVICE), values)
            group = text("INSERT INTO device_group VALUES (:id, :name, false, :now)")
            connection.execute(group, {"id": "g", "name": "pilots", "now": now})
            connection.execute(group, {"id": "u", "name": "Unassigned", "now": now})
            connection.execute(text("INSERT INTO group_member VALUES (1, 'g')"))
        go(database, "0006")
        assert rows(database, "SELECT device_pk, group_id FROM group_member") == [(1, "g")]
        assert rows(database, "SELECT device_pk, group_id FROM static_member") == [(1, "g")]
        assert rows(database, "SELECT id, name FROM device_group ORDER BY id") == [
            ("all-devices", "All devices"),
            ("g", "pilots"),
            ("u", "Unassigned (u)"),
            ("unassigned", "Unassigned"),
        ]
        behind = "SELECT count(*) FROM device, groups_version WHERE membership_version < version"
        assert rows(database, behind) == [(2,)]
        with database.write() as connection:
            connection.execute(text("INSERT INTO group_member VALUES (2, 'unassigned'), (2, 'g')"))
        go(database, "0005", down=True)
        members = "SELECT device_pk, group_id FROM group_member ORDER BY device_pk, group_id"
        assert rows(database, members) == [(1, "g"), (2, "g"), (2, "unassigned")]
        go(database, "0006")
        assert rows(database, members.replace("group_member", "static_member")) == [(1, "g"), (2, "g")]
        assert [bool(each) for (each,) in rows(database, "SELECT builtin FROM device_group ORDER BY id")] == [
            True,
            False,
            False,
            True,
        ]
