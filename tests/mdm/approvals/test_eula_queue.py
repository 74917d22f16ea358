"""The queue of licences: nothing that waits for one is ever silent about it."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert
from sqlmodel import SQLModel

from csp.classifications import SECURITY_UPDATES as CLASS
from mdm.approvals.eulas import EulaView, accept_eula, get_eula, list_eulas
from mdm.audit import Origin
from mdm.devices.updates import list_device_updates

if TYPE_CHECKING:
    from conftest import Bench

E1 = "eeeeeeee-0000-4000-8000-000000000001"
E2 = "eeeeeeee-0000-4000-8000-000000000002"
A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
C = "c317dafe-baf4-453f-b232-a7075efae36e"
PRODUCT = "dddddddd-0000-4000-8000-000000000001"
QUERY = "qry_1"
DAY = timedelta(days=1)


def queue(bench: Bench, **values: Any) -> list[EulaView]:
    """The EULAs that something waits for."""
    given: dict[str, Any] = {"waiting": True, "after": None, "limit": 50, **values}
    with bench.database.read() as conn:
        return list_eulas(conn, now=bench.now, **given)


def accept(bench: Bench, eula_id: str) -> None:
    """Somebody accepts its English text."""
    with bench.database.write() as conn:
        digest = hashlib.sha256(eula_id.encode()).hexdigest()
        accept_eula(conn, Origin("test"), eula_id, locale="en", text_sha256=digest, now=bench.now)


@pytest.fixture
def licensed(bench: Bench) -> Bench:
    """Two devices that offer A, one of them B too; both have licences nobody has accepted, C has none."""
    for eula_id in (E1, E2):
        bench.add("eula", id=eula_id, first_seen_at=bench.now - DAY)
        digest = hashlib.sha256(eula_id.encode()).hexdigest()
        bench.add(
            "eula_text", eula_id=eula_id, locale="en", file_sha1=eula_id, text=eula_id, text_sha256=digest
        )
    bench.catalogue(A, eula_id=E1, classification_id=CLASS)
    bench.catalogue(B, eula_id=E2, classification_id=CLASS)
    bench.catalogue(C, classification_id=CLASS)
    for update_id in (A, B, C):
        bench.add("revision_category", update_id=update_id, revision_number=200, category_id=PRODUCT)
    bench.add("category", id=PRODUCT, revision_number=1, category_type="Product", title="Windows 11")
    bench.add(
        "saved_query",
        id=QUERY,
        name="mine",
        criteria={},
        created_at=bench.now,
        created_by="test",
        changed_at=bench.now,
    )
    for update_id in (A, B):
        bench.add("query_match", query_id=QUERY, update_id=update_id)
    for number, offered in enumerate(((A,), (A, B, C)), start=1):
        device = bench.enrol(f"DEV{number}")
        device.installable = dict.fromkeys(offered, (1, 200))
        device.check_in()
    return bench


def test_nothing_waits_before_anything_is_approved(licensed: Bench) -> None:
    """A licence that is open is not in the queue for that alone; `waiting=False` lists it."""
    assert queue(licensed) == []
    assert [view.id for view in queue(licensed, waiting=False)] == [E1, E2]


@pytest.mark.parametrize(
    ("target_type", "target_id", "values", "expected"),
    [
        ("update", A, {}, {E1: (2, (A,))}),
        ("classification", CLASS, {"delivery": "expanded"}, {E1: (2, (A,)), E2: (1, (B,))}),
        ("classification", CLASS, {"delivery": "device"}, {E1: (2, (A,)), E2: (1, (B,))}),
        ("product", PRODUCT, {"delivery": "expanded"}, {E1: (2, (A,)), E2: (1, (B,))}),
        ("query", QUERY, {"delivery": "expanded"}, {E1: (2, (A,)), E2: (1, (B,))}),
        ("update", C, {}, {}),
        ("update", A, {"action": "block", "reason": "no"}, {}),
    ],
)
def test_every_kind_of_approval_waits_visibly(
    licensed: Bench,
    target_type: str,
    target_id: str,
    values: dict[str, str],
    expected: dict[str, tuple[int, tuple[str, ...]]],
) -> None:
    """With the devices that want such an update; and what no device is told to wait for is not in the queue."""
    licensed.approve(target_id, target_type, **values)
    found = queue(licensed)
    waiting = {view.id: view.waiting for view in found if view.waiting is not None}
    assert {
        eula_id: (each.devices, each.approvals[0].update_ids) for eula_id, each in waiting.items()
    } == expected
    held = set()
    with licensed.database.read() as conn:
        for device_pk in (1, 2):
            for view in list_device_updates(conn, device_pk, now=licensed.now):
                if view.reason == "eula_not_accepted":
                    held.add(view.update_id)
    named = {update_id for each in waiting.values() for update_id in each.approvals[0].update_ids}
    # The GUID of a classification waits with every update in it, licensed or not.
    assert held - named <= ({C} if values.get("delivery") == "device" else set())
    assert named <= held
    for eula_id in expected:
        accept(licensed, eula_id)
    assert queue(licensed) == []


def test_it_says_who_asked_and_since_when(licensed: Bench) -> None:
    """Rules and rollouts by name; since the later of approval and licence; the oldest first."""
    start = licensed.now
    licensed.approve(A, rollout_id="rol_1", stage=2, rule_id="rul_1")
    licensed.now += DAY
    licensed.approve(A, not_before=licensed.now + DAY)
    (view,) = queue(licensed)
    waiting = view.waiting
    assert waiting is not None
    assert (waiting.since, waiting.approval_count) == (start, 2)
    assert (waiting.rules, waiting.rollouts) == (("rul_1",), ("rol_1",))
    first, second = waiting.approvals
    assert (first.rule_id, first.rollout_id, first.stage) == ("rul_1", "rol_1", 2)
    assert (first.since, second.since) == (start, licensed.now)
    assert (second.rule_id, second.rollout_id, second.stage, second.created_by) == (None, None, None, "test")
    with licensed.database.read() as conn:
        assert get_eula(conn, E1, now=licensed.now).waiting == waiting
        assert get_eula(conn, E2, now=licensed.now).waiting is None


def test_a_changed_text_waits_since_it_came(licensed: Bench) -> None:
    """Not since the licence was first seen: in between it was accepted."""
    licensed.approve(A)
    accept(licensed, E1)
    assert queue(licensed) == []
    changed = licensed.now + 2 * DAY
    with licensed.database.write() as conn:
        conn.exec_driver_sql("UPDATE eula_text SET current = false")
        conn.execute(
            insert(SQLModel.metadata.tables["eula_text"]).values(
                eula_id=E1, locale="en", file_sha1="new", current=True, fetched_at=changed
            )
        )
    (view,) = queue(licensed)
    assert view.changed
    assert view.waiting is not None
    assert view.waiting.since == changed


def test_only_devices_of_the_approvals_groups_count(licensed: Bench) -> None:
    """Each device once, however many approvals reach it."""
    group = "grp_1"
    licensed.add("device_group", id=group, name="pilots", builtin=False, created_at=licensed.now)
    licensed.add("group_member", device_pk=1, group_id=group)
    licensed.approve(A)
    with licensed.database.write() as conn:
        conn.exec_driver_sql("UPDATE approval_group SET group_id = 'grp_1'")
    ((_, waiting),) = ((view.id, view.waiting) for view in queue(licensed))
    assert waiting is not None
    assert waiting.devices == 1
    licensed.approve(A)
    ((_, waiting),) = ((view.id, view.waiting) for view in queue(licensed))
    assert waiting is not None
    assert (waiting.devices, waiting.approval_count) == (2, 2)


def test_what_is_over_or_revoked_waits_no_more(licensed: Bench) -> None:
    """Nor does what has been withdrawn by Microsoft."""
    licensed.approve(A, expires_at=licensed.now + DAY)
    licensed.approve(B, revoked_at=licensed.now, revoked_by="test")
    assert [view.id for view in queue(licensed)] == [E1]
    licensed.now += DAY
    assert queue(licensed) == []
    licensed.approve(A)
    with licensed.database.write() as conn:
        conn.exec_driver_sql("UPDATE update_revision SET publication_state = 'Expired'")
    assert queue(licensed) == []


def test_the_queue_is_paged_past_what_does_not_wait(bench: Bench) -> None:
    """However many open licences lie between two that something waits for."""
    ids = [f"eeeeeeee-0000-4000-8000-{number:012d}" for number in range(250)]
    with bench.database.write() as conn:
        conn.execute(
            insert(SQLModel.metadata.tables["eula"]),
            [{"id": eula_id, "first_seen_at": bench.now} for eula_id in ids],
        )
    for update_id, eula_id in ((A, ids[3]), (B, ids[120]), (C, ids[249])):
        bench.catalogue(update_id, eula_id=eula_id)
        bench.approve(update_id)
    assert [view.id for view in queue(bench, limit=2)] == [ids[3], ids[120]]
    assert [view.id for view in queue(bench, after=ids[120])] == [ids[249]]
    assert len(queue(bench, waiting=False, limit=500)) == 247
