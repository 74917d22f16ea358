"""Doing one run: the catalogue is walked once, each update judged, and what follows written in small transactions.

A run that is killed is done again from the beginning by whoever takes it over: what it has done already is found in
its record, and approvals that it made are not made twice. A rule that is changed or switched off ends its run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select

from mdm.approvals.store import create_approval
from mdm.audit import Origin, record
from mdm.errors import BridgeError, Conflict, Unavailable
from mdm.queries.records import walk
from mdm.rollouts.store import start_rollout
from mdm.rules.definition import read_definition
from mdm.rules.preview import limited
from mdm.rules.runs import RunLost, beat, finish_run, release_run
from mdm.rules.store import definition_of, get_rule
from mdm.rules.verdicts import MATCHED, Judge, Outcome, Verdict, is_recent
from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import ApprovalRule, RuleNotice, RuleResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.queries.records import Found
    from mdm.rules.runs import RuleRunView
    from mdm.storage.engine import Database

__all__ = ["KEPT_MISSES", "run_rule"]

KEPT_MISSES: Final = 500
"""Updates that a run keeps a result of although it does nothing about them, for each such outcome; the newest."""

_BATCH: Final = 500
"""Updates judged together."""

_STEP: Final = 50
"""Updates acted on in one transaction: check-ins on SQLite wait for it."""

_BEAT_EVERY: Final = timedelta(seconds=30)
_MAX_NAME: Final = 200
_BOUNDED: Final = frozenset({Outcome.COVERED, Outcome.NOT_MATCHED, Outcome.UNKNOWN})

_CHANGED: Final = "The rule was changed or switched off while it ran; what it had done by then stays."
_FAULT: Final = (
    "The run met a fault of the service, whose log has the details; what it had done by then stays."
)

_rule = table_of(ApprovalRule)
_result = table_of(RuleResult)


class _RuleChanged(Exception):  # noqa: N818 - named for what happened
    """The rule is not what the run began with."""


def run_rule(
    database: Database,
    run: RuleRunView,
    clock: Callable[[], datetime],
    *,
    should_stop: Callable[[], bool] = lambda: False,
    batch: int = _BATCH,
) -> RuleRunView:
    """Do a claimed run to its end and return it; told to stop, it is put back into the queue.

    Raises RunLost if it is somebody else's by now, and Unavailable if the database is down: then it is taken up again
    later. Any other fault ends the run before it is raised.
    """
    runner = _Runner(database, run, clock, should_stop)
    try:
        return runner.do(batch)
    except (RunLost, Unavailable):
        raise
    except _RuleChanged:
        return runner.fail(_CHANGED)
    except BridgeError as problem:
        return runner.fail(problem.detail)
    except Exception:
        runner.fail(_FAULT)
        raise


class _Runner:
    """One run on its way."""

    def __init__(
        self,
        database: Database,
        run: RuleRunView,
        clock: Callable[[], datetime],
        should_stop: Callable[[], bool],
    ) -> None:
        self._database = database
        self._run = run
        self._clock = clock
        self._should_stop = should_stop
        self._origin = Origin(actor=f"rule:{run.rule_id}")
        self._outcomes: Counter[str] = Counter()
        self._waiting = 0
        self._kept: Counter[str] = Counter()
        """Of what is kept up to a number only, how much there was."""
        self._name, self._version = "", 0
        """Of the rule, as the run began with it."""
        self._rollout: list[Verdict] = []
        """What a rollout is started of at the end, in the transaction that ends the run."""

    def do(self, batch: int) -> RuleRunView:
        """Walk the catalogue, and end the run."""
        judge = self._begin()
        for found in walk(self._database.read, judge.now, batch=batch):
            if self._should_stop():
                with self._database.write() as conn:
                    return release_run(conn, self._run, self._clock())
            self._judge(judge, found)
        with self._database.write() as conn:
            self._hold_rule(conn)
            rollout_id = self._start_rollout(conn, judge)
            return finish_run(
                conn, self._run, self._clock(), error=None, rollout_id=rollout_id, **self._figures()
            )

    def fail(self, error: str) -> RuleRunView:
        """End the run for the reason of one sentence; what it has done stays, and is counted."""
        with self._database.write() as conn:
            return finish_run(conn, self._run, self._clock(), error=error, **self._figures())

    def _begin(self) -> Judge:
        now = self._clock()
        with self._database.write() as conn:
            version = conn.scalar(select(_rule.c.version).where(_rule.c.id == self._run.rule_id))
            if version is None:
                raise RunLost(self._run.id)
            rule = get_rule(conn, self._run.rule_id)
            self._version, self._name = version, rule.name
            definition = definition_of(rule)
            judge = Judge(rule.id, definition, read_definition(conn, definition), now)
            self._hold_rule(conn)
            begun = beat(conn, self._run, now, definition={"name": rule.name, **definition.document()})
        self._run = begun
        return judge

    def _hold_rule(self, conn: Connection) -> None:
        """Keep the rule as it is until the transaction ends."""
        row = conn.execute(
            select(_rule.c.version, _rule.c.enabled)
            .where(_rule.c.id == self._run.rule_id)
            .with_for_update(read=True)
        ).one_or_none()
        if row is None:
            raise RunLost(self._run.id)
        if row.version != self._version or not row.enabled:
            raise _RuleChanged

    def _judge(self, judge: Judge, found: Sequence[Found]) -> None:
        """Judge some updates and do what follows."""
        with self._database.read() as conn:
            verdicts = limited(judge.judge(conn, found), len(self._rollout))
            done = self._done(conn, [verdict.record.update_id for verdict in verdicts])
        ahead: list[Verdict] = []
        for verdict in verdicts:
            before = done.get(verdict.record.update_id)
            if before is not None:
                # by the worker that this run was taken over from
                self._kept[before.outcome] += 1
                self._outcomes[before.outcome] += 1
                self._waiting += before.eula_id is not None
            elif verdict.outcome is Outcome.IN_ROLLOUT:
                self._rollout.append(verdict)
            elif self._worth_keeping(verdict):
                ahead.append(verdict)
            else:
                self._count(verdict)
        for start in range(0, len(ahead), _STEP):
            self._step(judge, ahead[start : start + _STEP])
        self._show_life()

    def _done(self, conn: Connection, update_ids: Sequence[str]) -> Mapping[str, Any]:
        rows = conn.execute(
            select(_result.c.update_id, _result.c.outcome, _result.c.eula_id).where(
                _result.c.run_id == self._run.id, _result.c.update_id.in_(update_ids)
            )
        )
        return {row.update_id: row for row in rows}

    def _worth_keeping(self, verdict: Verdict) -> bool:
        """True for what is done something about, and for the newest of what is not."""
        if verdict.outcome not in _BOUNDED:
            return True
        if verdict.outcome not in MATCHED and not is_recent(verdict.record):
            return False
        self._kept[verdict.outcome] += 1
        return self._kept[verdict.outcome] <= KEPT_MISSES

    def _step(self, judge: Judge, verdicts: Sequence[Verdict]) -> None:
        """Act on some updates, in one transaction with the record of it."""
        with self._database.write() as conn:
            self._hold_rule(conn)
            beaten = beat(conn, self._run, self._clock())
            acted = [self._act(conn, judge, verdict) for verdict in verdicts]
            self._write(conn, acted)
            told = [each.record.update_id for each in acted if each.outcome is Outcome.NOTIFIED]
            if told:
                record(
                    conn,
                    self._origin,
                    now=self._clock(),
                    action="rule.notify",
                    object_type="rule",
                    object_id=self._run.rule_id,
                    detail={"run_id": self._run.id, "updates": told},
                )
        # not before the commit: what is undone has not happened
        self._run = beaten
        for verdict in acted:
            self._count(verdict)

    def _act(self, conn: Connection, judge: Judge, verdict: Verdict) -> Verdict:
        """Do what the verdict says; what somebody else has done meanwhile changes it."""
        if verdict.outcome is Outcome.APPROVED:
            return self._approve(conn, judge, verdict)
        if verdict.outcome is Outcome.NOTIFIED:
            conn.execute(
                insert_ignore(RuleNotice, conn).values(
                    rule_id=self._run.rule_id, update_id=verdict.record.update_id, at=self._clock()
                )
            )
        return verdict

    def _approve(self, conn: Connection, judge: Judge, verdict: Verdict) -> Verdict:
        now, definition = self._clock(), judge.definition
        try:
            approval = create_approval(
                conn,
                self._origin,
                target_type="update",
                target_id=verdict.record.update_id,
                group_ids=verdict.group_ids,
                not_before=_after(now, definition.not_before_days),
                deadline=_after(now, definition.deadline_days),
                reason=f"Rule {self._name}"[:_MAX_NAME],
                rule_id=self._run.rule_id,
                eulas="hold",
                now=now,
            )
        except Conflict as problem:
            # it is raised before anything is written
            if problem.code not in _MEANWHILE:
                raise
            return replace(
                verdict,
                outcome=_MEANWHILE[problem.code],
                reason=problem.detail,
                approval_id=problem.members.get("existing"),
                eula_id=None,
            )
        return replace(verdict, approval_id=approval.id)

    def _start_rollout(self, conn: Connection, judge: Judge) -> str | None:
        """Start the rollout of what is to go into one; returns its id."""
        plan_id = judge.definition.plan_id
        if not self._rollout or plan_id is None:
            return None
        now = self._clock()
        rollout = start_rollout(
            conn,
            self._origin,
            plan_id=plan_id,
            update_ids=[verdict.record.update_id for verdict in self._rollout],
            name=f"{self._name[: _MAX_NAME - 20]} {now:%Y-%m-%d %H:%M}",
            rule_id=self._run.rule_id,
            now=now,
        )
        self._write(conn, self._rollout)
        for verdict in self._rollout:
            self._count(verdict)
        return rollout.id

    def _write(self, conn: Connection, verdicts: Sequence[Verdict]) -> None:
        rows = [
            {
                "run_id": self._run.id,
                "update_id": verdict.record.update_id,
                "position": verdict.position,
                "title": verdict.record.title,
                "outcome": verdict.outcome.value,
                "reason": verdict.reason,
                "approval_id": verdict.approval_id,
                "eula_id": verdict.eula_id,
            }
            for verdict in verdicts
        ]
        conn.execute(insert(_result), rows)

    def _count(self, verdict: Verdict) -> None:
        self._outcomes[verdict.outcome] += 1
        self._waiting += verdict.eula_id is not None

    def _show_life(self) -> None:
        """Tell how far it has come, now and then."""
        now = self._clock()
        if self._run.heartbeat_at is None or now - self._run.heartbeat_at >= _BEAT_EVERY:
            with self._database.write() as conn:
                beaten = beat(conn, self._run, now, **self._figures())
            self._run = beaten

    def _figures(self) -> dict[str, Any]:
        return {
            "examined": self._outcomes.total(),
            "matched": sum(count for outcome, count in self._outcomes.items() if outcome in MATCHED),
            "outcomes": {str(outcome): count for outcome, count in sorted(self._outcomes.items())},
            "waiting_for_eula": self._waiting,
        }


_MEANWHILE: Final = {"approval_conflict": Outcome.COVERED, "update_expired": Outcome.WITHDRAWN}
"""What has come in between, by the code of the refusal."""


def _after(now: datetime, days: int | None) -> datetime | None:
    return None if days is None else now + timedelta(days=days)
