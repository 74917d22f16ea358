"""Migration 0014 knows what was done before it: tokens accepted, and what has failed has failed once."""

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
    "VALUES (1, 'd', 'd', 'd', :now, 's', 'u', :verifier, 'n')"
)
UPDATE = "INSERT INTO device_update (device_pk, update_id, lists, state, since) VALUES (1, :id, :lists, :state, :now)"
ACCEPTANCE = (
    "INSERT INTO eula_acceptance (id, eula_id, locale, text_sha256, accepted_by, accepted_at) "
    "VALUES ('acc_1', 'e', 'en', 'x', 'client:ci', :now)"
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


def test_what_was_there_is_known(empty_database_url: str, now: datetime) -> None:
    """Up: every acceptance was a machine's, every failed update failed once. Down: nothing else is lost."""
    with closing(Database(empty_database_url)) as database:
        go(database, "0013")
        with database.write() as connection:
            connection.execute(text(DEVICE), {"now": now, "verifier": b"v"})
            for update_id, lists, state in (("a", 5, "failed"), ("b", 1, "installable")):
                values = {"id": update_id, "lists": lists, "state": state, "now": now}
                connection.execute(text(UPDATE), values)
            connection.execute(text("INSERT INTO eula (id, first_seen_at) VALUES ('e', :now)"), {"now": now})
            connection.execute(text(ACCEPTANCE), {"now": now})
        go(database, "0014")
        failures = "SELECT update_id, failures FROM device_update ORDER BY update_id"
        assert rows(database, failures) == [("a", 1), ("b", 0)]
        ((by_machine, organization),) = rows(database, "SELECT by_machine, organization FROM eula_acceptance")
        assert (bool(by_machine), organization) == (True, None)
        go(database, "0013", down=True)
        assert rows(database, "SELECT id, accepted_by FROM eula_acceptance") == [("acc_1", "client:ci")]
        go(database, "0014")
        assert rows(database, failures) == [("a", 1), ("b", 0)]
