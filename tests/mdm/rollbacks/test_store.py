"""Asking for rollbacks, reading them, cancelling them, and letting updates flow again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from csp.rollback import RollbackKind
from mdm.audit import Origin
from mdm.errors import Conflict, Invalid, NotFound
from mdm.rollbacks.store import (
    RollbackScope,
    RollbackView,
    cancel_rollback,
    create_rollback,
    get_rollback,
    list_outcomes,
    list_rollbacks,
    release_rollback,
)
from mdm.storage.statements import table_of
from mdm.storage.tables import RollbackDevice

if TYPE_CHECKING:
    from conftest import Ward

DAY = timedelta(days=1)


def read(ward: Ward, job_id: str) -> RollbackView:
    """The rollback as it is."""
    with ward.bench.database.read() as conn:
        return get_rollback(conn, job_id, now=ward.bench.now)


def states(ward: Ward, job: RollbackView) -> dict[str, str]:
    """The state of each device."""
    with ward.bench.database.read() as conn:
        rows = list_outcomes(conn, job.id, after=None, limit=100, now=ward.bench.now)
    return {view.device_id: view.state for _, view in rows}


def set_state(ward: Ward, device_pk: int, state: str) -> None:
    """Bring a device into a state."""
    rows = table_of(RollbackDevice)
    with ward.bench.database.write() as conn:
        conn.execute(update(rows).where(rows.c.device_pk == device_pk).values(state=state))


def versions(ward: Ward) -> dict[str, int]:
    """How often the intent of each group has changed."""
    return {row["id"]: row["intent_version"] for row in ward.bench.rows("device_group")}


def test_groups_count_with_the_members_they_have_then(ward: Ward) -> None:
    """Devices that come later are not rolled back; one that is named twice is told once."""
    for number in (1, 2, 3):
        ward.bench.enrol(f"PC{number}")
    group = ward.group("some", "PC1", "PC2")
    before = versions(ward)
    job = ward.ask("PC2", "PC3", group_ids=(group,))
    assert (job.state, job.devices, job.states) == ("running", 3, {"waiting": 3})
    assert (job.pause_from, job.group_ids, job.created_by) == ("2026-11-21", (group,), "client:test")
    assert job.ends_at == ward.bench.now + 14 * DAY
    assert versions(ward) == before | {group: before[group] + 1}
    ward.bench.enrol("PC4")
    assert states(ward, job) == {"PC1": "waiting", "PC2": "waiting", "PC3": "waiting"}
    entry = ward.bench.rows("audit_entry", "seq")[-1]
    assert (entry["action"], entry["object_id"]) == ("rollback.create", job.id)
    assert entry["after"]["states"] == {"waiting": 3}
    assert entry["detail"] == {"devices": 3, "device_ids": ["id-PC2", "id-PC3"]}


def test_all_devices_may_be_asked(ward: Ward) -> None:
    """But for those that have left or are to, and those that another rollback of the kind is busy with."""
    for number in (1, 2, 3, 4):
        ward.bench.enrol(f"PC{number}")
    ward.know("PC2", unenrolled_at=ward.bench.now)
    ward.know("PC4", retire_requested_at=ward.bench.now)
    first = ward.ask("PC3", days=1)
    job = ward.ask(group_ids=("all-devices",))
    assert states(ward, job) == {"PC1": "waiting", "PC2": "refused", "PC3": "refused", "PC4": "refused"}
    assert ward.outcome(job, "PC4").sentence == "The device was asked to leave management."
    assert ward.outcome(job, "PC3").sentence == (
        "Another rollback of quality updates is under way on the device."
    )
    assert ward.outcome(job, "PC2").sentence == "The device has left management."
    # The other kind is no obstacle, nor is a rollback that is over.
    assert states(ward, ward.ask("PC3", kind=RollbackKind.FEATURE)) == {"PC3": "waiting"}
    ward.pass_time(DAY)
    assert read(ward, first.id).states == {"expired": 1}
    assert states(ward, ward.ask("PC3")) == {"PC3": "waiting"}


def test_a_rollback_for_nobody_is_refused(ward: Ward) -> None:
    """And leaves nothing behind."""
    ward.bench.enrol("PC1")
    ward.ask("PC1")
    before = ward.bench.dump()
    for scope in ({"group_ids": (ward.group("empty"),)}, {"device_ids": ("PC1",)}):
        with pytest.raises(Conflict) as caught:
            ward.ask(*scope.get("device_ids", ()), group_ids=scope.get("group_ids", ()))
        assert caught.value.code == "rollback_empty"
    assert ward.bench.dump()["rollback_job"] == before["rollback_job"]


@pytest.mark.parametrize(
    ("scope", "days", "pointer"),
    [
        (RollbackScope(), 14, "/group_ids"),
        (RollbackScope(device_ids=("id-PC1", "dev_x")), 14, "/device_ids/1"),
        (RollbackScope(device_ids=("id-PC1",)), 0, "/days"),
        (RollbackScope(device_ids=("id-PC1",)), 35, "/days"),
    ],
)
def test_wrong_members_are_named(
    ward: Ward, origin: Origin, scope: RollbackScope, days: int, pointer: str
) -> None:
    """By pointer."""
    ward.bench.enrol("PC1")
    with ward.bench.database.write() as conn, pytest.raises(Invalid) as caught:
        create_rollback(
            conn,
            origin,
            kind=RollbackKind.QUALITY,
            scope=scope,
            reason="r",
            days=days,
            now=ward.bench.now,
        )
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_an_unknown_group_is_named(ward: Ward) -> None:
    """As everywhere."""
    with pytest.raises(NotFound, match="no group 'grp_x'"):
        ward.ask(group_ids=("grp_x",))


def test_the_states_add_up_and_change_with_time(ward: Ward) -> None:
    """What is under way ends when its time is over."""
    for number in range(1, 6):
        ward.bench.enrol(f"PC{number}")
    job = ward.ask(group_ids=("all-devices",), days=2)
    for number, state in ((2, "sent"), (3, "executed"), (4, "rolled_back"), (5, "failed")):
        set_state(ward, number, state)
    assert read(ward, job.id).states == {
        "executed": 1,
        "failed": 1,
        "rolled_back": 1,
        "sent": 1,
        "waiting": 1,
    }
    ward.pass_time(2 * DAY)
    found = read(ward, job.id)
    assert (found.state, found.devices) == ("ended", 5)
    assert found.states == {"unconfirmed": 2, "failed": 1, "rolled_back": 1, "expired": 1}


def test_outcomes_are_listed_by_state_and_in_pages(ward: Ward) -> None:
    """A state that time has made is asked for like any other."""
    for number in range(1, 5):
        ward.bench.enrol(f"PC{number}")
    job = ward.ask(group_ids=("all-devices",), days=2)
    set_state(ward, 2, "sent")
    set_state(ward, 3, "executed")

    def listed(state: str | None, after: int | None = None, limit: int = 9) -> list[int]:
        with ward.bench.database.read() as conn:
            rows = list_outcomes(conn, job.id, state=state, after=after, limit=limit, now=ward.bench.now)
        return [pk for pk, _ in rows]

    assert listed(None, limit=2) == [1, 2]
    assert listed(None, after=2) == [3, 4]
    assert (listed("waiting"), listed("unconfirmed")) == ([1, 4], [])
    ward.pass_time(2 * DAY)
    assert (listed("waiting"), listed("expired"), listed("unconfirmed")) == ([], [1, 4], [2, 3])
    with ward.bench.database.read() as conn, pytest.raises(NotFound, match="no rollback"):
        list_outcomes(conn, "rbk_x", after=None, limit=9, now=ward.bench.now)


def test_rollbacks_are_listed_newest_first(ward: Ward) -> None:
    """In pages; two of one moment by their ids."""
    jobs = []
    for number in (1, 2, 3):
        ward.bench.enrol(f"PC{number}")
        jobs.append(ward.ask(f"PC{number}"))
        if number > 1:
            ward.pass_time(DAY)
    ordered = [jobs[2], *sorted(jobs[:2], key=lambda job: job.id, reverse=True)]
    found: list[str] = []
    before: Any = None
    for _ in range(3):
        with ward.bench.database.read() as conn:
            page = list_rollbacks(conn, before=before, limit=1, now=ward.bench.now)
        found.append(page[0].id)
        before = (page[0].created_at, page[0].id)
    assert found == [job.id for job in ordered]


def test_cancelling_tells_nobody_else(ward: Ward, origin: Origin) -> None:
    """What has been told stays told, and is counted."""
    for number in (1, 2, 3):
        ward.bench.enrol(f"PC{number}")
    job = ward.ask(group_ids=("all-devices",))
    set_state(ward, 2, "sent")
    set_state(ward, 3, "failed")
    before = versions(ward)
    with ward.bench.database.write() as conn:
        after, told = cancel_rollback(conn, origin, job.id, now=ward.bench.now)
    assert (after.state, after.cancelled_by, told) == ("cancelled", "client:test", 1)
    assert after.states == {"cancelled": 1, "failed": 1, "sent": 1}
    assert versions(ward)["all-devices"] == before["all-devices"] + 1
    entry = ward.bench.rows("audit_entry", "seq")[-1]
    assert (entry["action"], entry["before"]["cancelled_at"]) == ("rollback.cancel", None)
    assert entry["after"]["states"] == after.states
    with ward.bench.database.write() as conn, pytest.raises(Conflict) as caught:
        cancel_rollback(conn, origin, job.id, now=ward.bench.now)
    assert caught.value.code == "rollback_over"


def test_letting_updates_flow_again_ends_it(ward: Ward, origin: Origin) -> None:
    """Once; after it there is nothing to cancel either."""
    ward.bench.enrol("PC1")
    job = ward.ask("PC1")
    with ward.bench.database.write() as conn:
        cancel_rollback(conn, origin, job.id, now=ward.bench.now)
        after, told = release_rollback(conn, origin, job.id, now=ward.bench.now)
    assert (after.released_by, after.released_at, told) == ("client:test", ward.bench.now, 0)
    assert ward.bench.rows("audit_entry", "seq")[-1]["action"] == "rollback.release"
    for end in (cancel_rollback, release_rollback):
        with ward.bench.database.write() as conn, pytest.raises(Conflict):
            end(conn, origin, job.id, now=ward.bench.now)
        with ward.bench.database.write() as conn, pytest.raises(NotFound, match="no rollback"):
            end(conn, origin, "rbk_x", now=ward.bench.now)


def test_only_those_that_hold_an_update_may_be_asked(ward: Ward) -> None:
    """Of the scope; installed up to a reboot counts."""
    for number in (1, 2, 3):
        ward.bench.enrol(f"PC{number}")
    for pk, state, lists in ((1, "installed", 2), (2, "pending_reboot", 8), (3, "installable", 1)):
        ward.bench.add(
            "device_update", device_pk=pk, update_id="u", lists=lists, state=state, since=ward.bench.now
        )
    scope = RollbackScope(("all-devices",), holding=("u", "v"))
    with ward.bench.database.write() as conn:
        job = create_rollback(
            conn,
            Origin("test"),
            kind=RollbackKind.QUALITY,
            scope=scope,
            reason="r",
            now=ward.bench.now,
        )
    assert states(ward, job) == {"PC1": "waiting", "PC2": "waiting"}
