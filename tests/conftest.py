"""Fixtures every test may use: a moment, a data directory, settings, and a migrated database of one's own.

`BRIDGE_TEST_DATABASE_URL` names a PostgreSQL server on which the tests may create databases
(`.ci/postgres start DIR` makes a throwaway one and prints its URL). Without it the PostgreSQL half of every
test that asks for `database` is skipped.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import hypothesis
import pytest
from sqlalchemy import create_engine

from mdm.errors import Unavailable
from mdm.settings import Settings, load_settings
from mdm.storage.engine import Database
from mdm.storage.urls import parse_database_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

SERVER_VARIABLE = "BRIDGE_TEST_DATABASE_URL"
SERVER_URL = os.environ.get(SERVER_VARIABLE)  # read before `_bare_environment` hides it

# A busy machine makes an example slow now and then: that is what `timeout` in pyproject.toml is for.
hypothesis.settings.register_profile("bridge", deadline=None, max_examples=200)
hypothesis.settings.load_profile("bridge")


def pytest_configure(config: pytest.Config) -> None:
    """Keep pytest-alembic's collector away; tests/mdm/storage/test_migrations.py calls its checks itself.

    pytest-alembic 0.13.1 binds its checks to this file through an attribute that pytest 9.2 has removed.
    """
    config.option.pytest_alembic_tests_path = os.devnull


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's shell reaches a test, nor a process it starts."""
    for name in os.environ:
        if name.upper().startswith("BRIDGE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def now() -> datetime:
    """A moment to pass where the clock's would go."""
    return datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory that does not exist yet."""
    return tmp_path / "data"


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    """Settings with a data directory of the test's own and a free port."""
    return load_settings(data_dir=data_dir, port=0)


# --- databases ------------------------------------------------------------------------------------------


class Server:
    """The PostgreSQL server of the tests, and one migrated template database on it for this process."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet."""
        self.url = parse_database_url(url)
        self._engine: Engine = create_engine(
            self.url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5}
        )
        self._template: str | None = None

    def create(self, *, migrated: bool) -> str:
        """Create a database and return its name."""
        if migrated and self._template is None:
            template = self.create(migrated=False)
            database = Database(self.url_of(template))
            database.migrate()
            database.close()
            self._template = template
        name = f"bridge_test_{secrets.token_hex(8)}"
        source = self._template if migrated else "template0"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        return name

    def drop(self, name: str) -> None:
        """Drop a database and whatever a failed test left connected to it."""
        # Not WITH (FORCE): that fails on an autovacuum worker, which a mere DROP sends away.
        self._execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %(name)s AND usename = current_user",
            {"name": name},
        )
        self._execute(f'DROP DATABASE "{name}"')

    def url_of(self, name: str) -> str:
        """The URL a bridge would be given for this database."""
        return self.url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)

    def close(self) -> None:
        """Leave nothing on the server."""
        if self._template is not None:
            self.drop(self._template)
        self._engine.dispose()

    def _execute(self, statement: str, parameters: dict[str, str] | None = None) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(statement, parameters)


@pytest.fixture(scope="session")
def _server() -> Iterator[Server]:
    if not SERVER_URL:
        pytest.skip(f"{SERVER_VARIABLE} names no PostgreSQL server")
    try:
        with contextlib.closing(Database(SERVER_URL)) as database:
            database.ping()
    except Unavailable as error:
        pytest.skip(f"{SERVER_VARIABLE}: {error.detail}")
    server = Server(SERVER_URL)
    yield server
    server.close()


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "bridge.sqlite3"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def empty_database_url(request: pytest.FixtureRequest, data_dir: Path) -> Iterator[str]:
    """The URL of a database without any table, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{data_dir / 'bridge.sqlite3'}"
        return
    server: Server = request.getfixturevalue("_server")
    name = server.create(migrated=False)
    yield server.url_of(name)
    server.drop(name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database of the test's own, on SQLite and on PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def postgresql_url(_server: Server) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database of the test's own."""
    name = _server.create(migrated=True)
    yield _server.url_of(name)
    _server.drop(name)


@pytest.fixture
def sqlite_url(data_dir: Path, _sqlite_template: Path) -> str:
    """The URL of a migrated SQLite database where a bridge with `settings` looks for it."""
    data_dir.mkdir(mode=0o700, exist_ok=True)
    path = data_dir / "bridge.sqlite3"
    shutil.copyfile(_sqlite_template, path)
    path.chmod(0o600)
    return f"sqlite:///{path}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database of the test's own, on SQLite and on PostgreSQL."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    """A migrated SQLite database, for tests to which the kind of database makes no difference."""
    database = Database(sqlite_url)
    yield database
    database.close()
