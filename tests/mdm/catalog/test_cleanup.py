"""What the catalogue forgets: exactly what is due, never what somebody refers to, a little at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, insert, select
from sqlmodel import SQLModel

from mdm.catalog.cleanup import (
    DEFAULT_POLICY,
    CleanupPolicy,
    Facts,
    Finding,
    Reason,
    clean_up,
    cleanup_step,
    decide,
)
from mdm.catalog.store import Delivery, enqueue_needed, mark_needed, store_revisions, stored_revisions
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

    from mdm.storage.engine import Database

A, B, C, D, E, F = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcdef")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1000)
AT_ONCE = CleanupPolicy(superseded_months=0, expired_days=0, old_revision_days=0, orphan_days=0)
NEVER = CleanupPolicy(None, None, None, None)


def facts(**values: Any) -> Facts:
    """An update that nothing speaks against, but for what the test says."""
    known: dict[str, Any] = {
        "identity": UpdateIdentity(A, 200),
        "title": "An update",
        "update_type": "Software",
        "is_latest": True,
        "deployable": True,
        "expired": False,
        "fetched_at": LONG_AGO,
        "latest_fetched_at": LONG_AGO,
        "superseded_at": None,
    }
    return Facts(**{**known, **values})


def days(number: float) -> datetime:
    """So many days ago."""
    return NOW - timedelta(days=number)


DECISIONS: list[tuple[dict[str, Any], Reason | None]] = [
    ({}, None),
    ({"superseded_at": datetime(2025, 11, 21, 12, tzinfo=UTC)}, Reason.SUPERSEDED),
    ({"superseded_at": datetime(2025, 11, 21, 12, 0, 1, tzinfo=UTC)}, None),
    ({"expired": True, "fetched_at": days(7)}, Reason.EXPIRED),
    ({"expired": True, "fetched_at": days(6.9)}, None),
    ({"expired": True, "fetched_at": days(6.9), "superseded_at": LONG_AGO}, Reason.SUPERSEDED),
    ({"is_latest": False, "latest_fetched_at": days(90)}, Reason.OLD_REVISION),
    ({"is_latest": False, "latest_fetched_at": days(89.9)}, None),
    ({"is_latest": False, "latest_fetched_at": days(1), "expired": True}, None),
    ({"deployable": False, "fetched_at": days(30)}, Reason.ORPHAN),
    ({"deployable": False, "fetched_at": days(29.9)}, None),
    ({"update_type": "Driver", "superseded_at": LONG_AGO}, Reason.SUPERSEDED),
    ({"update_type": "Category", "deployable": False}, None),
    ({"update_type": "Detectoid", "deployable": False, "is_latest": False}, None),
]


@pytest.mark.parametrize(("values", "reason"), DECISIONS)
def test_what_is_due(values: dict[str, Any], reason: Reason | None) -> None:
    """By age to the second; categories and detectoids never; with a policy of never, nothing."""
    finding = decide(facts(**values), DEFAULT_POLICY, NOW)
    assert (finding and finding.reason) == reason
    assert decide(facts(**values), NEVER, NOW) is None


def test_a_finding_says_why_and_who_holds_it() -> None:
    """In words for an administrator."""
    known = facts(superseded_at=datetime(2025, 10, 14, tzinfo=UTC), held_by="it is approved")
    assert decide(known, DEFAULT_POLICY, NOW) == Finding(
        UpdateIdentity(A, 200),
        "An update",
        Reason.SUPERSEDED,
        "An update of 2025-10-14 supersedes it.",
        "it is approved",
    )


def test_months_end_where_the_month_ends() -> None:
    """A month after the last of January is the last of February."""
    policy = CleanupPolicy(superseded_months=1)
    known = facts(superseded_at=datetime(2026, 1, 31, tzinfo=UTC))
    assert decide(known, policy, datetime(2026, 2, 27, tzinfo=UTC)) is None
    assert decide(known, policy, datetime(2026, 2, 28, tzinfo=UTC)) is not None


# --- steps ----------------------------------------------------------------------------------------------


@pytest.fixture
def keep(database: Database) -> Callable[..., None]:
    """Store documents, long ago unless told otherwise."""

    def keep(*documents: str, at: datetime = LONG_AGO) -> None:
        with database.write() as connection:
            deliveries = [Delivery.of(each) for each in documents]
            store_revisions(connection, deliveries, url_of=lambda _file: None, upstream_url="u", now=at)

    return keep


def add(database: Database, table: str, **values: Any) -> None:
    """Insert a row."""
    with database.write() as connection:
        connection.execute(insert(SQLModel.metadata.tables[table]), values)


def stored(database: Database) -> dict[str, set[int]]:
    """The revisions of each update by its first letter."""
    with database.read() as connection:
        found = stored_revisions(connection, (A, B, C, D, E, F))
    return {update_id[0]: numbers for update_id, numbers in found.items()}


def findings(database: Database, **options: Any) -> tuple[dict[str, str], dict[str, str]]:
    """What a whole clean-up removes and what it leaves, by letter and revision, with reason or holder."""
    removed: dict[str, str] = {}
    held: dict[str, str] = {}
    for step in clean_up(database, NOW, **{"policy": AT_ONCE, **options}):
        removed |= {
            f"{each.identity.update_id[0]}{each.identity.revision_number}": each.reason
            for each in step.removed
        }
        held |= {
            f"{each.identity.update_id[0]}{each.identity.revision_number}": str(each.held_by)
            for each in step.held
        }
    return removed, held


@pytest.fixture
def crowded(database: Database, keep: Callable[..., None], document: Callable[..., str]) -> Database:
    """A is superseded by B, C has an old revision, D has expired, E is a part of nothing; B and C stay."""
    keep(
        document(A, categories=(F,)),
        document(B, supersedes=(A,)),
        document(C, 100),
        document(C, 101),
        document(D, 100),
        document(D, 101, expired=True),
        document(E, deployable=False),
        document(F, update_type="Category", deployable=False),
    )
    return database


def test_what_nobody_needs_goes_with_all_its_rows(crowded: Database) -> None:
    """And out of the list; a second clean-up finds nothing."""
    removed, held = findings(crowded)
    assert removed == {
        "a200": "superseded",
        "c100": "old_revision",
        "d100": "old_revision",
        "d101": "expired",
        "e200": "orphan",
    }
    # looked at together with A, which was still there
    assert held == {}
    assert stored(crowded) == {"b": {200}, "c": {101}, "f": {200}}
    with crowded.read() as connection:
        for table in ("revision_relation", "revision_category", "revision_text", "update_revision"):
            ids = set(connection.scalars(select(SQLModel.metadata.tables[table].c.update_id)))
            assert ids <= {B, C, F}
        assert set(connection.scalars(select(SQLModel.metadata.tables["listed_update"].c.update_id))) == {
            B,
            C,
        }
    assert findings(crowded) == ({}, {})


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_steps_of_any_size_come_to_the_same(crowded: Database, limit: int) -> None:
    """Each looks at so many revisions and no more, and a dry run finds the same and writes nothing."""
    before = stored(crowded)
    foretold = findings(crowded, limit=limit, dry_run=True)
    assert stored(crowded) == before
    steps = list(clean_up(crowded, NOW, policy=AT_ONCE, limit=limit))
    assert all(step.examined <= limit for step in steps)
    removed = {
        f"{each.identity.update_id[0]}{each.identity.revision_number}"
        for step in steps
        for each in step.removed
    }
    assert removed == set(foretold[0])


def test_a_clean_up_can_be_stopped(crowded: Database) -> None:
    """Between two steps."""
    answers = iter([False, True])
    assert len(list(clean_up(crowded, NOW, limit=1, should_stop=lambda: next(answers)))) == 1


def name_by_device(database: Database, update_id: str, number: int | None) -> None:
    """Let a device name an update."""
    add(
        database,
        "device",
        pk=1,
        id="d",
        device_id="d",
        name="d",
        created_at=NOW,
        auth_scheme="syncml:auth-md5",
        auth_username="u",
        auth_verifier=b"",
        auth_nonce="",
    )
    add(
        database,
        "device_update",
        device_pk=1,
        update_id=update_id,
        revision_number=number,
        lists=2,
        state="installed",
        since=NOW,
    )


def approve(database: Database, update_id: str, **values: Any) -> None:
    """Approve an update."""
    add(
        database,
        "approval",
        id="a",
        target_type="update",
        target_id=update_id,
        action="approve",
        allow_without_metadata=False,
        created_at=NOW,
        created_by="t",
        **values,
    )


def test_what_is_approved_stays(crowded: Database) -> None:
    """Its old revisions are history."""
    approve(crowded, A)
    removed, held = findings(crowded)
    assert "a200" not in removed
    assert held == {"a200": "it is approved"}


def test_a_revoked_approval_holds_nothing(crowded: Database) -> None:
    """It refers to the past."""
    approve(crowded, A, revoked_at=NOW, revoked_by="t")
    assert "a200" in findings(crowded)[0]


def test_what_a_device_names_stays(crowded: Database) -> None:
    """The update by any revision, an old revision only by its own number."""
    name_by_device(crowded, C, 100)
    assert findings(crowded)[1] == {"c100": "a device names this revision"}
    assert stored(crowded)["c"] == {100, 101}


def test_an_expired_update_on_a_device_stays(crowded: Database) -> None:
    """Somebody has to tell what it is."""
    name_by_device(crowded, D, None)
    removed, held = findings(crowded)
    assert held == {"d101": "a device names it"}
    assert "d100" in removed


def test_parts_of_what_is_stored_stay(
    database: Database, keep: Callable[..., None], document: Callable[..., str]
) -> None:
    """By the revision that is named, and prerequisites as well; an update is no part of itself."""
    keep(
        document(A, bundles=((B, 100),), requires=(C,)),
        document(B, 100, deployable=False),
        document(B, 101, deployable=False),
        document(C, deployable=False),
        document(D, deployable=False, requires=(D,)),
    )
    removed, held = findings(database)
    assert removed == {"d200": "orphan"}
    assert held == {
        "b100": "a stored update contains this revision",
        "b101": "a stored update contains it",
        "c200": "a stored update requires it",
    }


def test_supersedence_is_not_lost(
    database: Database, keep: Callable[..., None], document: Callable[..., str]
) -> None:
    """B goes only after A, which it makes superseded; else A would look current again."""
    keep(document(A), document(B, supersedes=(A,)), document(C, supersedes=(B,)))
    approve(database, A)
    removed, held = findings(database)
    assert removed == {}
    assert held == {"a200": "it is approved", "b200": "it supersedes an update that is still stored"}
    with database.write() as connection:
        connection.execute(SQLModel.metadata.tables["approval"].delete())
    assert findings(database, limit=1)[0] == {"a200": "superseded", "b200": "superseded"}


def test_what_was_removed_can_be_asked_for_again(
    database: Database, keep: Callable[..., None], document: Callable[..., str]
) -> None:
    """The answered request for it goes as well."""
    keep(document(A, deployable=False))
    add(
        database,
        "needed_revision",
        update_id=A,
        revision_number=200,
        state="queued",
        first_reported_at=NOW,
        attempts=0,
    )
    with database.write() as connection:
        mark_needed(connection, [UpdateIdentity(A, 200)], "synced", NOW)
    assert findings(database)[0] == {"a200": "orphan"}
    with database.write() as connection:
        assert enqueue_needed(connection, [(A, 200)], NOW) == 1


def test_licences_without_updates_go_unless_accepted(
    database: Database, keep: Callable[..., None], document: Callable[..., str]
) -> None:
    """The ledger and the texts it names are for ever."""
    keep(
        document(A, deployable=False, eula=(D, {"en": b"x"})),
        document(B, deployable=False, eula=(E, {"en": b"y"})),
    )
    keep(document(C, eula=(F, {"en": b"z"})))
    add(
        database,
        "eula_acceptance",
        id="1",
        eula_id=E,
        locale="en",
        text_sha256="x",
        accepted_by="t",
        accepted_at=NOW,
    )
    steps = list(clean_up(database, NOW, policy=AT_ONCE))
    assert sum(step.licences for step in steps) == 1
    with database.read() as connection:
        assert set(connection.scalars(select(SQLModel.metadata.tables["eula"].c.id))) == {E, F}
        assert set(connection.scalars(select(SQLModel.metadata.tables["eula_text"].c.eula_id))) == {E, F}


def test_the_list_is_mended(crowded: Database) -> None:
    """What is visible and has no row, as after a migration, has one afterwards; a dry run only counts."""
    table = SQLModel.metadata.tables["listed_update"]
    with crowded.write() as connection:
        connection.execute(table.delete())
        for dry_run, rows in ((True, 0), (False, 4)):
            step = cleanup_step(connection, NOW, policy=NEVER, dry_run=dry_run)
            assert (step.listed, step.after, step.examined) == (4, None, 8)
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == rows
        assert cleanup_step(connection, NOW, policy=NEVER).listed == 0
