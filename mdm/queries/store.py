"""Saved queries as IT makes, changes and deletes them; what they match is worked out by `mdm.queries.matches`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, or_, select, update

from mdm.audit import record
from mdm.errors import Conflict, NotFound
from mdm.queries.criteria import parse_criteria
from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import Approval, ApprovalRule, ListedUpdate, QueryMatch, SavedQuery, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.audit import Origin

__all__ = [
    "MatchView",
    "QueryView",
    "change_query",
    "create_query",
    "delete_query",
    "get_query",
    "hold_query",
    "list_matches",
    "list_queries",
]

_NAMED: Final = 20
"""Approvals or rules named in one refusal."""

_query = table_of(SavedQuery)
_match = table_of(QueryMatch)
_approval = table_of(Approval)
_rule = table_of(ApprovalRule)
_listed = table_of(ListedUpdate)
_revision = table_of(UpdateRevision)


@dataclass(frozen=True, slots=True)
class QueryView:
    """A saved query, and how far its matches can be relied on."""

    id: str
    name: str
    description: str | None
    criteria: Mapping[str, Any]
    matching: int
    """Updates it matches, as far as that is worked out."""
    matched_at: datetime | None
    """When that was last worked out from beginning to end; None: not yet."""
    current: bool
    """False from a change of the criteria until that is worked out anew."""
    created_at: datetime
    created_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class MatchView:
    """An update that a saved query matches."""

    update_id: str
    title: str
    kb: str | None
    created: datetime | None


def create_query(
    conn: Connection,
    origin: Origin,
    *,
    name: str,
    criteria: Mapping[str, Any],
    description: str | None = None,
    now: datetime,
) -> QueryView:
    """Save criteria under a name; they match nothing until `mdm.queries.matches` has worked that out.

    Raises Invalid for wrong criteria, and Conflict `query_exists` for a name that is taken.
    """
    parse_criteria(criteria)
    query_id = f"qry_{secrets.token_hex(10)}"
    made = conn.execute(
        insert_ignore(SavedQuery, conn).values(
            id=query_id,
            name=name,
            description=description,
            criteria=criteria,
            version=1,
            created_at=now,
            created_by=origin.actor,
            changed_at=now,
        )
    )
    if made.rowcount == 0:
        raise _name_taken(conn, name)
    record(
        conn,
        origin,
        now=now,
        action="query.create",
        object_type="query",
        object_id=query_id,
        after=_audited(name, description, criteria),
    )
    return get_query(conn, query_id)


def change_query(
    conn: Connection,
    origin: Origin,
    query_id: str,
    *,
    name: str,
    criteria: Mapping[str, Any],
    description: str | None = None,
    now: datetime,
) -> QueryView:
    """Give the query this name and these criteria; what it matched stays until it is worked out anew.

    Raises NotFound, Invalid for wrong criteria, and Conflict `query_exists` for a name that is taken.
    """
    parse_criteria(criteria)
    _lock(conn, query_id)
    before = get_query(conn, query_id)
    if (before.name, before.description, before.criteria) == (name, description, criteria):
        return before
    other = conn.scalar(select(_query.c.id).where(_query.c.name == name, _query.c.id != query_id))
    if other is not None:
        raise _name_taken(conn, name)
    raised = 0 if before.criteria == criteria else 1
    conn.execute(
        update(_query)
        .where(_query.c.id == query_id)
        .values(
            name=name,
            description=description,
            criteria=criteria,
            version=_query.c.version + raised,
            changed_at=now,
        )
    )
    record(
        conn,
        origin,
        now=now,
        action="query.change",
        object_type="query",
        object_id=query_id,
        before=_audited(before.name, before.description, before.criteria),
        after=_audited(name, description, criteria),
    )
    return get_query(conn, query_id)


def delete_query(conn: Connection, origin: Origin, query_id: str, *, now: datetime) -> None:
    """Delete a query and its matches.

    Raises NotFound, and Conflict: `query_in_use` while an active approval or block names it, because that one would
    silently mean nothing; `query_named` while a rule does.
    """
    _lock(conn, query_id)
    before = get_query(conn, query_id)
    approvals = conn.scalars(
        select(_approval.c.id)
        .where(
            _approval.c.target_type == "query",
            _approval.c.target_id == query_id,
            _approval.c.revoked_at.is_(None),
            or_(_approval.c.expires_at.is_(None), _approval.c.expires_at > now),
        )
        .order_by(_approval.c.id)
        .limit(_NAMED)
    ).all()
    if approvals:
        raise Conflict(
            f"Active approvals name the query {before.name!r}.",
            code="query_in_use",
            approvals=list(approvals),
        )
    rules = conn.scalars(
        select(_rule.c.id).where(_rule.c.query_id == query_id).order_by(_rule.c.id).limit(_NAMED)
    ).all()
    if rules:
        raise Conflict(f"Rules use the query {before.name!r}.", code="query_named", rules=list(rules))
    conn.execute(delete(_query).where(_query.c.id == query_id))
    record(
        conn,
        origin,
        now=now,
        action="query.delete",
        object_type="query",
        object_id=query_id,
        before=_audited(before.name, before.description, before.criteria),
    )


def get_query(conn: Connection, query_id: str) -> QueryView:
    """The query; raises NotFound."""
    row = conn.execute(select(_query).where(_query.c.id == query_id)).one_or_none()
    if row is None:
        raise _unknown(query_id)
    return _view(conn, row)


def list_queries(conn: Connection, *, after: str | None, limit: int) -> list[QueryView]:
    """At most `limit` queries whose name comes after `after`, by name."""
    statement = select(_query).order_by(_query.c.name).limit(limit)
    if after is not None:
        statement = statement.where(_query.c.name > after)
    return [_view(conn, row) for row in conn.execute(statement).all()]


def hold_query(conn: Connection, query_id: str) -> None:
    """Hold the query until the transaction ends, so that it can neither be deleted nor matched anew meanwhile.

    Whoever begins to rely on its matches holds it. Raises NotFound.
    """
    held = select(_query.c.id).where(_query.c.id == query_id).with_for_update(read=True, key_share=True)
    if conn.scalar(held) is None:
        raise _unknown(query_id)


def list_matches(
    conn: Connection, query_id: str, *, after: int | None, limit: int
) -> list[tuple[int, MatchView]]:
    """At most `limit` updates that the query matches with their positions, the newest first, below `after`."""
    statement = (
        select(
            _listed.c.position,
            _revision.c.update_id,
            _revision.c.title,
            _revision.c.kb,
            _revision.c.created,
        )
        .join(_match, _match.c.update_id == _listed.c.update_id)
        .join(_revision, (_revision.c.update_id == _listed.c.update_id) & _revision.c.is_latest)
        .where(_match.c.query_id == query_id)
        .order_by(_listed.c.position.desc())
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(_listed.c.position < after)
    return [
        (row.position, MatchView(row.update_id, row.title, row.kb, row.created))
        for row in conn.execute(statement)
    ]


def _lock(conn: Connection, query_id: str) -> None:
    if conn.scalar(select(_query.c.id).where(_query.c.id == query_id).with_for_update()) is None:
        raise _unknown(query_id)


def _view(conn: Connection, row: Row[Any]) -> QueryView:
    count = select(func.count()).select_from(_match).where(_match.c.query_id == row.id)
    return QueryView(
        id=row.id,
        name=row.name,
        description=row.description,
        criteria=row.criteria,
        matching=conn.execute(count).scalar_one(),
        matched_at=row.matched_at,
        current=row.matched_version == row.version,
        created_at=row.created_at,
        created_by=row.created_by,
        changed_at=row.changed_at,
    )


def _audited(name: str, description: str | None, criteria: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "description": description, "criteria": criteria}


def _name_taken(conn: Connection, name: str) -> Conflict:
    existing = conn.scalar(select(_query.c.id).where(_query.c.name == name))
    return Conflict(f"A query named {name!r} exists.", code="query_exists", existing=existing)


def _unknown(query_id: str) -> NotFound:
    return NotFound(f"There is no query {query_id!r}.")
