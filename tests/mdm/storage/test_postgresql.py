"""PostgreSQL as the bridge opens it: bounds on waiting, and connections that break."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from mdm.errors import Unavailable
from mdm.storage import engine, postgresql
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    Block = Callable[[Database], AbstractContextManager[Connection]]

pytestmark = pytest.mark.postgres


@pytest.fixture
def server_database(postgresql_url: str) -> Iterator[Database]:
    """A migrated PostgreSQL database."""
    with closing(Database(postgresql_url)) as database:
        yield database


def _with_options(url: str, options: str) -> str:
    return make_url(url).update_query_dict({"options": options}).render_as_string(hide_password=False)


def _terminate_others(url: str) -> None:
    """Break every connection to the database but our own, as a restart of the server does."""
    statement = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(url) as connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("statement_timeout", "15s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("TimeZone", "UTC"),
        ("application_name", "csp-bridge"),
        ("transaction_isolation", "read committed"),
        ("transaction_read_only", "off"),
    ],
)
def test_a_writers_connection_is_set_up(server_database: Database, setting: str, value: str) -> None:
    """Every wait has a bound, and the server's administrator sees whose connections these are."""
    with server_database.write() as connection:
        assert connection.execute(text(f"SHOW {setting}")).scalar_one() == value


def test_a_reader_has_a_snapshot_and_may_not_write(server_database: Database) -> None:
    """A reader shares the pool but not the writer's transaction mode, in either order."""
    for _ in range(2):
        with server_database.read() as connection:
            assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "repeatable read"
            assert connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on"
        with server_database.write() as connection:
            assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
            assert connection.execute(text("SHOW transaction_read_only")).scalar_one() == "off"


def test_the_urls_parameters_win(postgresql_url: str) -> None:
    """The administrator's URL may set what we set, and the rest of ours stays."""
    url = _with_options(postgresql_url, "-c statement_timeout=3s") + "&application_name=mine"
    with closing(Database(url)) as database, database.read() as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "3s"
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "5s"
        assert connection.execute(text("SHOW application_name")).scalar_one() == "mine"


def test_connections_broken_between_uses_are_replaced(server_database: Database, postgresql_url: str) -> None:
    """After a restart of the server the next block works: connections are checked before use."""
    server_database.ping()
    _terminate_others(postgresql_url)
    server_database.ping()


@pytest.mark.parametrize("block", [Database.write, Database.read])
def test_a_connection_broken_in_a_block_is_unavailable(
    server_database: Database, postgresql_url: str, block: Block
) -> None:
    """The block under way fails as an outage, the next one works."""

    def use() -> None:
        with block(server_database) as connection:
            connection.execute(text("SELECT 1"))
            _terminate_others(postgresql_url)
            connection.execute(text("SELECT 1"))

    with pytest.raises(Unavailable, match=r"PostgreSQL server (is shutting down|cannot be reached)"):
        use()
    server_database.ping()


def test_a_statement_that_takes_too_long_is_unavailable(postgresql_url: str) -> None:
    """The server itself ends it."""
    url = _with_options(postgresql_url, "-c statement_timeout=50ms")
    with closing(Database(url)) as database:
        with pytest.raises(Unavailable, match="took too long"), database.read() as connection:
            connection.execute(text("SELECT pg_sleep(5)"))
        database.ping()


def test_a_lock_that_takes_too_long_may_be_tried_again(postgresql_url: str) -> None:
    """Two writers of one row: the second gives up after the lock timeout, and nothing of it stays."""
    url = _with_options(postgresql_url, "-c lock_timeout=50ms")
    change = text("UPDATE device_group SET name = 'x' WHERE id = 'all-devices'")
    with closing(Database(url)) as database:
        with database.write() as first:
            first.execute(change)
            with pytest.raises(Unavailable, match="under way") as caught, database.write() as second:
                second.execute(change)
        assert caught.value.retry_after == 1


def test_a_deadlock_is_unavailable_for_one_and_success_for_the_other(
    server_database: Database,
) -> None:
    """PostgreSQL picks a victim; it may simply be tried again."""
    with server_database.write() as connection:
        connection.execute(text("INSERT INTO eula VALUES ('a', now()), ('b', now())"))
    barrier = threading.Barrier(2)
    outcomes: list[str] = []

    def cross(first: str, second: str) -> None:
        lock = text("SELECT id FROM eula WHERE id = :id FOR UPDATE")
        try:
            with server_database.write() as connection:
                connection.execute(lock, {"id": first})
                barrier.wait(timeout=10)
                connection.execute(lock, {"id": second})
            outcomes.append("done")
        except Unavailable as error:
            outcomes.append(error.detail)

    threads = [threading.Thread(target=cross, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["Other changes to the same data were under way; nothing was changed.", "done"]


def test_waiting_for_a_connection_ends(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that is used up is an outage after a while."""
    monkeypatch.setattr(postgresql, "POOL_TIMEOUT", 0.05)
    with (
        closing(Database(postgresql_url, pool_size=1)) as database,
        database.write(),
        pytest.raises(Unavailable, match="overloaded"),
        database.read(),
    ):
        pytest.fail("the block must not run")


def test_migrations_take_turns_by_an_advisory_lock(
    server_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one process migrates another waits, in the end in vain, and changes nothing."""
    monkeypatch.setattr(engine, "_LOCK_WAIT", "50ms")
    with server_database.migrating() as connection:
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "4s"
        assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "5s"
        with pytest.raises(Unavailable, match="under way"), server_database.migrating():
            pytest.fail("the block must not run")
    with server_database.migrating():
        pass
