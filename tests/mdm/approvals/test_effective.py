"""Which approvals hold for a device, and what the catalogue says of their targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mdm.approvals.effective import (
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
        wanted = intents_for_device(connection, 1, [A])
        everything = intents_for_device(connection, 1)
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
        assert len(intents_for_device(connection, 1)) == 1
        assert has_approvals(connection, 1)


def test_without_approvals(sqlite_bench: Bench) -> None:
    """A device no approval speaks of is not managed by approvals."""
    sqlite_bench.enrol()
    with sqlite_bench.database.read() as connection:
        assert not has_approvals(connection, 1)
        assert intents_for_device(connection, 1, []) == []


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
