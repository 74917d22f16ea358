"""Ring plans as IT makes, reads, changes and deletes them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, select, update

from mdm.audit import record
from mdm.devices.groups import lock_groups
from mdm.errors import Conflict, FieldError, Invalid, NotFound
from mdm.rollouts.rings import Ring, check_rings, read_ring
from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import ApprovalRule, DeviceGroup, RolloutPlan, RolloutPlanGroup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.audit import Origin

__all__ = [
    "PlanView",
    "change_plan",
    "checked_rings",
    "create_plan",
    "delete_plan",
    "get_plan",
    "list_plans",
]

_plan = table_of(RolloutPlan)
_plan_group = table_of(RolloutPlanGroup)
_group = table_of(DeviceGroup)
_rule = table_of(ApprovalRule)

_NAMED: Final = 20
"""Rules named in one `plan_in_use`."""


@dataclass(frozen=True, slots=True)
class PlanView:
    """A ring plan as an administrator sees it."""

    id: str
    name: str
    rings: tuple[Ring, ...]
    created_at: datetime
    created_by: str
    changed_at: datetime
    changed_by: str


def create_plan(
    conn: Connection, origin: Origin, *, name: str, rings: Sequence[Ring], now: datetime
) -> PlanView:
    """Make a plan. Raises Invalid naming what is wrong with its rings, and Conflict `plan_exists`."""
    checked_rings(conn, rings)
    plan_id = f"pln_{secrets.token_hex(10)}"
    stored = [ring.as_json() for ring in rings]
    made = conn.execute(
        insert_ignore(RolloutPlan, conn).values(
            id=plan_id,
            name=name,
            rings=stored,
            created_at=now,
            created_by=origin.actor,
            changed_at=now,
            changed_by=origin.actor,
        )
    )
    if made.rowcount == 0:
        raise _name_taken(conn, name)
    _write_groups(conn, plan_id, rings)
    _record(conn, origin, "create", plan_id, before=None, after={"name": name, "rings": stored}, now=now)
    return get_plan(conn, plan_id)


def change_plan(
    conn: Connection, origin: Origin, plan_id: str, *, name: str, rings: Sequence[Ring], now: datetime
) -> PlanView:
    """Give the plan this name and these rings; rollouts that were started with it keep those they have.

    Raises NotFound, Invalid naming what is wrong with the rings, and Conflict `plan_exists`.
    """
    before = _locked(conn, plan_id)
    checked_rings(conn, rings)
    if (before.name, before.rings) == (name, tuple(rings)):
        return before
    other = conn.scalar(select(_plan.c.id).where(_plan.c.name == name, _plan.c.id != plan_id))
    if other is not None:
        raise _name_taken(conn, name)
    stored = [ring.as_json() for ring in rings]
    conn.execute(
        update(_plan)
        .where(_plan.c.id == plan_id)
        .values(name=name, rings=stored, changed_at=now, changed_by=origin.actor)
    )
    conn.execute(delete(_plan_group).where(_plan_group.c.plan_id == plan_id))
    _write_groups(conn, plan_id, rings)
    _record(
        conn,
        origin,
        "change",
        plan_id,
        before=_audited(before),
        after={"name": name, "rings": stored},
        now=now,
    )
    return get_plan(conn, plan_id)


def delete_plan(conn: Connection, origin: Origin, plan_id: str, *, now: datetime) -> None:
    """Delete a plan; rollouts that were started with it go on.

    Raises NotFound, and Conflict `plan_in_use` while rules name it, because their next runs would start nothing.
    """
    before = _locked(conn, plan_id)
    rules = conn.scalars(
        select(_rule.c.id).where(_rule.c.plan_id == plan_id).order_by(_rule.c.id).limit(_NAMED)
    ).all()
    if rules:
        raise Conflict(
            f"Rules start rollouts with the plan {before.name!r}.", code="plan_in_use", rules=list(rules)
        )
    conn.execute(delete(_plan).where(_plan.c.id == plan_id))
    _record(conn, origin, "delete", plan_id, before=_audited(before), after=None, now=now)


def get_plan(conn: Connection, plan_id: str) -> PlanView:
    """The plan; raises NotFound."""
    row = conn.execute(select(_plan).where(_plan.c.id == plan_id)).one_or_none()
    if row is None:
        raise _unknown(plan_id)
    return _view(row)


def list_plans(conn: Connection, *, after: str | None, limit: int) -> list[PlanView]:
    """At most `limit` plans whose name comes after `after`, by name."""
    query = select(_plan).order_by(_plan.c.name).limit(limit)
    if after is not None:
        query = query.where(_plan.c.name > after)
    return [_view(row) for row in conn.execute(query)]


def checked_rings(conn: Connection, rings: Sequence[Ring]) -> None:
    """Raise Invalid, naming each wrong member, unless the rings make sense and their groups exist."""
    check_rings(rings)
    named = {group_id for ring in rings for group_id in ring.group_ids}
    known = set(conn.scalars(select(_group.c.id).where(_group.c.id.in_(named))))
    errors = tuple(
        FieldError(f"/rings/{number}/group_ids/{index}", "unknown_group", f"There is no group {group_id!r}.")
        for number, ring in enumerate(rings)
        for index, group_id in enumerate(ring.group_ids)
        if group_id not in known
    )
    if errors:
        raise Invalid("The rings name groups that do not exist.", errors=errors)


def _locked(conn: Connection, plan_id: str) -> PlanView:
    """The plan, held until the transaction ends."""
    row = conn.execute(select(_plan).where(_plan.c.id == plan_id).with_for_update()).one_or_none()
    if row is None:
        raise _unknown(plan_id)
    return _view(row)


def _write_groups(conn: Connection, plan_id: str, rings: Sequence[Ring]) -> None:
    """Keep the groups from being deleted while the plan names them."""
    group_ids = sorted({group_id for ring in rings for group_id in ring.group_ids})
    lock_groups(conn, group_ids)
    conn.execute(insert(_plan_group), [{"plan_id": plan_id, "group_id": each} for each in group_ids])


def _view(row: Row[Any]) -> PlanView:
    return PlanView(
        id=row.id,
        name=row.name,
        rings=tuple(read_ring(ring) for ring in row.rings),
        created_at=row.created_at,
        created_by=row.created_by,
        changed_at=row.changed_at,
        changed_by=row.changed_by,
    )


def _audited(plan: PlanView) -> dict[str, Any]:
    return {"name": plan.name, "rings": [ring.as_json() for ring in plan.rings]}


def _record(
    conn: Connection,
    origin: Origin,
    verb: str,
    plan_id: str,
    *,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    now: datetime,
) -> None:
    record(
        conn,
        origin,
        now=now,
        action=f"rollout_plan.{verb}",
        object_type="rollout_plan",
        object_id=plan_id,
        before=before,
        after=after,
    )


def _name_taken(conn: Connection, name: str) -> Conflict:
    existing = conn.scalar(select(_plan.c.id).where(_plan.c.name == name))
    return Conflict(f"A ring plan named {name!r} exists.", code="plan_exists", existing=existing)


def _unknown(plan_id: str) -> NotFound:
    return NotFound(f"There is no ring plan {plan_id!r}.")
