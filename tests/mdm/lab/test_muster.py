"""The devices of a fleet: found again, or enrolled."""

from __future__ import annotations

import itertools
import re
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mdm.commands.base import CommandError
from mdm.lab import muster as muster_module
from mdm.lab.generate import build_catalogue
from mdm.lab.manners import terms_of
from mdm.lab.muster import BUILDS, FleetOptions, http_client, identity_of, make_device, muster
from mdm.lab.store import Account, DeviceRecord, DeviceStore
from mdm.lab.windows import QUICK, TYPICAL, Habits

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import httpx2

SEEDS = itertools.count(2000)
"""Each test has devices of its own on the one bridge."""


@pytest.fixture
def options(served: Any, state_dir: Path) -> FleetOptions:
    """Three new devices."""
    return FleetOptions(
        server=served.bridge.url, count=3, token=served.token, state_dir=state_dir, seed=next(SEEDS)
    )


def run(options: FleetOptions, say: Any = print, stop: threading.Event | None = None) -> list[DeviceRecord]:
    """Muster the devices."""
    with http_client() as http:
        return muster(options, DeviceStore(options.state_dir), http, say, stop or threading.Event())


def without_token(options: FleetOptions, **changes: Any) -> FleetOptions:
    """The same fleet, which nobody may enrol."""
    return replace(options, **{"token": None} | changes)


def test_devices_are_enrolled_once(options: FleetOptions) -> None:
    """The second time they are found, and no token is needed."""
    records = run(options)
    assert [record.identity for record in records] == [identity_of(options.seed, n) for n in range(3)]
    assert {record.account.scheme for record in records} == {"syncml:auth-md5"}
    assert run(without_token(options)) == records


def test_a_fleet_for_chaos_has_both_schemes(options: FleetOptions) -> None:
    """Each device is enrolled on the terms of its manners."""
    records = run(replace(options, chaos=True, count=12))
    schemes = [(record.account.scheme, record.account.server_scheme) for record in records]
    terms = [terms_of(options.seed, number) for number in range(12)]
    assert schemes == [(each.auth, each.server_auth) for each in terms]
    assert len(set(schemes)) > 3


def test_a_fleet_in_a_hurry_has_quick_habits() -> None:
    """Seconds instead of hours, by one option."""
    assert FleetOptions("http://x", accelerate=True).habits.pace is QUICK
    assert FleetOptions("http://x").habits.pace is TYPICAL


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
        run(without_token(options))


def test_a_lost_state_directory_is_explained(options: FleetOptions, tmp_path: Path) -> None:
    """The bridge knows the device, we do not: another directory or seed is the way out."""
    run(options)
    with pytest.raises(CommandError, match=r"knows LAB\d+-0001 already"):
        run(replace(options, state_dir=tmp_path / "other"))


def test_devices_of_another_server_are_left_alone(options: FleetOptions) -> None:
    """Their credentials would be wrong here, and their state would be mixed up."""
    run(options)
    with pytest.raises(CommandError, match=r"belongs to http://127\.0\.0\.1:\d+/omadm"):
        run(without_token(options, server="http://127.0.0.1:9"))


def test_a_spoiled_state_is_named(options: FleetOptions) -> None:
    """Not taken for a new device, which would be enrolled twice."""
    store = DeviceStore(options.state_dir)
    store.path(identity_of(options.seed, 0).device_id).write_text("{}")
    with pytest.raises(CommandError, match="is no state of a virtual device"):
        run(options)


def test_a_token_that_may_not_enrol_is_explained(options: FleetOptions) -> None:
    """The bridge's own reason is in the error."""
    with pytest.raises(CommandError, match=r"does not enrol LAB\d+-0001: HTTP 401 unauthenticated"):
        run(without_token(options, token="cspb_wrong"))


def test_a_bridge_that_is_away_is_waited_for(options: FleetOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some attempts with growing pauses, each said; then the end."""
    monkeypatch.setattr(muster_module, "_ENROL_WAITS", (0.01, 0.02))
    said: list[str] = []
    away = without_token(options, token="cspb_x", server="http://127.0.0.1:9")
    with pytest.raises(CommandError, match="could not be enrolled"):
        run(away, say=said.append)
    assert said == [
        f"http://127.0.0.1:9 does not answer (ConnectError); trying again in {pause} s"
        for pause in ("0.01", "0.02")
    ]


def test_a_stop_while_enrolling_is_heeded(options: FleetOptions) -> None:
    """Ctrl-C does not wait for a bridge that is away, nor for the rest of the fleet."""
    stop = threading.Event()
    away = without_token(options, token="cspb_x", server="http://127.0.0.1:9")
    with pytest.raises(CommandError, match="could not be enrolled"):
        run(away, say=lambda _: stop.set(), stop=stop)
    assert run(options, stop=stop) == []
