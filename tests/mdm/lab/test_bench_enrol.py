"""The measurement of enrolments: it measures what it says, on data of its own. No figure is judged here."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from mdm.cli import main
from mdm.commands.base import CommandError
from mdm.lab import bench_enrol
from mdm.lab.bench_enrol import Call, Figures, Work
from mdm.lab.bridge import BridgeDown, BridgeProcess

if TYPE_CHECKING:
    from pathlib import Path

    from mdm.storage.engine import Database

DEVICES = 3


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """Those of three devices with a token."""
    where = tmp_path_factory.mktemp("enrol") / "data"
    return bench_enrol.run(where, devices=DEVICES, at_once=2)


def test_every_call_of_every_device_is_timed(figures: Figures) -> None:
    """Each is made once by each device, and a session has more messages than its first."""
    calls = {each.what: each.calls for each in figures.calls}
    later = calls.pop("a later message")
    assert set(calls.values()) == {DEVICES}
    assert {"the first question", "Discover", "GetPolicies", "RequestSecurityToken", "Renew"} < set(calls)
    assert sum(name.startswith("package 1 of") for name in calls) == 5
    assert later >= 5 * DEVICES
    assert all(0 < each.median_ms <= each.late_ms <= each.worst_ms for each in figures.calls)


def test_the_cost_is_that_of_the_bridge(figures: Figures) -> None:
    """CPU time for each kind of work, the ratio of two of them, and the memory of a process that has served."""
    costs = {each.what: each.cpu_ms for each in figures.works}
    assert next(iter(costs)) == "an enrolment"
    assert len(costs) == 7
    assert all(each.cpu_ms > 0 and each.a_second > 0 for each in figures.works)
    assert all(each.yards == pytest.approx(each.cpu_ms / figures.yardstick_ms) for each in figures.works)
    same = costs["one more over mTLS, no news"] / costs["one more by credentials, no news"]
    assert figures.mtls_ratio == pytest.approx(same)
    assert 20 < figures.peak_mib < 2000


def test_both_tables_are_shown() -> None:
    """What the bridge spent and what the devices waited, each row with its name."""
    figures = Figures(
        7, 4, 2.0, (Work("some work", 10.0, 5.0, 33.3),), (Call("a call", 7, 1, 2, 3),), 1.25, 99.6
    )
    shown = bench_enrol.render(figures)
    assert re.search(r"10\.00 +5\.00 +33\.3 +some work", shown)
    assert re.search(r"1\.0 +2\.0 +3\.0 +7 +a call", shown)
    assert "7 devices, 4 at once" in shown
    assert "1.25 times" in shown
    assert "100 MiB" in shown


def test_ninety_five_of_a_hundred_took_less() -> None:
    """The one at the border counts, and of few the last."""
    assert bench_enrol._late([float(number) for number in range(100, 0, -1)]) == 95
    assert bench_enrol._late([3.0, 1.0]) == 3


def test_the_command_measures_with_a_password(capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    """One user enrols them all; the data of a bridge that may be there are left alone."""
    assert main(["bench", "enrol", "--devices", "2", "--at-once", "2", "--password", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["devices"], figures["at_once"]) == (2, 2)
    assert {"what", "cpu_ms", "yards", "a_second"} == set(figures["works"][0])
    assert not data_dir.exists()


def test_the_command_shows_what_was_measured(
    figures: Figures, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tables, and where the data were."""
    monkeypatch.setattr(
        bench_enrol, "run", lambda *_, **options: figures if options["devices"] == 5 else None
    )
    assert main(["bench", "enrol", "--devices", "5"]) == 0
    out = capsys.readouterr().out
    assert bench_enrol.render(figures) in out
    assert "temporary database" in out
    assert asdict(figures)["devices"] == DEVICES


def test_a_bridge_that_does_not_start_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its words, and no traceback."""

    def down(_: BridgeProcess) -> None:
        raise BridgeDown("The bridge did not get ready.")

    monkeypatch.setattr(BridgeProcess, "make_authority", down)
    assert main(["bench", "enrol", "--devices", "1"]) == 1
    assert capsys.readouterr().err.strip() == "csp-bridge: The bridge did not get ready."


def test_a_session_that_fails_stops_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures would look too good. Here no device shows its certificate."""
    bare = bench_enrol.connect
    monkeypatch.setattr(bench_enrol, "connect", lambda link, _certificate, **more: bare(link, **more))
    with pytest.raises(
        CommandError, match=r"a first session over mTLS of LAB1-0001 failed: SyncML status 407"
    ):
        bench_enrol.run(tmp_path / "data", devices=1)


def test_data_in_use_are_left_alone(tmp_path: Path) -> None:
    """A measurement never touches data that are there."""
    (tmp_path / "bridge.sqlite3").write_text("mine")
    with pytest.raises(CommandError, match="not empty"):
        bench_enrol.run(tmp_path, devices=1)
    assert (tmp_path / "bridge.sqlite3").read_text() == "mine"


def test_another_database_is_an_empty_one(database: Database, tmp_path: Path) -> None:
    """PostgreSQL without tables, or nothing is begun."""
    url = database._url.render_as_string(hide_password=False)
    words = "--database-url names a PostgreSQL database"
    if database.dialect == "postgresql":
        words = "has tables already"
    with pytest.raises(CommandError, match=words):
        bench_enrol.run(tmp_path / "bench", devices=1, database_url=url)
    with pytest.raises(CommandError, match="--database-url: "):
        bench_enrol.run(tmp_path / "bench", devices=1, database_url="mysql://nowhere")
    assert not (tmp_path / "bench").exists()


def test_only_linux_tells_the_time_of_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said before anything is begun."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(CommandError, match="Linux only"):
        bench_enrol.run(tmp_path / "data", devices=1)


def test_a_bridge_without_a_process_has_no_number(tmp_path: Path) -> None:
    """Before its first start."""
    with pytest.raises(BridgeDown, match="not started"):
        _ = BridgeProcess(tmp_path, 1, {}).pid


@pytest.mark.parametrize("option", [["--devices", "0"], ["--at-once", "201"], ["--at-once", "x"]])
def test_numbers_have_bounds(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before work begins."""
    with pytest.raises(SystemExit):
        main(["bench", "enrol", *option])
    assert "a whole number from 1 to" in capsys.readouterr().err
