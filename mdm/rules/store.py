"""Rules as IT makes, changes, switches and deletes them; `mdm.rules.runs` has what they did."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from mdm.audit import record
from mdm.devices.groups import lock_groups
from mdm.errors import Conflict, NotFound
from mdm.queries.store import hold_query
from mdm.rules.definition import RuleDefinition, read_definition
from mdm.rules.schedule import parse_schedule
from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import ApprovalRule, RuleGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.audit import Origin

__all__ = [
    "RuleView",
    "change_rule",
    "create_rule",
    "definition_of",
    "delete_rule",
    "get_rule",
    "list_rules",
    "switch_rule",
]

_rule = table_of(ApprovalRule)
_rule_group = table_of(RuleGroup)


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule as an administrator sees it."""

    id: str
    name: str
    description: str | None
    enabled: bool
    criteria: Mapping[str, Any] | None
    query_id: str | None
    action: str
    """`approve`, `rollout` or `notify`."""
    group_ids: tuple[str, ...]
    plan_id: str | None
    deadline_days: int | None
    not_before_days: int | None
    after_sync: bool
    schedule: Mapping[str, Any] | None
    next_due_at: datetime | None
    """When its schedule runs it next; None without one, and while it is switched off."""
    created_at: datetime
    created_by: str
    changed_at: datetime


def create_rule(
    conn: Connection,
    origin: Origin,
    *,
    name: str,
    definition: RuleDefinition,
    description: str | None = None,
    enabled: bool = True,
    now: datetime,
) -> RuleView:
    """Make a rule; it runs when its schedule or the next sync says so, or by hand.

    Raises Invalid for a wrong definition, NotFound `group_not_found`, and Conflict `rule_exists` for a name that is
    taken.
    """
    _hold_named(conn, definition)
    rule_id = f"rul_{secrets.token_hex(10)}"
    made = conn.execute(
        insert_ignore(ApprovalRule, conn).values(
            id=rule_id,
            name=name,
            description=description,
            **_columns(definition, enabled=enabled, now=now),
            version=1,
            created_at=now,
            created_by=origin.actor,
        )
    )
    if made.rowcount == 0:
        raise _name_taken(conn, name)
    _write_groups(conn, rule_id, definition)
    view = get_rule(conn, rule_id)
    record(
        conn,
        origin,
        now=now,
        action="rule.create",
        object_type="rule",
        object_id=rule_id,
        after=_audited(view),
    )
    return view


def change_rule(
    conn: Connection,
    origin: Origin,
    rule_id: str,
    *,
    name: str,
    definition: RuleDefinition,
    description: str | None = None,
    enabled: bool = True,
    now: datetime,
) -> RuleView:
    """Give the rule this name and definition; what it has done stays, and a run under way ends.

    Raises NotFound (`group_not_found` for a group), Invalid for a wrong definition, and Conflict `rule_exists` for a
    name that is taken.
    """
    _lock(conn, rule_id)
    before = get_rule(conn, rule_id)
    _hold_named(conn, definition)
    wanted = {"name": name, "description": description, "enabled": enabled, **_ordered(definition).document()}
    if _audited(before) == wanted:
        return before
    other = conn.scalar(select(_rule.c.id).where(_rule.c.name == name, _rule.c.id != rule_id))
    if other is not None:
        raise _name_taken(conn, name)
    _write(
        conn,
        rule_id,
        name=name,
        description=description,
        **_columns(definition, enabled=enabled, now=now),
    )
    conn.execute(delete(_rule_group).where(_rule_group.c.rule_id == rule_id))
    _write_groups(conn, rule_id, definition)
    return _changed(conn, origin, before, "rule.change", now)


def switch_rule(conn: Connection, origin: Origin, rule_id: str, *, enabled: bool, now: datetime) -> RuleView:
    """Switch the rule on or off; one that is so already stays as it was. Raises NotFound.

    Switched off, it does nothing, and a run under way ends; switched on, the syncs and times that it missed are past.
    """
    _lock(conn, rule_id)
    before = get_rule(conn, rule_id)
    if before.enabled == enabled:
        return before
    due = _next_due(before.schedule, now) if enabled else None
    _write(conn, rule_id, enabled=enabled, next_due_at=due, armed_at=now, changed_at=now)
    return _changed(conn, origin, before, "rule.enable" if enabled else "rule.disable", now)


def delete_rule(conn: Connection, origin: Origin, rule_id: str, *, now: datetime) -> None:
    """Delete the rule with the record of its runs; what it has approved stays approved. Raises NotFound."""
    _lock(conn, rule_id)
    before = get_rule(conn, rule_id)
    conn.execute(delete(_rule).where(_rule.c.id == rule_id))
    record(
        conn,
        origin,
        now=now,
        action="rule.delete",
        object_type="rule",
        object_id=rule_id,
        before=_audited(before),
    )


def get_rule(conn: Connection, rule_id: str) -> RuleView:
    """The rule; raises NotFound."""
    views = _views(conn, conn.execute(select(_rule).where(_rule.c.id == rule_id)).all())
    if not views:
        raise _unknown(rule_id)
    return views[0]


def list_rules(conn: Connection, *, after: str | None, limit: int) -> list[RuleView]:
    """At most `limit` rules whose name comes after `after`, by name."""
    statement = select(_rule).order_by(_rule.c.name).limit(limit)
    if after is not None:
        statement = statement.where(_rule.c.name > after)
    return _views(conn, conn.execute(statement).all())


def definition_of(rule: RuleView) -> RuleDefinition:
    """The definition that the rule has."""
    return RuleDefinition(
        criteria=rule.criteria,
        query_id=rule.query_id,
        action=rule.action,  # type: ignore[arg-type] # the table's check constraint holds it to these
        group_ids=rule.group_ids,
        plan_id=rule.plan_id,
        deadline_days=rule.deadline_days,
        not_before_days=rule.not_before_days,
        after_sync=rule.after_sync,
        schedule=rule.schedule,
    )


# --- writing --------------------------------------------------------------------------------------------


def _hold_named(conn: Connection, definition: RuleDefinition) -> None:
    """Read the definition, and hold what it names until the transaction ends, so that nobody deletes it meanwhile."""
    read_definition(conn, definition)
    lock_groups(conn, definition.group_ids)
    if definition.query_id is not None:
        hold_query(conn, definition.query_id)


def _columns(definition: RuleDefinition, *, enabled: bool, now: datetime) -> dict[str, Any]:
    columns = definition.document()
    del columns["group_ids"]
    due = _next_due(definition.schedule, now) if enabled else None
    return columns | {"enabled": enabled, "next_due_at": due, "armed_at": now, "changed_at": now}


def _next_due(schedule: Mapping[str, Any] | None, now: datetime) -> datetime | None:
    return None if schedule is None else parse_schedule(schedule).next_after(now)


def _ordered(definition: RuleDefinition) -> RuleDefinition:
    """The same definition as it is stored: each group once, by id."""
    members = definition.document() | {"group_ids": tuple(sorted(set(definition.group_ids)))}
    return RuleDefinition(**members)


def _write_groups(conn: Connection, rule_id: str, definition: RuleDefinition) -> None:
    rows = [{"rule_id": rule_id, "group_id": each} for each in _ordered(definition).group_ids]
    if rows:
        conn.execute(insert(_rule_group), rows)


def _write(conn: Connection, rule_id: str, **values: Any) -> None:
    conn.execute(update(_rule).where(_rule.c.id == rule_id).values(version=_rule.c.version + 1, **values))


def _changed(conn: Connection, origin: Origin, before: RuleView, action: str, now: datetime) -> RuleView:
    after = get_rule(conn, before.id)
    record(
        conn,
        origin,
        now=now,
        action=action,
        object_type="rule",
        object_id=before.id,
        before=_audited(before),
        after=_audited(after),
    )
    return after


def _lock(conn: Connection, rule_id: str) -> None:
    if conn.scalar(select(_rule.c.id).where(_rule.c.id == rule_id).with_for_update()) is None:
        raise _unknown(rule_id)


# --- views ----------------------------------------------------------------------------------------------


def _views(conn: Connection, rows: Sequence[Row[Any]]) -> list[RuleView]:
    groups: dict[str, tuple[str, ...]] = {}
    for rule_id, group_id in conn.execute(
        select(_rule_group.c.rule_id, _rule_group.c.group_id)
        .where(_rule_group.c.rule_id.in_([row.id for row in rows]))
        .order_by(_rule_group.c.rule_id, _rule_group.c.group_id)
    ):
        groups[rule_id] = (*groups.get(rule_id, ()), group_id)
    return [
        RuleView(
            id=row.id,
            name=row.name,
            description=row.description,
            enabled=row.enabled,
            criteria=row.criteria,
            query_id=row.query_id,
            action=row.action,
            group_ids=groups.get(row.id, ()),
            plan_id=row.plan_id,
            deadline_days=row.deadline_days,
            not_before_days=row.not_before_days,
            after_sync=row.after_sync,
            schedule=row.schedule,
            next_due_at=row.next_due_at,
            created_at=row.created_at,
            created_by=row.created_by,
            changed_at=row.changed_at,
        )
        for row in rows
    ]


def _audited(rule: RuleView) -> dict[str, Any]:
    named = {"name": rule.name, "description": rule.description, "enabled": rule.enabled}
    return {**named, **definition_of(rule).document()}


def _name_taken(conn: Connection, name: str) -> Conflict:
    existing = conn.scalar(select(_rule.c.id).where(_rule.c.name == name))
    return Conflict(f"A rule named {name!r} exists.", code="rule_exists", existing=existing)


def _unknown(rule_id: str) -> NotFound:
    return NotFound(f"There is no rule {rule_id!r}.")
