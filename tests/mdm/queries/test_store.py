"""Saved queries and those who rely on them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from mdm.approvals.store import create_approval
from mdm.audit import Origin
from mdm.errors import NotFound
from mdm.queries import matches
from mdm.queries.matches import refresh_queries
from mdm.queries.store import create_query, hold_query, list_matches

if TYPE_CHECKING:
    from conftest import Shelf

ORIGIN = Origin("client:ops")


def test_only_what_is_there_can_be_held(shelf: Shelf) -> None:
    """By whoever begins to rely on it."""
    with shelf.bench.database.write() as conn:
        query = create_query(conn, ORIGIN, name="mine", criteria={"expired": False}, now=shelf.bench.now)
        hold_query(conn, query.id)
        with pytest.raises(NotFound):
            hold_query(conn, "qry_x")


def test_an_approval_under_way_is_seen(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matches that come while a query is being approved wait for it, and then tell the devices."""
    bench = shelf.bench
    with bench.database.write() as conn:
        query = create_query(conn, ORIGIN, name="mine", criteria={"expired": False}, now=bench.now)
    shelf.put("One")
    begun = threading.Event()
    hand_over = matches._bring_up

    def bring_up(*values: Any) -> tuple[int, int]:
        begun.set()
        return hand_over(*values)

    monkeypatch.setattr(matches, "_bring_up", bring_up)
    refreshing = threading.Thread(target=refresh_queries, args=(bench.database, [query.id], bench.now))
    before = bench.rows("facts_version")[0]["version"]
    with bench.database.write() as conn:
        create_approval(
            conn,
            ORIGIN,
            target_type="query",
            target_id=query.id,
            group_ids=["all-devices"],
            now=bench.now,
        )
        refreshing.start()
        begun.wait()
        refreshing.join(0.5)  # if it does not wait for this transaction, it is through by then
    refreshing.join()
    assert bench.rows("facts_version")[0]["version"] == before + 1
    with bench.database.read() as conn:
        assert [match.title for _, match in list_matches(conn, query.id, after=None, limit=5)] == ["One"]
