"""`csp-bridge catalog cleanup`: says what it does, does it once, and does nothing on a dry run."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select
from sqlmodel import SQLModel

from mdm.cli import main
from mdm.storage.engine import Database

if TYPE_CHECKING:
    from pathlib import Path

A = "aaaaaaaa-0000-4000-8000-000000000000"
B = "bbbbbbbb-0000-4000-8000-000000000000"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def rows(url: str, table: str) -> list[dict[str, Any]]:
    """All rows of a table."""
    found = SQLModel.metadata.tables[table]
    with closing(Database(url)) as database, database.read() as connection:
        return [dict(row) for row in connection.execute(select(found)).mappings()]


@pytest.fixture
def catalogue(sqlite_url: str) -> str:
    """Two updates that expired long ago; one is approved."""
    with closing(Database(sqlite_url)) as database, database.write() as connection:
        for update_id, title in ((A, "Gone"), (B, "Approved")):
            connection.execute(
                insert(SQLModel.metadata.tables["update_revision"]).values(
                    update_id=update_id,
                    revision_number=200,
                    is_latest=True,
                    update_type="Software",
                    title=title,
                    kb_all=[],
                    publication_state="Expired",
                    explicitly_deployable=True,
                    can_uninstall=False,
                    original=b"",
                    upstream_url="u",
                    fetched_at=LONG_AGO,
                )
            )
        connection.execute(
            insert(SQLModel.metadata.tables["approval"]).values(
                id="a",
                target_type="update",
                target_id=B,
                action="approve",
                allow_without_metadata=False,
                created_at=LONG_AGO,
                created_by="t",
            )
        )
    return sqlite_url


def test_a_dry_run_says_what_and_why(
    catalogue: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And who holds the rest; the database is as before."""
    assert main(["catalog", "cleanup", "--dry-run", "--data-dir", str(data_dir)]) == 0
    why = "Microsoft withdrew it; we know since 2020-01-01."
    summary = (
        "2 revisions looked at. Would remove: 1 expired. Held by references: 1. Licences removed: 0. "
        "Missing from the list: 2."
    )
    assert capsys.readouterr().out.splitlines() == [
        f"would go {A}.200 'Gone': {why}",
        f"stays {B}.200 'Approved': {why} It stays, because it is approved.",
        summary,
    ]
    assert len(rows(catalogue, "update_revision")) == 2
    assert rows(catalogue, "audit_entry") == []


def test_a_clean_up_removes_and_is_entered_in_the_audit(
    catalogue: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once: the second finds nothing and enters nothing."""
    for line in ("Removed: 1 expired.", "Removed: nothing."):
        assert main(["catalog", "cleanup", "--data-dir", str(data_dir)]) == 0
        assert line in capsys.readouterr().out
    assert [row["update_id"] for row in rows(catalogue, "update_revision")] == [B]
    (entry,) = rows(catalogue, "audit_entry")
    assert (entry["actor"], entry["action"]) == ("command-line", "catalog.cleanup")
    assert entry["detail"] == {"removed": {"expired": 1}, "licences": 0}


def test_minus_one_keeps_for_ever(catalogue: str, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each age can be given."""
    arguments = ["--expired-days", "-1", "--superseded-months", "6", "--old-revision-days", "0"]
    assert main(["catalog", "cleanup", *arguments, "--data-dir", str(data_dir)]) == 0
    assert "Removed: nothing." in capsys.readouterr().out
    assert len(rows(catalogue, "update_revision")) == 2


@pytest.mark.parametrize("age", ["-2", "ten", "10001", "9" * 30, "٣"])
def test_an_age_that_cannot_be_meant_is_refused(
    data_dir: Path, capsys: pytest.CaptureFixture[str], age: str
) -> None:
    """Before anything is opened."""
    with pytest.raises(SystemExit) as caught:
        main(["catalog", "cleanup", f"--expired-days={age}", "--data-dir", str(data_dir)])
    assert caught.value.code == 2
    assert "must be a whole number up to 10000, or -1 for ever" in capsys.readouterr().err
    assert not data_dir.exists()
