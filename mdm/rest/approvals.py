"""/approvals: what IT wants on which devices."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

from mdm.access.scopes import Scope
from mdm.approvals.checks import Action, Delivery, Proposal, TargetType
from mdm.approvals.preview import preview_approval
from mdm.approvals.store import create_approval, revoke_approval
from mdm.approvals.views import get_approval, list_approvals
from mdm.rest.fields import Body, Flag, Name, NoBody, NoQuery, ObjectId, PageQuery, TargetId
from mdm.rest.operations import Call, Operation, Reply

__all__ = ["OPERATIONS"]

_MAX_GROUPS = 100


class NewTarget(Body):
    """An update by its UpdateID, a classification or product by its GUID, or a saved query by its id."""

    type: TargetType
    id: TargetId


class NewApproval(Body):
    """An approval to make."""

    target: NewTarget
    action: Action
    """`block` wins over every approval, and needs a reason."""
    group_ids: Annotated[list[ObjectId], Field(min_length=1, max_length=_MAX_GROUPS)]
    allow_without_metadata: bool = False
    """Deliver although no metadata says whether there is a EULA; for what no upstream offers."""
    reason: Name | None = None
    delivery: Delivery | None = None
    """Of a classification: `device` or `expanded`; left out, the recommended one."""
    not_before: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    deadline: AwareDatetime | None = None
    """By when it should be installed; what is not is shown as overdue."""


class ApprovalsQuery(PageQuery):
    """Which approvals to list."""

    active: Flag | None = None
    target_id: TargetId | None = None


def _create(call: Call[NoQuery, NewApproval]) -> Reply:
    body = call.body
    approval = create_approval(
        call.conn,
        call.origin,
        target_type=body.target.type,
        target_id=body.target.id,
        group_ids=body.group_ids,
        allow_without_metadata=body.allow_without_metadata,
        action=body.action,
        delivery=body.delivery,
        not_before=body.not_before,
        expires_at=body.expires_at,
        deadline=body.deadline,
        reason=body.reason,
        now=call.now,
    )
    return Reply.created(f"/approvals/{approval.id}", approval)


def _preview(call: Call[NoQuery, NewApproval]) -> Reply:
    body = call.body
    proposal = Proposal(
        target_type=body.target.type,
        target_id=body.target.id,
        group_ids=tuple(sorted(set(body.group_ids))),
        action=body.action,
        delivery=body.delivery,
        not_before=body.not_before,
        expires_at=body.expires_at,
        deadline=body.deadline,
        allow_without_metadata=body.allow_without_metadata,
        reason=body.reason,
    )
    return Reply(preview_approval(call.conn, proposal, now=call.now))


def _list(call: Call[ApprovalsQuery, NoBody]) -> Reply:
    position = call.position(call.query, datetime, str)
    rows = list_approvals(
        call.conn,
        active=call.query.active,
        target_id=call.query.target_id,
        before=position.after,
        limit=position.fetch,
        now=call.now,
    )
    return Reply.of_page(position.page(rows, key=lambda row: (row.created_at, row.id)))


def _get(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(get_approval(call.conn, call.path_params["approval"], now=call.now))


def _revoke(call: Call[NoQuery, NoBody]) -> Reply:
    approval, residual = revoke_approval(call.conn, call.origin, call.path_params["approval"], now=call.now)
    return Reply(asdict(approval) | {"residual": residual})


OPERATIONS = (
    Operation(
        method="POST",
        path="/approvals",
        scope=Scope.APPROVALS_WRITE,
        handler=_create,
        query=NoQuery,
        body=NewApproval,
        status=201,
        summary="Approve or block an update, classification, product or saved query for groups",
    ),
    Operation(
        method="POST",
        path="/approvals/preview",
        scope=Scope.APPROVALS_READ,
        handler=_preview,
        query=NoQuery,
        body=NewApproval,
        reads_only=True,
        summary="Tell what an approval or block would do, and what stands in its way",
    ),
    Operation(
        method="GET",
        path="/approvals",
        scope=Scope.APPROVALS_READ,
        handler=_list,
        query=ApprovalsQuery,
        body=NoBody,
        summary="List approvals, newest first",
    ),
    Operation(
        method="GET",
        path="/approvals/{approval}",
        scope=Scope.APPROVALS_READ,
        handler=_get,
        query=NoQuery,
        body=NoBody,
        summary="Read an approval",
    ),
    Operation(
        method="POST",
        path="/approvals/{approval}/revoke",
        scope=Scope.APPROVALS_WRITE,
        handler=_revoke,
        query=NoQuery,
        body=NoBody,
        summary="Deliver an approval to no further device",
    ),
)
