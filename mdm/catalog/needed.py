"""What devices reported and the store lacks, and what each upstream said of it.

A revision that one upstream does not give is left to the others, in their order. Only when every one of them has
been asked does the queue say `not_offered`, or `failed` if one of them could not answer; until then it is
`queued`. So a GUID that a device reports is never silently unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import and_, bindparam, delete, or_, select

from mdm.catalog.store import FAILED_RETRY, NOT_OFFERED_RETRY, mark_needed
from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import NeededAnswer, NeededRevision, UpdateRevision
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = [
    "NeededView",
    "Refusal",
    "UpstreamAnswer",
    "due_needed",
    "known_definition_updates",
    "list_needed",
    "note_refusals",
    "settle_needed",
]

_DEFINITION_UPDATES: Final = "e0789628-ce08-4437-be74-2495b842f43b"
"""The classification that Microsoft asks device managers to leave out: a new one comes every few hours."""
_CHUNK: Final = 400

_needed = table_of(NeededRevision)
_answer = table_of(NeededAnswer)
_revision = table_of(UpdateRevision)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an upstream did not give a revision."""

    identity: UpdateIdentity
    state: Literal["not_offered", "failed"]
    reason: str


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """What one upstream said of a needed revision."""

    upstream_url: str
    state: str
    at: datetime
    next_attempt_at: datetime
    error: str


@dataclass(frozen=True, slots=True)
class NeededView:
    """A revision some device reported."""

    update_id: str
    revision_number: int | None
    """None when the device's build does not report revisions."""
    state: str
    """`queued`, `synced`, `not_offered` or `failed`."""
    first_reported_at: datetime
    last_attempt_at: datetime | None
    next_attempt_at: datetime | None
    error: str | None
    upstreams: tuple[UpstreamAnswer, ...]


def due_needed(
    connection: Connection, upstream_url: str, now: datetime, *, everything: bool
) -> list[UpdateIdentity]:
    """Return what this upstream was never asked for and what it may be asked for again, or everything missing."""
    statement = (
        select(_needed.c.update_id, _needed.c.revision_number)
        .outerjoin(
            _answer,
            and_(
                _answer.c.upstream_url == upstream_url,
                _answer.c.update_id == _needed.c.update_id,
                _answer.c.revision_number == _needed.c.revision_number,
            ),
        )
        .where(_needed.c.state != "synced")
    )
    if not everything:
        statement = statement.where(or_(_answer.c.state.is_(None), _answer.c.next_attempt_at <= now))
    rows = connection.execute(statement.order_by(_needed.c.update_id, _needed.c.revision_number))
    return [UpdateIdentity(*row) for row in rows]


def settle_needed(
    connection: Connection, identities: Sequence[UpdateIdentity], now: datetime, note: str | None = None
) -> None:
    """Note that revisions have their metadata; what upstreams said of them no longer matters."""
    mark_needed(connection, identities, "synced", now, note)
    statement = delete(_answer).where(
        _answer.c.update_id == bindparam("id"), _answer.c.revision_number == bindparam("number")
    )
    if identities:
        rows = [{"id": each.update_id, "number": each.revision_number} for each in identities]
        connection.execute(statement, rows)


def note_refusals(
    connection: Connection,
    refusals: Sequence[Refusal],
    *,
    upstream_url: str,
    asked: Collection[str],
    now: datetime,
) -> None:
    """Note what an upstream did not give; `asked` are the URLs of all upstreams in use."""
    rows = [
        {
            "upstream_url": upstream_url,
            "update_id": each.identity.update_id,
            "revision_number": each.identity.revision_number,
            "state": each.state,
            "at": now,
            "next_attempt_at": now + (FAILED_RETRY if each.state == "failed" else NOT_OFFERED_RETRY),
            "error": each.reason,
        }
        for each in refusals
    ]
    if not rows:
        return
    columns = ("state", "at", "next_attempt_at", "error")
    connection.execute(upsert(NeededAnswer, connection, update=columns), rows)
    others = set(asked) - {upstream_url}
    held = _answers(connection, {each.identity.update_id for each in refusals}) if others else {}
    for each in refusals:
        answers = {answer.upstream_url: answer for answer in held.get(each.identity, ())}
        if not others <= answers.keys():
            continue  # still queued: another upstream has not been asked
        state, reason = each.state, each.reason
        if others:
            told = [answers[url] for url in sorted(others)]
            failed = any(answer.state == "failed" for answer in told)
            state = "failed" if failed else state
            reason = " ".join(
                [
                    f"{upstream_url}: {each.reason}",
                    *(f"{answer.upstream_url}: {answer.error}" for answer in told),
                ]
            )
        mark_needed(connection, [each.identity], state, now, reason)


def known_definition_updates(connection: Connection, update_ids: Iterable[str]) -> frozenset[str]:
    """Return which of these updates are stored in some revision and are definition updates."""
    found: set[str] = set()
    ids = sorted(set(update_ids))
    for start in range(0, len(ids), _CHUNK):
        found.update(
            connection.scalars(
                select(_revision.c.update_id).where(
                    _revision.c.update_id.in_(ids[start : start + _CHUNK]),
                    _revision.c.is_latest,
                    _revision.c.classification_id == _DEFINITION_UPDATES,
                )
            )
        )
    return frozenset(found)


def list_needed(
    connection: Connection,
    *,
    limit: int,
    state: str | None = None,
    after: tuple[str, int] | None = None,
) -> tuple[NeededView, ...]:
    """Return what devices reported, by id, each with what every upstream said of it.

    `after` is (update_id, revision number or 0) of the last one already seen.
    """
    statement = select(_needed).order_by(_needed.c.update_id, _needed.c.revision_number).limit(limit)
    if state is not None:
        statement = statement.where(_needed.c.state == state)
    if after is not None:
        update_id, number = after
        statement = statement.where(
            or_(
                _needed.c.update_id > update_id,
                and_(_needed.c.update_id == update_id, _needed.c.revision_number > number),
            )
        )
    rows = connection.execute(statement).all()
    answers = _answers(connection, {row.update_id for row in rows})
    return tuple(
        NeededView(
            update_id=row.update_id,
            revision_number=row.revision_number or None,
            state=row.state,
            first_reported_at=row.first_reported_at,
            last_attempt_at=row.last_attempt_at,
            next_attempt_at=row.next_attempt_at,
            error=row.error,
            upstreams=tuple(answers.get(UpdateIdentity(row.update_id, row.revision_number), ())),
        )
        for row in rows
    )


def _answers(connection: Connection, update_ids: set[str]) -> dict[UpdateIdentity, list[UpstreamAnswer]]:
    found: dict[UpdateIdentity, list[UpstreamAnswer]] = {}
    ids = sorted(update_ids)
    for start in range(0, len(ids), _CHUNK):
        rows: Any = connection.execute(
            select(_answer)
            .where(_answer.c.update_id.in_(ids[start : start + _CHUNK]))
            .order_by(_answer.c.upstream_url)
        )
        for row in rows:
            found.setdefault(UpdateIdentity(row.update_id, row.revision_number), []).append(
                UpstreamAnswer(row.upstream_url, row.state, row.at, row.next_attempt_at, row.error)
            )
    return found
