"""/audit: who changed what, and whether the trail is whole."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from mdm.access.scopes import Scope
from mdm.audit import list_entries
from mdm.audit_chain import verify
from mdm.rest.fields import NoBody, ObjectId, PageQuery, Query
from mdm.rest.operations import Call, Operation, Reply

__all__ = ["OPERATIONS"]

_MAX_VERIFIED: Final = 10_000
"""Entries verified by one request: it holds a thread and a connection meanwhile."""
_MAX_SEQ: Final = 2**31 - 1

_Actor = Annotated[str, StringConstraints(min_length=1, max_length=300)]
"""`client:` and a token's name, which alone may have 200 characters."""


def _moment(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise PydanticCustomError("invalid_time", "must be a time with a zone, like 2026-11-21T20:00:00Z")


_Moment = Annotated[datetime, BeforeValidator(_moment)]


class AuditQuery(PageQuery):
    """Which entries to list."""

    actor: _Actor | None = None
    action: ObjectId | None = None
    object_type: ObjectId | None = None
    object_id: ObjectId | None = None
    since: _Moment | None = None
    until: _Moment | None = None


class VerifyQuery(Query):
    """Which entries to verify."""

    after: Annotated[int, Field(ge=0, le=_MAX_SEQ)] = 0
    limit: Annotated[int, Field(ge=1, le=_MAX_VERIFIED)] = _MAX_VERIFIED


def _list(call: Call[AuditQuery, NoBody]) -> Reply:
    query = call.query
    position = call.position(query, int)
    rows = list_entries(
        call.conn,
        before=None if position.after is None else position.after[0],
        limit=position.fetch,
        actor=query.actor,
        action=query.action,
        object_type=query.object_type,
        object_id=query.object_id,
        since=query.since,
        until=query.until,
    )
    return Reply.of_page(position.page(rows, key=lambda row: (row.seq,)))


def _verify(call: Call[VerifyQuery, NoBody]) -> Reply:
    after, limit = call.query.after, call.query.limit
    verdict = verify(call.conn, after=after or None, limit=limit)
    unfinished = verdict.fault is None and not verdict.complete
    return Reply(
        {
            "intact": verdict.fault is None,
            "checked": verdict.checked,
            "last": verdict.last,
            "head": verdict.head,
            "fault": verdict.fault,
            "next_after": verdict.last.seq if unfinished and verdict.last is not None else None,
        }
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/audit",
        scope=Scope.AUDIT_READ,
        handler=_list,
        query=AuditQuery,
        body=NoBody,
        summary="List changes, newest first",
    ),
    Operation(
        method="GET",
        path="/audit/verify",
        scope=Scope.AUDIT_READ,
        handler=_verify,
        query=VerifyQuery,
        body=NoBody,
        summary="Check the chain of hashes, some thousand entries at a time",
    ),
)
