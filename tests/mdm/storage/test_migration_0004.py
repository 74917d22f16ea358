"""Migration 0004 keeps what is there: licence texts get their country, documents stay, search works."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from alembic import command
from sqlalchemy import text

from mdm.catalog.cleanup import CleanupPolicy, clean_up
from mdm.catalog.queries import list_updates
from mdm.storage.engine import Database
from mdm.storage.migration import migration_config

if TYPE_CHECKING:
    from datetime import datetime

A = "aaaaaaaa-0000-4000-8000-000000000000"


def go(database: Database, revision: str, *, down: bool = False) -> None:
    """Migrate to a revision."""
    config = migration_config()
    with database.migrating() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)


def test_rows_survive_the_way_up_and_down(empty_database_url: str, now: datetime) -> None:
    """A revision is listed and found after a clean-up; going down, a country is part of the locale again."""
    with closing(Database(empty_database_url)) as database:
        go(database, "0003")
        with database.write() as connection:
            connection.execute(
                text(
                    "INSERT INTO update_revision (update_id, revision_number, is_latest, update_type, title, kb_all, "
                    "publication_state, explicitly_deployable, can_uninstall, original, upstream_url, fetched_at, eula_id) "
                    "VALUES (:id, 200, true, 'Software', 'Cumulative', '[]', 'Published', true, false, :document, "
                    "'u', :now, :id)"
                ),
                {"id": A, "document": b"document", "now": now},
            )
            connection.execute(text("INSERT INTO eula VALUES (:id, :now)"), {"id": A, "now": now})
            for locale in ("en", "en-x-deu", "pt-br"):
                connection.execute(
                    text("INSERT INTO eula_text (eula_id, locale, file_sha1) VALUES (:id, :locale, 'x')"),
                    {"id": A, "locale": locale},
                )
        go(database, "0004")
        with database.read() as connection:
            found = connection.execute(text("SELECT locale, geo_id, current FROM eula_text ORDER BY 1, 2"))
            assert [tuple(row) for row in found] == [
                ("en", "", True),
                ("en", "DEU", True),
                ("pt-br", "", True),
            ]
            assert (
                bytes(connection.execute(text("SELECT original FROM update_revision")).scalar_one())
                == b"document"
            )
        # the code is that of the head
        go(database, "head")
        assert (
            sum(step.listed for step in clean_up(database, now, policy=CleanupPolicy(None, None, None, None)))
            == 1
        )
        with database.read() as connection:
            assert [row.update.title for row in list_updates(connection, q="cumul")] == ["Cumulative"]
        go(database, "0003", down=True)
        with database.read() as connection:
            locales = connection.execute(text("SELECT locale FROM eula_text ORDER BY 1")).scalars()
            assert list(locales) == ["en", "en-x-deu", "pt-br"]
            assert connection.execute(text("SELECT count(*) FROM update_revision")).scalar_one() == 1
