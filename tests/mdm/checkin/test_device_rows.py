"""Rows of a device's updates: bounded for one message, whole after a few sessions, and written in one go."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import event

from csp.snapshot import UpdateEntry, UpdateList, UpdateSnapshot
from mdm.checkin.device_state import (
    MAX_ALERTS,
    MAX_CHANGES,
    apply_snapshot,
    record_approvals,
    record_opening,
)
from mdm.storage.statements import table_of
from mdm.storage.tables import Device
from syncml.exchange import Answer, Request
from syncml.messages import Alert, Item, Location, Message, Meta, SyncHdr
from syncml.session import receive

if TYPE_CHECKING:
    from conftest import Bench

    from mdm.checkin.device_state import StateChange

ADD = "./Vendor/MSFT/Update/ApprovedUpdates/{}"


def guid(number: int) -> str:
    """A GUID for each number."""
    return f"{number:08x}-0bad-4000-8000-000000000000"


def told(bench: Bench, **lists: list[int]) -> StateChange:
    """A session a day later in which the device names these updates in these lists; the others are empty."""
    bench.now += timedelta(days=1)
    named = {
        which: {guid(n): UpdateEntry(guid(n), revision_number=200) for n in lists.get(which.name or "", [])}
        for which in UpdateList
    }
    with bench.database.write() as connection:
        return apply_snapshot(connection, 1, UpdateSnapshot(lists=named), bench.now)


def test_more_rows_than_one_message_may_write_come_with_the_next_sessions(bench: Bench) -> None:
    """A list counts as read only when all of it is stored; each session adds the same number of rows."""
    bench.enrol()
    everything = list(range(MAX_CHANGES * 2 + 1))
    for session, (changed, postponed) in enumerate(
        [(MAX_CHANGES, MAX_CHANGES + 1), (MAX_CHANGES, 1), (1, 0), (0, 0)], start=1
    ):
        change = told(bench, INSTALLED=everything)
        assert (change.changed, change.postponed, len(change.reported)) == (changed, postponed, changed)
        (device,) = bench.rows("device")
        assert (device["installed_read_at"] is None) is (session < 3)
        assert (device["state_read_at"] is None) is (session < 3)
    assert {row["update_id"] for row in bench.rows("device_update")} == {guid(n) for n in everything}


def test_updates_that_go_are_bounded_with_those_that_come(bench: Bench) -> None:
    """A list that is another one each time costs no more, and in the end is what the device said last."""
    bench.enrol()
    for _ in range(2):
        told(bench, INSTALLABLE=list(range(MAX_CHANGES)))
    change = told(bench, INSTALLABLE=list(range(MAX_CHANGES, 2 * MAX_CHANGES)))
    assert (change.changed, change.postponed) == (MAX_CHANGES, MAX_CHANGES)
    assert change.vanished == {guid(n) for n in range(MAX_CHANGES)}
    told(bench, INSTALLABLE=list(range(MAX_CHANGES, 2 * MAX_CHANGES)))
    assert {row["update_id"] for row in bench.rows("device_update")} == {
        guid(n) for n in range(MAX_CHANGES, 2 * MAX_CHANGES)
    }


def test_since_is_when_the_state_changed_and_not_when_anything_did(bench: Bench) -> None:
    """A new revision leaves `since`, another list moves it and is told on the timeline."""
    bench.enrol()
    told(bench, INSTALLABLE=[1, 2])
    first = bench.now
    snapshot = UpdateSnapshot(
        lists={
            UpdateList.INSTALLABLE: {guid(1): UpdateEntry(guid(1), revision_number=201)},
            UpdateList.FAILED: {guid(2): UpdateEntry(guid(2), revision_number=200, hresult=0x80070070)},
        }
    )
    bench.now += timedelta(days=1)
    with bench.database.write() as connection:
        change = apply_snapshot(connection, 1, snapshot, bench.now)
    one, two = bench.rows("device_update", "update_id")
    assert (one["revision_number"], one["since"], one["state"]) == (201, first, "installable")
    assert (two["revision_number"], two["since"], two["state"]) == (200, bench.now, "failed")
    assert change.reported == {(guid(1), 201)}
    (row,) = bench.rows("device_event")
    assert row["detail"] == {
        "update_id": guid(2),
        "from": "installable",
        "to": "failed",
        "hresult": "0x80070070",
    }


def test_nothing_new_writes_nothing(bench: Bench) -> None:
    """The second telling of the same lists changes no row, and a node that is in no list none either."""
    bench.enrol()
    told(bench, INSTALLABLE=[1], INSTALLED=[2, 3])
    before = bench.rows("device_update", "update_id")
    assert told(bench, INSTALLABLE=[1], INSTALLED=[2, 3]).changed == 0
    unknown = UpdateSnapshot(nodes={(UpdateList.INSTALLED, guid(9)): None})
    with bench.database.write() as connection:
        assert apply_snapshot(connection, 1, unknown, bench.now).changed == 0
    assert bench.rows("device_update", "update_id") == before


def test_a_hundred_approvals_are_three_statements(bench: Bench) -> None:
    """However many Adds a message answers, their rows are read and written at once."""
    bench.enrol()
    told(bench, INSTALLABLE=[1, 2])
    answers = [Answer(Request("Add", ADD.format(guid(n)), "node"), 200 if n % 2 else 405) for n in range(100)]
    statements: list[str] = []
    with bench.database.write() as connection:

        def note(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
            statements.append(statement.split(maxsplit=1)[0])

        event.listen(connection, "before_cursor_execute", note)
        assert record_approvals(connection, 1, answers, bench.now) == (50, 50)
        assert record_approvals(connection, 1, [], bench.now) == (0, 0)
    assert statements == ["SELECT", "INSERT", "INSERT", "DELETE"]
    rows = {row["update_id"]: row for row in bench.rows("device_update")}
    assert len(rows) == 100
    seen = [
        (rows[guid(n)]["lists"], rows[guid(n)]["approve_status"], rows[guid(n)]["state"]) for n in range(4)
    ]
    assert seen == [
        (0, 405, "listed"),
        (17, None, "installable"),
        (1, 405, "installable"),
        (16, None, "listed"),
    ]


def test_the_last_of_two_answers_about_an_update_counts(bench: Bench) -> None:
    """A refusal after an acceptance leaves it approved, with the status of the refusal."""
    bench.enrol()
    request = Request("Add", ADD.format(guid(1)), "node")
    with bench.database.write() as connection:
        record_approvals(
            connection, 1, [Answer(request, 200), Answer(request, 500), Answer(request, None)], bench.now
        )
    (row,) = bench.rows("device_update")
    assert (row["lists"], row["approve_status"]) == (16, 500)


def test_alerts_of_one_message_are_bounded_on_the_timeline(bench: Bench) -> None:
    """The first are kept; how many more came is told in one line."""
    bench.enrol()
    items = tuple(Item(meta=Meta(type="com.example/x"), data=str(n)) for n in range(MAX_ALERTS + 7))
    header = SyncHdr("1", "1", Location("https://mdm.example.test/omadm"), Location("DEV1"))
    reception = receive(None, Message(header, (Alert("2", "1226", items),)))
    with bench.database.write() as connection:
        device = connection.execute(table_of(Device).select()).one()
        record_opening(connection, device, reception, bench.now)
    rows = bench.rows("device_event", "seq")
    assert [row["detail"].get("data") for row in rows] == [*map(str, range(MAX_ALERTS)), None]
    assert rows[-1]["detail"] == {"not_kept": 7}
