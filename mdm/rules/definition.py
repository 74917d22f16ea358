"""What a rule is: which updates, what is to be done with them, and when; as an administrator writes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import select

from mdm.devices.groups import find_groups
from mdm.errors import FieldError, Invalid
from mdm.queries.criteria import parse_criteria
from mdm.rules.schedule import parse_schedule
from mdm.storage.statements import table_of
from mdm.storage.tables import RolloutPlan, SavedQuery

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

    from mdm.queries.criteria import Criterion

__all__ = ["MAX_DAYS", "Action", "RuleDefinition", "read_definition"]

Action = Literal["approve", "rollout", "notify"]

MAX_DAYS: Final = 365
"""Of a deadline or a delay."""

_query = table_of(SavedQuery)
_plan = table_of(RolloutPlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleDefinition:
    """A rule without its name and its switch."""

    criteria: Mapping[str, Any] | None = None
    """As `mdm.queries.criteria` reads them; None: those of the saved query."""
    query_id: str | None = None
    action: Action
    group_ids: tuple[str, ...] = ()
    """Of `approve`."""
    plan_id: str | None = None
    """Of `rollout`."""
    deadline_days: int | None = None
    """Of `approve`: by when it should be installed, counted from the approval."""
    not_before_days: int | None = None
    """Of `approve`: delivered not before, counted from the approval."""
    after_sync: bool = False
    schedule: Mapping[str, Any] | None = None
    """As `mdm.rules.schedule` reads it."""

    def document(self) -> dict[str, Any]:
        """The same as JSON values, for audit entries and for the record of a run."""
        return asdict(self) | {"group_ids": list(self.group_ids)}


def read_definition(conn: Connection, definition: RuleDefinition) -> Criterion:
    """The criteria that the rule asks, its query's if it names one.

    Raises Invalid that names each wrong member, and NotFound `group_not_found`.
    """
    errors = [
        FieldError(f"/{member}", code, detail) for member, code, detail, wrong in _checks(definition) if wrong
    ]
    if errors:
        raise Invalid("The rule makes no sense as it is.", errors=tuple(errors))
    if definition.schedule is not None:
        parse_schedule(definition.schedule)
    find_groups(conn, definition.group_ids)
    if definition.plan_id is not None:
        _find_plan(conn, definition.plan_id)
    if definition.query_id is not None:
        return parse_criteria(_criteria_of(conn, definition.query_id))
    return parse_criteria(definition.criteria)


def _checks(definition: RuleDefinition) -> Iterator[tuple[str, str, str, bool]]:
    """Member, code, text, and whether it is wrong."""
    approves, rolls_out = definition.action == "approve", definition.action == "rollout"
    yield (
        "criteria",
        "required",
        "Give criteria, or the query_id of a saved query, and not both.",
        (definition.criteria is None) == (definition.query_id is None),
    )
    yield "group_ids", "required", "Give the groups to approve for.", approves and not definition.group_ids
    yield (
        "group_ids",
        "not_an_approval",
        "A plan has groups of its own, and a notice needs none.",
        bool(definition.group_ids) and not approves,
    )
    yield (
        "plan_id",
        "required",
        "Give the plan to start a rollout from.",
        rolls_out and definition.plan_id is None,
    )
    yield (
        "plan_id",
        "not_a_rollout",
        "Only the action rollout has a plan.",
        definition.plan_id is not None and not rolls_out,
    )
    for member in ("deadline_days", "not_before_days"):
        yield (
            member,
            "not_an_approval",
            "Only the action approve has it; a plan has times of its own.",
            getattr(definition, member) is not None and not approves,
        )
    yield (
        "deadline_days",
        "too_early",
        "No device could have installed it by then.",
        definition.deadline_days is not None
        and definition.deadline_days <= (definition.not_before_days or 0),
    )


def _find_plan(conn: Connection, plan_id: str) -> None:
    if conn.scalar(select(_plan.c.id).where(_plan.c.id == plan_id)) is None:
        error = FieldError("/plan_id", "unknown_plan", "There is no rollout plan with this id.")
        raise Invalid("The rule names a plan that does not exist.", errors=(error,))


def _criteria_of(conn: Connection, query_id: str) -> Any:
    criteria = conn.scalar(select(_query.c.criteria).where(_query.c.id == query_id))
    if criteria is None:
        error = FieldError("/query_id", "unknown_query", "There is no saved query with this id.")
        raise Invalid("The rule names a query that does not exist.", errors=(error,))
    return criteria
