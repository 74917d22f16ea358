"""Filtered mode against an upstream on a real socket: lists, deltas, the closure, and what a kill costs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.catalog.anchors import forget_anchors
from mdm.catalog.sync import run_sync
from mdm.catalog.upstreams import UpstreamChange, change_upstream, ensure_upstream

if TYPE_CHECKING:
    from collections.abc import Callable

A, B, C, D, E = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcde")
SECURITY = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
CRITICAL = "e6cf1350-c01b-414d-a61f-263d14d133b4"
WINDOWS = "72e7624a-5b00-45d2-b92f-e561c0a6a160"


@pytest.fixture
def select(clock: Any) -> Callable[..., None]:
    """Put a bench's upstream into filtered mode, or change its filter."""

    def change(bench: Any, *classifications: str, **values: Any) -> None:
        wanted = UpstreamChange(
            mode="filtered", products=(WINDOWS,), classifications=classifications or (SECURITY,), **values
        )
        with bench.database.write() as connection:
            ensure_upstream(connection, bench.upstream.url)
            change_upstream(connection, bench.upstream.url, bench.upstream.url, wanted)

    return change


def update_lists(bench: Any) -> list[str]:
    """The requests for the update list."""
    return [body for body in bench.upstream.asked("GetRevisionIdList") if ">false</GetConfig>" in body]


def stored(bench: Any) -> set[tuple[str, int]]:
    """All revisions in the store."""
    return {(row["update_id"], row["revision_number"]) for row in bench.rows("update_revision")}


def anchors(bench: Any) -> dict[str, str]:
    """Anchor by list; of several filters the latest."""
    return {row["list"]: row["anchor"] for row in bench.rows("upstream_anchor", "kept_at")}


def test_what_the_filter_selects_is_stored_with_its_closure(
    bench: Any, document: Callable[..., str], select: Callable[..., None]
) -> None:
    """Parts by their revision, their parts, and prerequisites by any revision."""
    select(bench)
    upstream = bench.upstream
    upstream.add(document(A, 200, bundles=((B, 100),), requires=(D,)), selected=True)
    upstream.add(document(B, 100, bundles=((C, 101),), deployable=False))
    upstream.add(document(C, 101, deployable=False))
    upstream.add(document(D, 7, update_type="Detectoid"))
    upstream.related[D] = [(D, 7)]
    run = bench.sync()
    assert (run.state, run.error, run.new, run.revised, run.expired) == ("succeeded", None, 3, 0, 0)
    assert stored(bench) == {(A, 200), (B, 100), (C, 101), (D, 7)}
    assert bench.rows("queued_revision") == []
    assert bench.rows("pending_list") == []
    (body,) = update_lists(bench)
    assert f"<Categories><IdAndDelta><Id>{WINDOWS}</Id><Delta>false</Delta></IdAndDelta></Categories>" in body
    assert "<Anchor>" not in body


def test_the_second_run_asks_for_what_is_new_and_newly_ticked(
    bench: Any, document: Callable[..., str], select: Callable[..., None]
) -> None:
    """The anchor is sent back as it came; a new classification has Delta=false; nothing is fetched twice."""
    select(bench, languages=(1033,))
    upstream = bench.upstream
    upstream.add(document(A, 200), selected=True)
    bench.sync()
    select(bench, SECURITY, CRITICAL, languages=(1033,))
    upstream.anchor = "anchor 2"
    upstream.add(document(A, 201, expired=True), selected=True)
    upstream.add(document(B, 100), selected=True)
    upstream.calls.clear()
    run = bench.sync()
    assert (run.new, run.revised, run.expired) == (1, 1, 1)
    assert sorted(upstream.asked_ids()) == [(A, 201), (B, 100)]
    (body,) = update_lists(bench)
    assert "<Anchor>anchor 1</Anchor>" in body
    assert f"<Id>{SECURITY}</Id><Delta>true</Delta>" in body
    assert f"<Id>{CRITICAL}</Id><Delta>false</Delta>" in body
    assert (
        "<Languages><LanguageAndDelta><Id>1033</Id><Delta>true</Delta></LanguageAndDelta></Languages>" in body
    )
    assert len({row["filter_key"] for row in bench.rows("upstream_anchor") if row["list"] == "updates"}) == 2
    upstream.calls.clear()
    select(bench, languages=(1033,))
    bench.sync()
    assert "<Anchor>anchor 1</Anchor>" in update_lists(bench)[0]  # the old filter has its own


def test_a_backlog_of_several_pages_is_worked_off_once(
    bench: Any, document: Callable[..., str], select: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each revision is asked for once, the highest of those listed, also when some of a page stay in the backlog."""
    monkeypatch.setattr("mdm.catalog.listed._PAGE", 2)
    select(bench)
    upstream = bench.upstream
    upstream.max_updates = 1
    for key in (E, C, A, D):
        upstream.add(document(key, 200), selected=True)
    upstream.add(document(C, 100), selected=True)
    upstream.updates[(B, 1)] = "<not the document>"
    upstream.selected.append((B, 1))
    run = bench.sync()
    assert (run.state, run.new, run.failed, run.phase_total) == ("succeeded", 4, 1, 0)
    assert stored(bench) == {(key, 200) for key in (A, C, D, E)}
    assert sorted(upstream.asked_ids()) == [(A, 200), (B, 1), (C, 200), (D, 200), (E, 200)]
    assert [row["update_id"] for row in bench.rows("queued_revision")] == [B]


def test_a_page_of_which_nothing_can_be_had_stops_no_run_that_got_something(
    sqlite_bench: Any,
    document: Callable[..., str],
    select: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only an upstream that has given nothing at all of a list is taken for ill."""
    monkeypatch.setattr("mdm.catalog.listed._PAGE", 11)
    select(sqlite_bench)
    sqlite_bench.upstream.add(document(A, 200), selected=True)
    sqlite_bench.upstream.selected += [
        (f"{number:08d}-0000-4000-9000-000000000000", 1) for number in range(5)
    ]
    sqlite_bench.upstream.selected += [
        (f"f{number:07d}-0000-4000-9000-000000000000", 1) for number in range(16)
    ]
    run = sqlite_bench.sync()
    assert (run.state, run.error) == ("succeeded", None)
    assert len(sqlite_bench.rows("queued_revision")) == 21


def test_the_anchor_waits_for_what_is_missing_but_not_for_ever(
    sqlite_bench: Any, document: Callable[..., str], select: Callable[..., None]
) -> None:
    """Three attempts; the revision stays in the backlog and is asked for when it is due."""
    select(sqlite_bench)
    upstream = sqlite_bench.upstream
    upstream.add(document(A, 200), selected=True)
    upstream.selected.append((B, 100))
    for attempt in range(1, 4):
        upstream.calls.clear()
        assert sqlite_bench.sync().state == "succeeded"
        assert (B, 100) in upstream.asked_ids()
        assert upstream.asked_ids().count((A, 200)) <= (attempt == 1) + 1
        assert ("updates" in anchors(sqlite_bench)) is (attempt == 3)
    (row,) = sqlite_bench.rows("queued_revision")
    assert (row["state"], row["attempts"]) == ("not_offered", 3)
    assert row["error"] == "The upstream names this revision and does not offer it."
    upstream.calls.clear()
    sqlite_bench.clock.now += timedelta(hours=1)
    sqlite_bench.sync("schedule")
    assert upstream.asked_ids() == []
    upstream.add(document(B, 100))
    sqlite_bench.clock.now += timedelta(hours=24)
    sqlite_bench.sync("schedule")
    assert (B, 100) in stored(sqlite_bench)
    assert sqlite_bench.rows("queued_revision") == []


def test_a_document_that_cannot_be_read_is_in_the_backlog_with_its_reason(
    sqlite_bench: Any, document: Callable[..., str], select: Callable[..., None]
) -> None:
    """And counted."""
    select(sqlite_bench)
    sqlite_bench.upstream.add(document(A, 200), selected=True)
    sqlite_bench.upstream.updates[B, 100] = "<broken"
    sqlite_bench.upstream.selected.append((B, 100))
    run = sqlite_bench.sync()
    assert (run.state, run.new, run.failed) == ("succeeded", 1, 1)
    (row,) = sqlite_bench.rows("queued_revision")
    assert row["state"] == "failed"
    assert row["error"].startswith("the document cannot be read")


def test_an_upstream_that_is_ill_is_not_believed(
    sqlite_bench: Any, document: Callable[..., str], select: Callable[..., None]
) -> None:
    """Without having given anything, a fault without a reason is a failure and no answer."""
    select(sqlite_bench)
    sqlite_bench.upstream.selected = [(A, 200)]
    sqlite_bench.sync()
    (row,) = sqlite_bench.rows("queued_revision")
    assert (row["state"], row["error"]) == ("failed", "The upstream gave nothing in this run, and no reason.")


def test_another_filter_drops_what_was_left_of_the_old_one(
    sqlite_bench: Any, document: Callable[..., str], select: Callable[..., None]
) -> None:
    """Nobody wants it any more."""
    select(sqlite_bench)
    sqlite_bench.upstream.add(document(A, 200), selected=True)
    sqlite_bench.upstream.selected.append((B, 100))
    sqlite_bench.sync()
    select(sqlite_bench, CRITICAL)
    sqlite_bench.upstream.selected = [(A, 200)]
    sqlite_bench.upstream.calls.clear()
    sqlite_bench.sync()
    assert sqlite_bench.upstream.asked_ids() == []
    assert sqlite_bench.rows("queued_revision") == []


def test_a_part_nobody_has_is_asked_for_daily(
    sqlite_bench: Any, document: Callable[..., str], select: Callable[..., None]
) -> None:
    """Dangling edges are normal; they hold nothing up."""
    select(sqlite_bench)
    sqlite_bench.upstream.add(document(A, 200, bundles=((B, 100),), requires=(C,)), selected=True)
    run = sqlite_bench.sync()
    assert (run.state, run.failed) == ("succeeded", 0)
    assert {row["state"] for row in sqlite_bench.rows("queued_revision")} == {"not_offered"}
    sqlite_bench.upstream.calls.clear()
    assert sqlite_bench.sync().state == "succeeded"
    assert sqlite_bench.upstream.asked_ids() == []
    assert "updates" in anchors(sqlite_bench)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, nothing is tidied up."""


@pytest.mark.parametrize("at", [6, 7, 8, 9, 11, 13])
def test_a_killed_run_fetches_nothing_again_that_is_stored(
    sqlite_bench: Any, document: Callable[..., str], select: Callable[..., None], at: int
) -> None:
    """Neither a revision nor the list; the anchor of the interrupted list is the one that is kept."""
    select(sqlite_bench)
    upstream, clock = sqlite_bench.upstream, sqlite_bench.clock
    ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(9)]
    for each in ids:
        upstream.add(document(each, 1), selected=True)
    upstream.max_updates = 1
    run = sqlite_bench.claim()
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        if calls > at:
            raise Killed
        return False

    with pytest.raises(Killed):
        run_sync(sqlite_bench.database, sqlite_bench.client(), run, clock=clock, should_stop=stop)
    before = stored(sqlite_bench)
    listed = len(update_lists(sqlite_bench))
    upstream.calls.clear()
    upstream.anchor = "anchor 2"
    clock.now += timedelta(minutes=6)
    again = sqlite_bench.claim()
    assert again.id == run.id
    ended = run_sync(sqlite_bench.database, sqlite_bench.client(), again, clock=clock)
    assert (ended.state, ended.new) == ("succeeded", 9)
    assert before.isdisjoint(upstream.asked_ids())
    assert len(update_lists(sqlite_bench)) == (0 if listed else 1)
    assert anchors(sqlite_bench)["updates"] == ("anchor 1" if listed else "anchor 2")
    assert len(stored(sqlite_bench)) == 9


def test_a_replaced_database_is_read_from_the_beginning(
    sqlite_bench: Any, document: Callable[..., str], select: Callable[..., None]
) -> None:
    """ServerChanged for the update list: all anchors go, nothing stored is fetched again."""
    select(sqlite_bench)
    sqlite_bench.upstream.add(document(A, 200), selected=True)
    sqlite_bench.sync()
    sqlite_bench.upstream.calls.clear()
    sqlite_bench.upstream.before = lambda operation: (
        sqlite_bench.upstream.faults.append(("GetRevisionIdList", "ServerChanged"))
        if operation == "GetRevisionIdList" and len(sqlite_bench.upstream.asked(operation)) == 2
        else None
    )
    assert sqlite_bench.sync().state == "succeeded"
    assert "<Anchor>" in update_lists(sqlite_bench)[0]
    assert "<Anchor>" not in update_lists(sqlite_bench)[1]
    assert sqlite_bench.upstream.asked_ids() == []
    with sqlite_bench.database.write() as connection:
        assert forget_anchors(connection, sqlite_bench.upstream.url) is True
        assert forget_anchors(connection, sqlite_bench.upstream.url) is False
