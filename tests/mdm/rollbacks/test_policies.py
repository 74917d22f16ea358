"""The pauses that rollbacks need, and until when."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, update

from csp.rollback import RollbackKind
from mdm.rollbacks.checkin import RollbackWishes, rollback_wishes
from mdm.rollbacks.policies import rollback_policies
from mdm.storage.statements import table_of
from mdm.storage.tables import RollbackDevice
from mdm.windows.policies import NOTHING, Overlay, Value

if TYPE_CHECKING:
    from datetime import datetime

    from conftest import Ward

DAY = timedelta(days=1)


def overlay(ward: Ward, now: datetime | None = None) -> Overlay:
    """What the first device must have."""
    with ward.bench.database.read() as connection:
        return rollback_policies(connection, 1, now or ward.bench.now)


def test_a_device_without_rollbacks_costs_one_read(ward: Ward) -> None:
    """And has nothing to do."""
    ward.bench.enrol("PC1")
    statements: list[Any] = []
    with ward.bench.database.write() as connection:
        event.listen(connection, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
        assert rollback_wishes(connection, 1, ward.bench.now) == RollbackWishes()
    assert len(statements) == 1
    assert overlay(ward) == NOTHING
    assert RollbackWishes().key == ""


def test_who_waits_is_paused_until_the_end(ward: Ward) -> None:
    """By the value of the day on which the rollback was asked for."""
    ward.bench.enrol("PC1")
    job = ward.ask("PC1", days=3)
    assert overlay(ward) == Overlay(
        {"PauseQualityUpdatesStartTime": Value("2026-11-21", job.id)}, job.ends_at
    )
    assert overlay(ward, job.ends_at) == NOTHING


def test_who_was_told_is_paused_as_long_as_windows_pauses(ward: Ward) -> None:
    """Whatever came of it, unless it failed."""
    ward.bench.enrol("PC1")
    job = ward.ask("PC1", days=3)
    rows = table_of(RollbackDevice)
    for state, paused in (("sent", True), ("executed", True), ("rolled_back", True), ("failed", False)):
        with ward.bench.database.write() as conn:
            conn.execute(update(rows).values(state=state))
        assert (overlay(ward, job.ends_at).until == job.paused_until) is paused
        assert overlay(ward, job.paused_until) == NOTHING


def test_both_kinds_may_be_paused(ward: Ward) -> None:
    """Each by its own policy; the key tells one state from another."""
    ward.bench.enrol("PC1")
    one = ward.ask("PC1")
    ward.pass_time(DAY)
    two = ward.ask("PC1", kind=RollbackKind.FEATURE, days=2)
    found = overlay(ward)
    assert found.until == two.ends_at
    assert {name: value.source for name, value in found.values.items()} == {
        "PauseQualityUpdatesStartTime": one.id,
        "PauseFeatureUpdatesStartTime": two.id,
    }
    assert RollbackWishes(overlay=found).key == f"+{two.id}+{one.id}"
