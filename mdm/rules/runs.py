"""The ledger of runs: which are due, who does them, and what each came to.

A run has a slot, such as a sync or a moment of a schedule, and of each slot a rule has one run, whatever number of
processes look for work. Whoever does a run shows it by a heartbeat; one that falls silent loses it to another.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, exists, or_, select, update

from mdm.audit import record
from mdm.errors import Conflict, NotFound
from mdm.rules.schedule import parse_schedule
from mdm.rules.store import get_rule
from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import ApprovalRule, RuleResult, RuleRun, SyncRun

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.audit import Origin

__all__ = [
    "KEPT_RUNS",
    "STALE_AFTER",
    "ResultView",
    "RuleRunView",
    "RunLost",
    "anything_due",
    "beat",
    "claim_next",
    "finish_run",
    "get_run",
    "list_results",
    "list_runs",
    "queue_due",
    "release_run",
    "request_run",
    "requeue_running",
]

STALE_AFTER: Final = timedelta(minutes=5)
"""A run whose worker has been silent for so long is done by another; a step of one takes seconds."""

KEPT_RUNS: Final = 100
"""Of each rule, with what they found; approvals and the audit trail keep what was done for ever."""

_rule = table_of(ApprovalRule)
_run = table_of(RuleRun)
_result = table_of(RuleResult)
_sync = table_of(SyncRun)


class RunLost(Exception):  # noqa: N818 - named for what happened to the run
    """This worker's run is no longer its own, or its rule has been deleted."""


@dataclass(frozen=True, slots=True)
class RuleRunView:
    """One run of a rule."""

    id: str
    rule_id: str
    trigger: str
    """`sync`, `schedule` or `manual`."""
    requested_by: str
    state: str
    """`queued`, `running`, `succeeded` or `failed`."""
    requested_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None
    definition: Mapping[str, Any] | None
    """The rule as it was when the run began."""
    examined: int
    """Updates that the rule was asked about."""
    matched: int
    outcomes: Mapping[str, int]
    """How many updates came to what."""
    waiting_for_eula: int
    """Of those that it approved, how many had a licence that nobody had accepted."""
    rollout_id: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ResultView:
    """What a run made of one update, and why."""

    update_id: str
    title: str
    outcome: str
    reason: str
    approval_id: str | None
    """The approval it made, or the one that explains the outcome."""
    eula_id: str | None
    """The licence that what it approved waits for."""


# --- what is due ----------------------------------------------------------------------------------------


def anything_due(conn: Connection, now: datetime) -> bool:
    """True if there is a run to queue, to take over or to do: one cheap read that writes nothing."""
    waiting = select(_run.c.id).where(
        or_(_run.c.state == "queued", and_(_run.c.state == "running", _silent(now - STALE_AFTER)))
    )
    if conn.scalar(waiting.limit(1)) is not None:
        return True
    return bool(_due_by_clock(conn, now) or _due_after_sync(conn))


def queue_due(conn: Connection, now: datetime) -> int:
    """Queue a run for each slot that has come; returns how many are new.

    Times of a schedule that passed while nobody looked are one slot together.
    """
    made = 0
    for row in _due_by_clock(conn, now):
        due = parse_schedule(row.schedule).next_after(now)
        moved = conn.execute(
            update(_rule)
            .where(_rule.c.id == row.id, _rule.c.next_due_at == row.next_due_at)
            .values(next_due_at=due)
        )
        if moved.rowcount:
            made += _queue(conn, row.id, f"schedule:{row.next_due_at.isoformat()}", now=now)
    for rule_id, sync_id in _due_after_sync(conn):
        made += _queue(conn, rule_id, f"sync:{sync_id}", now=now)
    return made


def request_run(conn: Connection, origin: Origin, rule_id: str, *, now: datetime) -> RuleRunView:
    """Queue a run by hand; if one waits already, that one is the answer.

    Raises NotFound, and Conflict `rule_disabled`.
    """
    if conn.scalar(select(_rule.c.id).where(_rule.c.id == rule_id).with_for_update()) is not None:
        queued = conn.scalar(
            select(_run.c.id).where(_run.c.rule_id == rule_id, _run.c.state == "queued").limit(1)
        )
        if queued is not None:
            return get_run(conn, rule_id, queued)
    rule = get_rule(conn, rule_id)
    if not rule.enabled:
        raise Conflict(f"The rule {rule.name!r} is switched off.", code="rule_disabled")
    token = secrets.token_hex(10)
    _queue(conn, rule_id, f"manual:{token}", requested_by=origin.actor, now=now, token=token)
    record(
        conn,
        origin,
        now=now,
        action="rule.run",
        object_type="rule",
        object_id=rule_id,
        after={"run_id": f"rrn_{token}", "state": "queued"},
    )
    return get_run(conn, rule_id, f"rrn_{token}")


def _due_by_clock(conn: Connection, now: datetime) -> Sequence[Any]:
    return conn.execute(
        select(_rule.c.id, _rule.c.schedule, _rule.c.next_due_at)
        .where(_rule.c.enabled, _rule.c.next_due_at <= now)
        .order_by(_rule.c.id)
    ).all()


def _due_after_sync(conn: Connection) -> list[tuple[str, str]]:
    """Rules that run after syncs and have not run for the last one, with its id."""
    last = conn.execute(
        select(_sync.c.id, _sync.c.finished_at)
        .where(_sync.c.state == "succeeded", _sync.c.finished_at.is_not(None))
        .order_by(_sync.c.finished_at.desc(), _sync.c.id.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return []
    has_run = exists().where(_run.c.rule_id == _rule.c.id, _run.c.slot == f"sync:{last.id}")
    rules = conn.scalars(
        select(_rule.c.id)
        .where(_rule.c.enabled, _rule.c.after_sync, _rule.c.armed_at < last.finished_at, ~has_run)
        .order_by(_rule.c.id)
    )
    return [(rule_id, last.id) for rule_id in rules]


def _queue(
    conn: Connection,
    rule_id: str,
    slot: str,
    *,
    requested_by: str = "schedule",
    now: datetime,
    token: str | None = None,
) -> int:
    """Queue a run for the slot, which begins with the trigger, unless there is one; returns how many are new."""
    made = conn.execute(
        insert_ignore(RuleRun, conn).values(
            id=f"rrn_{token or secrets.token_hex(10)}",
            rule_id=rule_id,
            slot=slot,
            trigger=slot.partition(":")[0],
            requested_by=requested_by,
            state="queued",
            requested_at=now,
            examined=0,
            matched=0,
            outcomes={},
            waiting_for_eula=0,
        )
    )
    return made.rowcount


# --- who does it ----------------------------------------------------------------------------------------


def claim_next(conn: Connection, now: datetime) -> RuleRunView | None:
    """Take the oldest run that may start now, or None; runs whose worker fell silent are queued again first.

    Of one rule no two runs are done at a time.
    """
    requeue_running(conn, silent_since=now - STALE_AFTER)
    queued = conn.execute(
        select(_run.c.id, _run.c.rule_id, _run.c.started_at)
        .where(_run.c.state == "queued")
        .order_by(_run.c.requested_at, _run.c.id)
    ).all()
    for candidate in queued:
        # the rule's row is the lock: two workers cannot both find nothing running
        conn.execute(select(_rule.c.id).where(_rule.c.id == candidate.rule_id).with_for_update())
        running = select(_run.c.id).where(_run.c.rule_id == candidate.rule_id, _run.c.state == "running")
        if conn.scalar(running.limit(1)) is not None:
            continue
        claimed = conn.execute(
            update(_run)
            .where(_run.c.id == candidate.id, _run.c.state == "queued")
            .values(state="running", started_at=candidate.started_at or now, heartbeat_at=now)
        )
        if claimed.rowcount:
            return get_run(conn, candidate.rule_id, candidate.id)
    return None


def requeue_running(conn: Connection, silent_since: datetime | None = None) -> int:
    """Queue running runs again, those silent since a moment or all; returns how many.

    All: for the start of the only process that works on this database.
    """
    statement = update(_run).where(_run.c.state == "running")
    if silent_since is not None:
        statement = statement.where(_silent(silent_since))
    return conn.execute(statement.values(state="queued")).rowcount


def beat(conn: Connection, run: RuleRunView, now: datetime, **values: Any) -> RuleRunView:
    """Write progress and a heartbeat; returns the run to be given next time.

    Raises RunLost if somebody else has written since, so that a worker taken for dead does nothing twice.
    """
    last = run.heartbeat_at or now
    # strictly later, so that two workers can never hold the same mark
    mark = max(now, last + timedelta(microseconds=1))
    changed = conn.execute(
        update(_run)
        .where(_run.c.id == run.id, _run.c.state == "running", _run.c.heartbeat_at == last)
        .values(heartbeat_at=mark, **values)
    )
    if not changed.rowcount:
        raise RunLost(run.id)
    return get_run(conn, run.rule_id, run.id)


def finish_run(
    conn: Connection, run: RuleRunView, now: datetime, *, error: str | None = None, **values: Any
) -> RuleRunView:
    """End a run: succeeded, or failed for the reason of one sentence; raises RunLost as `beat` does.

    The oldest runs of the rule are forgotten.
    """
    state = "succeeded" if error is None else "failed"
    ended = beat(conn, run, now, state=state, finished_at=now, error=error, **values)
    kept = (
        select(_run.c.id)
        .where(_run.c.rule_id == run.rule_id)
        .order_by(_run.c.requested_at.desc(), _run.c.id.desc())
        .limit(KEPT_RUNS)
    )
    conn.execute(
        delete(_run).where(
            _run.c.rule_id == run.rule_id,
            _run.c.state.in_(("succeeded", "failed")),
            _run.c.id != run.id,
            _run.c.id.not_in(kept),
        )
    )
    return ended


def release_run(conn: Connection, run: RuleRunView, now: datetime) -> RuleRunView:
    """Put a run back because its worker stops; raises RunLost as `beat` does."""
    return beat(conn, run, now, state="queued")


def _silent(since: datetime) -> Any:
    return or_(_run.c.heartbeat_at.is_(None), _run.c.heartbeat_at < since)


# --- views ----------------------------------------------------------------------------------------------


def get_run(conn: Connection, rule_id: str, run_id: str) -> RuleRunView:
    """A run of the rule; raises NotFound."""
    row = conn.execute(select(_run).where(_run.c.id == run_id, _run.c.rule_id == rule_id)).one_or_none()
    if row is None:
        raise NotFound(f"The rule {rule_id!r} has no run {run_id!r}.")
    return _view(row)


def list_runs(
    conn: Connection, rule_id: str, *, before: tuple[datetime, str] | None, limit: int
) -> list[RuleRunView]:
    """At most `limit` runs of the rule, the latest first, from the one behind `before` (`requested_at` and id) on."""
    statement = select(_run).where(_run.c.rule_id == rule_id)
    if before is not None:
        moment, run_id = before
        statement = statement.where(
            or_(
                _run.c.requested_at < moment,
                and_(_run.c.requested_at == moment, _run.c.id < run_id),
            )
        )
    statement = statement.order_by(_run.c.requested_at.desc(), _run.c.id.desc()).limit(limit)
    return [_view(row) for row in conn.execute(statement)]


def list_results(
    conn: Connection,
    run_id: str,
    *,
    outcome: str | None = None,
    after: tuple[int, str] | None,
    limit: int,
) -> list[tuple[tuple[int, str], ResultView]]:
    """At most `limit` updates of the run, the newest first, below the position and id `after`; each with its own."""
    statement = select(_result).where(_result.c.run_id == run_id)
    if outcome is not None:
        statement = statement.where(_result.c.outcome == outcome)
    if after is not None:
        position, update_id = after
        statement = statement.where(
            or_(
                _result.c.position < position,
                and_(_result.c.position == position, _result.c.update_id < update_id),
            )
        )
    statement = statement.order_by(_result.c.position.desc(), _result.c.update_id.desc()).limit(limit)
    return [
        (
            (row.position, row.update_id),
            ResultView(row.update_id, row.title, row.outcome, row.reason, row.approval_id, row.eula_id),
        )
        for row in conn.execute(statement)
    ]


def _view(row: Row[Any]) -> RuleRunView:
    return RuleRunView(
        id=row.id,
        rule_id=row.rule_id,
        trigger=row.trigger,
        requested_by=row.requested_by,
        state=row.state,
        requested_at=row.requested_at,
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        finished_at=row.finished_at,
        definition=row.definition,
        examined=row.examined,
        matched=row.matched,
        outcomes=row.outcomes,
        waiting_for_eula=row.waiting_for_eula,
        rollout_id=row.rollout_id,
        error=row.error,
    )
