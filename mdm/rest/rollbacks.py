"""/rollbacks: have devices take back their latest quality or feature update."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from csp.rollback import RollbackKind
from mdm.access.scopes import Scope
from mdm.rest.fields import Body, Name, NoBody, NoQuery, ObjectId, PageQuery
from mdm.rest.operations import Call, Operation, Reply
from mdm.rollbacks.preview import preview_rollback
from mdm.rollbacks.store import (
    MAX_DAYS,
    RollbackScope,
    RollbackView,
    cancel_rollback,
    create_rollback,
    get_rollback,
    list_outcomes,
    list_rollbacks,
    release_rollback,
)

__all__ = ["OPERATIONS"]


class PreviewedRollback(Body):
    """Who would be asked for what."""

    kind: Literal["quality", "feature"]
    group_ids: Annotated[tuple[ObjectId, ...], Field(max_length=100)] = ()
    """The members that these groups have now."""
    device_ids: Annotated[tuple[ObjectId, ...], Field(max_length=500)] = ()

    def scope(self) -> RollbackScope:
        """The same, as the domain has it."""
        return RollbackScope(self.group_ids, self.device_ids)


class NewRollback(PreviewedRollback):
    """A rollback to ask for."""

    reason: Name
    days: Annotated[int, Field(ge=1, le=MAX_DAYS)] = 14
    """How long devices may take to come by; none is told to roll back after that."""


class OutcomesQuery(PageQuery):
    """Which devices of a rollback to list."""

    state: (
        Literal[
            "waiting",
            "sent",
            "executed",
            "rolled_back",
            "failed",
            "refused",
            "cancelled",
            "expired",
            "unconfirmed",
        ]
        | None
    ) = None


def _create(call: Call[NoQuery, NewRollback]) -> Reply:
    body = call.body
    rollback = create_rollback(
        call.conn,
        call.origin,
        kind=RollbackKind(body.kind),
        scope=body.scope(),
        reason=body.reason,
        days=body.days,
        now=call.now,
    )
    return Reply.created(f"/rollbacks/{rollback.id}", rollback)


def _preview(call: Call[NoQuery, PreviewedRollback]) -> Reply:
    kind = RollbackKind(call.body.kind)
    return Reply(preview_rollback(call.conn, kind=kind, scope=call.body.scope(), now=call.now))


def _list(call: Call[PageQuery, NoBody]) -> Reply:
    position = call.position(call.query, datetime, str)
    rows = list_rollbacks(call.conn, before=position.after, limit=position.fetch, now=call.now)
    return Reply.of_page(position.page(rows, key=lambda row: (row.created_at, row.id)))


def _get(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(get_rollback(call.conn, call.path_params["rollback"], now=call.now))


def _outcomes(call: Call[OutcomesQuery, NoBody]) -> Reply:
    position = call.position(call.query, int)
    rows = list_outcomes(
        call.conn,
        call.path_params["rollback"],
        state=call.query.state,
        after=None if position.after is None else position.after[0],
        limit=position.fetch,
        now=call.now,
    )
    return Reply.of_page(position.page(rows, key=lambda row: (row[0],), show=lambda row: row[1]))


def _cancel(call: Call[NoQuery, NoBody]) -> Reply:
    job_id = call.path_params["rollback"]
    return _ended(*cancel_rollback(call.conn, call.origin, job_id, now=call.now))


def _release(call: Call[NoQuery, NoBody]) -> Reply:
    job_id = call.path_params["rollback"]
    return _ended(*release_rollback(call.conn, call.origin, job_id, now=call.now))


def _ended(rollback: RollbackView, told: int) -> Reply:
    """What cannot be taken back is said."""
    detail = f"{told} devices had been told to roll back, which cannot be taken back."
    return Reply(asdict(rollback) | {"residual": {"devices": told, "detail": detail} if told else None})


OPERATIONS = (
    Operation(
        method="POST",
        path="/rollbacks",
        scope=Scope.APPROVALS_WRITE,
        handler=_create,
        query=NoQuery,
        body=NewRollback,
        status=201,
        summary="Have devices roll back their latest quality or feature update",
    ),
    Operation(
        method="GET",
        path="/rollbacks",
        scope=Scope.APPROVALS_READ,
        handler=_list,
        query=PageQuery,
        body=NoBody,
        summary="List rollbacks, newest first",
    ),
    Operation(
        method="POST",
        path="/rollbacks/preview",
        scope=Scope.APPROVALS_READ,
        handler=_preview,
        query=NoQuery,
        body=PreviewedRollback,
        reads_only=True,
        summary="Show who would roll back, who cannot and why; nothing is stored",
    ),
    Operation(
        method="GET",
        path="/rollbacks/{rollback}",
        scope=Scope.APPROVALS_READ,
        handler=_get,
        query=NoQuery,
        body=NoBody,
        summary="Read a rollback with its devices by state",
    ),
    Operation(
        method="GET",
        path="/rollbacks/{rollback}/devices",
        scope=Scope.APPROVALS_READ,
        handler=_outcomes,
        query=OutcomesQuery,
        body=NoBody,
        summary="List the devices of a rollback with their outcome",
    ),
    Operation(
        method="POST",
        path="/rollbacks/{rollback}/cancel",
        scope=Scope.APPROVALS_WRITE,
        handler=_cancel,
        query=NoQuery,
        body=NoBody,
        summary="Tell no further device to roll back",
    ),
    Operation(
        method="POST",
        path="/rollbacks/{rollback}/release",
        scope=Scope.APPROVALS_WRITE,
        handler=_release,
        query=NoQuery,
        body=NoBody,
        summary="Let updates flow again on the devices of a rollback",
    ),
)
