"""Ring plans: made, changed, listed, deleted, and never left with a ring of nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.audit import Origin, list_entries
from mdm.devices.groups import delete_group
from mdm.errors import Conflict, Invalid, NotFound
from mdm.rollouts.plans import change_plan, create_plan, delete_plan, get_plan, list_plans
from mdm.rollouts.rings import Gate, Halt, Offer, Ring
from mdm.rules.definition import RuleDefinition
from mdm.rules.store import create_rule, delete_rule

if TYPE_CHECKING:
    from conftest import Fleet

    from mdm.audit import AuditView

ANN = Origin("ann")
TEST = Ring("test", ("test",), gate=Gate(95, 3), halt=Halt(failures=1), offer=Offer(12, devices=5))
PILOT = Ring("pilot", ("pilot", "broad"), deferral_days=3, deadline_days=7)


def audited(fleet: Fleet) -> list[AuditView]:
    """The audit trail, oldest first."""
    with fleet.database.read() as connection:
        return list_entries(connection, before=None, limit=50)[::-1]


def test_a_plan_is_kept_as_it_was_made(fleet: Fleet) -> None:
    """With everything its rings say, and one audit entry."""
    with fleet.database.write() as connection:
        made = create_plan(connection, ANN, name="Rings", rings=(TEST, PILOT), now=fleet.now)
    with fleet.database.read() as connection:
        assert get_plan(connection, made.id) == made
    assert (made.name, made.rings) == ("Rings", (TEST, PILOT))
    assert (made.created_at, made.created_by, made.changed_by) == (fleet.now, "ann", "ann")
    (entry,) = audited(fleet)
    assert (entry.action, entry.object_type, entry.object_id) == (
        "rollout_plan.create",
        "rollout_plan",
        made.id,
    )
    assert entry.before is None
    assert entry.after is not None
    assert [ring["name"] for ring in entry.after["rings"]] == ["test", "pilot"]


def test_a_name_is_taken_once(fleet: Fleet) -> None:
    """The plan that has it is named; a plan may keep its own."""
    first = fleet.plan(TEST, name="one")
    second = fleet.plan(TEST, name="two")
    with pytest.raises(Conflict) as caught:
        fleet.plan(PILOT, name="one")
    assert (caught.value.code, caught.value.members) == ("plan_exists", {"existing": first})
    with pytest.raises(Conflict) as caught, fleet.database.write() as connection:
        change_plan(connection, ANN, second, name="one", rings=(TEST,), now=fleet.now)
    assert caught.value.members == {"existing": first}
    with fleet.database.write() as connection:
        assert change_plan(connection, ANN, first, name="one", rings=(PILOT,), now=fleet.now).name == "one"


@pytest.mark.parametrize(
    ("rings", "pointer"),
    [
        ((TEST, replace(PILOT, group_ids=("pilot", "nobody"))), "/rings/1/group_ids/1"),
        ((replace(TEST, halt=Halt()),), "/rings/0/halt"),
    ],
)
def test_wrong_rings_are_refused(fleet: Fleet, rings: tuple[Ring, ...], pointer: str) -> None:
    """When a plan is made, and when one is changed."""
    plan_id = fleet.plan(TEST)
    with pytest.raises(Invalid) as caught:
        fleet.plan(*rings, name="other")
    assert [error.pointer for error in caught.value.errors] == [pointer]
    with pytest.raises(Invalid), fleet.database.write() as connection:
        change_plan(connection, ANN, plan_id, name="Rings", rings=rings, now=fleet.now)


def test_a_change_is_audited_with_before_and_after(fleet: Fleet) -> None:
    """And one that changes nothing is none."""
    plan_id = fleet.plan(TEST)
    later = fleet.now + timedelta(hours=1)
    with fleet.database.write() as connection:
        same = change_plan(connection, Origin("bob"), plan_id, name="Rings", rings=(TEST,), now=later)
        assert same.changed_by == "ann"
        changed = change_plan(connection, Origin("bob"), plan_id, name="Rings", rings=(PILOT,), now=later)
    assert (changed.changed_at, changed.changed_by, changed.created_by) == (later, "bob", "ann")
    _, entry = audited(fleet)
    assert entry.action == "rollout_plan.change"
    assert entry.before is not None
    assert entry.after is not None
    assert entry.before.keys() == entry.after.keys() == {"rings"}
    assert {row["group_id"] for row in fleet.rows("rollout_plan_group")} == {"pilot", "broad"}


def test_plans_are_listed_by_name(fleet: Fleet) -> None:
    """From the one behind a name on."""
    for name in ("b", "a", "c"):
        fleet.plan(TEST, name=name)
    with fleet.database.read() as connection:
        assert [plan.name for plan in list_plans(connection, after=None, limit=2)] == ["a", "b"]
        assert [plan.name for plan in list_plans(connection, after="b", limit=2)] == ["c"]


def test_a_group_with_a_ring_cannot_be_deleted(fleet: Fleet) -> None:
    """Its ring would silently be empty; once the plan is gone, it can."""
    plan_id = fleet.plan(TEST)
    with pytest.raises(Conflict) as caught, fleet.database.write() as connection:
        delete_group(connection, ANN, "test", now=fleet.now)
    assert (caught.value.code, caught.value.members) == ("group_has_plans", {"plans": [plan_id]})
    with fleet.database.write() as connection:
        delete_plan(connection, ANN, plan_id, now=fleet.now)
        delete_group(connection, ANN, "test", now=fleet.now)
    assert audited(fleet)[1].action == "rollout_plan.delete"
    assert audited(fleet)[1].after is None


def test_a_plan_that_a_rule_names_cannot_be_deleted(fleet: Fleet) -> None:
    """The rule's next run would start nothing; once the rule is gone, it can."""
    plan_id = fleet.plan(TEST)
    definition = RuleDefinition(criteria={"kb": "KB5041585"}, action="rollout", plan_id=plan_id)
    with fleet.database.write() as connection:
        rule = create_rule(connection, ANN, name="Patch day", definition=definition, now=fleet.now)
    with pytest.raises(Conflict) as caught, fleet.database.write() as connection:
        delete_plan(connection, ANN, plan_id, now=fleet.now)
    assert (caught.value.code, caught.value.members) == ("plan_in_use", {"rules": [rule.id]})
    with fleet.database.write() as connection:
        delete_rule(connection, ANN, rule.id, now=fleet.now)
        delete_plan(connection, ANN, plan_id, now=fleet.now)
    with pytest.raises(NotFound), fleet.database.read() as connection:
        get_plan(connection, plan_id)


def test_what_is_not_there_is_not_found(fleet: Fleet) -> None:
    """Reading, changing and deleting alike."""
    calls: list[tuple[Any, dict[str, Any]]] = [
        (change_plan, {"name": "x", "rings": (TEST,), "now": fleet.now}),
        (delete_plan, {"now": fleet.now}),
    ]
    for call, values in calls:
        with pytest.raises(NotFound), fleet.database.write() as connection:
            call(connection, ANN, "pln_none", **values)
    with pytest.raises(NotFound), fleet.database.read() as connection:
        get_plan(connection, "pln_none")
