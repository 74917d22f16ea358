"""SQLite as the bridge opens it: files, durability, turns at writing, and a full disk."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from mdm.errors import Unavailable
from mdm.storage import sqlite
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    Block = Callable[[Database], AbstractContextManager[Connection]]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _path(database: Database) -> Path:
    return Path(str(database._url.database))


def _locked(path: Path) -> sqlite3.Connection:
    """A connection of somebody else that holds the write lock."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_files_are_the_owners_only(tmp_path: Path) -> None:
    """The directory is made 0700; the file, its log and its shared memory 0600, whatever the umask."""
    path = tmp_path / "state" / "bridge.sqlite3"
    with closing(Database(f"sqlite:///{path}")) as database:
        database.migrate()
        assert _mode(path.parent) == 0o700
        assert {found.name: oct(_mode(found)) for found in path.parent.iterdir()} == {
            "bridge.sqlite3": "0o600",
            "bridge.sqlite3-wal": "0o600",
            "bridge.sqlite3-shm": "0o600",
        }


def test_an_existing_directory_and_file_keep_their_mode(tmp_path: Path) -> None:
    """What the administrator made is left as it is."""
    path = tmp_path / "bridge.sqlite3"
    tmp_path.chmod(0o750)
    path.touch()
    path.chmod(0o640)
    with closing(Database(f"sqlite:///{path}")) as database:
        database.ping()
    assert (_mode(tmp_path), _mode(path)) == (0o750, 0o640)


@pytest.mark.parametrize(
    ("pragma", "writer", "reader"),
    [
        ("journal_mode", "wal", "wal"),
        ("busy_timeout", 10_000, 10_000),
        ("synchronous", 2, None),
        ("foreign_keys", 1, None),
        ("query_only", 0, 1),
    ],
)
def test_connections_are_set_up(
    sqlite_database: Database, pragma: str, writer: object, reader: object
) -> None:
    """WAL, a full sync at each commit, foreign keys, a bound on waiting, and readers that cannot write."""
    with sqlite_database.write() as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == writer
    if reader is not None:
        with sqlite_database.read() as connection:
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == reader


def test_a_file_that_cannot_be_made_is_unavailable_until_it_can(tmp_path: Path) -> None:
    """The same Database works as soon as the obstacle is gone."""
    obstacle = tmp_path / "data"
    obstacle.touch()
    with closing(Database(f"sqlite:///{obstacle}/bridge.sqlite3")) as database:
        with pytest.raises(Unavailable, match=r"database file .*/data/bridge\.sqlite3 cannot be created"):
            database.migrate()
        obstacle.unlink()
        database.migrate()
        assert database.at_head()


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    """Nothing is overwritten."""
    path = tmp_path / "bridge.sqlite3"
    path.write_bytes(b"not a database" * 400)
    with closing(Database(f"sqlite:///{path}")) as database:
        with pytest.raises(Unavailable, match="damaged or is not a database"):
            database.ping()
        with pytest.raises(Unavailable, match="damaged or is not a database"):
            database.migrate()
    assert path.read_bytes() == b"not a database" * 400


def test_another_process_that_writes_too_long_is_unavailable(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer waits for its turn, gives up in the end, and succeeds once the lock is gone; readers go on."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    with closing(Database(sqlite_url)) as database:
        with closing(_locked(_path(database))):
            with pytest.raises(Unavailable, match="is locked"), database.write():
                pytest.fail("the block must not run")
            database.ping()
        with database.write() as connection:
            connection.execute(text("DELETE FROM device"))


@pytest.mark.parametrize("block", [Database.write, Database.read])
def test_waiting_for_a_connection_ends(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, block: Block
) -> None:
    """Threads of this process wait for a connection as long as for another process."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    with (
        closing(Database(sqlite_url, pool_size=1)) as database,
        block(database),
        pytest.raises(Unavailable, match="overloaded"),
        block(database),
    ):
        pytest.fail("the block must not run")


def test_a_full_disk_is_unavailable_until_there_is_room(sqlite_database: Database) -> None:
    """At INSERT or COMMIT: nothing half-written stays, and the same Database goes on afterwards."""
    insert = text("INSERT INTO eula_text (eula_id, locale, file_sha1, text) VALUES ('e', :locale, '', :text)")

    def fill(size: int) -> None:
        for number in range(200):
            with sqlite_database.write() as connection:
                connection.execute(insert, {"locale": f"{size}-{number}", "text": "x" * size})

    with sqlite_database.write() as connection:
        connection.execute(text("INSERT INTO eula VALUES ('e', '2026-11-21 00:00:00')"))
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 20}")
    for size in (2_000, 5_000, 200_000):
        with pytest.raises(Unavailable, match="disk of the database is full") as caught:
            fill(size)
        assert caught.value.retry_after == 10
        sqlite_database.ping()
    with sqlite_database.write() as connection:
        kept = connection.execute(text("SELECT count(*) FROM eula_text")).scalar_one()
        assert kept > 0
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    fill(10)
    with sqlite_database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM eula_text")).scalar_one() == kept + 200
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def _open(
    url: str, barrier: multiprocessing.synchronize.Barrier, results: multiprocessing.Queue[str]
) -> None:
    with closing(Database(url)) as database:
        barrier.wait()
        try:
            database.ping()
            results.put("ok")
        except Unavailable as error:
            results.put(error.detail)


def test_many_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    """SQLite answers "locked" without waiting when two switch a new file to WAL; nobody may see that."""
    context = multiprocessing.get_context("fork")
    for number in range(10):
        barrier, results = context.Barrier(6), context.Queue()
        url = f"sqlite:///{tmp_path}/{number}.sqlite3"
        processes = [context.Process(target=_open, args=(url, barrier, results)) for _ in range(6)]
        for process in processes:
            process.start()
        assert [results.get(timeout=30) for _ in processes] == ["ok"] * 6
        for process in processes:
            process.join()


def test_the_switch_to_wal_gives_up_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file somebody else keeps locked is unavailable, not an endless wait."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    path = tmp_path / "bridge.sqlite3"
    with (
        closing(_locked(path)),
        closing(Database(f"sqlite:///{path}")) as database,
        pytest.raises(Unavailable, match="is locked"),
    ):
        database.ping()


def test_losing_the_race_to_make_the_file_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the making another process may have made it."""
    path = tmp_path / "bridge.sqlite3"
    path.touch()
    answers = iter([False, True])
    monkeypatch.setattr(Path, "exists", lambda _: next(answers))
    sqlite._create_file(path)
    assert list(answers) == []
