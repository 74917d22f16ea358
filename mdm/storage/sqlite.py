"""How the bridge opens SQLite: one writer, several readers, nothing acknowledged before it is on the disk.

SQLAlchemy's recipe for real transactions is used (isolation_level None and an explicit BEGIN): left alone,
Python's driver begins lazily and a transaction that reads before it writes may fail to get its lock.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import NullPool, QueuePool, create_engine, event

from mdm.errors import Unavailable
from mdm.storage.faults import is_sqlite_busy

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL

__all__ = ["migration_engine", "reader_engine", "writer_engine"]

BUSY_TIMEOUT: Final = 10.0
"""Seconds to wait for the write lock of another process, and for a connection of our own pools."""
MIGRATION_BUSY_TIMEOUT: Final = 60.0
"""Seconds to wait while another process migrates."""
_WAL_RETRY: Final = 0.01
"""Seconds between two attempts to switch a new file to WAL."""

_creation = threading.Lock()


def writer_engine(url: URL) -> Engine:
    """Return the engine of the only connection of this process that writes; threads take turns at it."""
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT,
        hide_parameters=True,
    )
    _prepare(engine, "BEGIN IMMEDIATE", BUSY_TIMEOUT, "foreign_keys = ON", "synchronous = FULL")
    return engine


def reader_engine(url: URL, *, pool_size: int) -> Engine:
    """Return an engine whose transactions see one unchanging state and can write nothing."""
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT,
        hide_parameters=True,
    )
    _prepare(engine, "BEGIN", BUSY_TIMEOUT, "query_only = ON")
    return engine


def migration_engine(url: URL) -> Engine:
    """Return an engine with foreign keys off, as rebuilding a table (Alembic's batch mode) needs it.

    With them on, dropping the old table would delete every row that refers to it. They cannot be switched
    inside a transaction, so this is an engine of its own; `Database.migrating` checks the keys at the end.
    """
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    _prepare(engine, "BEGIN IMMEDIATE", MIGRATION_BUSY_TIMEOUT, "foreign_keys = OFF", "synchronous = FULL")
    return engine


def _prepare(engine: Engine, begin: str, busy_timeout: float, *pragmas: str) -> None:
    def before_connect(*_arguments: object) -> None:
        _create_file(Path(str(engine.url.database)))

    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(busy_timeout * 1000)}")
        _switch_to_wal(connection, busy_timeout)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "do_connect", before_connect)
    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)


def _create_file(path: Path) -> None:
    """Create the directory 0700 and the file 0600 if they are missing; raises Unavailable.

    The file holds device credentials. SQLite gives its -wal and -shm files the same mode.
    """
    # The lock matters: closing any descriptor of a file drops all POSIX locks this process has on it, so no
    # other thread may have opened the database before this one has closed the file it made.
    with _creation:
        if path.exists():
            return
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            if path.exists():
                return  # another process was quicker
            message = f"The database file {path} cannot be created: {error.strerror}."
            raise Unavailable(message) from error


def _switch_to_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Set WAL; a fresh file that several processes open at once answers "locked" without waiting."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not is_sqlite_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_RETRY)
        else:
            return
