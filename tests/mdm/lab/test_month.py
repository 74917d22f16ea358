"""A month of updates in virtual time: the whole of approvals, played over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.cli import main
from mdm.lab.app_server import AppServer
from mdm.lab.month import Month
from mdm.lab.story import NotHeldError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.e2e
def test_the_month_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad update fails on a fifth of the pilots and halts; it is rolled back, approved again, and reaches everybody."""
    assert main(["demo", "--month", "--data-dir", str(tmp_path / "month")]) == 0
    out = capsys.readouterr().out
    assert "All 9 steps held" in out
    assert "halted itself" in out
    assert "installed on all 10 devices" in out
    log = (tmp_path / "month" / "bridge.log").read_text()
    assert '"level": "error"' not in log
    assert log.count("dm_session") > 100


def test_a_step_that_does_not_hold_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which, why, and ends with 1."""

    def broken(_self: Month) -> None:
        raise NotHeldError("the devices are late")

    monkeypatch.setattr(Month, "prepare", broken)
    assert main(["demo", "--month", "--data-dir", str(tmp_path / "month")]) == 1
    out = capsys.readouterr().out
    assert "DOES NOT HOLD: the devices are late" in out
    assert "Step 1 did not hold" in out


def test_a_directory_in_use_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The story begins with nothing."""
    (tmp_path / "mine").touch()
    assert main(["demo", "--month", "--data-dir", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err


async def _fails(_scope: object, _receive: object, _send: object) -> None:
    raise RuntimeError("no application")


@pytest.mark.filterwarnings("ignore")
def test_an_application_that_does_not_start_is_said() -> None:
    """Instead of waiting for ever."""
    server = AppServer(_fails)
    with pytest.raises(TimeoutError):
        server.start()
    server.stop()
