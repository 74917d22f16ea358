"""The measurement of a sync: it measures what it says, on a database of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.commands.base import CommandError
from mdm.lab import bench_sync
from mdm.lab.bench_sync import Figures, Round, run, sync_once
from mdm.lab.bulk import BulkCatalogue
from mdm.lab.catalogue import Catalogue
from mdm.lab.faults import FaultRule
from mdm.lab.upstream import UpstreamOptions, UpstreamServer

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 300
BULK = BulkCatalogue(1, SIZE)


@pytest.mark.e2e
def test_a_bench_syncs_everything_and_then_nothing(tmp_path: Path) -> None:
    """Nearly every revision is stored, and the second sync fetches none of them."""
    figures = run(SIZE, big_document=False, data_dir=tmp_path / "new")
    assert figures.revisions == SIZE
    assert 0.9 * SIZE < figures.stored <= SIZE
    assert figures.fetches >= SIZE // 100
    assert figures.again_fetches == figures.failed == 0
    assert min(figures.seconds, figures.cpu_seconds, figures.again_seconds, figures.bytes_received) > 0
    assert 20 < figures.peak_mib < 1_000
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_rates_are_revisions_over_time() -> None:
    """By the clock, and by the time of one core."""
    figures = Figures(
        revisions=1_000,
        stored=900,
        failed=0,
        seconds=3.0,
        cpu_seconds=2.0,
        peak_mib=100.0,
        bytes_received=1,
        fetches=10,
        again_seconds=0.1,
        again_fetches=0,
    )
    assert (figures.per_second, figures.per_cpu_second) == (300.0, 450.0)


def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    """Somebody's database is not measured with."""
    (tmp_path / "mine").touch()
    with pytest.raises(CommandError, match="is not empty"):
        run(SIZE, big_document=False, data_dir=tmp_path)


def test_a_sync_takes_up_what_was_left_behind(tmp_path: Path) -> None:
    """A run that fails can be followed by one that succeeds, in the same database."""
    faults = UpstreamOptions(rules=[FaultRule.parse("fault=InternalServerError:GetConfigData@1")])
    with UpstreamServer(Catalogue((), ()), bulk=BULK, options=faults) as server:
        failed = sync_once(server.url, tmp_path / "data")
        assert failed.state == "failed"
        assert failed.stored == 0
        done = sync_once(server.url, tmp_path / "data")
    assert done.state == "succeeded"
    assert done.stored > 0.9 * SIZE


@pytest.mark.parametrize(
    ("state", "error", "sentence"),
    [
        ("failed", "The upstream is down.", "did not succeed: The upstream is down"),
        ("queued", None, "did not succeed: queued"),
    ],
)
def test_a_sync_that_does_not_succeed_is_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, error: str | None, sentence: str
) -> None:
    """The reason is told in a sentence."""
    ended = Round(state, error, 0, 0, 1.0, 1.0, 1.0, 0)
    monkeypatch.setattr(bench_sync, "_round_of_a_process", lambda *_: ended)
    with pytest.raises(CommandError, match=sentence):
        bench_sync._succeeded("http://127.0.0.1:9", tmp_path)


@pytest.mark.e2e
def test_a_syncing_process_that_dies_is_reported(tmp_path: Path) -> None:
    """With its exit code: a file is where its directory should be."""
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="ended with exit code 1"):
        bench_sync._round_of_a_process("http://127.0.0.1:9", tmp_path / "file")


@pytest.mark.parametrize("proc", [True, False])
def test_memory_is_measured_with_and_without_proc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, proc: bool
) -> None:
    """Where there is no /proc, the operating system's own account of the process is used."""
    status = tmp_path / "status"
    if proc:
        status.write_text("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1024 kB\n")
    monkeypatch.setattr(bench_sync, "_STATUS", status)
    peak = bench_sync._peak_mib()
    assert peak == 2.0 if proc else peak > 20
