"""`csp-bridge device run --chaos`: a fleet on which things go wrong, and the comparison at the end."""

from __future__ import annotations

import itertools
import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mdm.cli import main
from mdm.clock import utc_now
from mdm.commands.base import CommandError
from mdm.lab import chaos
from mdm.lab.chaos import ChaosResult, run_chaos
from mdm.lab.device import SessionReport, VirtualDevice
from mdm.lab.muster import FleetOptions
from mdm.lab.store import DeviceStore
from mdm.lab.unruly import Tally

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

SEEDS = itertools.count(3000)
"""Each test has devices of its own on the one bridge."""


@pytest.fixture
def options(served: Any, state_dir: Path) -> FleetOptions:
    """Four new devices, a few sessions each."""
    return FleetOptions(
        server=served.bridge.url,
        count=4,
        token=served.token,
        state_dir=state_dir,
        interval=0.05,
        sessions=4,
        seed=next(SEEDS),
        chaos=True,
    )


def test_a_bridge_comes_through(options: FleetOptions) -> None:
    """Every session is counted, the table says what happened, and in the end both sides agree."""
    said: list[str] = []
    result = run_chaos(options, say=said.append)
    assert result.ok, said
    assert result.differences == ()
    # four sessions each, and then at least two until a device rests
    assert result.tally["sessions"] >= 4 * (4 + 2)
    assert result.tally["messages"] > result.tally["sessions"]
    assert result.tally.statuses().keys() == {200}
    assert said[0].startswith("4 devices of different manners")
    table = next(text for text in said if text.startswith("WHAT"))
    assert f"sessions                    {result.tally['sessions']}" in table
    assert said[-1].startswith("Bridge and devices agree: 4 devices, 0 server errors")


def test_a_difference_is_told(options: FleetOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that keeps something to itself is found out, and the result is not ok."""
    calm = chaos._rest

    def rest(devices: list[VirtualDevice], tally: Tally) -> list[str]:
        problems = calm(devices, tally)
        devices[0].windows.approve("00000000-0000-4000-8000-000000000001", "x", utc_now())
        return problems

    monkeypatch.setattr(chaos, "_rest", rest)
    said: list[str] = []
    result = run_chaos(replace(options, sessions=1), say=said.append)
    assert not result.ok
    assert any("is in ApprovedUpdates, and nobody approved it" in text for text in said)
    assert said[-1].startswith("1 differences: 4 devices")


def test_a_stop_ends_the_chaos_but_not_the_comparison(options: FleetOptions) -> None:
    """Ctrl-C: the devices come to rest and are compared all the same."""
    stop = threading.Event()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if "things go wrong" in text:
            stop.set()

    result = run_chaos(replace(options, sessions=None), say=say, stop=stop)
    assert result.ok
    assert result.tally["sessions"] >= 8


def test_progress_is_told(options: FleetOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then a line with the counts so far; the duration ends it."""
    monkeypatch.setattr(chaos, "_REPORT_EVERY", 0.1)
    said: list[str] = []
    run_chaos(replace(options, sessions=None, duration=1.0), say=said.append)
    assert any("server errors" in text and " s: " in text for text in said[1:-2])


def test_a_device_that_does_not_come_to_rest_is_named(
    options: FleetOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Session after session something changes: that is a difference, too."""
    check_in = VirtualDevice.check_in

    def restless(device: VirtualDevice, now: datetime, **more: Any) -> SessionReport:
        report = check_in(device, now, **more)
        device.windows.set_policy("ActiveHoursStart", str(device.record.sessions % 24), now)
        return report

    monkeypatch.setattr(VirtualDevice, "check_in", restless)
    result = run_chaos(replace(options, sessions=1, count=1), say=lambda _: None)
    assert result.differences == (f"LAB{options.seed}-0001: did not come to rest in 12 sessions",)


def test_a_bridge_that_cannot_be_asked_is_a_difference(options: FleetOptions) -> None:
    """A token that may do nothing: the devices rest, but nobody knows what the bridge believes."""
    run_chaos(replace(options, sessions=1, count=1), say=lambda _: None)
    result = run_chaos(replace(options, sessions=1, count=1, token="cspb_wrong"), say=lambda _: None)
    (problem,) = result.differences
    assert problem.startswith("The bridge could not be asked: HTTP 401")


def test_without_token_nothing_can_be_compared(options: FleetOptions) -> None:
    """The error says which scopes it needs."""
    with pytest.raises(CommandError, match=r"devices\.read and approvals\.read"):
        run_chaos(replace(options, token=None))


def test_a_server_error_is_not_ok() -> None:
    """Even when both sides agree in the end."""
    tally = Tally()
    assert ChaosResult(tally, (), 1.0).ok
    tally.add("HTTP 503")
    assert not ChaosResult(tally, (), 1.0).ok


def command(options: FleetOptions, *more: str) -> list[str]:
    """The command line."""
    return [
        "device", "run", "--chaos", "--server", options.server, "--count", str(options.count),
        "--seed", str(options.seed), "--state-dir", str(options.state_dir), "--interval", "0.05", *more,
    ]  # fmt: skip


def test_the_command_exits_0_when_they_agree(
    options: FleetOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all the options it composes with; the devices are kept for the next time."""
    more = ("--duration", "5", "--sessions", "1", "--accelerate", "--token", str(options.token))
    assert main(command(options, *more)) == 0
    assert "Bridge and devices agree" in capsys.readouterr().out
    assert len(list(DeviceStore(options.state_dir).directory.glob("*.json"))) == 4


def test_the_command_exits_1_when_they_do_not(
    options: FleetOptions, scripted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that enrols devices and then knows nothing of them."""
    credentials = {"scheme": "syncml:auth-md5", "username": "u", "password": "p", "nonce": "bm9uY2U="}
    made = json.dumps({"id": "dev_1", "credentials": credentials}).encode()
    scripted.script.append(lambda _: (201, {}, made))
    alone = replace(options, server=scripted.url, count=1)
    assert main(command(alone, "--sessions", "1", "--token", "t")) == 1
    out = capsys.readouterr().out
    assert "did not come to rest" in out
    assert "The bridge could not be asked: HTTP 404" in out
    assert "answers HTTP 404" in out
