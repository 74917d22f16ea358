"""The audit trail: what is written is what is read, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.audit import Origin, list_entries, record

if TYPE_CHECKING:
    from datetime import datetime

    from mdm.storage.engine import Database


def test_rows_are_read_newest_first_and_page_by_page(database: Database, now: datetime) -> None:
    """Pages join without a gap, and filters hold."""
    origin = Origin("client:ci", token_id="tok_1", request_id="r1", remote_addr="10.0.0.1")
    with database.write() as conn:
        for number in range(3):
            record(
                conn,
                origin,
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
    assert [entry.object_id for entry in everything] == ["2", "1", "0"]
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


def test_a_failed_change_leaves_no_row(database: Database, now: datetime) -> None:
    """The row is part of the change's transaction."""

    def change() -> None:
        with database.write() as conn:
            record(conn, Origin("x"), now=now, action="a", object_type="b", object_id="c")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    with database.read() as conn:
        assert list_entries(conn, before=None, limit=1) == []
