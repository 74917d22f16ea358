"""Fixtures every test may use: a moment, a data directory, settings, and a migrated database of one's own.

`BRIDGE_TEST_DATABASE_URL` names a PostgreSQL server on which the tests may create databases
(`.ci/postgres start DIR` makes a throwaway one and prints its URL). Without it the PostgreSQL half of every
test that asks for `database` is skipped.

`BRIDGE_TEST_PROFILE=thorough` tries 200 examples of each property where 30 are tried otherwise
(`pytest -m hypothesis` runs the properties alone).
"""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hypothesis
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import create_engine
from sqlmodel import SQLModel

import mdm.storage.tables  # noqa: F401 - fills SQLModel.metadata
from mdm.errors import Unavailable
from mdm.settings import Settings, load_settings
from mdm.storage.engine import Database
from mdm.storage.urls import parse_database_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

SERVER_VARIABLE = "BRIDGE_TEST_DATABASE_URL"
SERVER_URL = os.environ.get(SERVER_VARIABLE)  # read before `_bare_environment` hides it

# A busy machine makes an example slow now and then: that is what `timeout` in pyproject.toml is for.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=30)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=200)
hypothesis.settings.load_profile(os.environ.get("BRIDGE_TEST_PROFILE", "quick"))

gc.disable()  # until the tests are collected: modules and test functions are no garbage
_YOUNG: Final = 50_000
"""Objects made before the youngest are looked at; a test makes tens of thousands, and hardly a cycle of them."""

_RAM: Final = Path("/dev/shm")  # noqa: S108 - pytest makes a directory of its own in it
_ENOUGH_RAM: Final = 1 << 30


def pytest_configure(config: pytest.Config) -> None:
    """Keep pytest-alembic's collector away; tests/mdm/storage/test_migrations.py calls its checks itself.

    pytest-alembic 0.13.1 binds its checks to this file through an attribute that pytest 9.2 has removed.
    """
    config.option.pytest_alembic_tests_path = os.devnull
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ and _ram_is_free():
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_RAM)


_PATIENCE: Final = 900
"""Seconds for a test that starts processes: on a busy machine they take many times what they take alone."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what starts processes, so that no worker is left alone with the longest test at the end."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)
    for item in items:
        if item.get_closest_marker("e2e") is not None and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_PATIENCE))


def pytest_collection_finish() -> None:
    """Leave modules and tests out of garbage collection, which would look at them again and again."""
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    gc.enable()


def _ram_is_free() -> bool:
    """Whether the databases of the tests may lie in memory: each commit waits for the disk otherwise."""
    return os.access(_RAM, os.W_OK) and shutil.disk_usage(_RAM).free > _ENOUGH_RAM


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


_LOANS: Final = 50
"""Tests after which a database is replaced: rows deleted leave dead ones behind."""

# --- databases ------------------------------------------------------------------------------------------


class Server:
    """The PostgreSQL server of the tests, and one migrated template database on it for this process.

    A migrated database is lent to one test after the other: to empty it takes a tenth of the time that the
    server needs to make and drop one. One that a test has changed in any other way than by rows is dropped.
    """

    def __init__(self, url: str) -> None:
        """Connect to nothing yet."""
        self.url = parse_database_url(url)
        self._engine: Engine = create_engine(
            self.url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5}
        )
        self._template: str | None = None
        self._spare: str | None = None
        self._loans = 0
        self._fresh = ""
        self._empty: sql.Composed | None = None

    def lend(self) -> str:
        """The name of a migrated database that nobody else uses."""
        name, self._spare = self._spare, None
        if name is not None:
            return name
        name, self._loans = self.create(migrated=True), 0
        if self._empty is None:
            with self._inside(name) as connection:
                self._fresh, self._empty = _schema(connection), _emptying(connection)
        return name

    def take_back(self, name: str) -> None:
        """Empty it for the next test, or drop it if that is not enough or has been done often."""
        self._loans += 1
        if self._loans < _LOANS and self._is_emptied(name):
            self._spare = name
        else:
            self.drop(name)

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
        for name in (self._spare, self._template):
            if name is not None:
                self.drop(name)
        self._engine.dispose()

    def _inside(self, name: str) -> psycopg.Connection:
        return psycopg.connect(self.url_of(name), connect_timeout=5)

    def _is_emptied(self, name: str) -> bool:
        """Whether it is again what it was when it was made; not if the test has left it locked or altered."""
        try:
            with self._inside(name) as connection:
                connection.execute("SET lock_timeout = '500ms'")
                if self._empty is None or _schema(connection) != self._fresh:
                    return False
                connection.execute(self._empty)
        except psycopg.Error:
            return False
        return True

    def _execute(self, statement: str, parameters: dict[str, str] | None = None) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(statement, parameters)


def _schema(connection: psycopg.Connection) -> str:
    """A sum over everything but rows: it changes with each CREATE, ALTER or DROP."""
    (found,) = connection.execute(
        """
        SELECT concat_ws(' ',
            (SELECT version_num FROM alembic_version),
            (SELECT md5(string_agg(concat(oid, xmin), ' ' ORDER BY oid)) FROM pg_class WHERE oid >= 16384),
            (SELECT md5(string_agg(concat(attrelid, attname, xmin), ' ' ORDER BY attrelid, attnum))
             FROM pg_attribute WHERE attrelid >= 16384),
            (SELECT md5(string_agg(concat(oid, xmin), ' ' ORDER BY oid)) FROM pg_constraint WHERE oid >= 16384),
            (SELECT md5(string_agg(concat(oid, xmin), ' ' ORDER BY oid)) FROM pg_trigger),
            (SELECT md5(string_agg(concat(oid, xmin), ' ' ORDER BY oid)) FROM pg_proc WHERE oid >= 16384),
            (SELECT count(*) FROM pg_db_role_setting))
        """
    ).fetchone() or ("",)
    return str(found)


def _emptying(connection: psycopg.Connection) -> sql.Composed:
    """The statements that bring a database back to the rows and sequences it has now."""
    tables = [sql.Identifier(table.name) for table in SQLModel.metadata.sorted_tables]
    statements = [sql.SQL("DELETE FROM {}").format(table) for table in reversed(tables)]
    for table in tables:
        query = sql.SQL("SELECT json_agg(t)::text FROM {} t").format(table)
        (rows,) = connection.execute(query).fetchone() or (None,)
        if rows is not None:
            copy = sql.SQL("INSERT INTO {0} SELECT * FROM json_populate_recordset(NULL::{0}, {1})")
            statements.append(copy.format(table, rows))
    sequences = connection.execute(
        "SELECT sequencename, coalesce(last_value, start_value), last_value IS NOT NULL FROM pg_sequences"
    )
    statements += [
        sql.SQL("SELECT setval({}, {}, {})").format(f'"{name}"', value, used)
        for name, value, used in sequences
    ]
    return sql.SQL("; ").join(statements)


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
    name = _server.lend()
    yield _server.url_of(name)
    _server.take_back(name)


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
