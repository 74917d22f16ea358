"""`csp-bridge device run`: fleets of virtual devices."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from mdm.cli import main
from mdm.commands.base import CommandError
from mdm.lab import fleet
from mdm.lab.fleet import BUILDS, FleetOptions, identity_of, make_device, run_fleet
from mdm.lab.generate import build_catalogue
from mdm.lab.store import Account, DeviceRecord, DeviceStore
from mdm.lab.windows import Habits

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import httpx2

SEEDS = itertools.count(1000)
"""Each test has devices of its own on the one bridge."""


def lines_of(options: FleetOptions, **more: Any) -> list[str]:
    """Run the fleet and return what it said."""
    said: list[str] = []
    run_fleet(options, say=said.append, **more)
    return said


@pytest.fixture
def options(served: Any, state_dir: Path) -> FleetOptions:
    """Three new devices, two quick sessions each."""
    return FleetOptions(
        server=served.bridge.url,
        count=3,
        token=served.token,
        state_dir=state_dir,
        interval=0.05,
        sessions=2,
        seed=next(SEEDS),
    )


def without_token(options: FleetOptions, **changes: Any) -> FleetOptions:
    """The same fleet, which nobody may enrol."""
    values = {name: getattr(options, name) for name in options.__slots__}
    return FleetOptions(**values | {"token": None} | changes)


def test_new_devices_are_enrolled_and_check_in(
    served: Any, options: FleetOptions, http: httpx2.Client
) -> None:
    """The bridge knows them by their names afterwards, with what each has reported."""
    said = lines_of(options)
    names = {identity_of(options.seed, number).name for number in range(3)}
    assert said[0].startswith("3 devices poll http://127.0.0.1:")
    assert Counter(line.split()[1] for line in said[1:]) == dict.fromkeys(names, 2)
    assert all(": complete, " in line for line in said[1:])
    known = list(served.api(http).every("/devices", q=f"LAB{options.seed}-"))
    assert {each["name"] for each in known} == names
    assert all(each["as_of"] for each in known)


def test_known_devices_need_no_token(options: FleetOptions) -> None:
    """The state directory has their credentials; sessions count on from where they were."""
    lines_of(options)
    said = lines_of(without_token(options, sessions=1))
    assert all(re.search(r"session 2: complete", line) for line in said[1:])


def test_the_fleet_is_the_same_each_time() -> None:
    """Identity, model and Windows version follow from seed and number; the mix is as announced."""
    assert identity_of(1, 5) == identity_of(1, 5)
    assert identity_of(1, 5).device_id != identity_of(2, 5).device_id
    assert re.fullmatch(r"[0-9A-F]{32}", identity_of(1, 5).device_id)
    builds = Counter(identity_of(1, number).os_build for number in range(1000))
    for build, percent in BUILDS:
        assert abs(builds[build] - 10 * percent) < 50
    assert sum(percent for _, percent in BUILDS) == 100


def test_devices_fail_at_different_updates(state_dir: Path, http: httpx2.Client, now: datetime) -> None:
    """The seed of a fleet gives each device a seed of its own."""
    catalogue = build_catalogue(1, now)
    devices = [
        make_device(
            DeviceRecord(identity_of(1, number), Account("http://x/omadm", "", "", ""), None),
            DeviceStore(state_dir),
            catalogue,
            http=http,
            habits=Habits(seed=1, failure_percent=50),
            stop=threading.Event(),
        )
        for number in range(4)
    ]
    assert len({device.windows.habits.seed for device in devices}) == 4
    assert all(device.windows.installed() for device in devices)


def test_without_token_a_new_device_cannot_be(options: FleetOptions) -> None:
    """The error says which device, and how to get a token."""
    with pytest.raises(CommandError, match=r"LAB\d+-0001 has no credentials .* token create"):
        lines_of(without_token(options))


def test_a_lost_state_directory_is_explained(options: FleetOptions, tmp_path: Path) -> None:
    """The bridge knows the device, we do not: another directory or seed is the way out."""
    lines_of(options)
    values = {name: getattr(options, name) for name in options.__slots__}
    with pytest.raises(CommandError, match=r"knows LAB\d+-0001 already"):
        lines_of(FleetOptions(**values | {"state_dir": tmp_path / "other"}))


def test_devices_of_another_server_are_left_alone(options: FleetOptions) -> None:
    """Their credentials would be wrong here, and their state would be mixed up."""
    lines_of(options)
    with pytest.raises(CommandError, match=r"belongs to http://127\.0\.0\.1:\d+/omadm"):
        lines_of(without_token(options, server="http://127.0.0.1:9"))


def test_a_spoiled_state_is_named(options: FleetOptions) -> None:
    """Not taken for a new device, which would be enrolled twice."""
    store = DeviceStore(options.state_dir)
    store.path(identity_of(options.seed, 0).device_id).write_text("{}")
    with pytest.raises(CommandError, match="is no state of a virtual device"):
        lines_of(options)


def test_a_token_that_may_not_enrol_is_explained(options: FleetOptions) -> None:
    """The bridge's own reason is in the error."""
    with pytest.raises(CommandError, match=r"does not enrol LAB\d+-0001: HTTP 401 unauthenticated"):
        lines_of(without_token(options, token="cspb_wrong"))


def test_a_bridge_that_is_away_is_waited_for(options: FleetOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some attempts with growing pauses, each said; then the end."""
    monkeypatch.setattr(fleet, "_ENROL_WAITS", (0.01, 0.02))
    said: list[str] = []
    away = without_token(options, token="cspb_x", server="http://127.0.0.1:9")
    with pytest.raises(CommandError, match="could not be enrolled"):
        run_fleet(away, say=said.append)
    assert said == [
        f"http://127.0.0.1:9 does not answer (ConnectError); trying again in {pause} s"
        for pause in ("0.01", "0.02")
    ]


def test_a_stop_while_enrolling_is_heeded(options: FleetOptions) -> None:
    """Ctrl-C does not wait for a bridge that is away, nor for the rest of the fleet."""
    stop = threading.Event()
    away = without_token(options, token="cspb_x", server="http://127.0.0.1:9")
    with pytest.raises(CommandError, match="could not be enrolled"):
        run_fleet(away, say=lambda _: stop.set(), stop=stop)
    assert run_fleet(options, say=lambda _: None, stop=stop).sessions == 0


def command(options: FleetOptions, *more: str) -> list[str]:
    """The command line of a fleet."""
    return [
        "device", "run", "--server", options.server, "--count", str(options.count), "--seed", str(options.seed),
        "--state-dir", str(options.state_dir), "--interval", str(options.interval), *more,
    ]  # fmt: skip


def test_the_command_exits_0_when_all_went_well(
    options: FleetOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line a session and a last one with the counts."""
    assert main(command(options, "--sessions", "2", "--accelerate", "--token", str(options.token))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 6 + 1
    assert lines[-1] == "6 sessions, 0 not completed."


def test_the_command_exits_1_when_sessions_fail(
    options: FleetOptions, scripted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Devices are enrolled, but the endpoint refuses them."""
    credentials = {"scheme": "syncml:auth-md5", "username": "u", "password": "p", "nonce": "bm9uY2U="}
    made = json.dumps({"id": "dev_1", "credentials": credentials}).encode()
    scripted.script.append(lambda _: (201, {}, made))
    alone = without_token(options, server=scripted.url, count=1)
    assert main(command(alone, "--sessions", "1", "--token", "t")) == 1
    out = capsys.readouterr().out
    assert "session 0: rejected (HTTP 404 nothing more)" in out
    assert "1 sessions, 1 not completed." in out


@pytest.mark.parametrize(
    "wrong", [("--count", "0"), ("--count", "many"), ("--interval", "0"), ("--interval", "soon")]
)
def test_wrong_options_are_refused(
    options: FleetOptions, wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and a sentence naming the option."""
    with pytest.raises(SystemExit, match="2"):
        main(command(options, *wrong))
    assert f"argument {wrong[0]}: '{wrong[1]}' is not a" in capsys.readouterr().err


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(options: FleetOptions, number: signal.Signals) -> None:
    """Ctrl-C and kill: sessions under way end, the counts are told, exit code 0, no traceback."""
    lines_of(options)
    process = subprocess.Popen(
        [sys.executable, "-c", "from mdm.cli import main; raise SystemExit(main())", *command(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "complete" in line:
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert out.rstrip().endswith("0 not completed.")
    assert err == ""
