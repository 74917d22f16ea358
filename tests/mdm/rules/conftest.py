"""A bridge with a small catalogue, rules, and the worker that runs them; the clock is the test's."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.approvals.store import create_approval, revoke_approval
from mdm.audit import Origin
from mdm.catalog.listing import list_again
from mdm.devices.groups import create_group
from mdm.queries.store import create_query
from mdm.rules.definition import RuleDefinition, read_definition
from mdm.rules.preview import preview_rule
from mdm.rules.runs import claim_next, get_run, list_results, list_runs, request_run
from mdm.rules.store import create_rule
from mdm.rules.verdicts import Judge
from mdm.rules.worker import RuleWorker

if TYPE_CHECKING:
    from conftest import Bench

    from mdm.rules.preview import RulePreview
    from mdm.rules.runs import ResultView, RuleRunView
    from mdm.rules.store import RuleView

ORIGIN = Origin("client:ops")


@dataclass
class Desk:
    """What an administrator of rules works at."""

    bench: Bench
    ids: list[str] = field(default_factory=list)

    def clock(self) -> datetime:
        """The present moment, which the test moves."""
        return self.bench.now

    @property
    def worker(self) -> RuleWorker:
        """A worker as a process has it."""
        return RuleWorker(self.bench.database, self.clock)

    def put(self, title: str, *, days: float | None = 1, **values: Any) -> str:
        """Store and list an update that was released so many days ago; returns its id."""
        update_id = f"{len(self.ids) + 1:08x}-0000-4000-8000-000000000000"
        created = None if days is None else self.bench.now - timedelta(days=days)
        self.bench.catalogue(update_id, title=title, created=created, **values)
        with self.bench.database.write() as conn:
            list_again(conn, [update_id])
        self.ids.append(update_id)
        return update_id

    def group(self, name: str) -> str:
        """Make a group; returns its id."""
        with self.bench.database.write() as conn:
            return create_group(conn, ORIGIN, name=name, now=self.bench.now).id

    def query(self, criteria: Any, name: str = "saved") -> str:
        """Save a query; returns its id."""
        with self.bench.database.write() as conn:
            return create_query(conn, ORIGIN, name=name, criteria=criteria, now=self.bench.now).id

    def rule(
        self, criteria: Any = None, *, name: str = "good ones", enabled: bool = True, **values: Any
    ) -> RuleView:
        """Make a rule that approves what is titled Good for all devices, unless told."""
        with self.bench.database.write() as conn:
            return create_rule(
                conn,
                ORIGIN,
                name=name,
                definition=self.definition(criteria, **values),
                enabled=enabled,
                now=self.bench.now,
            )

    def definition(self, criteria: Any = None, **values: Any) -> RuleDefinition:
        """The definition of such a rule."""
        if criteria is not None or "query_id" not in values:
            values["criteria"] = criteria or {"title": "good*"}
        values.setdefault("action", "approve")
        if values["action"] == "approve":
            values.setdefault("group_ids", ("all-devices",))
        return RuleDefinition(**values)

    def run(self, rule: RuleView) -> RuleRunView:
        """Run the rule by hand and to its end."""
        with self.bench.database.write() as conn:
            request_run(conn, ORIGIN, rule.id, now=self.bench.now)
        (ended,) = self.worker.run_pending()
        return ended

    def claim(self, rule: RuleView) -> RuleRunView:
        """A run of the rule that this worker has claimed, and not yet begun."""
        with self.bench.database.write() as conn:
            request_run(conn, ORIGIN, rule.id, now=self.bench.now)
            run = claim_next(conn, self.bench.now)
        assert run is not None
        return run

    def read(self, run: RuleRunView) -> RuleRunView:
        """The run as it is now."""
        with self.bench.database.read() as conn:
            return get_run(conn, run.rule_id, run.id)

    def runs(self, rule: RuleView) -> list[RuleRunView]:
        """All its runs, the latest first."""
        with self.bench.database.read() as conn:
            return list_runs(conn, rule.id, before=None, limit=500)

    def results(self, run: RuleRunView, outcome: str | None = None) -> list[ResultView]:
        """What the run made of updates, the newest first."""
        with self.bench.database.read() as conn:
            rows = list_results(conn, run.id, outcome=outcome, after=None, limit=5000)
        return [result for _, result in rows]

    def outcomes(self, run: RuleRunView) -> dict[str, str]:
        """Title to outcome."""
        return {result.title: result.outcome for result in self.results(run)}

    def preview(self, definition: RuleDefinition, rule: RuleView | None = None) -> RulePreview:
        """What a rule would do now."""
        with self.bench.database.read() as conn:
            criterion = read_definition(conn, definition)
            judge = Judge(None if rule is None else rule.id, definition, criterion, self.bench.now)
            return preview_rule(conn, judge)

    def approve(self, update_id: str, **values: Any) -> str:
        """Approve or block by hand, for all devices unless told; returns the approval's id."""
        given = {"target_type": "update", "group_ids": ["all-devices"], "now": self.bench.now, **values}
        with self.bench.database.write() as conn:
            return create_approval(conn, ORIGIN, target_id=update_id, **given).id

    def block(self, target_id: str, **values: Any) -> str:
        """Block by hand."""
        return self.approve(target_id, action="block", reason="INC-4471", **values)

    def revoke(self, approval_id: str) -> None:
        """Revoke by hand."""
        with self.bench.database.write() as conn:
            revoke_approval(conn, ORIGIN, approval_id, now=self.bench.now)

    def sync(self, run_id: str) -> None:
        """A sync succeeds now."""
        self.bench.add(
            "sync_run",
            id=run_id,
            upstream_url="http://upstream.test",
            trigger="schedule",
            requested_by="schedule",
            state="succeeded",
            requested_at=self.bench.now,
            finished_at=self.bench.now,
        )


@pytest.fixture
def desk(bench: Bench) -> Desk:
    """An empty desk on SQLite and on PostgreSQL."""
    return Desk(bench)


@pytest.fixture
def sqlite_desk(sqlite_bench: Bench) -> Desk:
    """An empty desk on SQLite, where the kind of database makes no difference."""
    return Desk(sqlite_bench)
