"""The measurements: they measure what they say, on data of their own. No figure is judged here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from mdm.cli import main
from mdm.commands.base import CommandError
from mdm.lab import bench_checkin, bench_hostile
from mdm.lab.bench_bridge import Cost, bench_bridge, yardstick
from mdm.lab.bench_hostile import Figure, Figures
from mdm.lab.hostile import ATTACKS, Attack, Peer, answer_lists, guids
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, DeviceUpdate
from syncml.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mdm.lab.bench_bridge import BenchBridge


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BenchBridge]:
    """A bridge to measure: one for all tests, in each of which other devices speak."""
    with bench_bridge(tmp_path_factory.mktemp("bench") / "data") as made:
        yield made


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.kind}: {attack.name}")
def test_each_attack_is_answered_without_a_server_error(bridge: BenchBridge, attack: Attack) -> None:
    """It is as large as allowed or refused for it, reaches the bridge, and never makes it answer 5xx."""
    name = f"{attack.kind} {attack.name}"
    peer = Peer(name, bridge.enrol(name), bridge.post)
    attack.act(peer)
    assert peer.costs
    statuses = {cost.http for cost in peer.costs}
    assert statuses <= {200, 400, 413}
    if attack.kind in {"command", "answer"}:
        assert statuses == {200}, "refused at the door, it would measure nothing"


def test_attacks_have_names_of_their_own() -> None:
    """The table tells one from the other."""
    assert len({(attack.kind, attack.name) for attack in ATTACKS}) == len(ATTACKS)


def test_what_is_measured_is_written(bridge: BenchBridge) -> None:
    """The answer of a peer ends in the rows of its device, else the figures would be those of a refusal."""
    peer = Peer("DEVICE", bridge.enrol("DEVICE"), bridge.post)
    peer.open()
    peer.send(answer_lists(peer, "InstallableUpdates", guids(10)))
    rows, devices = table_of(DeviceUpdate), table_of(Device)
    statement = select(func.count()).where(rows.c.device_pk == devices.c.pk, devices.c.device_id == "DEVICE")
    with bridge.database.read() as connection:
        assert connection.scalar(statement) == 10
    (cost,) = peer.costs
    assert (cost.http, cost.peak_mib) == (200, 0)
    assert cost.cpu_ms > 0


def test_memory_is_measured_with_the_message_itself(bridge: BenchBridge) -> None:
    """A message that is refused unread weighs what it weighs."""
    cost = bridge.weigh(b"\xff" * DEFAULT_LIMITS.bytes)
    assert cost.cpu_ms == 0
    assert 0.5 <= cost.peak_mib < 4  # the body is half a MiB, and the endpoint has a copy
    assert cost.http == 400


def test_a_peer_that_is_not_believed_stops_the_measurement(bridge: BenchBridge) -> None:
    """Figures of refusals would look too good."""
    known = bridge.enrol("NEIGHBOUR")
    stranger = Peer("STRANGER", known, bridge.post)
    with pytest.raises(RuntimeError, match="asked"):
        stranger.open()
    with pytest.raises(RuntimeError, match="does not believe STRANGER"):
        stranger.begin("")


def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    """A measurement never touches data that are there."""
    (tmp_path / "bridge.sqlite3").write_text("mine")
    with pytest.raises(CommandError, match="not empty"), bench_bridge(tmp_path):
        pass
    assert (tmp_path / "bridge.sqlite3").read_text() == "mine"


def test_the_yardstick_takes_some_time() -> None:
    """Not none: it is what others are multiples of."""
    assert yardstick() > 0


def test_the_dearest_message_of_the_best_round_counts(tmp_path: Path) -> None:
    """CPU of the best round, memory of the one that was weighed, the worst HTTP status of all."""
    costs = iter(
        [Cost(0, 3.0, 200, b""), Cost(0, 5.0, 200, b""), *(Cost(ms, 0, http, b"") for ms, http in _ROUNDS)]
    )

    def act(peer: Peer) -> None:
        peer.costs += [next(costs), next(costs)]

    seen: list[str] = []
    figures = bench_hostile.run(
        tmp_path / "data", rounds=2, attacks=[Attack("answer", "x", act)], progress=seen.append
    )
    assert seen == ["x"]
    assert figures.rows == (Figure("answer", "x", 40.0, 5.0, 503),)


_ROUNDS = ((60.0, 503), (20.0, 200), (10.0, 200), (40.0, 200))


@pytest.mark.parametrize(
    ("cpu_ms", "peak_mib", "http", "holds"),
    [(50, 16, 413, True), (50.1, 16, 200, False), (50, 16.1, 200, False), (1, 1, 500, False)],
)
def test_a_broken_promise_is_marked(cpu_ms: float, peak_mib: float, http: int, holds: bool) -> None:  # noqa: FBT001 - a table
    """Each of the three bounds alone decides."""
    figures = Figures((1.0, 2.0), (Figure("answer", "the one", cpu_ms, peak_mib, http),))
    table = bench_hostile.render(figures)
    assert ("BROKEN" in table) is not holds
    assert f"{int(holds)} of 1 attacks" in table


def test_the_command_measures_a_check_in(capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    """The table tells multiples of a commit, and where the data were."""
    assert main(["bench", "checkin", "--devices", "1", "--updates", "3"]) == 0
    out = capsys.readouterr().out
    assert "1.0  a commit that changes one row" in out
    assert "temporary database" in out
    assert not data_dir.exists()
    assert main(["bench", "checkin", "--devices", "1", "--updates", "3", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {"what", "cpu_ms", "commits"} == set(figures[0])
    assert figures[0]["commits"] == 1


def test_a_session_costs_what_its_messages_cost(tmp_path: Path) -> None:
    """With one device, the figures add up."""
    figures = {each.what: each.cpu_ms for each in bench_checkin.run(tmp_path / "data", devices=1, updates=3)}
    both = figures["a session, every update new"] + figures["a session, no update new"]
    answers = figures["the answer, every update new"] + figures["the answer, no update new"]
    assert both == pytest.approx(2 * figures["package 1"] + answers)


def test_the_command_measures_attacks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One chosen by its name; the exit code says whether the promise is kept."""
    choice = ["bench", "hostile", "--rounds", "1", "--only", "billion"]
    monkeypatch.setattr(bench_hostile, "CPU_MS", 1e9)
    assert main(choice) == 0
    assert "1 of 1 attacks stay within" in capsys.readouterr().out
    monkeypatch.setattr(bench_hostile, "CPU_MS", 0.0)
    assert main([*choice, "--json"]) == 1
    figures = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in figures["rows"]] == ["billion laughs"]


@pytest.mark.parametrize(("verb", "word"), [("sync", "stored"), ("search", "QUESTION")])
def test_the_command_measures_the_catalogue(verb: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A small one: the modules that measure have tests of their own."""
    assert main(["bench", verb, "--revisions", "200"]) == 0
    assert word in capsys.readouterr().out


def test_a_catalogue_has_a_least_size(capsys: pytest.CaptureFixture[str]) -> None:
    """Said in a sentence, before an upstream is started."""
    assert main(["bench", "sync", "--revisions", "199"]) == 2
    assert "at least 200 revisions" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1", "x", "100001", "9" * 5_000])
def test_a_count_is_a_small_number(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused before work begins."""
    with pytest.raises(SystemExit):
        main(["bench", "checkin", "--devices", count])
    assert "a whole number from 1 to 100000" in capsys.readouterr().err
