"""The approvals of a rollout, made and revoked together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from mdm.approvals.batch import create_for_rollout, revoke_for_rollout
from mdm.approvals.checks import Proposal
from mdm.approvals.store import create_approval
from mdm.approvals.views import list_approvals
from mdm.audit import Origin, list_entries
from mdm.errors import Conflict, Invalid

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from conftest import Bench

ANN = Origin("ann")
UPDATES = [f"11111111-0000-4000-8000-{number:012}" for number in range(50)]


def proposal(update_id: str, stage: int = 1, **values: Any) -> Proposal:
    """What stage 1 of a rollout approves for two groups, stage 2 for one."""
    groups = ("a", "b") if stage == 1 else ("b",)
    return Proposal(
        target_type="update", target_id=update_id, group_ids=groups, rollout_id="rol_1", stage=stage, **values
    )


@pytest.fixture
def grouped(bench: Bench) -> Bench:
    """A bench with three groups."""
    for group in ("a", "b", "c"):
        bench.add("device_group", id=group, name=group, builtin=False, created_at=bench.now)
    return bench


def versions(bench: Bench) -> list[int]:
    """How often the intent of each group has changed."""
    return [row["intent_version"] for row in bench.rows("device_group", "id") if not row["builtin"]]


def test_they_are_what_one_by_one_would_make(grouped: Bench) -> None:
    """The same rows and audit entries as an approval that is made by itself, but for what names them."""
    with grouped.database.write() as connection:
        create_for_rollout(connection, ANN, [proposal(UPDATES[0], reason="why")], now=grouped.now)
        create_approval(
            connection,
            ANN,
            target_type="update",
            target_id=UPDATES[1],
            group_ids=["b", "a"],
            reason="why",
            eulas="hold",
            now=grouped.now,
        )
    different = {"id", "target_id", "rollout_id", "stage"}
    one, other = (
        {name: value for name, value in row.items() if name not in different}
        for row in grouped.rows("approval", "target_id")
    )
    assert one == other
    with grouped.database.read() as connection:
        second, first = list_entries(connection, before=None, limit=9)
        assert first.after is not None
        assert second.after is not None
        named = {"target": None, "rollout_id": None, "stage": None}
        assert {**first.after, **named} == {**second.after, **named}
        assert (first.action, first.actor) == (second.action, second.actor)
        views = list_approvals(connection, before=None, limit=9, now=grouped.now)
    assert [view.group_ids for view in views] == [("a", "b"), ("a", "b")]


def test_many_cost_few_statements(grouped: Bench) -> None:
    """Making and revoking a hundred approvals takes no more than doing it with ten."""
    counts = []
    for number in (10, 100):
        statements = []

        def count(*arguments: Any, statements: list[str] = statements) -> None:
            statements.append(arguments[2])

        proposals = [proposal(update_id, stage) for update_id in UPDATES for stage in (1, 2)][:number]
        with grouped.database.write() as connection:
            event.listen(connection, "before_cursor_execute", count)
            create_for_rollout(connection, ANN, proposals, now=grouped.now)
            assert revoke_for_rollout(connection, ANN, "rol_1", now=grouped.now) == number
            event.remove(connection, "before_cursor_execute", count)
        counts.append(len(statements))
    # the audit entries are one statement at the commit
    assert counts[0] == counts[1]
    assert versions(grouped) == [4, 4, 0]


def test_only_the_rollouts_own_are_revoked(grouped: Bench, now: datetime) -> None:
    """Once, with an audit entry each."""
    with grouped.database.write() as connection:
        create_for_rollout(connection, ANN, [proposal(UPDATES[0]), proposal(UPDATES[0], 2)], now=grouped.now)
        create_approval(
            connection, ANN, target_type="update", target_id=UPDATES[0], group_ids=["c"], now=grouped.now
        )
    with grouped.database.write() as connection:
        assert revoke_for_rollout(connection, Origin("bob"), "rol_1", now=now) == 2
    with grouped.database.write() as connection:
        assert revoke_for_rollout(connection, Origin("bob"), "rol_1", now=now) == 0
        entries = [entry for entry in list_entries(connection, before=None, limit=9) if entry.actor == "bob"]
    assert {row["revoked_by"] for row in grouped.rows("approval") if row["rollout_id"]} == {"bob"}
    assert [row["revoked_by"] for row in grouped.rows("approval") if not row["rollout_id"]] == [None]
    assert {entry.action for entry in entries} == {"approval.revoke"}
    assert sorted(entry.detail["group_ids"] for entry in entries) == [["a", "b"], ["b"]]
    assert entries[0].before == {"revoked_at": None, "revoked_by": None}


def test_all_or_none(grouped: Bench) -> None:
    """A withdrawn update among them, or a deadline that cannot be meant."""
    grouped.catalogue(UPDATES[1], publication_state="Expired")
    with pytest.raises(Conflict) as caught, grouped.database.write() as connection:
        create_for_rollout(connection, ANN, [proposal(each) for each in UPDATES[:2]], now=grouped.now)
    assert caught.value.code == "update_expired"
    wrong = proposal(UPDATES[2], deadline=grouped.now)
    with pytest.raises(Invalid), grouped.database.write() as connection:
        create_for_rollout(connection, ANN, [proposal(UPDATES[0]), wrong], now=grouped.now)
    assert grouped.rows("approval") == []
