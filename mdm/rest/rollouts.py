"""/rollouts: updates on their way through the rings of a plan."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from csp.rollback import RollbackKind
from mdm.access.scopes import Scope
from mdm.errors import FieldError, Invalid
from mdm.rest.fields import Body, Guid, Name, NoBody, NoQuery, ObjectId, PageQuery
from mdm.rest.operations import Call, Operation, Reply
from mdm.rest.rollout_plans import Rings, read_rings
from mdm.rollouts.actions import (
    approve_promotion,
    pause_rollout,
    promote_stage,
    resume_rollout,
    roll_back_rollout,
    stop_rollout,
)
from mdm.rollouts.plans import checked_rings
from mdm.rollouts.preview import preview_rollout
from mdm.rollouts.rings import MAX_RINGS
from mdm.rollouts.store import MAX_UPDATES, load, rings_of_plan, start_rollout
from mdm.rollouts.views import get_rollout, list_events, list_rollouts

__all__ = ["OPERATIONS"]

Updates = Annotated[list[Guid], Field(min_length=1, max_length=MAX_UPDATES)]
StageNumber = Annotated[int, Field(ge=1, le=MAX_RINGS)]


class NewRollout(Body):
    """A rollout to start."""

    name: Name
    plan_id: ObjectId
    update_ids: Updates


class ImaginedRollout(Body):
    """A rollout to try out: by a plan there is, or by rings that nobody has saved."""

    plan_id: ObjectId | None = None
    rings: Rings | None = None
    update_ids: Updates


class Remarked(Body):
    """An action that may be explained."""

    remark: Name | None = None


class Promotion(Body):
    """What is promoted, and why; the stage is named so that a repeated request promotes nothing else."""

    stage: StageNumber
    remark: Name


class RollBack(Body):
    """What to take back, and why."""

    reason: Name
    kind: Literal["quality", "feature"] | None = None
    """Which latest update devices are asked to take off; left out, none is."""


class RolloutsQuery(PageQuery):
    """Which rollouts to list."""

    state: Literal["running", "paused", "halted", "completed", "stopped"] | None = None
    rule_id: ObjectId | None = None


def _create(call: Call[NoQuery, NewRollout]) -> Reply:
    body = call.body
    rollout = start_rollout(
        call.conn,
        call.origin,
        plan_id=body.plan_id,
        update_ids=body.update_ids,
        name=body.name,
        now=call.now,
    )
    return Reply.created(f"/rollouts/{rollout.id}", get_rollout(call.conn, rollout.id, now=call.now))


def _preview(call: Call[NoQuery, ImaginedRollout]) -> Reply:
    body = call.body
    if body.rings is not None and body.plan_id is None:
        rings = read_rings(body.rings)
        checked_rings(call.conn, rings)
    elif body.plan_id is not None and body.rings is None:
        rings = rings_of_plan(call.conn, body.plan_id)
    else:
        error = FieldError("/plan_id", "one_of_two", "Give either plan_id or rings.")
        raise Invalid("The rollout needs rings.", errors=(error,))
    return Reply(preview_rollout(call.conn, rings, body.update_ids, now=call.now))


def _list(call: Call[RolloutsQuery, NoBody]) -> Reply:
    position = call.position(call.query, datetime, str)
    rows = list_rollouts(
        call.conn,
        state=call.query.state,
        rule_id=call.query.rule_id,
        before=position.after,
        limit=position.fetch,
    )
    return Reply.of_page(position.page(rows, key=lambda row: (row.created_at, row.id)))


def _get(call: Call[NoQuery, NoBody]) -> Reply:
    return _shown(call, call.path_params["rollout"])


def _list_events(call: Call[PageQuery, NoBody]) -> Reply:
    position = call.position(call.query, int)
    before = None if position.after is None else position.after[0]
    rollout = load(call.conn, call.path_params["rollout"])
    rows = list_events(call.conn, rollout.id, before=before, limit=position.fetch)
    return Reply.of_page(position.page(rows, key=lambda row: (row.seq,)))


def _pause(call: Call[NoQuery, Remarked]) -> Reply:
    rollout_id = call.path_params["rollout"]
    pause_rollout(call.conn, call.origin, rollout_id, remark=call.body.remark, now=call.now)
    return _shown(call, rollout_id)


def _resume(call: Call[NoQuery, Remarked]) -> Reply:
    rollout_id = call.path_params["rollout"]
    resume_rollout(call.conn, call.origin, rollout_id, remark=call.body.remark, now=call.now)
    return _shown(call, rollout_id)


def _promote(call: Call[NoQuery, Promotion]) -> Reply:
    rollout_id, body = call.path_params["rollout"], call.body
    promote_stage(call.conn, call.origin, rollout_id, stage=body.stage, remark=body.remark, now=call.now)
    return _shown(call, rollout_id)


def _approve(call: Call[NoQuery, Promotion]) -> Reply:
    rollout_id, body = call.path_params["rollout"], call.body
    approve_promotion(call.conn, call.origin, rollout_id, stage=body.stage, remark=body.remark, now=call.now)
    return _shown(call, rollout_id)


def _stop(call: Call[NoQuery, Remarked]) -> Reply:
    rollout_id = call.path_params["rollout"]
    stop_rollout(call.conn, call.origin, rollout_id, remark=call.body.remark, now=call.now)
    return _shown(call, rollout_id)


def _roll_back(call: Call[NoQuery, RollBack]) -> Reply:
    rollout_id, body = call.path_params["rollout"], call.body
    roll_back_rollout(
        call.conn,
        call.origin,
        rollout_id,
        reason=body.reason,
        kind=None if body.kind is None else RollbackKind(body.kind),
        now=call.now,
    )
    return _shown(call, rollout_id)


def _shown(call: Call[Any, Any], rollout_id: str) -> Reply:
    return Reply(get_rollout(call.conn, rollout_id, now=call.now))


OPERATIONS = (
    Operation(
        method="POST",
        path="/rollouts",
        scope=Scope.ROLLOUTS_WRITE,
        handler=_create,
        query=NoQuery,
        body=NewRollout,
        status=201,
        summary="Start to bring updates through the rings of a plan",
    ),
    Operation(
        method="GET",
        path="/rollouts",
        scope=Scope.ROLLOUTS_READ,
        handler=_list,
        query=RolloutsQuery,
        body=NoBody,
        summary="List rollouts, newest first",
    ),
    Operation(
        method="POST",
        path="/rollouts/preview",
        scope=Scope.ROLLOUTS_READ,
        handler=_preview,
        query=NoQuery,
        body=ImaginedRollout,
        reads_only=True,
        summary="Show what a rollout would come to; nothing is stored",
    ),
    Operation(
        method="GET",
        path="/rollouts/{rollout}",
        scope=Scope.ROLLOUTS_READ,
        handler=_get,
        query=NoQuery,
        body=NoBody,
        summary="Read a rollout with the figures of each stage",
    ),
    Operation(
        method="GET",
        path="/rollouts/{rollout}/events",
        scope=Scope.ROLLOUTS_READ,
        handler=_list_events,
        query=PageQuery,
        body=NoBody,
        summary="List what happened to a rollout and why, newest first",
    ),
    Operation(
        method="POST",
        path="/rollouts/{rollout}/pause",
        scope=Scope.ROLLOUTS_WRITE,
        handler=_pause,
        query=NoQuery,
        body=Remarked,
        summary="Deliver nothing more of a rollout until it is resumed",
    ),
    Operation(
        method="POST",
        path="/rollouts/{rollout}/resume",
        scope=Scope.ROLLOUTS_WRITE,
        handler=_resume,
        query=NoQuery,
        body=Remarked,
        summary="Let a paused or halted rollout go on where it stopped",
    ),
    Operation(
        method="POST",
        path="/rollouts/{rollout}/promote",
        scope=Scope.ROLLOUTS_WRITE,
        handler=_promote,
        query=NoQuery,
        body=Promotion,
        summary="Skip what the current stage waits for, or ask a second person to agree",
    ),
    Operation(
        method="POST",
        path="/rollouts/{rollout}/approve-promotion",
        scope=Scope.ROLLOUTS_WRITE,
        handler=_approve,
        query=NoQuery,
        body=Promotion,
        summary="Agree, as a second person, that the next stage begins",
    ),
    Operation(
        method="POST",
        path="/rollouts/{rollout}/stop",
        scope=Scope.ROLLOUTS_WRITE,
        handler=_stop,
        query=NoQuery,
        body=Remarked,
        summary="End a rollout for good and revoke its approvals",
    ),
    Operation(
        method="POST",
        path="/rollouts/{rollout}/roll-back",
        scope=Scope.ROLLOUTS_WRITE,
        handler=_roll_back,
        query=NoQuery,
        body=RollBack,
        summary="End a rollout, block its updates, and ask devices to take them off",
    ),
)
