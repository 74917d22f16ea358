"""/rollout-plans: the rings updates go through, in order, and what each waits for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mdm.access.scopes import Scope
from mdm.rest.fields import Body, Name, NoBody, NoQuery, ObjectId, PageQuery
from mdm.rest.operations import Call, Operation, Reply
from mdm.rollouts.plans import change_plan, create_plan, delete_plan, get_plan, list_plans
from mdm.rollouts.rings import MAX_RINGS, After, Gate, Halt, Offer, Promote, Ring

__all__ = ["OPERATIONS", "Rings", "read_rings"]

Percent = Annotated[int, Field(ge=1, le=100)]
Devices = Annotated[int, Field(ge=1, le=10_000_000)]
Days = Annotated[int, Field(ge=0, le=365)]
Hours = Annotated[int, Field(ge=1, le=8_760)]


class NewGate(Body):
    """How well the ring must have done before the next may begin."""

    percent: Percent
    min_devices: Devices = 1


class NewHalt(Body):
    """When too many devices have failed; either condition is enough."""

    percent: Percent | None = None
    min_sample: Devices = 1
    failures: Devices | None = None


class NewOffer(Body):
    """How many more devices get the updates in each period: a number or a percentage."""

    every_hours: Hours
    devices: Devices | None = None
    percent: Percent | None = None


class NewRing(Body):
    """A ring; what is left out asks for nothing."""

    name: Name
    group_ids: Annotated[tuple[ObjectId, ...], Field(min_length=1, max_length=100)]
    after: After = "previous"
    deferral_days: Days = 0
    soak_hours: Annotated[int, Field(ge=0, le=8_760)] = 0
    gate: NewGate | None = None
    halt: NewHalt | None = None
    offer: NewOffer | None = None
    deadline_days: Annotated[int, Field(ge=1, le=365)] | None = None
    promote: Promote = "auto"


Rings = Annotated[tuple[NewRing, ...], Field(min_length=1, max_length=MAX_RINGS)]


class NewPlan(Body):
    """A plan to make, or as it is to be."""

    name: Name
    rings: Rings


def read_rings(rings: tuple[NewRing, ...]) -> tuple[Ring, ...]:
    """The same, as the domain has them."""
    return tuple(
        Ring(
            name=ring.name,
            group_ids=ring.group_ids,
            after=ring.after,
            deferral_days=ring.deferral_days,
            soak_hours=ring.soak_hours,
            gate=None if ring.gate is None else Gate(**ring.gate.model_dump()),
            halt=None if ring.halt is None else Halt(**ring.halt.model_dump()),
            offer=None if ring.offer is None else Offer(**ring.offer.model_dump()),
            deadline_days=ring.deadline_days,
            promote=ring.promote,
        )
        for ring in rings
    )


def _create(call: Call[NoQuery, NewPlan]) -> Reply:
    plan = create_plan(
        call.conn, call.origin, name=call.body.name, rings=read_rings(call.body.rings), now=call.now
    )
    return Reply.created(f"/rollout-plans/{plan.id}", plan)


def _list(call: Call[PageQuery, NoBody]) -> Reply:
    position = call.position(call.query, str)
    after = None if position.after is None else position.after[0]
    rows = list_plans(call.conn, after=after, limit=position.fetch)
    return Reply.of_page(position.page(rows, key=lambda row: (row.name,)))


def _get(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(get_plan(call.conn, call.path_params["plan"]))


def _change(call: Call[NoQuery, NewPlan]) -> Reply:
    return Reply(
        change_plan(
            call.conn,
            call.origin,
            call.path_params["plan"],
            name=call.body.name,
            rings=read_rings(call.body.rings),
            now=call.now,
        )
    )


def _delete(call: Call[NoQuery, NoBody]) -> Reply:
    delete_plan(call.conn, call.origin, call.path_params["plan"], now=call.now)
    return Reply()


OPERATIONS = (
    Operation(
        method="POST",
        path="/rollout-plans",
        scope=Scope.ROLLOUTS_WRITE,
        handler=_create,
        query=NoQuery,
        body=NewPlan,
        status=201,
        summary="Make a plan of rings for rollouts",
    ),
    Operation(
        method="GET",
        path="/rollout-plans",
        scope=Scope.ROLLOUTS_READ,
        handler=_list,
        query=PageQuery,
        body=NoBody,
        summary="List ring plans by name",
    ),
    Operation(
        method="GET",
        path="/rollout-plans/{plan}",
        scope=Scope.ROLLOUTS_READ,
        handler=_get,
        query=NoQuery,
        body=NoBody,
        summary="Read a ring plan",
    ),
    Operation(
        method="PUT",
        path="/rollout-plans/{plan}",
        scope=Scope.ROLLOUTS_WRITE,
        handler=_change,
        query=NoQuery,
        body=NewPlan,
        summary="Give a plan other rings; rollouts under way keep those they have",
    ),
    Operation(
        method="DELETE",
        path="/rollout-plans/{plan}",
        scope=Scope.ROLLOUTS_WRITE,
        handler=_delete,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Delete a ring plan; rollouts under way go on",
    ),
)
