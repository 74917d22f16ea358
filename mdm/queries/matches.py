"""Keeping `query_match` what saved queries match: after a sync, after a change of theirs, and hourly.

Ages and needs change by time alone, so once an hour is how exact they are. The catalogue is walked once for all
queries that are due; a transaction looks at some hundred updates and writes only what differs. Any number of
processes may do it at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, or_, select, update

from mdm.approvals.versions import facts_changed
from mdm.queries.criteria import parse_criteria
from mdm.queries.records import walk
from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import Approval, ListedUpdate, QueryMatch, SavedQuery, SyncRun

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.queries.criteria import Criterion
    from mdm.queries.records import Found
    from mdm.storage.engine import Database

__all__ = ["REFRESH_EVERY", "Refreshed", "due_queries", "refresh_due", "refresh_queries"]

REFRESH_EVERY: Final = timedelta(hours=1)

_query = table_of(SavedQuery)
_match = table_of(QueryMatch)
_approval = table_of(Approval)
_listed = table_of(ListedUpdate)
_run = table_of(SyncRun)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What working out matches came to."""

    queries: int
    added: int
    removed: int
    complete: bool
    """False if it was told to stop before the end."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A saved query as this walk asks it."""

    version: int
    criterion: Criterion


def due_queries(conn: Connection, now: datetime) -> list[str]:
    """The queries whose matches are older than their criteria, than the last sync, or than an hour."""
    synced = select(func.max(_run.c.finished_at)).where(_run.c.state == "succeeded").scalar_subquery()
    return list(
        conn.scalars(
            select(_query.c.id)
            .where(
                or_(
                    _query.c.matched_at.is_(None),
                    _query.c.matched_version < _query.c.version,
                    _query.c.matched_at <= now - REFRESH_EVERY,
                    _query.c.matched_at <= synced,
                )
            )
            .order_by(_query.c.id)
        )
    )


def refresh_due(
    database: Database, now: datetime, *, should_stop: Callable[[], bool] = lambda: False
) -> Refreshed:
    """Work out the matches of the queries that are due; raises Unavailable if the database is down."""
    with database.read() as connection:
        query_ids = due_queries(connection, now)
    return refresh_queries(database, query_ids, now, should_stop=should_stop)


def refresh_queries(
    database: Database,
    query_ids: Collection[str],
    now: datetime,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    batch: int | None = None,
) -> Refreshed:
    """Work out the matches of these queries as of `now`; what is no query (any more) is passed over.

    `should_stop` is asked between two transactions; what is done then stays, and the queries stay due.
    """
    asked = _asked(database, query_ids)
    added = removed = 0
    if not asked:
        return Refreshed(0, 0, 0, complete=True)
    for found in walk(database.read, now, **({} if batch is None else {"batch": batch})):
        if should_stop():
            return Refreshed(len(asked), added, removed, complete=False)
        more, fewer = _bring_up(database, asked, found, now)
        added, removed = added + more, removed + fewer
    removed += _finish(database, asked, now)
    return Refreshed(len(asked), added, removed, complete=True)


def _asked(database: Database, query_ids: Collection[str]) -> dict[str, _Asked]:
    with database.read() as connection:
        rows = connection.execute(
            select(_query.c.id, _query.c.version, _query.c.criteria).where(_query.c.id.in_(query_ids))
        ).all()
    return {row.id: _Asked(row.version, parse_criteria(row.criteria)) for row in rows}


def _bring_up(
    database: Database, asked: Mapping[str, _Asked], found: Sequence[Found], now: datetime
) -> tuple[int, int]:
    """Write what differs for these updates; returns how many matches came and went."""
    update_ids = [each.record.update_id for each in found]
    wanted = {
        (query_id, each.record.update_id)
        for query_id, query in asked.items()
        for each in found
        if query.criterion.holds(each.record)
    }
    with database.read() as connection:
        if _held(connection, asked, update_ids) == wanted:
            return 0, 0
    with database.write() as connection:
        mine = _lock(connection, asked, now)
        held = _held(connection, mine, update_ids)
        new = sorted(pair for pair in wanted - held if pair[0] in mine)
        gone = sorted(held - wanted)
        if new:
            connection.execute(
                insert_ignore(QueryMatch, connection),
                [{"query_id": query, "update_id": each} for query, each in new],
            )
        for query_id in {query for query, _ in gone}:
            left = [each for query, each in gone if query == query_id]
            connection.execute(
                delete(_match).where(_match.c.query_id == query_id, _match.c.update_id.in_(left))
            )
        _tell(connection, {query for query, _ in (*new, *gone)})
    return len(new), len(gone)


def _finish(database: Database, asked: Mapping[str, _Asked], now: datetime) -> int:
    """Drop matches that are not listed any more, and say that the queries are up to date."""
    with database.write() as connection:
        mine = _lock(connection, asked, now)
        stray = _match.c.update_id.not_in(select(_listed.c.update_id))
        changed = set()
        removed = 0
        for query_id in mine:
            gone = connection.execute(delete(_match).where(_match.c.query_id == query_id, stray)).rowcount
            removed += gone
            if gone:
                changed.add(query_id)
            connection.execute(
                update(_query)
                .where(_query.c.id == query_id)
                .values(matched_version=asked[query_id].version, matched_at=now)
            )
        _tell(connection, changed)
    return removed


def _held(
    connection: Connection, query_ids: Collection[str], update_ids: Sequence[str]
) -> set[tuple[str, str]]:
    rows = connection.execute(
        select(_match.c.query_id, _match.c.update_id).where(
            _match.c.query_id.in_(query_ids), _match.c.update_id.in_(update_ids)
        )
    )
    return {(query_id, update_id) for query_id, update_id in rows}


def _lock(connection: Connection, asked: Mapping[str, _Asked], now: datetime) -> list[str]:
    """Hold those of the queries that are still what was asked, and that nobody has matched for a later moment."""
    rows: Sequence[Any] = connection.execute(
        select(_query.c.id, _query.c.version, _query.c.matched_version, _query.c.matched_at)
        .where(_query.c.id.in_(asked))
        .order_by(_query.c.id)
        .with_for_update()
    ).all()
    return [
        row.id
        for row in rows
        if row.version == asked[row.id].version
        and not (row.matched_version == row.version and row.matched_at > now)
    ]


def _tell(connection: Connection, query_ids: Collection[str]) -> None:
    """Have devices planned for anew if an approval or block speaks of one of these queries.

    An approval that is being made right now holds its query, so it is either seen here or sees what is written here.
    """
    named = (
        select(_approval.c.id)
        .where(
            _approval.c.target_type == "query",
            _approval.c.target_id.in_(query_ids),
            _approval.c.revoked_at.is_(None),
        )
        .limit(1)
    )
    if query_ids and connection.scalar(named) is not None:
        facts_changed(connection)
