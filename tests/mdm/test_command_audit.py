"""`csp-bridge audit`: verification with an exit code, and exports that anybody can check."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from mdm.audit import Origin, record
from mdm.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from mdm.storage.engine import Database

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DOCUMENT = Path(__file__).parents[2] / "docs" / "audit.md"

Run = Any
"""A call of the command: exit code, what it wrote, and its complaint."""


@pytest.fixture
def run(
    database_url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command on a database with three entries, on SQLite and on PostgreSQL."""
    monkeypatch.setenv("BRIDGE_DATABASE_URL", database_url)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["audit", *words, "--data-dir", str(data_dir)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def filled(database: Database) -> Database:
    """The same database, with entries that are hard to write down."""
    for number, name in enumerate(("plain", 'comma, "quote"\nline', "Jörg 🎉 \udcff")):
        with database.write() as conn:
            record(
                conn,
                Origin("client:ci", request_id=f"r{number}" if number else None),
                now=NOW + timedelta(days=number, microseconds=number),
                action="group.rename",
                object_type="group",
                object_id=str(number),
                before={"name": "a", "ids": []} if number else None,
                after={"name": name},
            )
    return database


# --- verify ---------------------------------------------------------------------------------------------


def test_an_empty_trail_is_whole(run: Run) -> None:
    """With no entry to note."""
    assert run("verify") == (0, "The audit trail is whole; entries checked: 0.\n", "")


@pytest.mark.usefixtures("filled")
def test_a_whole_trail_names_its_end_to_be_noted(run: Run) -> None:
    """And the next run takes what this one printed."""
    code, out, err = run("verify")
    sentence, end = out.splitlines()
    assert (code, sentence, err) == (0, "The audit trail is whole; entries checked: 3.", "")
    assert re.fullmatch(r"3:[0-9a-f]{64}", end)
    assert run("verify", "--noted", end)[0] == 0
    code, out, err = run("verify", "--noted", f"3:{'0' * 64}")
    assert (code, out) == (1, "")
    assert "broken at entry 3" in err
    assert "written anew" in err


def test_a_broken_trail_is_named_and_exits_with_1(run: Run, filled: Database) -> None:
    """The first entry that does not hold, why, and how many do."""
    with filled.write() as conn:
        conn.execute(text("UPDATE audit_entry SET actor = 'client:nobody' WHERE seq = 2"))
    code, out, err = run("verify")
    assert (code, out) == (1, "")
    assert err == (
        "csp-bridge: The audit trail is broken at entry 2. This entry does not match its hash: it, or the entry "
        "before it, is not what the bridge wrote. Entries before it that hold: 1.\n"
    )


@pytest.mark.parametrize("noted", ["3", "3:xyz", f"0:{'0' * 64}", f"3:{'A' * 64}"])
def test_what_was_noted_has_one_form(noted: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped one is a usage error and not a broken trail."""
    with pytest.raises(SystemExit) as caught:
        main(["audit", "verify", "--noted", noted])
    assert caught.value.code == 2
    assert "64 hexadecimal digits" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["verify", "export"])
def test_another_schema_is_left_alone(verb: str, run: Run, database: Database) -> None:
    """Examining a copy of a database must not upgrade it: that would link entries nobody vouches for."""
    with database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '0005'"))
    code, out, err = run(verb)
    assert (code, out) == (2, "")
    assert "csp-bridge db upgrade" in err


# --- export ---------------------------------------------------------------------------------------------


def documented_script() -> str:
    """The script that docs/audit.md gives to third parties."""
    (script,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return str(script)


def check(path: Path, content: str) -> tuple[int, str]:
    """Run the documented script on an export: exit code and its sentence."""
    path.write_text(content, encoding="ascii")
    done = subprocess.run(
        [sys.executable, "-I", "-c", documented_script(), str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.returncode, (done.stdout or done.stderr).strip()


@pytest.mark.usefixtures("filled")
def test_the_documented_script_checks_an_export(run: Run, tmp_path: Path) -> None:
    """It accepts what the command wrote, whole or in part, and no line changed, removed, swapped or added."""
    code, out, err = run("export")
    assert (code, err) == (0, "")
    lines = out.splitlines(keepends=True)
    end = json.loads(lines[-1])["hash"]
    path = tmp_path / "audit.jsonl"
    assert check(path, out) == (0, f"Whole. The last hash is {end}.")
    assert check(path, "".join(lines[1:])) == (0, f"Whole. The last hash is {end}.")
    assert json.loads(lines[0])["previous"] == "0" * 64
    assert run("verify")[1].endswith(f"3:{end}\n")
    changed = [lines[0], lines[1].replace("client:ci", "client:cj"), lines[2]]
    assert check(path, "".join(changed)) == (1, "line 2: entry 2 was changed")
    forged = json.loads(lines[1]) | {"actor": "client:cj"}
    del forged["hash"]
    forged["hash"] = hashlib.sha256(
        json.dumps(forged, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
    for wrong, number in (
        ([lines[0], lines[2]], 2),
        ([lines[0], lines[2], lines[1]], 2),
        ([*lines, lines[0]], 4),
        ([lines[0], json.dumps(forged) + "\n", lines[2]], 3),
    ):
        assert check(path, "".join(wrong)) == (1, f"line {number} does not follow the line before it")


@pytest.mark.usefixtures("filled")
def test_a_table_holds_the_same(run: Run) -> None:
    """An empty cell is null, three columns are JSON: the hashes can be computed from it as well."""
    lines = [json.loads(line) for line in run("export")[1].splitlines()]
    rows = list(csv.DictReader(io.StringIO(run("export", "--format", "csv")[1], newline="")))
    read = [
        {
            name: None
            if cell == ""
            else int(cell)
            if name == "seq"
            else json.loads(cell)
            if name in {"detail", "before", "after"}
            else cell
            for name, cell in row.items()
        }
        for row in rows
    ]
    assert read == lines
    assert lines[1]["after"] == {"name": 'comma, "quote"\nline'}


def test_an_empty_export_has_no_line(run: Run) -> None:
    """Nothing to read is nothing written."""
    assert run("export") == run("export", "--format", "csv") == (0, "", "")


@pytest.mark.usefixtures("filled")
def test_a_time_selects(run: Run) -> None:
    """A day is its beginning in UTC; a time may have a zone."""

    def found(*words: str) -> list[int]:
        return [json.loads(line)["seq"] for line in run("export", *words)[1].splitlines()]

    assert found("--since", "2026-11-22") == [2, 3]
    assert found("--until", "2026-11-22") == [1]
    assert found("--since", "2026-11-22T13:00:00+01:00", "--until", "2026-11-23T12:00:00Z") == [2]


@pytest.mark.parametrize("moment", ["yesterday", "2026-13-01", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_is_none_is_a_usage_error(moment: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With an example of one."""
    with pytest.raises(SystemExit) as caught:
        main(["audit", "export", "--since", moment])
    assert caught.value.code == 2
    assert "2026-11-21" in capsys.readouterr().err


def test_an_export_ends_where_it_cannot_be_read(
    sqlite_database: Database, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What comes before is written, and the exit code says that it is not all."""
    for number in range(3):
        with sqlite_database.write() as conn:
            record(conn, Origin("x"), now=NOW, action="a", object_type="b", object_id=str(number))
    with sqlite_database.write() as conn:
        conn.execute(text("UPDATE audit_entry SET detail = '{' WHERE seq = 2"))
    code = main(["audit", "export", "--data-dir", str(data_dir)])
    captured = capsys.readouterr()
    assert code == 1
    assert [json.loads(line)["seq"] for line in captured.out.splitlines()] == [1]
    assert captured.err == (
        "csp-bridge: Audit entry 2 cannot be read, so it is not what the bridge wrote. The export ends before it.\n"
    )
