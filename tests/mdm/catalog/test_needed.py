"""What devices reported, over several upstreams: asked in turn, and never silently unknown."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mdm.catalog import needed
from mdm.catalog.needed import Refusal
from mdm.catalog.store import enqueue_needed
from mdm.catalog.upstreams import ensure_upstream
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.storage.engine import Database

ONE, TWO = "http://one.example", "http://two.example"
A, B = (UpdateIdentity(f"{letter * 8}-0000-4000-8000-000000000000", 200) for letter in "ab")
HOUR = timedelta(hours=1)


@pytest.fixture
def reported(database: Database, now: datetime) -> Database:
    """A database in which a device has reported A and B, with two upstreams."""
    with database.write() as connection:
        for url in (ONE, TWO):
            ensure_upstream(connection, url)
        enqueue_needed(connection, [(A.update_id, 200), (B.update_id, 200)], now)
    return database


def refuse(connection: Connection, url: str, state: str, now: datetime, *asked: str) -> None:
    """Let an upstream refuse A."""
    refusal = Refusal(A, state, f"{state}!")  # type: ignore[arg-type]
    needed.note_refusals(connection, [refusal], upstream_url=url, asked=asked or (ONE, TWO), now=now)


def state_of(connection: Connection) -> tuple[str, str | None]:
    """State and error of A."""
    view = needed.list_needed(connection, limit=1)[0]
    return view.state, view.error


def due(connection: Connection, url: str, now: datetime) -> list[UpdateIdentity]:
    """What an upstream is to be asked for on schedule."""
    return needed.due_needed(connection, url, now, everything=False)


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        ("not_offered", "not_offered", "not_offered"),
        ("failed", "not_offered", "failed"),
        ("not_offered", "failed", "failed"),
    ],
)
def test_the_queue_waits_for_every_upstream(
    reported: Database, now: datetime, first: str, second: str, outcome: str
) -> None:
    """One refusal leaves the update to the others; all together decide, and say why."""
    with reported.write() as connection:
        refuse(connection, ONE, first, now)
        assert state_of(connection)[0] == "queued"
        assert due(connection, ONE, now) == [B]
        assert due(connection, TWO, now) == [A, B]
        refuse(connection, TWO, second, now)
        state, error = state_of(connection)
        assert state == outcome
        assert error == f"{TWO}: {second}! {ONE}: {first}!"
        view = needed.list_needed(connection, limit=1)[0]
        assert [(each.upstream_url, each.state) for each in view.upstreams] == [(ONE, first), (TWO, second)]


def test_each_upstream_is_asked_again_in_its_time(reported: Database, now: datetime) -> None:
    """A failure after an hour, a refusal after a day; somebody who asks by hand gets everything now."""
    with reported.write() as connection:
        refuse(connection, ONE, "failed", now)
        refuse(connection, TWO, "not_offered", now)
        assert due(connection, ONE, now + HOUR) == [A, B]
        assert due(connection, TWO, now + HOUR) == [B]
        assert due(connection, TWO, now + 24 * HOUR) == [A, B]
        assert needed.due_needed(connection, TWO, now, everything=True) == [A, B]


def test_with_one_upstream_its_own_words_are_enough(reported: Database, now: datetime) -> None:
    """An upstream that is in use no more has no say."""
    with reported.write() as connection:
        refuse(connection, TWO, "failed", now)
        refuse(connection, ONE, "not_offered", now, ONE)
        assert state_of(connection) == ("not_offered", "not_offered!")


def test_what_is_found_is_settled_for_all(reported: Database, now: datetime) -> None:
    """Nobody is asked for it any more, and what was said of it goes."""
    with reported.write() as connection:
        refuse(connection, ONE, "not_offered", now)
        needed.settle_needed(connection, [A], now, "A note.")
        assert state_of(connection) == ("synced", "A note.")
        assert needed.list_needed(connection, limit=1)[0].upstreams == ()
        assert due(connection, TWO, now) == [B]
        needed.settle_needed(connection, [], now)


def test_the_list_has_pages_and_a_filter(reported: Database, now: datetime) -> None:
    """By id and revision; a revision that the device did not tell is None."""
    with reported.write() as connection:
        enqueue_needed(connection, [(A.update_id, 0)], now)
        first = needed.list_needed(connection, limit=2)
        assert [(each.update_id, each.revision_number) for each in first] == [
            (A.update_id, None),
            (A.update_id, 200),
        ]
        rest = needed.list_needed(connection, limit=2, after=(A.update_id, 200))
        assert [each.update_id for each in rest] == [B.update_id]
        needed.settle_needed(connection, [B], now)
        assert [each.update_id for each in needed.list_needed(connection, limit=9, state="synced")] == [
            B.update_id
        ]
