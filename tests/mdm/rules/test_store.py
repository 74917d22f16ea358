"""Rules: made, changed, switched and deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.audit import Origin, list_entries
from mdm.devices.groups import delete_group
from mdm.errors import Conflict, Invalid, NotFound
from mdm.queries.store import delete_query
from mdm.rules.store import change_rule, definition_of, delete_rule, get_rule, list_rules, switch_rule

if TYPE_CHECKING:
    from conftest import Desk

    from mdm.rules.store import RuleView

ORIGIN = Origin("client:ops")
NIGHTLY = {"cron": "30 3 * * *"}


def change(desk: Desk, rule: RuleView, **values: Any) -> RuleView:
    """Change the rule in a transaction of its own; what is not given stays."""
    given = {"name": rule.name, "definition": definition_of(rule), "enabled": rule.enabled, **values}
    with desk.bench.database.write() as conn:
        return change_rule(conn, ORIGIN, rule.id, now=desk.bench.now, **given)


def switch(desk: Desk, rule: RuleView, *, enabled: bool) -> RuleView:
    """Switch the rule in a transaction of its own."""
    with desk.bench.database.write() as conn:
        return switch_rule(conn, ORIGIN, rule.id, enabled=enabled, now=desk.bench.now)


def audited(desk: Desk, rule: RuleView) -> list[str]:
    """The actions of the audit on this rule, the oldest first."""
    with desk.bench.database.read() as conn:
        entries = list_entries(conn, before=None, limit=50, object_id=rule.id)
    return [entry.action for entry in reversed(entries)]


def test_a_rule_is_kept_as_it_was_written(desk: Desk) -> None:
    """With each group once, and the first moment of its schedule."""
    group = desk.group("pilots")
    rule = desk.rule(
        {"severity": {"at_least": "Important"}},
        group_ids=(group, "all-devices", group),
        deadline_days=7,
        not_before_days=1,
        after_sync=True,
        schedule=NIGHTLY,
    )
    assert rule.id.startswith("rul_")
    assert rule.group_ids == tuple(sorted((group, "all-devices")))
    assert rule.next_due_at == desk.bench.now.replace(day=22, hour=3, minute=30)
    assert (rule.deadline_days, rule.not_before_days, rule.created_by) == (7, 1, "client:ops")
    with desk.bench.database.read() as conn:
        assert get_rule(conn, rule.id) == rule
        assert list_rules(conn, after=None, limit=5) == [rule]
        assert list_rules(conn, after=rule.name, limit=5) == []


def test_changes_and_switches_are_audited_once(desk: Desk) -> None:
    """What changes nothing leaves no trace; a rule that is off is due for nothing."""
    rule = desk.rule(schedule=NIGHTLY)
    desk.bench.now += timedelta(days=1)
    assert change(desk, rule) == rule
    changed = change(desk, rule, name="other", definition=desk.definition({"expired": True}))
    assert (changed.name, changed.criteria, changed.next_due_at) == ("other", {"expired": True}, None)
    off = switch(desk, change(desk, changed, definition=desk.definition(schedule=NIGHTLY)), enabled=False)
    assert (off.enabled, off.next_due_at) == (False, None)
    assert switch(desk, off, enabled=False) == off
    on = switch(desk, off, enabled=True)
    assert on.next_due_at == desk.bench.now.replace(day=23, hour=3, minute=30)
    with desk.bench.database.write() as conn:
        delete_rule(conn, ORIGIN, rule.id, now=desk.bench.now)
    assert audited(desk, rule) == [
        "rule.create",
        "rule.change",
        "rule.change",
        "rule.disable",
        "rule.enable",
        "rule.delete",
    ]
    assert desk.bench.rows("rule_group") == []


def test_names_are_taken_once(desk: Desk) -> None:
    """By whoever comes first."""
    first = desk.rule()
    second = desk.rule(name="other")
    for attempt in (desk.rule, lambda: change(desk, second, name=first.name)):
        with pytest.raises(Conflict) as problem:
            attempt()
        assert (problem.value.code, problem.value.members["existing"]) == ("rule_exists", first.id)


def test_what_is_not_there(desk: Desk) -> None:
    """A rule nobody made."""
    rule = desk.rule()
    with desk.bench.database.write() as conn:
        delete_rule(conn, ORIGIN, rule.id, now=desk.bench.now)
        for attempt in (
            lambda: get_rule(conn, rule.id),
            lambda: delete_rule(conn, ORIGIN, rule.id, now=desk.bench.now),
            lambda: switch_rule(conn, ORIGIN, rule.id, enabled=True, now=desk.bench.now),
        ):
            with pytest.raises(NotFound):
                attempt()


def test_what_a_rule_names_stays(desk: Desk) -> None:
    """Its groups and its query; with the rule they become free."""
    group = desk.group("pilots")
    query = desk.query({"expired": False})
    rule = desk.rule(query_id=query, group_ids=(group,))
    with pytest.raises(Conflict) as problem, desk.bench.database.write() as conn:
        delete_group(conn, ORIGIN, group, now=desk.bench.now)
    assert (problem.value.code, problem.value.members["rules"]) == ("group_has_rules", [rule.id])
    with pytest.raises(Conflict) as problem, desk.bench.database.write() as conn:
        delete_query(conn, ORIGIN, query, now=desk.bench.now)
    assert (problem.value.code, problem.value.members["rules"]) == ("query_named", [rule.id])
    with desk.bench.database.write() as conn:
        delete_rule(conn, ORIGIN, rule.id, now=desk.bench.now)
        delete_group(conn, ORIGIN, group, now=desk.bench.now)
        delete_query(conn, ORIGIN, query, now=desk.bench.now)


@pytest.mark.parametrize(
    ("values", "pointer", "code"),
    [
        ({"query_id": "qry_x", "criteria": {"expired": True}}, "/criteria", "required"),
        ({"query_id": None}, "/criteria", "required"),
        ({"query_id": "qry_x"}, "/query_id", "unknown_query"),
        ({"group_ids": ()}, "/group_ids", "required"),
        ({"action": "notify", "group_ids": ("all-devices",)}, "/group_ids", "not_an_approval"),
        ({"action": "rollout"}, "/plan_id", "required"),
        ({"action": "rollout", "plan_id": "pln_x"}, "/plan_id", "unknown_plan"),
        ({"plan_id": "pln_x"}, "/plan_id", "not_a_rollout"),
        ({"action": "notify", "deadline_days": 3}, "/deadline_days", "not_an_approval"),
        ({"action": "rollout", "plan_id": "x", "not_before_days": 3}, "/not_before_days", "not_an_approval"),
        ({"deadline_days": 3, "not_before_days": 3}, "/deadline_days", "too_early"),
        ({"deadline_days": 0}, "/deadline_days", "too_early"),
        ({"schedule": {"cron": "x"}}, "/schedule/cron", "invalid_value"),
        ({"criteria": {"colour": 1}, "query_id": None}, "/criteria/colour", "unknown_member"),
    ],
)
def test_what_makes_no_sense(sqlite_desk: Desk, values: Any, pointer: str, code: str) -> None:
    """Each wrong member by its pointer, and nothing is stored."""
    with pytest.raises(Invalid) as problem:
        sqlite_desk.rule(**values)
    assert (pointer, code) in [(error.pointer, error.code) for error in problem.value.errors]
    assert sqlite_desk.bench.rows("approval_rule") == []


def test_an_unknown_group(desk: Desk) -> None:
    """As an approval would say it."""
    with pytest.raises(NotFound) as problem:
        desk.rule(group_ids=("grp_x",))
    assert problem.value.code == "group_not_found"
