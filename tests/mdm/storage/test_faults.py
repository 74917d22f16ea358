"""Which driver errors are outages, and what they are called."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mdm.errors import Unavailable
from mdm.storage.faults import faults_translated


def _sqlite(code: int | None) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("as SQLite puts it")
    if code is not None:
        error.sqlite_errorcode = code
    return error


def _postgresql(state: str) -> psycopg.Error:
    return psycopg.errors.lookup(state)("as PostgreSQL puts it")


def _raise(cause: Exception, *, writing: bool, lost: bool = False) -> None:
    with faults_translated(writing=writing):
        raise OperationalError("SELECT 1", {}, cause, connection_invalidated=lost)


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (_sqlite(sqlite3.SQLITE_BUSY), "is locked"),
        (_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), "is locked"),
        (_sqlite(sqlite3.SQLITE_FULL), "disk of the database is full"),
        (_sqlite(sqlite3.SQLITE_IOERR_FSYNC), "disk of the database reports an error"),
        (_sqlite(sqlite3.SQLITE_CANTOPEN), "cannot be opened"),
        (_sqlite(sqlite3.SQLITE_READONLY), "read-only"),
        (_sqlite(sqlite3.SQLITE_READONLY_DIRECTORY), "read-only"),
        (_sqlite(sqlite3.SQLITE_CORRUPT), "damaged"),
        (_sqlite(sqlite3.SQLITE_NOTADB), "damaged or is not a database"),
        (_postgresql("08006"), "cannot be reached"),
        (_postgresql("25006"), "takes no changes"),
        (_postgresql("53100"), "disk of the PostgreSQL server is full"),
        (_postgresql("53300"), "no free connection"),
        (_postgresql("53400"), "out of resources"),
        (_postgresql("57014"), "took too long"),
        (_postgresql("57P01"), "shutting down or starting up"),
        (_postgresql("58030"), "fault of its system"),
        (psycopg.OperationalError("connection refused"), "cannot be reached"),
    ],
)
def test_an_outage_is_unavailable_in_words(cause: Exception, words: str) -> None:
    """Each outage has a sentence, keeps its cause, and may be tried again after ten seconds."""
    with pytest.raises(Unavailable, match=words) as caught:
        _raise(cause, writing=True)
    assert isinstance(caught.value.__cause__, DBAPIError)
    assert caught.value.__cause__.orig is cause
    assert caught.value.retry_after == 10


@pytest.mark.parametrize("state", ["40001", "40P01", "55P03"])
def test_contention_may_be_tried_again_at_once(state: str) -> None:
    """A deadlock or a lock that took too long passes quickly."""
    with pytest.raises(Unavailable, match="under way") as caught:
        _raise(_postgresql(state), writing=True)
    assert caught.value.retry_after == 1


@pytest.mark.parametrize(
    "cause",
    [
        _sqlite(sqlite3.SQLITE_ERROR),
        _sqlite(None),
        _postgresql("42P01"),
        psycopg.ProgrammingError("the client's own"),
        RuntimeError("of no driver"),
    ],
)
@pytest.mark.parametrize("writing", [True, False], ids=["write", "read"])
def test_a_mistake_of_ours_stays_what_it_is(cause: Exception, writing: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """What trying again cannot mend is not called an outage."""
    with pytest.raises(OperationalError):
        _raise(cause, writing=writing)


@pytest.mark.parametrize("cause", [_sqlite(sqlite3.SQLITE_READONLY), _postgresql("25006")])
def test_writing_in_a_readers_block_stays_a_mistake(cause: Exception) -> None:
    """The same code that means a read-only disk for a writer means a wrong block for a reader."""
    with pytest.raises(OperationalError):
        _raise(cause, writing=False)


def test_a_lost_connection_is_unavailable() -> None:
    """An error the client library raises over a broken connection is an outage, whatever its class."""
    with pytest.raises(Unavailable, match="cannot be reached"):
        _raise(psycopg.InterfaceError("the connection is closed"), writing=True, lost=True)
    with pytest.raises(OperationalError):
        _raise(psycopg.InterfaceError("wrong use"), writing=True)


def test_a_pool_without_a_free_connection_is_unavailable() -> None:
    """Waiting for a connection has an end."""
    with pytest.raises(Unavailable, match="overloaded"), faults_translated(writing=False):
        raise PoolTimeoutError


def test_a_broken_constraint_and_other_exceptions_pass() -> None:
    """Services answer conflicts themselves."""
    with pytest.raises(IntegrityError), faults_translated(writing=True):
        raise IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE"))
    with pytest.raises(KeyError), faults_translated(writing=True):
        raise KeyError
