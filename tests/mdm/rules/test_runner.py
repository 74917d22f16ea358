"""Runs: what a rule does with which updates, what it leaves alone and why, and what a kill leaves behind."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from mdm.approvals.batch import revoke_for_rollout
from mdm.audit import Origin, list_entries
from mdm.errors import Unavailable
from mdm.queries.matches import refresh_due
from mdm.rollouts.plans import create_plan
from mdm.rollouts.rings import Ring
from mdm.rollouts.store import MAX_UPDATES
from mdm.rules import runner as module
from mdm.rules.runner import KEPT_MISSES, run_rule
from mdm.rules.runs import RunLost, claim_next, requeue_running
from mdm.rules.store import change_rule, definition_of, delete_rule, switch_rule
from mdm.storage.statements import table_of
from mdm.storage.tables import UpdateRevision

if TYPE_CHECKING:
    from conftest import Desk

    from mdm.rules.runs import RuleRunView

ORIGIN = Origin("client:ops")
EULA = "eeeeeeee-0000-4000-8000-000000000001"
SECURITY = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
PRODUCT = "72e7624a-5b00-45d2-b92f-e561c0a6a160"

_revision = table_of(UpdateRevision)


def approvals(desk: Desk, **values: Any) -> list[dict[str, Any]]:
    """Approvals with these values, the oldest first."""
    rows = desk.bench.rows("approval", "created_at", "id")
    return [row for row in rows if all(row[name] == value for name, value in values.items())]


def plan(desk: Desk) -> str:
    """A plan of one ring for all devices."""
    with desk.bench.database.write() as conn:
        rings = (Ring(name="all", group_ids=("all-devices",)),)
        return create_plan(conn, ORIGIN, name="rings", rings=rings, now=desk.bench.now).id


def test_what_matches_is_approved_once(desk: Desk) -> None:
    """With its delays, in the rule's name; a second run finds it covered, and a new update is approved."""
    good, bad = desk.put("Good one", days=2), desk.put("Bad one", days=3)
    rule = desk.rule(deadline_days=7, not_before_days=2)
    run = desk.run(rule)
    (approval,) = approvals(desk)
    assert (approval["target_id"], approval["rule_id"], approval["created_by"]) == (
        good,
        rule.id,
        f"rule:{rule.id}",
    )
    assert approval["not_before"] == desk.bench.now + timedelta(days=2)
    assert approval["deadline"] == desk.bench.now + timedelta(days=7)
    assert approval["reason"] == "Rule good ones"
    assert (run.state, run.trigger, run.examined, run.matched) == ("succeeded", "manual", 2, 1)
    assert run.outcomes == {"approved": 1, "not_matched": 1}
    assert run.definition is not None
    assert run.definition["criteria"] == {"title": "good*"}
    hit, miss = desk.results(run)
    assert (hit.update_id, hit.outcome, hit.approval_id) == (good, "approved", approval["id"])
    assert hit.reason == 'It matches: its title is "Good one".'
    assert (miss.update_id, miss.outcome, miss.reason) == (bad, "not_matched", 'Its title is "Bad one".')
    desk.put("Good two")
    again = desk.run(rule)
    assert desk.outcomes(again) == {"Good two": "approved", "Good one": "covered", "Bad one": "not_matched"}
    covered = desk.results(again, "covered")[0]
    assert (covered.approval_id, covered.reason) == (
        approval["id"],
        f"{approval['id']} of this rule approves it already.",
    )
    assert len(approvals(desk)) == 2


def test_a_licence_makes_it_wait_and_never_skips_it(desk: Desk) -> None:
    """Approved, held by the decision, and counted as waiting; one that is accepted waits for nothing."""
    desk.bench.add("eula", id=EULA, first_seen_at=desk.bench.now)
    desk.put("Good one", eula_id=EULA)
    rule = desk.rule()
    assert desk.preview(desk.definition()).waiting_for_eula == 1
    run = desk.run(rule)
    (result,) = desk.results(run)
    assert (result.outcome, result.eula_id, run.waiting_for_eula) == ("approved", EULA, 1)
    assert "waits until somebody accepts the EULA" in result.reason
    assert len(approvals(desk)) == 1


def test_what_is_taken_back_by_hand_stays_so(desk: Desk) -> None:
    """The rule's own approval, or anybody's of all that it would approve for; approved again, it is covered."""
    own, other, partly = (desk.put(f"Good {name}") for name in ("own", "other", "partly"))
    pilots = desk.group("pilots")
    by_hand = desk.approve(other)
    desk.revoke(by_hand)
    desk.revoke(desk.approve(partly, group_ids=[pilots]))
    rule = desk.rule()
    run = desk.run(rule)
    assert desk.outcomes(run) == {"Good own": "approved", "Good other": "revoked", "Good partly": "approved"}
    (approval,) = approvals(desk, target_id=own)
    desk.revoke(approval["id"])
    again = desk.run(rule)
    assert desk.outcomes(again)["Good own"] == "revoked"
    (result,) = [each for each in desk.results(again, "revoked") if each.update_id == own]
    assert result.reason.startswith(f"client:ops has revoked {approval['id']}, so the rule leaves it alone")
    assert len(approvals(desk, target_id=own)) == 1
    desk.approve(own)
    assert desk.outcomes(desk.run(rule))["Good own"] == "covered"


def test_what_is_blocked_is_not_approved(desk: Desk) -> None:
    """By itself, its classification, its product or a query; not by a block of other groups, nor by one that is over."""
    desk.bench.add(
        "category", id=PRODUCT, revision_number=1, category_type="Product", title="Windows", parent_id=None
    )
    names = ("itself", "class", "product", "query", "elsewhere", "lately")
    ids = {name: desk.put(f"Good {name}", days=number) for number, name in enumerate(names, 1)}
    with desk.bench.database.write() as conn:
        conn.execute(
            update(_revision).where(_revision.c.update_id == ids["class"]).values(classification_id=SECURITY)
        )
    desk.bench.add("revision_category", update_id=ids["product"], revision_number=200, category_id=PRODUCT)
    query = desk.query({"title": "*query"})
    refresh_due(desk.bench.database, desk.bench.now)
    first = desk.block(ids["itself"], expires_at=desk.bench.now + timedelta(days=1))
    desk.block(SECURITY, target_type="classification")
    desk.block(PRODUCT, target_type="product")
    desk.block(query, target_type="query")
    desk.block(ids["elsewhere"], group_ids=[desk.group("pilots")])
    desk.block(ids["lately"], expires_at=desk.bench.now + timedelta(seconds=1))
    desk.bench.now += timedelta(seconds=2)
    run = desk.run(desk.rule())
    assert run.outcomes == {"approved": 2, "blocked": 4}
    assert {each.title for each in desk.results(run, "approved")} == {"Good elsewhere", "Good lately"}
    (result,) = [each for each in desk.results(run, "blocked") if each.update_id == ids["itself"]]
    assert result.reason == f"{first} blocks it until 2026-11-22 12:00 UTC: INC-4471."
    desk.bench.now += timedelta(days=2)
    assert desk.run(desk.rule(name="later")).outcomes == {"approved": 1, "blocked": 3, "covered": 2}


def test_what_is_withdrawn_or_unknown(desk: Desk) -> None:
    """Neither is approved; the record says which."""
    desk.put("Good old", publication_state="Expired", days=2, download_size=1)
    desk.put("Good unknown", days=3)
    run = desk.run(desk.rule({"all": [{"title": "good*"}, {"size_mb": {"max": 5}}]}))
    assert run.outcomes == {"unknown": 1, "withdrawn": 1}
    assert {each.title: each.reason for each in desk.results(run)} == {
        "Good old": "Microsoft has withdrawn it.",
        "Good unknown": "Its size is not known.",
    }
    assert (run.matched, approvals(desk)) == (1, [])


def test_groups_that_came_later_are_approved_for_alone(desk: Desk) -> None:
    """What the rule has approved already is not approved twice."""
    update_id = desk.put("Good one")
    one, two = desk.group("one"), desk.group("two")
    rule = desk.rule(group_ids=(one,))
    desk.run(rule)
    with desk.bench.database.write() as conn:
        definition = desk.definition(group_ids=(one, two))
        rule = change_rule(conn, ORIGIN, rule.id, name=rule.name, definition=definition, now=desk.bench.now)
    assert [each.group_ids for each in desk.preview(definition, rule).matched] == [(two,)]
    assert desk.run(rule).outcomes == {"approved": 1}
    groups = {row["approval_id"]: row["group_id"] for row in desk.bench.rows("approval_group")}
    assert sorted(groups.values()) == sorted((one, two))
    assert desk.run(rule).outcomes == {"covered": 1}
    assert len(approvals(desk, target_id=update_id)) == 2


def test_an_approval_of_just_these_groups_is_enough(desk: Desk) -> None:
    """Whoever has made it; one of other groups is not."""
    one, two = desk.put("Good one"), desk.put("Good two", days=2)
    by_hand = desk.approve(one)
    desk.approve(two, group_ids=[desk.group("pilots")])
    run = desk.run(desk.rule())
    assert desk.outcomes(run) == {"Good one": "covered", "Good two": "approved"}
    assert desk.results(run, "covered")[0].reason == f"{by_hand} approves it already."


def test_what_comes_in_between_changes_the_outcome(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An approval made, and an update withdrawn, after the judgement and before the deed."""
    one, two = desk.put("Good one"), desk.put("Good two", days=2)
    rule = desk.rule()
    hand_over = module._Runner._step

    def interrupt(runner: Any, *values: Any) -> None:
        desk.approve(one)
        with desk.bench.database.write() as conn:
            conn.execute(
                update(_revision).where(_revision.c.update_id == two).values(publication_state="Expired")
            )
        hand_over(runner, *values)

    monkeypatch.setattr(module._Runner, "_step", interrupt)
    run = desk.run(rule)
    assert desk.outcomes(run) == {"Good one": "covered", "Good two": "withdrawn"}
    assert run.outcomes == {"covered": 1, "withdrawn": 1}


def test_a_rule_that_notifies(desk: Desk) -> None:
    """Of each update once, in the audit trail and in the run; licences and blocks are no matter."""
    good = desk.put("Good one", eula_id=EULA)
    desk.block(good)
    rule = desk.rule(action="notify")
    run = desk.run(rule)
    assert (run.outcomes, run.waiting_for_eula) == ({"notified": 1}, 0)
    two = desk.put("Good two")
    again = desk.run(rule)
    assert desk.outcomes(again) == {"Good one": "covered", "Good two": "notified"}
    with desk.bench.database.read() as conn:
        entries = list_entries(conn, before=None, limit=9, action="rule.notify")
    assert [entry.detail for entry in entries] == [
        {"run_id": again.id, "updates": [two]},
        {"run_id": run.id, "updates": [good]},
    ]
    assert approvals(desk, action="approve") == []


def test_a_rule_that_starts_a_rollout(desk: Desk) -> None:
    """Of what is new each time; one that was stopped is not started again for the same updates."""
    one = desk.put("Good one")
    desk.put("Bad one")
    rule = desk.rule(action="rollout", plan_id=plan(desk))
    run = desk.run(rule)
    assert desk.outcomes(run) == {"Good one": "in_rollout", "Bad one": "not_matched"}
    (rollout,) = desk.bench.rows("rollout")
    assert (run.rollout_id, rollout["rule_id"]) == (rollout["id"], rule.id)
    assert rollout["name"] == "good ones 2026-11-21 12:00"
    two = desk.put("Good two")
    again = desk.run(rule)
    assert desk.outcomes(again)["Good one"] == "covered"
    assert [
        row["update_id"] for row in desk.bench.rows("rollout_update") if row["rollout_id"] == again.rollout_id
    ] == [two]
    with desk.bench.database.write() as conn:
        revoke_for_rollout(conn, ORIGIN, rollout["id"], now=desk.bench.now)
    third = desk.run(rule)
    assert desk.outcomes(third)["Good one"] == "revoked"
    assert third.rollout_id is None
    assert {row["target_id"] for row in approvals(desk, rule_id=rule.id)} == {one, two}


def test_a_rollout_has_room_for_so_many(sqlite_desk: Desk) -> None:
    """The newest go first, the others with the next run; a preview says the same."""
    desk = sqlite_desk
    for number in range(MAX_UPDATES + 2):
        desk.put(f"Good {number}", days=number)
    rule = desk.rule(action="rollout", plan_id=plan(desk))
    preview = desk.preview(definition_of(rule), rule)
    run = desk.run(rule)
    assert preview.outcomes == run.outcomes == {"in_rollout": MAX_UPDATES, "later": 2}
    assert desk.run(rule).outcomes == {"covered": MAX_UPDATES, "in_rollout": 2}


def test_the_criteria_of_a_query_are_asked_as_they_are_now(desk: Desk) -> None:
    """Not as they were matched last."""
    desk.put("Good one")
    rule = desk.rule(query_id=desk.query({"title": "good*"}))
    assert desk.run(rule).outcomes == {"approved": 1}


def test_misses_are_kept_up_to_a_number(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the last 90 days, the newest; counted are all of them, and so are those that are covered."""
    desk = sqlite_desk
    monkeypatch.setattr(module, "KEPT_MISSES", 2)
    assert KEPT_MISSES == 500
    for days in (1, 5, 9, 200):
        desk.put(f"Bad {days}", days=days)
    desk.put("Bad undated", days=None)
    for number in range(3):
        desk.put(f"Good {number}", days=300 + number)
    rule = desk.rule()
    desk.run(rule)
    run = desk.run(rule)
    assert run.outcomes == {"covered": 3, "not_matched": 5}
    assert desk.outcomes(run) == {
        "Bad 1": "not_matched",
        "Bad 5": "not_matched",
        "Good 0": "covered",
        "Good 1": "covered",
    }


# --- kills, stops and changes ---------------------------------------------------------------------------


def interrupted(desk: Desk, run: RuleRunView, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Do the run one update to a step, and die after so many steps."""
    steps = iter(range(after))
    hand_over = module._Runner._step

    def step(runner: Any, *values: Any) -> None:
        if next(steps, None) is None:
            raise Unavailable("The lights went out.")
        hand_over(runner, *values)

    with monkeypatch.context() as patch:
        patch.setattr(module._Runner, "_step", step)
        patch.setattr(module, "_STEP", 1)
        with pytest.raises(Unavailable):
            run_rule(desk.bench.database, run, desk.clock, batch=2)


@pytest.mark.parametrize("steps", range(5))
def test_a_killed_run_is_finished_by_another(desk: Desk, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """With the same end as if nothing had happened, wherever it died."""
    desk.bench.add("eula", id=EULA, first_seen_at=desk.bench.now)
    for number in range(4):
        desk.put(f"Good {number}", days=number, eula_id=[None, EULA][number % 2])
    desk.put("Bad one", days=9)
    rule = desk.rule()
    run = desk.claim(rule)
    interrupted(desk, run, monkeypatch, after=steps)
    assert len(approvals(desk)) == min(steps, 4)
    assert desk.worker.run_pending() == []
    desk.bench.now += timedelta(minutes=6)
    (ended,) = desk.worker.run_pending()
    assert (ended.id, ended.state) == (run.id, "succeeded")
    assert ended.outcomes == {"approved": 4, "not_matched": 1}
    assert ended.waiting_for_eula == 2
    assert len(approvals(desk)) == 4
    assert len(desk.results(ended)) == 5


def test_a_worker_taken_for_dead_does_nothing_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run is another's, at whatever step it wakes up."""
    for number in range(3):
        desk.put(f"Good {number}", days=number)
    rule = desk.rule()
    run = desk.claim(rule)
    hand_over = module._Runner._step

    def wake_late(runner: Any, *values: Any) -> None:
        with desk.bench.database.write() as conn:
            requeue_running(conn)
            assert claim_next(conn, desk.bench.now + timedelta(minutes=1)) is not None
        hand_over(runner, *values)

    monkeypatch.setattr(module._Runner, "_step", wake_late)
    with pytest.raises(RunLost):
        run_rule(desk.bench.database, run, desk.clock)
    assert approvals(desk) == []


def test_a_deleted_rule_ends_its_run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it began, and on its way."""
    desk.put("Good one")
    for when in ("_begin", "_hold_rule"):
        rule = desk.rule(name=when)
        run = desk.claim(rule)
        hand_over = getattr(module._Runner, when)

        def delete_first(runner: Any, *values: Any, rule_id: str = rule.id, go_on: Any = hand_over) -> Any:
            if not values:
                with desk.bench.database.write() as conn:
                    delete_rule(conn, ORIGIN, rule_id, now=desk.bench.now)
            return go_on(runner, *values)

        with monkeypatch.context() as patch:
            if when == "_begin":
                patch.setattr(module._Runner, when, delete_first)
            else:
                judge = module._Runner._judge

                def delete_then_judge(
                    runner: Any, *values: Any, rule_id: str = rule.id, go_on: Any = judge
                ) -> None:
                    with desk.bench.database.write() as conn:
                        delete_rule(conn, ORIGIN, rule_id, now=desk.bench.now)
                    go_on(runner, *values)

                patch.setattr(module._Runner, "_judge", delete_then_judge)
            with pytest.raises(RunLost):
                run_rule(desk.bench.database, run, desk.clock)
    assert approvals(desk) == []


@pytest.mark.parametrize("how", ["change", "disable"])
def test_a_changed_rule_ends_its_run(desk: Desk, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """What was done by then stays and is counted; nothing more is done."""
    for number in range(2):
        desk.put(f"Good {number}", days=number)
    rule = desk.rule()
    run = desk.claim(rule)
    hand_over = module._Runner._step
    steps = iter([False, True])

    def step(runner: Any, *values: Any) -> None:
        if next(steps):
            with desk.bench.database.write() as conn:
                if how == "disable":
                    switch_rule(conn, ORIGIN, rule.id, enabled=False, now=desk.bench.now)
                else:
                    change_rule(
                        conn,
                        ORIGIN,
                        rule.id,
                        name="other",
                        definition=definition_of(rule),
                        now=desk.bench.now,
                    )
        hand_over(runner, *values)

    monkeypatch.setattr(module._Runner, "_step", step)
    monkeypatch.setattr(module, "_STEP", 1)
    ended = run_rule(desk.bench.database, run, desk.clock)
    assert (ended.state, ended.outcomes) == ("failed", {"approved": 1})
    assert ended.error == "The rule was changed or switched off while it ran; what it had done by then stays."
    assert len(approvals(desk)) == 1


def test_told_to_stop_it_goes_back_into_the_queue(desk: Desk) -> None:
    """And is done by the next worker, from the beginning."""
    desk.put("Good one")
    run = desk.claim(desk.rule())
    assert run_rule(desk.bench.database, run, desk.clock, should_stop=lambda: True).state == "queued"
    (ended,) = desk.worker.run_pending()
    assert (ended.id, ended.outcomes) == (run.id, {"approved": 1})


def test_a_refusal_ends_the_run_with_its_reason(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that is gone meanwhile; and a refusal that nobody foresaw."""
    desk.put("Good one")
    rule = desk.rule(action="rollout", plan_id=plan(desk))
    desk_plan = desk.bench.rows("rollout_plan")[0]["id"]
    with desk.bench.database.write() as conn:
        conn.exec_driver_sql("DELETE FROM rollout_plan_group")
        conn.exec_driver_sql("DELETE FROM rollout_plan")
    ended = desk.run(rule)
    assert (ended.state, ended.outcomes) == ("failed", {})
    assert ended.error == "The rule names a plan that does not exist."
    assert desk_plan

    def refuse(*_values: Any, **_members: Any) -> None:
        raise module.Conflict("No.", code="something_new")

    monkeypatch.setattr(module, "create_approval", refuse)
    ended = desk.run(desk.rule(name="other"))
    assert (ended.state, ended.error) == ("failed", "No.")


def test_a_fault_ends_the_run_and_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised for the log; the run says that there was one."""
    desk.put("Good one")
    run = desk.claim(desk.rule())

    def fail(*_values: Any, **_members: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "create_approval", fail)
    with pytest.raises(ZeroDivisionError):
        run_rule(desk.bench.database, run, desk.clock)
    ended = desk.read(run)
    assert (ended.state, ended.error) == (
        "failed",
        "The run met a fault of the service, whose log has the details; what it had done by then stays.",
    )


def test_a_long_run_shows_how_far_it_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then, so that nobody takes its worker for dead."""
    for number in range(3):
        desk.put(f"Bad {number}", days=200 + number)
    run = desk.claim(desk.rule())
    seen: list[tuple[int, Any]] = []
    hand_over = module._Runner._judge

    def judge(runner: Any, *values: Any) -> None:
        desk.bench.now += timedelta(seconds=20)
        hand_over(runner, *values)
        seen.append((desk.read(run).examined, desk.read(run).heartbeat_at))

    monkeypatch.setattr(module._Runner, "_judge", judge)
    assert run_rule(desk.bench.database, run, desk.clock, batch=1).examined == 3
    assert [examined for examined, _ in seen] == [0, 2, 2]


# --- previews -------------------------------------------------------------------------------------------

CRITERIA = st.sampled_from(
    [
        {"title": "good*"},
        {"not": {"title": "good*"}},
        {"all": [{"severity": "Low"}, {"age_days": {"max": 100}}]},
        {"any": [{"reboot": "NeverReboots"}, {"title": "*3"}]},
        {"needed_by": {"at_least": 1}},
    ]
)
ACTS = st.lists(
    st.tuples(st.sampled_from(["approve", "block", "revoke", "run", "expire"]), st.integers(0, 5)), max_size=8
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(criteria=CRITERIA, action=st.sampled_from(["approve", "notify", "rollout"]), acts=ACTS)
def test_a_preview_is_what_the_run_then_does(desk: Desk, criteria: Any, action: Any, acts: Any) -> None:
    """After whatever was approved, blocked, revoked, withdrawn and run before."""
    if not desk.ids:
        desk.bench.add("eula", id=EULA, first_seen_at=desk.bench.now)
        for number in range(6):
            desk.put(
                f"{['Good', 'Bad'][number % 2]} {number}",
                days=[1, 5, 80, 95, 120, None][number],
                msrc_severity=[None, "Low"][number % 3 == 0],
                reboot_behavior=[None, "NeverReboots"][number % 2],
                eula_id=[None, EULA][number == 2],
            )
        plan(desk)
    plan_id = desk.bench.rows("rollout_plan")[0]["id"] if action == "rollout" else None
    name = f"rule {len(desk.bench.rows('audit_entry'))}"
    rule = desk.rule(criteria, name=name, action=action, plan_id=plan_id)
    for act, number in acts:
        desk.bench.now += timedelta(minutes=1)
        perform(desk, rule, act, desk.ids[number])
    preview = desk.preview(definition_of(rule), rule)
    run = desk.run(rule)
    assert preview.outcomes == run.outcomes
    assert (preview.of, preview.waiting_for_eula) == (run.examined, run.waiting_for_eula)
    done = {result.update_id: (result.outcome, result.eula_id) for result in desk.results(run)}
    shown = {
        each.update_id: (each.outcome, each.eula_id) for each in (*preview.matched, *preview.not_matched)
    }
    assert shown == done
    second = desk.run(rule)
    assert not {"approved", "in_rollout", "notified"} & set(second.outcomes)
    assert second.matched == run.matched
    for row in approvals(desk, revoked_at=None):
        if row["action"] == "block" or row["rule_id"] is None:
            desk.revoke(row["id"])


def perform(desk: Desk, rule: Any, act: str, update_id: str) -> None:
    """One act of an administrator, if it is possible now."""
    active = approvals(desk, target_id=update_id, revoked_at=None, rollout_id=None)
    if act == "run":
        desk.run(rule)
    elif act == "expire":
        with desk.bench.database.write() as conn:
            conn.execute(
                update(_revision)
                .where(_revision.c.update_id == update_id)
                .values(publication_state="Expired")
            )
    elif act == "revoke":
        for row in active:
            desk.revoke(row["id"])
    elif act == "block" and not [row for row in active if row["action"] == "block"]:
        desk.block(update_id)
    elif act == "approve" and not [row for row in active if row["action"] == "approve"]:
        (row,) = [row for row in desk.bench.rows("update_revision") if row["update_id"] == update_id]
        if row["publication_state"] != "Expired" and row["eula_id"] is None:
            desk.approve(update_id)
