"""/rules: what is done by itself with which updates, what it would do, and what each run did and why not more."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from mdm.access.scopes import Scope
from mdm.rest.fields import Body, Name, NoBody, NoQuery, ObjectId, PageQuery
from mdm.rest.operations import Call, Operation, Reply
from mdm.rules.definition import MAX_DAYS, Action, RuleDefinition, read_definition
from mdm.rules.preview import preview_rule
from mdm.rules.runs import get_run, list_results, list_runs, request_run
from mdm.rules.store import (
    change_rule,
    create_rule,
    delete_rule,
    get_rule,
    list_rules,
    switch_rule,
)
from mdm.rules.verdicts import Judge, Outcome

__all__ = ["OPERATIONS"]

Groups = Annotated[tuple[ObjectId, ...], Field(max_length=100)]
Days = Annotated[int, Field(ge=0, le=MAX_DAYS)]


class Defined(Body):
    """Which updates, what is to be done with them, and when."""

    criteria: dict[str, Any] | None = None
    """As `mdm.queries.criteria` reads them."""
    query_id: ObjectId | None = None
    """Of a saved query, instead of criteria."""
    action: Action
    group_ids: Groups = ()
    """To approve for."""
    plan_id: ObjectId | None = None
    """To start a rollout from."""
    deadline_days: Days | None = None
    not_before_days: Days | None = None
    after_sync: bool = False
    schedule: dict[str, Any] | None = None
    """As `mdm.rules.schedule` reads it."""

    def definition(self) -> RuleDefinition:
        """The same, as the domain has it."""
        return RuleDefinition(
            criteria=self.criteria,
            query_id=self.query_id,
            action=self.action,
            group_ids=self.group_ids,
            plan_id=self.plan_id,
            deadline_days=self.deadline_days,
            not_before_days=self.not_before_days,
            after_sync=self.after_sync,
            schedule=self.schedule,
        )


class NewRule(Defined):
    """A rule to make."""

    name: Name
    description: Name | None = None
    enabled: bool = True


class ChangedRule(Defined):
    """A rule as it is to be; what is left out is empty, but for the switch."""

    name: Name
    description: Name | None = None
    enabled: bool


class PreviewedRule(Defined):
    """A rule that is only thought of."""

    rule_id: ObjectId | None = None
    """The rule that it would be a change of: what that one has done already counts."""


class ResultsQuery(PageQuery):
    """Which results of a run to list."""

    outcome: Outcome | None = None


def _create(call: Call[NoQuery, NewRule]) -> Reply:
    body = call.body
    rule = create_rule(
        call.conn,
        call.origin,
        name=body.name,
        definition=body.definition(),
        description=body.description,
        enabled=body.enabled,
        now=call.now,
    )
    return Reply.created(f"/rules/{rule.id}", rule)


def _list(call: Call[PageQuery, NoBody]) -> Reply:
    position = call.position(call.query, str)
    after = None if position.after is None else position.after[0]
    rows = list_rules(call.conn, after=after, limit=position.fetch)
    return Reply.of_page(position.page(rows, key=lambda row: (row.name,)))


def _preview(call: Call[NoQuery, PreviewedRule]) -> Reply:
    body = call.body
    if body.rule_id is not None:
        get_rule(call.conn, body.rule_id)
    definition = body.definition()
    judge = Judge(body.rule_id, definition, read_definition(call.conn, definition), call.now)
    return Reply(preview_rule(call.conn, judge))


def _get(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(get_rule(call.conn, call.path_params["rule"]))


def _change(call: Call[NoQuery, ChangedRule]) -> Reply:
    body = call.body
    return Reply(
        change_rule(
            call.conn,
            call.origin,
            call.path_params["rule"],
            name=body.name,
            definition=body.definition(),
            description=body.description,
            enabled=body.enabled,
            now=call.now,
        )
    )


def _delete(call: Call[NoQuery, NoBody]) -> Reply:
    delete_rule(call.conn, call.origin, call.path_params["rule"], now=call.now)
    return Reply()


def _enable(call: Call[NoQuery, NoBody]) -> Reply:
    rule = call.path_params["rule"]
    return Reply(switch_rule(call.conn, call.origin, rule, enabled=True, now=call.now))


def _disable(call: Call[NoQuery, NoBody]) -> Reply:
    rule = call.path_params["rule"]
    return Reply(switch_rule(call.conn, call.origin, rule, enabled=False, now=call.now))


def _run(call: Call[NoQuery, NoBody]) -> Reply:
    run = request_run(call.conn, call.origin, call.path_params["rule"], now=call.now)
    reply = Reply.created(f"/rules/{run.rule_id}/runs/{run.id}", run)
    return replace(reply, after_commit=call.services.wake_rules)


def _list_runs(call: Call[PageQuery, NoBody]) -> Reply:
    rule = get_rule(call.conn, call.path_params["rule"])
    position = call.position(call.query, datetime, str)
    rows = list_runs(call.conn, rule.id, before=position.after, limit=position.fetch)
    return Reply.of_page(position.page(rows, key=lambda row: (row.requested_at, row.id)))


def _get_run(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(get_run(call.conn, call.path_params["rule"], call.path_params["run"]))


def _list_results(call: Call[ResultsQuery, NoBody]) -> Reply:
    run = get_run(call.conn, call.path_params["rule"], call.path_params["run"])
    position = call.position(call.query, int, str)
    rows = list_results(
        call.conn, run.id, outcome=call.query.outcome, after=position.after, limit=position.fetch
    )
    return Reply.of_page(position.page(rows, key=lambda row: row[0], show=lambda row: row[1]))


OPERATIONS = (
    Operation(
        method="POST",
        path="/rules",
        scope=Scope.APPROVALS_WRITE,
        handler=_create,
        query=NoQuery,
        body=NewRule,
        status=201,
        summary="Make a rule that approves, starts rollouts or notifies by itself",
    ),
    Operation(
        method="GET",
        path="/rules",
        scope=Scope.APPROVALS_READ,
        handler=_list,
        query=PageQuery,
        body=NoBody,
        summary="List rules by name",
    ),
    Operation(
        method="POST",
        path="/rules/preview",
        scope=Scope.APPROVALS_READ,
        handler=_preview,
        query=NoQuery,
        body=PreviewedRule,
        reads_only=True,
        summary="Show what a rule would do now, and why not more; nothing is stored",
    ),
    Operation(
        method="GET",
        path="/rules/{rule}",
        scope=Scope.APPROVALS_READ,
        handler=_get,
        query=NoQuery,
        body=NoBody,
        summary="Read a rule, and when it runs next",
    ),
    Operation(
        method="PUT",
        path="/rules/{rule}",
        scope=Scope.APPROVALS_WRITE,
        handler=_change,
        query=NoQuery,
        body=ChangedRule,
        summary="Define a rule anew; what it has approved stays approved",
    ),
    Operation(
        method="DELETE",
        path="/rules/{rule}",
        scope=Scope.APPROVALS_WRITE,
        handler=_delete,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Delete a rule and the record of its runs; its approvals stay",
    ),
    Operation(
        method="POST",
        path="/rules/{rule}/enable",
        scope=Scope.APPROVALS_WRITE,
        handler=_enable,
        query=NoQuery,
        body=NoBody,
        summary="Switch a rule on, from the next sync or time on",
    ),
    Operation(
        method="POST",
        path="/rules/{rule}/disable",
        scope=Scope.APPROVALS_WRITE,
        handler=_disable,
        query=NoQuery,
        body=NoBody,
        summary="Switch a rule off, and end a run of it that is under way",
    ),
    Operation(
        method="POST",
        path="/rules/{rule}/run",
        scope=Scope.APPROVALS_WRITE,
        handler=_run,
        query=NoQuery,
        body=NoBody,
        status=202,
        summary="Run a rule now, by hand",
    ),
    Operation(
        method="GET",
        path="/rules/{rule}/runs",
        scope=Scope.APPROVALS_READ,
        handler=_list_runs,
        query=PageQuery,
        body=NoBody,
        summary="List the runs of a rule, latest first",
    ),
    Operation(
        method="GET",
        path="/rules/{rule}/runs/{run}",
        scope=Scope.APPROVALS_READ,
        handler=_get_run,
        query=NoQuery,
        body=NoBody,
        summary="Read what a run of a rule came to",
    ),
    Operation(
        method="GET",
        path="/rules/{rule}/runs/{run}/results",
        scope=Scope.APPROVALS_READ,
        handler=_list_results,
        query=ResultsQuery,
        body=NoBody,
        summary="List what a run made of each update, and why",
    ),
)
