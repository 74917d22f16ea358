"""Which approvals hold for a device, and what the catalogue says of their targets."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from mdm.approvals.decision import BLOCK, CLASSIFICATION, EXPANDED, Intent
from mdm.approvals.effective import (
    facts_needed,
    has_approvals,
    intents_for_device,
    open_eula_classifications,
    update_facts,
)

if TYPE_CHECKING:
    from conftest import Bench

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
EULA = "eeeeeeee-0000-4000-8000-000000000001"


def test_only_the_wanted_updates_and_every_classification(bench: Bench) -> None:
    """A device with three installable updates does not read a fleet's thousand approvals."""
    bench.enrol()
    bench.approve(A)
    bench.approve(B)
    bench.approve(CLASS, "classification")
    with bench.database.read() as connection:
        wanted = intents_for_device(connection, 1, bench.now, [A])
        everything = intents_for_device(connection, 1, bench.now)
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
        assert len(intents_for_device(connection, 1, bench.now)) == 1
        assert has_approvals(connection, 1, bench.now)


def test_without_approvals(sqlite_bench: Bench) -> None:
    """A device no approval speaks of is not managed by approvals."""
    sqlite_bench.enrol()
    with sqlite_bench.database.read() as connection:
        assert not has_approvals(connection, 1, sqlite_bench.now)
        assert intents_for_device(connection, 1, sqlite_bench.now, []) == []


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
        assert open_eula_classifications(connection, [CLASS]) == frozenset()


def test_open_eula_of_a_classification(bench: Bench) -> None:
    """A published update's unaccepted EULA opens its classification; an expired one's does not; acceptance closes it."""
    bench.add("eula", id=EULA, first_seen_at=bench.now)
    bench.catalogue(A, classification_id=CLASS, eula_id=EULA, publication_state="Expired")
    with bench.database.read() as connection:
        assert open_eula_classifications(connection, [CLASS]) == frozenset()
    bench.catalogue(B, classification_id=CLASS, eula_id=EULA)
    with bench.database.read() as connection:
        assert open_eula_classifications(connection, [CLASS]) == {CLASS}
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
        assert open_eula_classifications(connection, [CLASS]) == frozenset()
        assert update_facts(connection, [B])[B].eula_accepted


def test_blocks_come_whatever_is_asked_for(bench: Bench) -> None:
    """A block of another update may hold back a classification, so it is never left out."""
    bench.enrol()
    bench.approve(A)
    bench.approve(B, action="block", reason="INC-1")
    bench.approve(CLASS, "classification", action="block", reason="INC-2")
    with bench.database.read() as connection:
        found = intents_for_device(connection, 1, bench.now, [])
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
        found = intents_for_device(connection, 1, bench.now)
        assert {(intent.target_id, intent.not_before, intent.expires_at) for intent in found} == {
            (A, begins, ends),
            (B, None, ends),
        }
        assert intents_for_device(connection, 1, ends - timedelta(microseconds=1)) == found
        assert intents_for_device(connection, 1, ends) == []
        assert has_approvals(connection, 1, bench.now)
        assert not has_approvals(connection, 1, ends)


def test_facts_know_what_is_superseded(bench: Bench) -> None:
    """By a published update only."""
    bench.catalogue(A)
    bench.catalogue(B)
    bench.add("revision_relation", update_id=B, revision_number=200, kind="supersedes", clause=0, target_id=A)
    with bench.database.read() as connection:
        facts = update_facts(connection, [A, B])
    assert (facts[A].superseded, facts[B].superseded) == (True, False)
    with bench.database.write() as connection:
        connection.exec_driver_sql("UPDATE update_revision SET publication_state = 'Expired'")
        assert not update_facts(connection, [A])[A].superseded


def test_facts_are_asked_for_where_they_decide() -> None:
    """A device with hundreds of offers and one approved update needs the facts of one."""
    update, other = Intent("1", "update", A), Intent("2", "update", B, action=BLOCK)
    on_device = Intent("3", CLASSIFICATION, CLASS)
    assert facts_needed([], ["x", "y"]) == set()
    assert facts_needed([update, other, on_device], ["x", "y"]) == {A, B}
    for by_class in (replace(on_device, delivery=EXPANDED), replace(on_device, action=BLOCK)):
        assert facts_needed([update, by_class], ["x", "y"]) == {A, "x", "y"}
