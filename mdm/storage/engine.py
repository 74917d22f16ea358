"""`Database`: transactions on SQLite or PostgreSQL that behave the same, and the schema's migration.

Services take the `Connection` that `read()` or `write()` yields; they never see an engine. A unit of work is
one such block, run in a worker thread.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import inspect, text

from mdm.storage import postgresql, sqlite
from mdm.storage.faults import faults_translated
from mdm.storage.urls import parse_database_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

__all__ = ["Database"]

_ADVISORY_LOCK: Final = 0x63737062
"""pg_advisory lock number of a migration: "cspb"."""
_LOCK_WAIT: Final = "60s"
"""How long to wait while another process migrates."""
_TABLE_LOCK_TIMEOUT: Final = "4s"
_STATEMENT_TIMEOUT: Final = "5s"
"""A migration that needs more than this would stop a running service for longer than its clients wait."""
_SCRIPT: Final = re.compile(r"([0-9]{4})_\w+\.py")
"""The name of a migration's file: its revision, and what it is about."""


class Database:
    """A SQLite file or a PostgreSQL database; safe to share between threads.

    Every method raises `mdm.errors.Unavailable` when the database is unreachable, locked, full or damaged,
    and works again as soon as the database does.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        """Connect to nothing yet; raises ValueError for a URL that names no supported database.

        `pool_size` bounds the connections at a time: readers on SQLite (which has one writer), all on
        PostgreSQL.
        """
        self._url = parse_database_url(url)
        if self._url.get_backend_name() == "sqlite":
            self.dialect: Literal["sqlite", "postgresql"] = "sqlite"
            self._writer = sqlite.writer_engine(self._url)
            self._reader = sqlite.reader_engine(self._url, pool_size=pool_size)
        else:
            self.dialect = "postgresql"
            self._writer = postgresql.pooled_engine(self._url, pool_size=pool_size)
            self._reader = postgresql.reader_of(self._writer)

    def __repr__(self) -> str:
        """Name the database without its password."""
        return f"Database({self._url.render_as_string(hide_password=True)!r})"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection that sees the state at its first statement and refuses to write."""
        with faults_translated(writing=False), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection whose work is committed, durably, at the end and undone by any exception.

        SQLite runs one such block at a time. PostgreSQL runs them side by side (READ COMMITTED), so a row
        that is read in order to be changed is selected `.with_for_update()`, which SQLite leaves out. When
        the commit's answer is lost the outcome is unknown, although `Unavailable` is raised.
        """
        with faults_translated(writing=True), self._writer.begin() as connection:
            yield connection

    def ping(self) -> None:
        """Ask the database for nothing but an answer."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def at_head(self) -> bool:
        """Whether the schema is the one this version of the code was written for."""
        with self.read() as connection:
            return _revision(connection) == _head()

    def migrate(self) -> None:
        """Bring the schema to the head in one transaction; two processes that start together take turns.

        Raises Unavailable also when a newer version of the bridge has migrated the database already.
        """
        if self.at_head():
            return
        # Imported here: Alembic costs each start a tenth of a second, and a database that is at the head needs none.
        from mdm.storage.migration import upgrade  # noqa: PLC0415

        with self.migrating() as connection:
            upgrade(connection, _revision(connection))

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Yield the connection a migration runs on: exclusive, one transaction, foreign keys checked at its end."""
        engine = self._migration_engine()
        try:
            with faults_translated(writing=True), engine.begin() as connection:
                if self.dialect == "postgresql":
                    _take_turns(connection)
                yield connection
                if self.dialect == "sqlite":
                    _check_foreign_keys(connection)
        finally:
            engine.dispose()

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._reader.dispose()
        self._writer.dispose()

    def _migration_engine(self) -> Engine:
        if self.dialect == "sqlite":
            return sqlite.migration_engine(self._url)
        return postgresql.migration_engine(self._url)


def _revision(connection: Connection) -> str | None:
    """What the database says of its schema; None for one without any."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


@cache
def _head() -> str:
    """The newest revision there is, by the names of the files: reading them all takes Alembic."""
    scripts = (_SCRIPT.fullmatch(each.name) for each in files("migrations.versions").iterdir())
    return max(script[1] for script in scripts if script is not None)


def _take_turns(connection: Connection) -> None:
    # Transaction-level: released by the commit itself, so nobody can read between the two.
    connection.execute(text("SELECT set_config('lock_timeout', :wait, true)"), {"wait": _LOCK_WAIT})
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
    connection.execute(text("SELECT set_config('lock_timeout', :wait, true)"), {"wait": _TABLE_LOCK_TIMEOUT})
    connection.execute(
        text("SELECT set_config('statement_timeout', :wait, true)"), {"wait": _STATEMENT_TIMEOUT}
    )


def _check_foreign_keys(connection: Connection) -> None:
    broken = {row[0] for row in connection.exec_driver_sql("PRAGMA foreign_key_check")}
    if broken:
        raise RuntimeError(f"the migration would leave dangling references in {sorted(broken)}")
