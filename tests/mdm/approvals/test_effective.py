"""Which approvals hold for a device, and what the catalogue says of their targets."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from mdm.approvals.decision import BLOCK, PRODUCT, QUERY, UPDATE, Hold, Intent
from mdm.approvals.effective import (
    circumstances,
    class_facts,
    has_approvals,
    intents_for_device,
    standing_of,
    update_facts,
)
from mdm.approvals.versions import facts_changed, intent_changed
from mdm.rollouts.turns import turn_of

if TYPE_CHECKING:
    from datetime import datetime

    from conftest import Bench

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
C = "c317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
EULA = "eeeeeeee-0000-4000-8000-000000000001"


def test_only_the_wanted_updates_and_every_classification(bench: Bench) -> None:
    """A device with three installable updates does not read a fleet's thousand approvals."""
    bench.enrol()
    bench.approve(A)
    bench.approve(B)
    bench.approve(CLASS, "classification")
    with bench.database.read() as connection:
        wanted = intents_for_device(connection, standing_of(connection, 1), bench.now, [A])
        everything = intents_for_device(connection, standing_of(connection, 1), bench.now, [A, B])
    assert {intent.target_id for intent in wanted} == {A, CLASS}
    assert {intent.target_id for intent in everything} == {A, B, CLASS}


def test_an_approval_through_two_groups_counts_once(bench: Bench) -> None:
    """A device in several groups of one approval gets one intent."""
    bench.enrol()
    bench.approve(A)
    bench.add("device_group", id="pilot", name="Pilot", builtin=False, created_at=bench.now)
    bench.add("group_member", device_pk=1, group_id="pilot")
    bench.add("approval_group", approval_id=bench.rows("approval")[0]["id"], group_id="pilot")
    with bench.database.read() as connection:
        assert len(intents_for_device(connection, standing_of(connection, 1), bench.now, [A, B])) == 1
        assert has_approvals(connection, standing_of(connection, 1), bench.now)


def test_without_approvals(sqlite_bench: Bench) -> None:
    """A device no approval speaks of is not managed by approvals."""
    sqlite_bench.enrol()
    with sqlite_bench.database.read() as connection:
        assert not has_approvals(connection, standing_of(connection, 1), sqlite_bench.now)
        assert intents_for_device(connection, standing_of(connection, 1), sqlite_bench.now, []) == []


def test_more_ids_than_one_statement_takes(bench: Bench) -> None:
    """Thousands of ids are read in pieces, and nothing between the pieces is lost."""
    ids = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(1201)]
    for update_id in (ids[0], ids[499], ids[500], ids[1200]):
        bench.catalogue(update_id)
    with bench.database.read() as connection:
        assert set(update_facts(connection, ids)) == {ids[0], ids[499], ids[500], ids[1200]}


def test_facts_are_those_of_the_highest_revision(bench: Bench) -> None:
    """An older revision's EULA or state says nothing any more."""
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    bench.catalogue(A, revision_number=100, is_latest=False, eula_id=EULA)
    bench.catalogue(A, revision_number=101, publication_state="Expired", classification_id=CLASS)
    with bench.database.read() as connection:
        facts = update_facts(connection, [A])[A]
        assert (facts.eula_id, facts.expired, facts.classification_id) == (None, True, CLASS)
        assert class_facts(connection, [], [CLASS]).with_open_eula == frozenset()


def test_open_eula_of_a_classification(bench: Bench) -> None:
    """A published update's unaccepted EULA opens its classification; an expired one's does not; acceptance closes it."""
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    bench.catalogue(A, classification_id=CLASS, eula_id=EULA, publication_state="Expired")
    with bench.database.read() as connection:
        assert class_facts(connection, [], [CLASS]).with_open_eula == frozenset()
    bench.catalogue(B, classification_id=CLASS, eula_id=EULA)
    with bench.database.read() as connection:
        assert class_facts(connection, [], [CLASS]).with_open_eula == {CLASS}
    bench.add(
        "eula_acceptance",
        id="1",
        eula_id=EULA,
        locale="en",
        text_sha256="0" * 64,
        accepted_by="test",
        accepted_at=bench.now,
    )
    with bench.database.read() as connection:
        assert class_facts(connection, [], [CLASS]).with_open_eula == frozenset()
        assert update_facts(connection, [B])[B].eula_accepted


def test_blocks_come_whatever_is_asked_for(bench: Bench) -> None:
    """A block of another update may hold back a classification, so it is never left out."""
    bench.enrol()
    bench.approve(A)
    bench.approve(B, action="block", reason="INC-1")
    bench.approve(CLASS, "classification", action="block", reason="INC-2")
    with bench.database.read() as connection:
        found = intents_for_device(connection, standing_of(connection, 1), bench.now, [])
    assert {(intent.target_id, intent.blocks, intent.reason) for intent in found} == {
        (B, True, "INC-1"),
        (CLASS, True, "INC-2"),
    }


def test_what_is_over_is_no_intent_and_what_is_to_come_is_one(bench: Bench) -> None:
    """From its last moment on an approval is gone; before its first it is there, and waits."""
    bench.enrol()
    begins, ends = bench.now + timedelta(hours=1), bench.now + timedelta(hours=2)
    bench.approve(A, not_before=begins, expires_at=ends)
    bench.approve(B, action="block", reason="INC-1", expires_at=ends)
    with bench.database.read() as connection:
        found = intents_for_device(connection, standing_of(connection, 1), bench.now, [A, B])
        assert {(intent.target_id, intent.not_before, intent.expires_at) for intent in found} == {
            (A, begins, ends),
            (B, None, ends),
        }
        assert (
            intents_for_device(
                connection, standing_of(connection, 1), ends - timedelta(microseconds=1), [A, B]
            )
            == found
        )
        assert intents_for_device(connection, standing_of(connection, 1), ends, [A, B]) == []
        assert has_approvals(connection, standing_of(connection, 1), bench.now)
        assert not has_approvals(connection, standing_of(connection, 1), ends)


def test_facts_know_what_is_superseded(bench: Bench) -> None:
    """By a published update only."""
    bench.catalogue(A)
    bench.catalogue(B)
    bench.add("revision_relation", update_id=B, revision_number=200, kind="supersedes", clause=0, target_id=A)
    with bench.database.read() as connection:
        facts = update_facts(connection, [A, B])
    assert (facts[A].superseded, facts[B].superseded) == (True, False)
    bench.expire(B)
    with bench.database.read() as connection:
        assert not update_facts(connection, [A])[A].superseded


def test_what_only_a_blocked_update_replaces_is_not_superseded(bench: Bench) -> None:
    """Else neither would go: the older because of the newer, the newer because of the block."""
    for update_id in (A, B, C):
        bench.catalogue(update_id)
    for newer, older in ((B, A), (C, B)):
        bench.add(
            "revision_relation",
            update_id=newer,
            revision_number=200,
            kind="supersedes",
            clause=0,
            target_id=older,
        )
    blocks = [Intent(each, UPDATE, each, action=BLOCK) for each in (B, C)]
    with bench.database.read() as connection:
        assert [update_facts(connection, [A], blocks[:n])[A].superseded for n in range(3)] == [
            True,
            True,
            False,
        ]
        assert update_facts(connection, [B], blocks[:1])[B].superseded
        assert not update_facts(connection, [B], blocks)[B].superseded


def test_facts_are_asked_for_where_they_decide(bench: Bench) -> None:
    """A device with hundreds of offers and one approved update needs the facts of one."""
    bench.enrol()
    for update_id in (A, B, C):
        bench.catalogue(update_id, classification_id=CLASS)
    bench.approve(A)
    bench.approve(B, action="block", reason="INC-1")
    with bench.database.read() as connection:
        about = circumstances(connection, standing_of(connection, 1), bench.now, [A, C])
    assert set(about.facts) == {A, B}
    bench.approve(CLASS, "classification", delivery="expanded")
    with bench.database.read() as connection:
        about = circumstances(connection, standing_of(connection, 1), bench.now, [A, C])
    assert set(about.facts) == {A, B, C}


def test_time_that_changes_it_is_told(sqlite_bench: Bench) -> None:
    """The nearest beginning or end of what holds for the device; None if nothing does either."""
    bench = sqlite_bench
    bench.enrol()
    hour = timedelta(hours=1)

    def changes_at() -> datetime | None:
        with bench.database.read() as connection:
            standing = standing_of(connection, 1)
            return circumstances(connection, standing, bench.now, [A]).changes_at(bench.now)

    assert changes_at() is None
    bench.approve(A, not_before=bench.now - hour, expires_at=bench.now + 3 * hour)
    assert changes_at() == bench.now + 3 * hour
    bench.approve(CLASS, "classification", not_before=bench.now + 2 * hour)
    assert changes_at() == bench.now + 2 * hour
    bench.approve(B, expires_at=bench.now + hour)
    assert changes_at() == bench.now + 2 * hour


PRODUCT_ID = "a3c2375d-0c8a-42f9-bce0-28333e198407"
FAMILY_ID = "6964aab4-c5b5-43bd-a17d-ffb4346a8e1d"
QUERY_ID = "qry_0123456789abcdef0123"


def grouped(bench: Bench) -> None:
    """A is of the product, B is found by the query; both are in the classification."""
    for update_id in (A, B):
        bench.catalogue(update_id, classification_id=CLASS)
    bench.add("category", id=FAMILY_ID, revision_number=1, category_type="ProductFamily", title="Windows")
    bench.add(
        "category",
        id=PRODUCT_ID,
        revision_number=1,
        category_type="Product",
        title="Windows 11",
        parent_id=FAMILY_ID,
    )
    bench.add("revision_category", update_id=A, revision_number=200, category_id=PRODUCT_ID)
    bench.add(
        "saved_query",
        id=QUERY_ID,
        name="Critical",
        criteria={},
        created_at=bench.now,
        created_by="test",
        changed_at=bench.now,
    )
    bench.add("query_match", query_id=QUERY_ID, update_id=B)


def test_products_and_queries_are_known_where_they_are_named(bench: Bench) -> None:
    """An update is told to be of those that some intent speaks of, by its highest revision."""
    grouped(bench)
    bench.catalogue(C, revision_number=100, is_latest=False)
    bench.add("revision_category", update_id=C, revision_number=100, category_id=PRODUCT_ID)
    bench.catalogue(C, revision_number=101)
    product, query = Intent("1", PRODUCT, PRODUCT_ID), Intent("2", QUERY, QUERY_ID)
    with bench.database.read() as connection:
        facts = update_facts(connection, [A, B, C], [product, query])
        bare = update_facts(connection, [A, B])
    assert [facts[each].groups for each in (A, B, C)] == [{PRODUCT_ID}, {QUERY_ID}, set()]
    assert not bare[A].groups | bare[B].groups
    with bench.database.read() as connection:
        both = update_facts(connection, [A, B], [product, Intent("3", PRODUCT, FAMILY_ID)])
    assert [both[each].groups for each in (A, B)] == [{PRODUCT_ID, FAMILY_ID}, set()]
    assert product.covers(A, facts[A])
    assert not product.covers(A, bare[A])


def test_a_blocked_product_or_query_in_a_classification(bench: Bench) -> None:
    """The classification's GUID would bring it, unless all of it is withdrawn."""
    grouped(bench)
    for kind, target_id, update_id in ((PRODUCT, FAMILY_ID, A), (QUERY, QUERY_ID, B)):
        block = Intent("1", kind, target_id, action=BLOCK, reason="INC-1")
        with bench.database.write() as connection:
            assert class_facts(connection, [block], [CLASS]).with_block == {CLASS}
            assert class_facts(connection, [replace(block, action="approve")], [CLASS]).with_block == set()
            assert class_facts(connection, [block], []).with_block == set()
            connection.execute(
                text("UPDATE update_revision SET publication_state = 'Expired' WHERE update_id = :id"),
                {"id": update_id},
            )
            assert class_facts(connection, [block], [CLASS]).with_block == set()


@pytest.mark.parametrize(
    ("state", "stage", "hold"),
    [
        ("running", "running", None),
        ("running", "passed", None),
        ("running", "waiting", Hold.ROLLOUT_GATE),
        ("completed", "passed", None),
        ("paused", "running", Hold.ROLLOUT_PAUSED),
        ("paused", "waiting", Hold.ROLLOUT_PAUSED),
        ("halted", "passed", Hold.ROLLOUT_HALTED),
        ("halted", "waiting", Hold.ROLLOUT_HALTED),
    ],
)
def test_the_gate_of_a_rollout(sqlite_bench: Bench, state: str, stage: str, hold: Hold | None) -> None:
    """A rollout lets through what its own state and that of the stage allow."""
    device_id = in_rollout(sqlite_bench, state, stage)
    with sqlite_bench.database.read() as connection:
        (intent,) = intents_for_device(connection, standing_of(connection, 1), sqlite_bench.now, [A])
    assert (intent.gate, intent.rollout_id, intent.stage) == (hold, ROLLOUT, 1)
    assert device_id


def test_the_turn_in_a_rollout(sqlite_bench: Bench) -> None:
    """A device is let through as soon as the offer reaches above its turn, and never before."""
    device_id = in_rollout(sqlite_bench, "running", "running")
    turn = turn_of(ROLLOUT, device_id)
    for below, hold in ((turn, Hold.ROLLOUT_TURN), (turn + 1, None), (0, Hold.ROLLOUT_TURN), (None, None)):
        with sqlite_bench.database.write() as connection:
            connection.execute(text("UPDATE rollout_stage SET offered_below = :below"), {"below": below})
            (intent,) = intents_for_device(connection, standing_of(connection, 1), sqlite_bench.now, [A])
        assert intent.gate == hold


ROLLOUT = "rol_0123456789abcdef0123"


def in_rollout(bench: Bench, state: str, stage: str) -> str:
    """A device for which a rollout's stage approves A; its public id."""
    bench.enrol()
    bench.add(
        "rollout",
        id=ROLLOUT,
        name="November",
        state=state,
        state_at=bench.now,
        state_by="test",
        state_reason={},
        created_at=bench.now,
        created_by="test",
        look_at=bench.now,
    )
    bench.add("rollout_stage", rollout_id=ROLLOUT, number=1, name="Pilot", state=stage, rules={})
    bench.approve(A, rollout_id=ROLLOUT, stage=1)
    return str(bench.rows("device")[0]["id"])


def test_the_standing_changes_with_what_it_is_made_from(bench: Bench) -> None:
    """A change for one of its groups, of the facts or of its membership; not one for another group."""
    bench.enrol()
    for group_id in ("pilot", "other"):
        bench.add("device_group", id=group_id, name=group_id, builtin=False, created_at=bench.now)

    def key() -> str:
        with bench.database.read() as connection:
            return standing_of(connection, 1).key

    def change(groups: list[str] | None) -> None:
        with bench.database.write() as connection:
            facts_changed(connection) if groups is None else intent_changed(connection, groups)

    bench.add("group_member", device_pk=1, group_id="pilot")
    first = key()
    change(["other"])
    assert key() == first
    keys = [first]
    for groups in (["pilot"], ["all-devices"], None, ["pilot", "other", "all-devices"]):
        change(groups)
        keys.append(key())
    assert len(set(keys)) == len(keys)
