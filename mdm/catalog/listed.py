"""The part of a run that works from lists: an upstream's categories, what a filter selects, and the closure of it."""

from __future__ import annotations

from contextlib import closing
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from mdm.catalog.anchors import HeldAnchor, held_anchor
from mdm.catalog.backlog import (
    add_to_backlog,
    close_list,
    count_due,
    drop_list,
    drop_stored,
    due_in_backlog,
    note_in_backlog,
    open_list,
    take_from_backlog,
    waiting_list,
)
from mdm.catalog.closure import missing_parts
from mdm.catalog.relatives import highest_offered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from mdm.catalog.backlog import BacklogName, ListedName
    from mdm.catalog.session import Batch, RunSession
    from mdm.upstream.messages import RevisionFilter, UpdateIdentity

__all__ = ["close_over", "sync_listed"]

_BREAKER: Final = 10
"""So many listed revisions of which not one can be had say that the upstream is out of order."""
_PAGE: Final = 5_000
"""Revisions of a backlog held in memory."""
_ID: Final = attrgetter("update_id")
_ROUNDS: Final = 10
"""Levels of the closure: a bundle of bundles of leaves has three."""
_NOT_OFFERED: Final = "The upstream names this revision and does not offer it."
_SILENT: Final = "The upstream gave nothing in this run, and no reason."


def sync_listed(
    session: RunSession,
    name: ListedName,
    request: Callable[[HeldAnchor], RevisionFilter],
    *,
    filter_key: str = "",
    covers: Mapping[str, Any] | None = None,
) -> None:
    """Store what a list names and the store lacks; `request` makes the filter to ask with from the anchor held.

    What an earlier run left of the list is done first, and the anchor of a list is kept only when all of it is
    stored. A list that this run has read itself, before it was killed, is not asked for again.
    """
    with session.database.read() as connection:
        waiting = waiting_list(connection, session.upstream_url, name)
    if waiting is not None and waiting.filter_key != filter_key:
        with session.write() as connection:
            drop_list(connection, session.upstream_url, name)
    elif waiting is not None:
        _work_off(session, name)
        started_at = session.run.started_at
        if started_at is not None and waiting.listed_at >= started_at:
            return
    with session.database.read() as connection:
        held = held_anchor(connection, session.upstream_url, name, filter_key)
    listed = session.client.get_revision_id_list(request(held))
    with session.write() as connection:
        open_list(
            connection,
            session.upstream_url,
            name,
            _highest(listed.revisions),
            session.clock(),
            anchor=listed.anchor,
            filter_key=filter_key,
            covers=covers,
        )
    del listed  # a list may have 150,000 ids, of which no more than a page is needed from here on
    _work_off(session, name)


def close_over(session: RunSession) -> None:
    """Fetch parts and prerequisites that no list brought, level by level, until nothing more is missing."""
    for _ in range(_ROUNDS):
        with session.database.read() as connection:
            missing = missing_parts(connection, session.upstream_url)
        with session.write() as connection:
            add_to_backlog(connection, session.upstream_url, "closure", missing)
            drop_stored(connection, session.upstream_url, "closure")
        if not _work_off(session, "closure"):
            return


def _work_off(session: RunSession, name: BacklogName) -> bool:
    """Ask for everything of a backlog that is due, and keep its anchor if that was all; return False if none was."""
    with session.write() as connection:
        drop_stored(connection, session.upstream_url, name)
    now = session.clock()
    everything = session.by_hand and name != "closure"
    with session.database.read() as connection:
        total = count_due(connection, session.upstream_url, name, now, everything=everything)
    session.expect(total)
    breaker = None if name == "closure" else _BREAKER
    refused: list[UpdateIdentity] = []
    for due in _pages(session, name, now, everything=everything):
        exact = [each for each in due if each.revision_number > 0]
        with closing(session.fetch(exact, breaker=breaker)) as batches:
            for batch in batches:
                _settle(session, name, batch)
                refused += batch.refused
                if batch.stored:
                    breaker = None  # of the pages to come: the upstream gives what it lists
        for each in due:
            if each.revision_number == 0:
                _find_any(session, name, each)
    _note_refused(session, name, refused)
    if name != "closure":
        with session.write() as connection:
            close_list(connection, session.upstream_url, name, session.clock())
    return total > 0


def _pages(
    session: RunSession, name: BacklogName, now: datetime, *, everything: bool
) -> Iterator[list[UpdateIdentity]]:
    """Yield what is due, some thousands at a time and each once, whatever becomes of it."""
    after: UpdateIdentity | None = None
    while True:
        with session.database.read() as connection:
            due = due_in_backlog(
                connection,
                session.upstream_url,
                name,
                now,
                everything=everything,
                after=after,
                limit=_PAGE,
            )
        if not due:
            return
        yield due
        after = due[-1]


def _settle(session: RunSession, name: BacklogName, batch: Batch) -> None:
    """Store a batch and take it out of the backlog; note what it did not bring."""
    now = session.clock()
    url = session.upstream_url
    with session.write() as connection:
        session.store(connection, batch)
        take_from_backlog(connection, url, name, batch.stored)
        note_in_backlog(
            connection, url, name, batch.not_offered, state="not_offered", now=now, error=_NOT_OFFERED
        )
        for identity, reason in batch.failed.items():
            note_in_backlog(connection, url, name, [identity], state="failed", now=now, error=reason)
        session.counts["failed"] += len(batch.failed)
        session.advance(len(batch.deliveries) + len(batch.not_offered) + len(batch.failed))


def _note_refused(session: RunSession, name: BacklogName, refused: Sequence[UpdateIdentity]) -> None:
    """Note what met a fault without a reason: at the end, when it is known whether the upstream gives anything."""
    if not refused:
        return
    answering = session.is_answering()
    with session.write() as connection:
        note_in_backlog(
            connection,
            session.upstream_url,
            name,
            refused,
            state="not_offered" if answering else "failed",
            now=session.clock(),
            error=_NOT_OFFERED if answering else _SILENT,
        )
        session.counts["failed"] += 0 if answering else len(refused)
        session.advance(len(refused))


def _find_any(session: RunSession, name: BacklogName, wanted: UpdateIdentity) -> None:
    """Fetch a prerequisite, which is named without a revision: its highest one."""
    highest = highest_offered(session, wanted)
    found = False
    for batch in session.fetch([highest] if highest is not None else []):
        with session.write() as connection:
            session.store(connection, batch)
            take_from_backlog(connection, session.upstream_url, name, [wanted] if batch.stored else [])
        found = bool(batch.stored)
    if not found:
        with session.write() as connection:
            note_in_backlog(
                connection,
                session.upstream_url,
                name,
                [wanted],
                state="not_offered",
                now=session.clock(),
                error=_NOT_OFFERED,
            )
    session.advance(1)


def _highest(revisions: Iterable[UpdateIdentity]) -> Iterator[UpdateIdentity]:
    """The highest revision of each id: real servers list several, although the specification says one.

    Sorted and not gathered by id: a list may have 150,000.
    """
    for _, same in groupby(sorted(revisions, key=_ID), key=_ID):
        yield max(same)
