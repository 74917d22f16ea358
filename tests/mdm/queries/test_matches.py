"""What saved queries match: worked out in steps, written where it differs, and told to devices that rely on it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from mdm.approvals.store import create_approval, revoke_approval
from mdm.audit import Origin
from mdm.queries import matches
from mdm.queries.criteria import parse_criteria
from mdm.queries.matches import REFRESH_EVERY, Refreshed, due_queries, refresh_due, refresh_queries
from mdm.queries.preview import preview_criteria
from mdm.queries.store import change_query, create_query, delete_query, get_query
from mdm.storage.statements import table_of
from mdm.storage.tables import ListedUpdate, SavedQuery, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest
    from conftest import Bench, Shelf

ORIGIN = Origin("client:ops")

_query = table_of(SavedQuery)
_listed = table_of(ListedUpdate)
_revision = table_of(UpdateRevision)


def save(bench: Bench, criteria: Mapping[str, Any], name: str = "mine") -> str:
    """Save a query; returns its id."""
    with bench.database.write() as conn:
        return create_query(conn, ORIGIN, name=name, criteria=criteria, now=bench.now).id


def matching(bench: Bench, query_id: str) -> list[str]:
    """The updates it matches, by id."""
    return [row["update_id"] for row in bench.rows("query_match", "update_id") if row["query_id"] == query_id]


def facts(bench: Bench) -> int:
    """The version of all facts."""
    return int(bench.rows("facts_version")[0]["version"])


def test_matches_are_worked_out_and_kept(shelf: Shelf) -> None:
    """What matches comes, what no longer does goes, and what stays is not written again."""
    bench = shelf.bench
    one, two, three = (shelf.put(title, msrc_severity="Low") for title in ("One", "Two", "Three"))
    query_id = save(bench, {"severity": "Low"})
    assert matching(bench, query_id) == []
    assert refresh_due(bench.database, bench.now) == Refreshed(1, 3, 0, complete=True)
    assert matching(bench, query_id) == [one, two, three]
    with bench.database.write() as conn:
        conn.execute(update(_revision).where(_revision.c.update_id == two).values(msrc_severity=None))
        conn.execute(delete(_listed).where(_listed.c.update_id == three))
    four = shelf.put("Four", msrc_severity="Low")
    assert refresh_queries(bench.database, [query_id], bench.now) == Refreshed(1, 1, 2, complete=True)
    assert matching(bench, query_id) == [one, four]
    assert refresh_queries(bench.database, [query_id], bench.now) == Refreshed(1, 0, 0, complete=True)


def test_small_steps_come_to_the_same(shelf: Shelf) -> None:
    """One update to a transaction, several queries in one walk."""
    bench = shelf.bench
    ids = [shelf.put(f"Update {number}", days=number) for number in range(5)]
    young = save(bench, {"age_days": {"max": 2.5}}, "young")
    old = save(bench, {"age_days": {"min": 1.5}}, "old")
    assert refresh_queries(bench.database, [young, old], bench.now, batch=1).added == 6
    assert (matching(bench, young), matching(bench, old)) == (ids[:3], ids[2:])


def test_when_a_query_is_due(shelf: Shelf) -> None:
    """At once, after a change of its criteria, after an hour, and after a sync; not after a change of its name."""
    bench = shelf.bench
    query_id = save(bench, {"expired": False})

    def due() -> bool:
        with bench.database.read() as conn:
            return due_queries(conn, bench.now) == [query_id]

    def change(name: str, criteria: Any) -> None:
        with bench.database.write() as conn:
            change_query(conn, ORIGIN, query_id, name=name, criteria=criteria, now=bench.now)

    assert due()
    refresh_due(bench.database, bench.now)
    assert not due()
    change("other", {"expired": False})
    assert not due()
    change("other", {"expired": True})
    assert due()
    refresh_due(bench.database, bench.now)
    bench.now += REFRESH_EVERY - timedelta(seconds=1)
    assert not due()
    shelf.sync()
    assert due()
    bench.now += timedelta(seconds=1)
    refresh_due(bench.database, bench.now)
    assert not due()
    bench.now += REFRESH_EVERY
    assert due()


def test_time_alone_changes_matches(shelf: Shelf) -> None:
    """An update grows too old for a query."""
    bench = shelf.bench
    shelf.put("One", days=1)
    query_id = save(bench, {"age_days": {"max": 2}})
    refresh_due(bench.database, bench.now)
    assert len(matching(bench, query_id)) == 1
    bench.now += timedelta(days=2)
    assert refresh_due(bench.database, bench.now).removed == 1


def test_devices_are_planned_for_anew_only_if_it_concerns_them(shelf: Shelf) -> None:
    """When matches change of a query that an approval or block names, revoked ones aside."""
    bench = shelf.bench
    query_id = save(bench, {"title": "good*"})

    def told() -> int:
        before = facts(bench)
        refresh_queries(bench.database, [query_id], bench.now)
        return facts(bench) - before

    shelf.put("Good one")
    assert told() == 0
    with bench.database.write() as conn:
        approval = create_approval(
            conn,
            ORIGIN,
            target_type="query",
            target_id=query_id,
            group_ids=["all-devices"],
            now=bench.now,
        )
    assert told() == 0
    two = shelf.put("Good two")
    assert told() == 1
    with bench.database.write() as conn:
        conn.execute(delete(_listed).where(_listed.c.update_id == two))
    assert told() == 1
    with bench.database.write() as conn:
        revoke_approval(conn, ORIGIN, approval.id, now=bench.now)
    shelf.put("Good three")
    assert told() == 0


def test_a_change_under_way_is_not_overwritten(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Criteria that change during a walk end its writing for that query; the query stays due, the others do not."""
    bench = shelf.bench
    for number in range(3):
        shelf.put(f"Update {number}", days=number)
    changed, kept = save(bench, {"expired": False}, "changed"), save(bench, {"expired": False}, "kept")
    hand_over = matches._bring_up

    def interrupt(*values: Any) -> tuple[int, int]:
        with bench.database.write() as conn:
            conn.execute(update(_query).where(_query.c.id == changed).values(version=2))
        return hand_over(*values)

    monkeypatch.setattr(matches, "_bring_up", interrupt)
    assert refresh_due(bench.database, bench.now).added == 3
    assert (matching(bench, changed), len(matching(bench, kept))) == ([], 3)
    with bench.database.read() as conn:
        assert due_queries(conn, bench.now) == [changed]
        assert not get_query(conn, changed).current


def test_an_older_walk_gives_way(shelf: Shelf) -> None:
    """What another process has worked out for a later moment stays."""
    bench = shelf.bench
    shelf.put("One", days=1)
    query_id = save(bench, {"age_days": {"max": 2}})
    later = bench.now + timedelta(days=5)
    refresh_queries(bench.database, [query_id], later)
    assert refresh_queries(bench.database, [query_id], bench.now).added == 0
    with bench.database.read() as conn:
        assert get_query(conn, query_id).matched_at == later


def test_it_can_be_stopped_between_two_steps(shelf: Shelf) -> None:
    """What is done stays, and the query stays due; one that is gone is passed over."""
    bench = shelf.bench
    for number in range(3):
        shelf.put(f"Update {number}", days=number)
    query_id = save(bench, {"expired": False})
    answers = iter([False, True])
    stopped = refresh_queries(
        bench.database, [query_id], bench.now, batch=1, should_stop=lambda: next(answers)
    )
    assert stopped == Refreshed(1, 1, 0, complete=False)
    with bench.database.write() as conn:
        assert due_queries(conn, bench.now) == [query_id]
        delete_query(conn, ORIGIN, query_id, now=bench.now)
    assert refresh_queries(bench.database, [query_id], bench.now) == Refreshed(0, 0, 0, complete=True)
    assert bench.rows("query_match") == []


CRITERIA = st.recursive(
    st.sampled_from(
        [
            {"severity": "Low"},
            {"superseded": False},
            {"reboot": "NeverReboots"},
            {"age_days": {"min": 2, "max": 4}},
            {"needed_by": {"at_least": 1}},
            {"title": "*2*"},
        ]
    ),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda found: {"all": found})
        | st.lists(inner, min_size=1, max_size=3).map(lambda found: {"any": found})
        | inner.map(lambda found: {"not": found})
    ),
    max_leaves=5,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(criteria=CRITERIA)
def test_the_preview_is_what_is_matched(shelf: Shelf, criteria: Any) -> None:
    """For any criteria: the same updates, newest first."""
    bench = shelf.bench
    if not shelf.ids:
        for number in range(6):
            shelf.put(
                f"Update {number}",
                days=number,
                msrc_severity=[None, "Low"][number % 2],
                reboot_behavior=[None, "NeverReboots", "CanRequestReboot"][number % 3],
            )
        shelf.need(shelf.ids[0], "DEV1")
    query_id = save(bench, criteria)
    refresh_queries(bench.database, [query_id], bench.now)
    found = matching(bench, query_id)
    with bench.database.write() as conn:
        preview = preview_criteria(conn, parse_criteria(criteria), now=bench.now)
        delete_query(conn, ORIGIN, query_id, now=bench.now)
    assert sorted(each.update_id for each in preview.updates) == found
    assert preview.matching == len(found)
    assert preview.of == 6
