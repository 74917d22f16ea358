"""Which database errors mean "a part we need is down", in words for an administrator.

Everything else (a broken constraint, a wrong statement) passes through unchanged: the caller knows better.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mdm.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["faults_translated", "is_sqlite_busy"]

_PRIMARY: Final = 0xFF
"""Extended SQLite codes carry the primary one in their lowest byte."""

_READ_ONLY_FILE: Final = "The database cannot be written: its file or its disk is read-only."
_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: "The database is locked: another process has been writing for too long.",
    sqlite3.SQLITE_LOCKED: "The database is locked: another process has been writing for too long.",
    sqlite3.SQLITE_PROTOCOL: "The database is locked: too many processes open it at once.",
    sqlite3.SQLITE_FULL: "The disk of the database is full.",
    sqlite3.SQLITE_IOERR: "The disk of the database reports an error.",
    sqlite3.SQLITE_CANTOPEN: "The database file cannot be opened.",
    sqlite3.SQLITE_PERM: "The database file cannot be opened.",
    sqlite3.SQLITE_NOMEM: "There is not enough memory for the database.",
    sqlite3.SQLITE_CORRUPT: "The database file is damaged.",
    sqlite3.SQLITE_NOTADB: "The database file is damaged or is not a database.",
}

# libpq gives a failed connection no code: absent server, wrong password and unknown database look alike.
_UNREACHABLE: Final = "The PostgreSQL server cannot be reached or refuses the connection."
_CONTENTION: Final = "Other changes to the same data were under way; nothing was changed."
# https://www.postgresql.org/docs/current/errcodes-appendix.html: whole codes first, then their classes.
_POSTGRESQL: Final = {
    "25006": "PostgreSQL takes no changes: the server is a standby or set to read-only.",
    "53100": "The disk of the PostgreSQL server is full.",
    "53200": "The PostgreSQL server has not enough memory.",
    "53300": "The PostgreSQL server has no free connection.",
    "55P03": _CONTENTION,
    "57014": "The PostgreSQL server took too long to answer.",
    "08": _UNREACHABLE,
    "40": _CONTENTION,
    "53": "The PostgreSQL server is out of resources.",
    "57": "The PostgreSQL server is shutting down or starting up.",
    "58": "The PostgreSQL server reports a fault of its system.",
}

_RETRY_AT_ONCE: Final = 1
"""Seconds: contention passes quickly, a server that is down does not."""


@contextmanager
def faults_translated(*, writing: bool) -> Iterator[None]:
    """Turn an unreachable, locked, full or damaged database into `Unavailable`, the driver's error as its cause."""
    try:
        yield
    except PoolTimeoutError as error:
        message = "The database is overloaded: every connection has been in use for too long."
        raise Unavailable(message) from error
    except DBAPIError as error:
        sentence = _sentence(error, writing=writing)
        if sentence is None:
            raise
        if sentence == _CONTENTION:
            raise Unavailable(sentence, retry_after=_RETRY_AT_ONCE) from error
        raise Unavailable(sentence) from error


def is_sqlite_busy(error: sqlite3.Error) -> bool:
    """Whether a lock of another connection is the cause."""
    return error.sqlite_errorcode & _PRIMARY == sqlite3.SQLITE_BUSY


def _sentence(error: DBAPIError, *, writing: bool) -> str | None:
    match error.orig:
        case sqlite3.Error() as cause:
            return _sqlite_sentence(cause, writing=writing)
        case psycopg.Error() as cause:
            return _postgresql_sentence(cause, writing=writing, lost=error.connection_invalidated)
        case _:
            return None


def _sqlite_sentence(cause: sqlite3.Error, *, writing: bool) -> str | None:
    code = getattr(cause, "sqlite_errorcode", None)  # absent on errors that the module raises itself
    if code is None:
        return None
    primary = code & _PRIMARY
    if primary == sqlite3.SQLITE_READONLY:
        # A reader's connection is query_only: a write there is our mistake and must not look like a fault.
        return _READ_ONLY_FILE if writing else None
    return _SQLITE.get(primary)


def _postgresql_sentence(cause: psycopg.Error, *, writing: bool, lost: bool) -> str | None:
    state = cause.sqlstate
    if state is None:  # the client library's own: no connection, or one that broke
        return _UNREACHABLE if lost or isinstance(cause, psycopg.OperationalError) else None
    if state == "25006" and not writing:
        return None  # as above: a write in a reader's transaction
    return _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2])
