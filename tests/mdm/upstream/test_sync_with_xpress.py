"""A whole sync whose answers are compressed stores what one without does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from mdm.catalog.runs import request_sync
from mdm.catalog.upstreams import UpstreamChange, change_upstream, ensure_upstream
from mdm.catalog.worker import SyncWorker
from mdm.lab.generate import build_catalogue
from mdm.lab.upstream import UpstreamServer
from mdm.settings import load_settings
from mdm.storage.engine import Database
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    Category,
    ListedUpdate,
    RevisionCategory,
    RevisionRelation,
    RevisionText,
    UpdateRevision,
)

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from mdm.catalog.runs import RunView

_CATALOGUE = (UpdateRevision, RevisionText, ListedUpdate, RevisionRelation, RevisionCategory, Category)


def _sync(database: Database, url: str, data_dir: Path, now: datetime, **options: Any) -> RunView:
    """Sync everything as the service does it."""
    with database.write() as connection:
        ensure_upstream(connection, url)
        change_upstream(connection, url, url, UpstreamChange(mode="filtered"))
        request_sync(connection, url, "manual", "test", now)
    settings = load_settings(data_dir=data_dir, upstream_url=url, **options)
    run = SyncWorker(database, settings, lambda: now).run_pending()
    assert run is not None
    assert (run.state, run.error, run.failed) == ("succeeded", None, 0)
    return run


def _stored(database: Database) -> list[list[str]]:
    """All rows of the catalogue, table by table."""
    with database.read() as connection:
        return [
            sorted(repr(tuple(row)) for row in connection.execute(select(table_of(model))))
            for model in _CATALOGUE
        ]


def test_a_sync_with_xpress_stores_what_one_without_does(
    sqlite_database: Database, data_dir: Path, tmp_path: Path, now: datetime
) -> None:
    """Over real sockets, with far fewer bytes; only the setting makes the difference."""
    plain = Database(f"sqlite:///{tmp_path / 'plain.sqlite3'}")
    try:
        plain.migrate()
        with UpstreamServer(build_catalogue(seed=1, now=now), clock=lambda: now) as server:
            without = _sync(plain, server.url, data_dir, now)
            compressed = _sync(sqlite_database, server.url, data_dir, now, upstream_xpress=True)
        assert compressed.bytes_received < without.bytes_received * 0.8
        assert _stored(sqlite_database) == _stored(plain)
        assert len(_stored(plain)[0]) > 100
    finally:
        plain.close()
