"""Two at the same time: nobody is told twice, and nobody is told what was cancelled."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from csp.rollback import RollbackKind, rollback_action
from mdm.errors import Conflict
from mdm.rollbacks.checkin import _At, _go_on, note_sent, rollback_wishes
from mdm.rollbacks.states import SENT
from mdm.rollbacks.store import cancel_rollback

if TYPE_CHECKING:
    from conftest import Ward

    from mdm.audit import Origin
    from syncml.exchange import Request

EXEC = rollback_action(RollbackKind.QUALITY)


def ready(ward: Ward) -> None:
    """The device has confirmed the pause and told its last status: the command is next."""
    ward.bench.enrol("PC1")
    ward.bench.add(
        "device_policy",
        device_pk=1,
        name="PauseQualityUpdatesStartTime",
        status="set",
        value="2026-11-21",
        status_code=200,
        at=ward.bench.now,
        repairs=0,
    )


def test_a_device_gets_one_of_two_rollbacks(ward: Ward) -> None:
    """Whoever comes second finds it busy."""
    ward.bench.enrol("PC1")
    start = threading.Barrier(2)

    def ask() -> bool:
        start.wait()
        try:
            ward.ask("PC1")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        won = [future.result() for future in [pool.submit(ask), pool.submit(ask)]]
    assert sorted(won) == [False, True]
    assert [row["state"] for row in ward.bench.rows("rollback_device")] == ["waiting"]


def test_who_cancels_waits_for_what_is_being_told(ward: Ward, origin: Origin) -> None:
    """And then counts it among those that were told."""
    ready(ward)
    job = ward.ask("PC1")
    with ward.bench.database.write() as connection:
        connection.exec_driver_sql("UPDATE rollback_device SET status_before = ''")
    cancelling = threading.Event()

    def cancel() -> int:
        cancelling.set()
        with ward.bench.database.write() as conn:
            return cancel_rollback(conn, origin, job.id, now=ward.bench.now)[1]

    with ThreadPoolExecutor(1) as pool:
        with ward.bench.database.write() as connection:
            wishes = rollback_wishes(connection, 1, ward.bench.now)
            assert wishes.requests == (EXEC,)
            future = pool.submit(cancel)
            cancelling.wait()
            note_sent(connection, 1, wishes.requests, ward.bench.now)
        assert future.result() == 1
    assert ward.outcome(job).state == "sent"


def test_who_is_cancelled_first_is_not_told(ward: Ward, origin: Origin) -> None:
    """A session that has read the row before finds that out, and leaves the row as it is."""
    ready(ward)
    job = ward.ask("PC1")
    with ward.bench.database.write() as connection:
        connection.exec_driver_sql("UPDATE rollback_device SET status_before = ''")
        at = _At(connection, 1, ward.bench.now)
        (row,) = at.rows()
        # As if it were another's transaction, committed between the two.
        cancel_rollback(connection, origin, job.id, now=ward.bench.now)
        requests: list[Request] = []
        _go_on(at, row, requests)
        at.move(row, SENT, "The device was told to roll back.")
        assert requests == []
    found = ward.outcome(job)
    assert (found.state, found.sentence) == (
        "cancelled",
        "Cancelled before the device was told to roll back.",
    )
    assert ward.steps() == []
