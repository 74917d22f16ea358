"""SyncApplicationVersion within a check-in: asked of a device that tells no errors, raised once, then left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from syncml.client import Outcome, Verdict
from syncml.messages import Item, Location

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

NODE = "./Vendor/MSFT/DMClient/Provider/CSPBridge"
CURRENT = f"{NODE}/SyncApplicationVersion"
CEILING = f"{NODE}/MaxSyncApplicationVersion"


def speaking(bench: Bench, current: str, ceiling: str) -> ScriptedDevice:
    """A device enrolled with this bridge, that speaks one version and knows another."""
    bench.checkin = replace(bench.checkin, provider_id="CSPBridge")
    device = bench.enrol()
    for uri, value in ((CURRENT, current), (CEILING, ceiling)):
        device.answers[uri] = Outcome(200, (Item(source=Location(uri), data=value),))
    return device


def said(device: ScriptedDevice) -> list[str]:
    """The commands about the version in one session."""
    device.asked.clear()
    assert device.check_in() is Verdict.END
    return [command for command in device.asked if "SyncApplicationVersion" in command]


def test_a_device_that_could_tell_errors_is_made_to(bench: Bench) -> None:
    """Asked with the other queries, raised in the next message, and not spoken of again."""
    device = speaking(bench, "1.0", "5.0")
    assert said(device) == [f"Get {CURRENT}", f"Get {CEILING}", f"Replace {CURRENT}"]
    assert bench.rows("device")[0]["sync_version"] == "3.0"
    bench.now += timedelta(days=2)
    assert said(device) == []


@pytest.mark.parametrize(("current", "ceiling"), [("2.0", "2.0"), ("?", "5.0")])
def test_a_device_that_cannot_is_asked_once_a_day(bench: Bench, current: str, ceiling: str) -> None:
    """Windows is upgraded at times, so it is asked again; nothing is raised beyond what it knows."""
    device = speaking(bench, current, ceiling)
    assert said(device) == [f"Get {CURRENT}", f"Get {CEILING}"]
    assert said(device) == []
    bench.now += timedelta(hours=25)
    assert said(device) == [f"Get {CURRENT}", f"Get {CEILING}"]


def test_a_device_that_refuses_keeps_what_it_said(bench: Bench) -> None:
    """A refused Replace is tried once a session; the version is the one the device told."""
    device = speaking(bench, "2.0", "5.0")
    read = device.carry_out

    def refusing(command: object) -> Outcome:
        outcome = read(command)
        return Outcome(500) if type(command).__name__ == "Replace" else outcome

    device.carry_out = refusing  # type: ignore[method-assign]
    assert said(device) == [f"Get {CURRENT}", f"Get {CEILING}", f"Replace {CURRENT}"]
    assert bench.rows("device")[0]["sync_version"] == "2.0"
    assert said(device) == []


def test_a_bridge_without_a_name_on_devices_asks_nothing(bench: Bench) -> None:
    """The node stands below the name the device was enrolled with."""
    device = speaking(bench, "1.0", "5.0")
    bench.checkin = replace(bench.checkin, provider_id=None)
    assert said(device) == []
