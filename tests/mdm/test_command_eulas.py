"""`csp-bridge eulas export`: the licence ledger on standard output."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert
from sqlmodel import SQLModel

from mdm.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mdm.storage.engine import Database

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
EULA = "eeeeeeee-0000-4000-8000-000000000001"

Run = Any
"""A call of the command: exit code, what it wrote, and its complaint."""


@pytest.fixture
def run(
    database_url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command, on SQLite and on PostgreSQL."""
    monkeypatch.setenv("BRIDGE_DATABASE_URL", database_url)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["eulas", "export", *words, "--data-dir", str(data_dir)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def filled(database: Database) -> None:
    """Two acceptances: one with everything, one as short as can be."""
    tables = SQLModel.metadata.tables
    with database.write() as conn:
        conn.execute(insert(tables["eula"]).values(id=EULA, first_seen_at=NOW))
        for number, values in enumerate(
            (
                {"organization": 'Jörg, "Söhne" 🎉', "remote_addr": "10.0.0.9", "request_id": "r1"},
                {"by_machine": False},
            )
        ):
            conn.execute(
                insert(tables["eula_acceptance"]).values(
                    id=f"acc_{number}",
                    eula_id=EULA,
                    locale="en",
                    text_sha256=f"{number}" * 64,
                    accepted_by="client:ci",
                    accepted_at=NOW + timedelta(days=number),
                    **values,
                )
            )


@pytest.mark.usefixtures("filled")
def test_json_lines(run: Run) -> None:
    """One object a line, oldest first, with every member."""
    code, out, err = run()
    first, second = map(json.loads, out.splitlines())
    assert (code, err) == (0, "")
    assert first == {
        "id": "acc_0",
        "eula_id": EULA,
        "locale": "en",
        "geo_id": None,
        "text_sha256": "0" * 64,
        "accepted_by": "client:ci",
        "by_machine": True,
        "organization": 'Jörg, "Söhne" 🎉',
        "accepted_at": "2026-11-21T12:00:00Z",
        "remote_addr": "10.0.0.9",
        "request_id": "r1",
        "holds": True,
    }
    assert (second["by_machine"], second["organization"], second["remote_addr"]) == (False, None, None)


@pytest.mark.usefixtures("filled")
def test_a_table(run: Run) -> None:
    """The same rows; an empty cell is null."""
    code, out, _ = run("--format", "csv")
    first, second = csv.DictReader(io.StringIO(out))
    assert code == 0
    assert (first["organization"], first["by_machine"], first["geo_id"]) == (
        'Jörg, "Söhne" 🎉',
        "true",
        "",
    )
    assert (second["by_machine"], second["accepted_at"]) == ("false", "2026-11-22T12:00:00Z")


@pytest.mark.usefixtures("database")
def test_an_empty_ledger(run: Run) -> None:
    """No line, and the table's head."""
    assert run() == (0, "", "")
    assert run("--format", "csv")[1].count("\n") == 1


def test_a_database_of_another_release_is_left_alone(
    empty_database_url: str,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who exports evidence does not want the database changed by that."""
    data_dir.mkdir(exist_ok=True)
    monkeypatch.setenv("BRIDGE_DATABASE_URL", empty_database_url)
    assert main(["eulas", "export", "--data-dir", str(data_dir)]) == 2
    assert "db upgrade" in capsys.readouterr().err
