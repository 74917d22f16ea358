"""The backlog of an upstream: what its lists named and the store lacks.

A list's answer is written here in one transaction before the first of its revisions is asked for, and each row
goes in the transaction that stores the revision. So a run that is killed goes on without asking for the list
again, and without asking for anything that is stored. The list's anchor waits beside the rows and is kept when
nothing holds it up any more: a revision that could not be had three times no longer does, but stays here and is
asked for again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import bindparam, delete, exists, func, literal, or_, select, tuple_, update

from mdm.catalog.anchors import keep_anchor
from mdm.catalog.store import FAILED_RETRY, NOT_OFFERED_RETRY
from mdm.storage.statements import insert_ignore, table_of, upsert
from mdm.storage.tables import PendingList, QueuedRevision, UpdateRevision
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

__all__ = [
    "GIVE_UP_AFTER",
    "BacklogName",
    "BacklogView",
    "Waiting",
    "add_to_backlog",
    "close_list",
    "count_due",
    "drop_list",
    "drop_stored",
    "due_in_backlog",
    "list_backlog",
    "note_in_backlog",
    "open_list",
    "take_from_backlog",
    "waiting_list",
]

GIVE_UP_AFTER: Final = 3
"""Attempts after which a revision no longer holds up the anchor of its list."""

BacklogName = Literal["categories", "updates", "closure"]
ListedName = Literal["categories", "updates"]

_CHUNK: Final = 5_000
"""Rows written at a time."""

_pending = table_of(PendingList)
_queued = table_of(QueuedRevision)
_revision = table_of(UpdateRevision)

_THIS: Final = (_queued.c.update_id == bindparam("id"), _queued.c.revision_number == bindparam("number"))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A list whose revisions are not all stored yet."""

    filter_key: str
    anchor: str | None
    listed_at: datetime


@dataclass(frozen=True, slots=True)
class BacklogView:
    """A revision that a list named and the store lacks."""

    list: str
    """`categories`, `updates` or `closure`."""
    update_id: str
    revision_number: int
    """0: any revision."""
    state: str
    """`queued`, `not_offered` or `failed`."""
    attempts: int
    next_attempt_at: datetime | None
    error: str | None


def waiting_list(connection: Connection, upstream_url: str, name: ListedName) -> Waiting | None:
    """Return the list that waits for its revisions, or None."""
    row = connection.execute(
        select(_pending.c.filter_key, _pending.c.anchor, _pending.c.listed_at).where(
            *_of(_pending, upstream_url, name)
        )
    ).first()
    return Waiting(*row) if row is not None else None


def open_list(
    connection: Connection,
    upstream_url: str,
    name: ListedName,
    highest: Iterable[UpdateIdentity],
    now: datetime,
    *,
    anchor: str | None,
    filter_key: str = "",
    covers: Mapping[str, Any] | None = None,
) -> None:
    """Write down a list: of each update its highest revision, unless that or a higher one is stored."""
    connection.execute(
        upsert(PendingList, connection, update=("filter_key", "anchor", "covers", "listed_at")),
        {
            "upstream_url": upstream_url,
            "list": name,
            "filter_key": filter_key,
            "anchor": anchor,
            "covers": dict(covers or {}),
            "listed_at": now,
        },
    )
    add_to_backlog(connection, upstream_url, name, highest)
    drop_stored(connection, upstream_url, name)


def add_to_backlog(
    connection: Connection, upstream_url: str, name: BacklogName, identities: Iterable[UpdateIdentity]
) -> None:
    """Queue revisions; what is queued or noted already is left as it is."""
    waiting = iter(identities)
    while chunk := list(islice(waiting, _CHUNK)):
        rows = [
            {
                "upstream_url": upstream_url,
                "list": name,
                "update_id": each.update_id,
                "revision_number": each.revision_number,
                "state": "queued",
                "attempts": 0,
            }
            for each in chunk
        ]
        connection.execute(insert_ignore(QueuedRevision, connection), rows)


def drop_stored(connection: Connection, upstream_url: str, name: BacklogName) -> None:
    """Take out what is stored: the revision itself, or of a list's updates a higher one."""
    here = _revision.c.revision_number >= _queued.c.revision_number
    if name == "closure":
        # a bundle names exactly one revision of a part; 0 is any
        exactly = _revision.c.revision_number == _queued.c.revision_number
        here = or_(exactly, _queued.c.revision_number == 0)
    connection.execute(
        delete(_queued).where(
            *_of(_queued, upstream_url, name),
            exists().where(_revision.c.update_id == _queued.c.update_id, here).correlate(_queued),
        )
    )


def count_due(
    connection: Connection, upstream_url: str, name: BacklogName, now: datetime, *, everything: bool
) -> int:
    """Return how many revisions `due_in_backlog` comes to."""
    due = _due(upstream_url, name, now, everything=everything)
    return connection.scalar(select(func.count()).where(*due)) or 0


def due_in_backlog(
    connection: Connection,
    upstream_url: str,
    name: BacklogName,
    now: datetime,
    *,
    everything: bool,
    after: UpdateIdentity | None,
    limit: int,
) -> list[UpdateIdentity]:
    """Return the next of what was never asked for and what may be asked for again, or of everything, in order."""
    key = (_queued.c.update_id, _queued.c.revision_number)
    statement = select(*key).where(*_due(upstream_url, name, now, everything=everything))
    if after is not None:
        last = (literal(after.update_id), literal(after.revision_number))
        statement = statement.where(tuple_(*key) > tuple_(*last))
    return [UpdateIdentity(*row) for row in connection.execute(statement.order_by(*key).limit(limit))]


def list_backlog(
    connection: Connection, upstream_url: str, *, limit: int, after: tuple[str, str, int] | None = None
) -> tuple[BacklogView, ...]:
    """Return what an upstream's lists named and the store lacks; `after` is the key of the last one seen."""
    key = (_queued.c.list, _queued.c.update_id, _queued.c.revision_number)
    statement = select(_queued).where(_queued.c.upstream_url == upstream_url).order_by(*key).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(*key) > tuple_(*(literal(each) for each in after)))
    return tuple(
        BacklogView(
            row.list,
            row.update_id,
            row.revision_number,
            row.state,
            row.attempts,
            row.next_attempt_at,
            row.error,
        )
        for row in connection.execute(statement)
    )


def take_from_backlog(
    connection: Connection, upstream_url: str, name: BacklogName, identities: Sequence[UpdateIdentity]
) -> None:
    """Take out revisions that this transaction stores."""
    if identities:
        connection.execute(
            delete(_queued).where(*_of(_queued, upstream_url, name), *_THIS), _rows(identities)
        )


def note_in_backlog(
    connection: Connection,
    upstream_url: str,
    name: BacklogName,
    identities: Sequence[UpdateIdentity],
    *,
    state: Literal["not_offered", "failed"],
    now: datetime,
    error: str,
) -> None:
    """Note an attempt that did not bring these revisions, and when the next may be made."""
    retry = FAILED_RETRY if state == "failed" else NOT_OFFERED_RETRY
    statement = (
        update(_queued)
        .where(*_of(_queued, upstream_url, name), *_THIS)
        .values(state=state, attempts=_queued.c.attempts + 1, next_attempt_at=now + retry, error=error)
    )
    if identities:
        connection.execute(statement, _rows(identities))


def close_list(connection: Connection, upstream_url: str, name: ListedName, now: datetime) -> bool:
    """Keep the anchor of a list that nothing holds up; return False if something does, or there is no list."""
    pending = connection.execute(select(_pending).where(*_of(_pending, upstream_url, name))).first()
    if pending is None:
        return False
    holding = select(func.count()).where(
        *_of(_queued, upstream_url, name), _queued.c.attempts < GIVE_UP_AFTER
    )
    if connection.scalar(holding):
        return False
    connection.execute(delete(_pending).where(*_of(_pending, upstream_url, name)))
    if pending.anchor is not None:
        keep_anchor(
            connection,
            upstream_url,
            name,
            pending.anchor,
            now,
            filter_key=pending.filter_key,
            covers=pending.covers,
        )
    return True


def drop_list(connection: Connection, upstream_url: str, name: ListedName) -> None:
    """Forget a list and its backlog: it was read with a filter that nobody wants any more."""
    connection.execute(delete(_pending).where(*_of(_pending, upstream_url, name)))
    connection.execute(delete(_queued).where(*_of(_queued, upstream_url, name)))


def _due(
    upstream_url: str, name: BacklogName, now: datetime, *, everything: bool
) -> tuple[ColumnElement[bool], ...]:
    due = _of(_queued, upstream_url, name)
    return due if everything else (*due, or_(_queued.c.state == "queued", _queued.c.next_attempt_at <= now))


def _of(table: Any, upstream_url: str, name: str) -> tuple[ColumnElement[bool], ...]:
    return table.c.upstream_url == upstream_url, table.c.list == name


def _rows(identities: Sequence[UpdateIdentity]) -> list[dict[str, Any]]:
    return [{"id": each.update_id, "number": each.revision_number} for each in identities]
