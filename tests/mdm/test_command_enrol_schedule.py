"""`csp-bridge enrol schedule`: the load of a poll schedule, for the devices there are and for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Bench


@pytest.fixture
def run(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> object:
    """Run the command and return its lines; the exit code must be the one expected."""

    def command(*arguments: str, code: int = 0) -> dict[str, str]:
        assert main(["enrol", "schedule", "--data-dir", str(data_dir), *arguments]) == code
        lines = capsys.readouterr().out.split("\n\n")[0].splitlines()
        return {line[:12].strip(): line[13:] for line in lines}

    return command


def test_the_devices_that_are_enrolled(run: object, sqlite_bench: Bench) -> None:
    """Those that poll by the schedule, and no others."""
    assert callable(run)
    assert run()["in the end"].startswith("0 devices every 480 minutes")
    for number in range(3):
        sqlite_bench.enrol(f"DEV{number}", certificate_required=number != 1)
    assert run() == {
        "schedule": "5x3, 8x15, 480 (BRIDGE_POLL_SCHEDULE)",
        "means": "5 times every 3 minutes, then 8 times every 15 minutes, then every 480 minutes for ever",
        "in the end": "2 devices every 480 minutes: less than 0.01 sessions/s, 3 a day from each.",
        "at first": "100 enrolments at a time: 0.56 sessions/s at first, 13 sessions from each within 2.25 hours.",
    }


def test_another_schedule_and_other_devices(run: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """No database is needed for that."""
    assert callable(run)
    monkeypatch.setenv("BRIDGE_POLL_SCHEDULE", "1x1,1440")
    shown = run("--devices", "10000", "--at-a-time", "60")
    assert shown["means"] == "once every minute, then every 1,440 minutes for ever"
    assert shown["in the end"] == "10,000 devices every 1,440 minutes: 0.12 sessions/s, 1 a day from each."
    assert shown["at first"].startswith("60 enrolments at a time: 1.00 sessions/s at first")


@pytest.mark.parametrize("number", ["0", "-1", "many", "1e3", "10000001", "²"])
def test_a_number_that_is_none(data_dir: Path, capsys: pytest.CaptureFixture[str], number: str) -> None:
    """The command says what it wants."""
    with pytest.raises(SystemExit):
        main(["enrol", "schedule", "--data-dir", str(data_dir), "--devices", number])
    assert "it is a whole number from 1 to 10000000" in capsys.readouterr().err


def test_a_schedule_that_is_none(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting is named."""
    monkeypatch.setenv("BRIDGE_POLL_SCHEDULE", "0x3, 480")
    assert main(["enrol", "schedule", "--data-dir", str(data_dir)]) != 0
    assert "BRIDGE_POLL_SCHEDULE has 0 for the number of sessions in a set" in capsys.readouterr().err
