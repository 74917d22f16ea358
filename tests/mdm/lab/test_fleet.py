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
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mdm.cli import main
from mdm.lab.fleet import run_fleet
from mdm.lab.muster import FleetOptions, identity_of
from mdm.lab.store import DeviceStore

if TYPE_CHECKING:
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


def test_devices_follow_the_schedule_they_were_given(options: FleetOptions) -> None:
    """Without --interval each polls as its enrolment said, accelerated a second a minute; the others as always."""
    lines_of(options)
    store = DeviceStore(options.state_dir)
    record = store.load(identity_of(options.seed, 0).device_id)
    assert record is not None
    told = {"Poll/IntervalForFirstSetOfRetries": "1", "Poll/NumberOfFirstRetries": "0"}
    store.save(replace(record, provisioned=told))
    first, *others = (identity_of(options.seed, number).name for number in range(3))
    said: list[str] = []
    stop = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if sum(first in each for each in said) == 3:
            stop.set()

    run_fleet(
        without_token(options, own_schedule=True, accelerate=True, interval=600, sessions=None),
        say=say,
        stop=stop,
    )
    assert said[0].endswith(
        "poll "
        f"{options.server} as each was told, with minutes that last a second, and every 600 s where nobody has said. "
        "Ctrl-C stops them."
    )
    sessions = Counter(line.split()[1] for line in said[1:])
    assert sessions[first] == 3
    assert [sessions[name] for name in others] == [1, 1]


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
    assert "1 session, 1 not completed." in out


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
