"""`csp-bridge explain DEVICE UPDATE`: one reason, one sentence, and how fresh it is."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.catalog.listing import list_again
from mdm.cli import main
from mdm.commands import explain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Bench

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"

Run = Any
"""A call of the command: exit code, what it wrote, and its complaint."""


@pytest.fixture
def run(
    bench: Bench,
    database_url: str,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """The command on the bench's database, at the bench's time."""
    monkeypatch.setenv("BRIDGE_DATABASE_URL", database_url)
    monkeypatch.setattr(explain, "utc_now", lambda: bench.now)

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["explain", *words, "--data-dir", str(data_dir)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def filled(bench: Bench) -> Bench:
    """A device that offers A, which is approved and overdue."""
    bench.catalogue(A, title="Cumulative Update (x64)", kb="5041585", kb_all=["5041585"])
    bench.catalogue(B, title="Cumulative Update (ARM64)", kb="5041585", kb_all=["5041585"])
    with bench.database.write() as conn:
        list_again(conn, [A, B])
    device = bench.enrol("DESK-1")
    device.installable = {A: (1, 200)}
    device.check_in()
    bench.approve(A, deadline=bench.now)
    bench.now += timedelta(hours=3)
    return bench


@pytest.mark.usefixtures("filled")
def test_a_page_for_people(run: Run) -> None:
    """The update by its KB number, the device by its name."""
    code, out, err = run("desk-1", "KB5041585")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"Update     Cumulative Update (x64), KB5041585 ({A})",
        "Device     desk-1 (id-DESK-1)",
        "Reason     awaiting_checkin",
        "           Approved; it goes to the device at its next check-in.",
        "Approvals  approval-a317dafe-0",
        "Deadline   2026-11-21 12:00 UTC, overdue",
        "As of      2026-11-21 15:00 UTC; device seen 3 h ago, scanned 7 h ago; catalogue synced never",
    ]


def test_what_nobody_knows(filled: Bench, run: Run) -> None:
    """Is explained as well, with little to say; long ago is told in days."""
    filled.now += timedelta(days=5)
    code, out, _ = run("id-DESK-1", "c317dafe-baf4-453f-b232-a7075efae36e")
    assert code == 0
    assert out.startswith("Update     (no metadata) (c317dafe-")
    assert "Reason     unknown_update\n" in out
    assert "Approvals" not in out
    assert "device seen 5 days ago" in out


def test_a_deadline_to_come_and_minutes(filled: Bench, run: Run) -> None:
    """Neither overdue nor hours."""
    filled.now -= timedelta(hours=2, minutes=30)
    with filled.database.write() as conn:
        conn.exec_driver_sql("UPDATE approval SET deadline = '2026-12-01 00:00:00+00:00'")
    out = run("desk-1", A)[1]
    assert "Deadline   2026-12-01 00:00 UTC\n" in out
    assert "device seen 30 min ago" in out


@pytest.mark.usefixtures("filled")
def test_the_document_for_programs(run: Run) -> None:
    """What the API answers, on one line."""
    code, out, _ = run("--json", "desk-1", A)
    document = json.loads(out)
    assert (code, out.count("\n")) == (0, 1)
    assert (document["device_id"], document["update"]["reason"]) == ("id-DESK-1", "awaiting_checkin")
    assert document["freshness"]["catalogue_synced"] == {"at": None, "age_seconds": None}


def test_what_may_be_several_is_listed(filled: Bench, run: Run) -> None:
    """With the ids to choose from, and an exit code of its own."""
    filled.enrol("DESK-2")
    code, out, err = run("desk", A)
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "csp-bridge: 'desk' may be any of these; name the device by its id:",
        "  id-DESK-1  DESK-1  desk-1",
        "  id-DESK-2  DESK-2  desk-2",
    ]
    code, _, err = run("desk-2", "KB5041585")
    assert code == 1
    assert f"\n  {A}  Cumulative Update (x64)" in err
    for number in range(30):
        filled.enrol(f"LAPTOP-{number}")
    assert run("laptop", A)[2].endswith("\n  and more\n")


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("device", "update", "words"),
    [
        ("nowhere", A, "There is no device 'nowhere'."),
        ("desk-1", "KB1111111", "There is no update 'KB1111111'."),
        ("desk-1", CLASS, "is no update (Security Updates)."),
    ],
)
def test_what_is_not_found(run: Run, device: str, update: str, words: str) -> None:
    """One sentence, and 1."""
    code, out, err = run(device, update)
    assert (code, out) == (1, "")
    assert words in err


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "a\udcff", "x" * 201])
def test_what_is_no_name(run: Run, text: str) -> None:
    """Refused before the database is asked."""
    with pytest.raises(SystemExit) as caught:
        run(text, A)
    assert caught.value.code == 2


def test_a_database_of_another_release_is_left_alone(
    empty_database_url: str,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who asks a question does not want the database changed by that."""
    data_dir.mkdir(exist_ok=True)
    monkeypatch.setenv("BRIDGE_DATABASE_URL", empty_database_url)
    assert main(["explain", "x", "y", "--data-dir", str(data_dir)]) == 2
    assert "db upgrade" in capsys.readouterr().err
