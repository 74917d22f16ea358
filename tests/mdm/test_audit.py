"""The audit trail: an entry is part of its change, says what was before and after, and has its place in one order."""

from __future__ import annotations

import gc
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text, update

from mdm.audit import Origin, _waiting, list_entries, record
from mdm.audit_chain import verify
from mdm.errors import Unavailable
from mdm.storage.engine import Database
from mdm.storage.statements import table_of
from mdm.storage.tables import AuditEntry, AuditHead, DeviceGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ORIGIN = Origin("client:ci", token_id="tok_1", request_id="r1", remote_addr="10.0.0.1")


def note(conn: Connection, object_id: str = "c", **more: Any) -> None:
    """Record some change."""
    record(conn, Origin("x"), now=NOW, action="a", object_type="b", object_id=object_id, **more)


def object_ids(database: Database) -> list[str]:
    """The objects of all entries, in the order of the chain, which must be whole."""
    entries = table_of(AuditEntry)
    with database.read() as conn:
        verdict = verify(conn)
        found = list(conn.scalars(select(entries.c.object_id).order_by(entries.c.seq)))
    assert verdict.fault is None
    assert verdict.checked == len(found)
    return found


# --- what an entry says ---------------------------------------------------------------------------------


def test_rows_are_read_newest_first_and_page_by_page(database: Database, now: datetime) -> None:
    """Pages join without a gap, and filters hold."""
    with database.write() as conn:
        for number in range(3):
            record(
                conn,
                ORIGIN,
                now=now,
                action="device.create" if number else "group.create",
                object_type="device" if number else "group",
                object_id=str(number),
                detail={"number": number},
            )
    with database.read() as conn:
        everything = list_entries(conn, before=None, limit=10)
        first = list_entries(conn, before=None, limit=2)
        rest = list_entries(conn, before=first[-1].seq, limit=2)
        devices = list_entries(conn, before=None, limit=10, object_type="device")
        one = list_entries(conn, before=None, limit=10, action="device.create", object_id="2")
    assert [(entry.seq, entry.object_id) for entry in everything] == [(3, "2"), (2, "1"), (1, "0")]
    assert first + rest == everything
    assert devices == everything[:2]
    assert one == everything[:1]
    assert everything[0].detail == {"number": 2, "token_id": "tok_1"}
    assert (everything[0].at, everything[0].actor, everything[0].request_id, everything[0].remote_addr) == (
        now,
        "client:ci",
        "r1",
        "10.0.0.1",
    )


def test_filters_by_actor_and_time(database: Database) -> None:
    """`since` is included, `until` is not."""
    with database.write() as conn:
        for number, actor in enumerate(("anna", "bert", "anna")):
            moment = NOW + timedelta(hours=number)
            record(conn, Origin(actor), now=moment, action="a", object_type="b", object_id=str(number))
    with database.read() as conn:

        def found(**filters: Any) -> list[str]:
            return [entry.object_id for entry in list_entries(conn, before=None, limit=9, **filters)]

        assert found(actor="anna") == ["2", "0"]
        assert found(since=NOW + timedelta(hours=1)) == ["2", "1"]
        assert found(until=NOW + timedelta(hours=1)) == ["0"]
        assert found(since=NOW, until=NOW + timedelta(hours=2), actor="bert") == ["1"]


@pytest.mark.parametrize(
    ("before", "after", "kept_before", "kept_after"),
    [
        (None, None, None, None),
        (None, {"name": "a"}, None, {"name": "a"}),
        ({"name": "a"}, None, {"name": "a"}, None),
        ({"name": "a", "size": 1}, {"name": "b", "size": 1}, {"name": "a"}, {"name": "b"}),
        ({"name": None}, {"name": "b", "new": 0}, {"name": None}, {"name": "b", "new": 0}),
        ({"ids": (1, 2)}, {"ids": [1, 2]}, {}, {}),
        ({"at": NOW}, {"at": None}, {"at": "2026-11-21T12:00:00Z"}, {"at": None}),
        ({"flag": False}, {"flag": 0.5}, {"flag": False}, {"flag": 0.5}),
    ],
)
def test_of_two_states_what_differs_is_kept(
    database: Database,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    kept_before: Mapping[str, Any] | None,
    kept_after: Mapping[str, Any] | None,
) -> None:
    """And what is read is what was hashed, whatever kind of sequence or time the caller gave."""
    with database.write() as conn:
        note(conn, before=before, after=after)
    with database.read() as conn:
        (entry,) = list_entries(conn, before=None, limit=2)
    assert (entry.before, entry.after) == (kept_before, kept_after)
    assert object_ids(database) == ["c"]


@pytest.mark.parametrize("value", [object(), float("nan"), NOW.replace(tzinfo=None), b"bytes"])
def test_what_has_no_form_is_refused_at_once(sqlite_database: Database, value: Any) -> None:
    """The change fails where the mistake is, and not at the commit."""
    for part in ("detail", "before", "after"):
        with pytest.raises((TypeError, ValueError)), sqlite_database.write() as conn:  # noqa: PT012
            note(conn, **{part: {"value": value}})
            raise AssertionError
    assert object_ids(sqlite_database) == []


def test_any_text_can_be_recorded(database: Database) -> None:
    """Even the name of a file that is not UTF-8: an odd name must not forbid a change."""
    with database.write() as conn:
        note(conn, detail={"file": "\udcff 🎉 \x00 \u2028"})
    with database.read() as conn:
        assert list_entries(conn, before=None, limit=1)[0].detail == {"file": "\udcff 🎉 \x00 \u2028"}
    assert object_ids(database) == ["c"]


# --- an entry is part of its change ---------------------------------------------------------------------


def test_a_failed_change_leaves_no_row(database: Database) -> None:
    """The row is part of the change's transaction."""

    def change() -> None:
        with database.write() as conn:
            note(conn)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    with database.write() as conn:
        note(conn, "next")
    assert object_ids(database) == ["next"]


def test_what_a_savepoint_undoes_leaves_no_row(database: Database) -> None:
    """Whether the savepoint began before the first entry or after it; what is released stays."""
    with database.write() as conn:
        early = conn.begin_nested()
        note(conn, "undone with the first savepoint")
        with conn.begin_nested():
            note(conn, "released, and undone with the first savepoint")
        early.rollback()
        with conn.begin_nested():
            note(conn, "first")
        with conn.begin_nested():
            note(conn, "second")
            inner = conn.begin_nested()
            note(conn, "undone with the inner savepoint")
            inner.rollback()
        outer = conn.begin_nested()
        with conn.begin_nested():
            note(conn, "released, and undone with the outer savepoint")
        outer.rollback()
        note(conn, "third")
    with database.write() as conn, conn.begin_nested():
        note(conn, "released before anything else")
    assert object_ids(database) == ["first", "second", "third", "released before anything else"]


def test_each_transaction_of_a_connection_has_its_own_entries(database: Database) -> None:
    """Rolled back and committed in turn on one connection, which keeps nothing afterwards."""
    with database._writer.connect() as conn:
        note(conn, "undone")
        conn.execute(text("SELECT 1"))
        conn.rollback()
        for name in ("first", "second"):
            conn.execute(text("SELECT 1"))
            note(conn, name)
            conn.commit()
        conn.execute(text("SELECT 1"))
        conn.commit()
    del conn
    gc.collect()
    assert object_ids(database) == ["first", "second"]
    assert len(_waiting) == 0


def test_a_lost_head_stops_changes_and_says_so(database: Database) -> None:
    """A change that cannot be recorded is not made."""
    groups = table_of(DeviceGroup)
    with database.write() as conn:
        conn.execute(table_of(AuditHead).delete())
    with pytest.raises(Unavailable, match="audit_head"), database.write() as conn:  # noqa: PT012
        conn.execute(update(groups).where(groups.c.id == "all-devices").values(name="changed"))
        note(conn)
    with database.read() as conn:
        assert "changed" not in set(conn.scalars(select(groups.c.name)))


def test_an_entry_behind_the_end_stops_changes_and_says_so(database: Database) -> None:
    """The bridge neither overwrites it nor goes on as if it were its own."""
    with database.write() as conn:
        note(conn)
    with database.write() as conn:
        conn.execute(
            text(
                "INSERT INTO audit_entry (seq, at, actor, action, object_type, object_id, detail, hash) "
                "SELECT 2, at, actor, action, object_type, object_id, detail, hash FROM audit_entry"
            )
        )
    with pytest.raises(Unavailable, match="behind 1, where it ends"), database.write() as conn:
        note(conn)


# --- writers at the same time ---------------------------------------------------------------------------


def test_writers_at_once_make_one_chain(database: Database) -> None:
    """Eight writers, each with transactions of several entries: nothing is lost, and entries stay together."""
    failures: list[BaseException] = []

    def work(writer: int) -> None:
        try:
            for number in range(12):
                with database.write() as conn:
                    for part in range(3):
                        note(conn, f"{writer}.{number}.{part}")
        except Exception as error:  # noqa: BLE001 - handed to the asserting thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = object_ids(database)
    assert len(found) == 8 * 12 * 3
    for first in range(0, len(found), 3):
        change = found[first].rpartition(".")[0]
        assert found[first : first + 3] == [f"{change}.{part}" for part in range(3)]
    for writer in range(8):
        own = [each for each in found if each.startswith(f"{writer}.")]
        assert own == [f"{writer}.{number}.{part}" for number in range(12) for part in range(3)]


def test_only_commits_wait_for_each_other(postgresql_url: str) -> None:
    """While a transaction that has recorded something is open, others record and commit, and come first."""
    with closing(Database(postgresql_url)) as database:
        with database.write() as slow:
            note(slow, "asked first")
            with database.write() as quick:
                note(quick, "committed first")
            assert object_ids(database) == ["committed first"]
        assert object_ids(database) == ["committed first", "asked first"]


def test_no_deadlock_through_the_end_of_the_chain(postgresql_url: str) -> None:
    """Two changes that both record and then want the same row both succeed: the end is locked last.

    Locked when recording, the first would hold the end and wait for the row, the second the other way round.
    """
    groups = table_of(DeviceGroup)
    row = update(groups).where(groups.c.id == "all-devices")
    holding, recorded = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def hold_the_row(database: Database) -> None:
        try:
            with database.write() as conn:
                conn.execute(row.values(name="second"))
                holding.set()
                assert recorded.wait(20)
                note(conn, "held the row")
        except BaseException as error:  # noqa: BLE001 - handed to the asserting thread
            failures.append(error)

    with closing(Database(postgresql_url)) as database:
        thread = threading.Thread(target=hold_the_row, args=(database,))
        thread.start()
        assert holding.wait(20)
        with database.write() as conn:
            note(conn, "wanted the row")
            recorded.set()
            conn.execute(row.values(name="first"))
        thread.join()
        assert failures == []
        assert object_ids(database) == ["held the row", "wanted the row"]
