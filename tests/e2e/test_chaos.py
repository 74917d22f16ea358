"""Everything goes wrong at once: lost, late and repeated messages, reboots, and a bridge that is killed twice."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from csp.classifications import CLASSIFICATIONS
from mdm.lab.chaos import run_chaos
from mdm.lab.muster import FleetOptions
from mdm.lab.offers import offers_for
from mdm.lab.store import DeviceStore
from mdm.lab.versions import Build
from mdm.lab.windows_state import Phase

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

DEVICES = int(os.environ.get("BRIDGE_TEST_CHAOS_DEVICES", "12"))
SECONDS = float(os.environ.get("BRIDGE_TEST_CHAOS_SECONDS", "20"))
KILLS = (SECONDS * 0.25, SECONDS * 0.6)
"""Seconds after the beginning."""


class Butcher(threading.Thread):
    """Kills the bridge and starts it again, at certain moments after `begun` is set."""

    def __init__(self, stage: Any) -> None:
        """Nothing happens before `begun`."""
        super().__init__(daemon=True)
        self.begun = threading.Event()
        self.kills = 0
        self._bridge = stage.bridge

    def run(self) -> None:
        """SIGKILL, and at once a new process on the same port and data."""
        self.begun.wait(60)
        start = time.monotonic()
        for moment in KILLS:
            time.sleep(max(0.0, start + moment - time.monotonic()))
            self._bridge.kill()
            self._bridge.start()
            self.kills += 1


def test_a_fleet_comes_through_chaos_and_kills(stage: Any, tmp_path: Path) -> None:
    """Each device has exactly its approvals, each told once; bridge and devices agree; no error in the log."""
    said: list[str] = []
    butcher = Butcher(stage)

    def say(text: str) -> None:
        said.append(text)
        if "things go wrong" in text:
            butcher.begun.set()

    log_start = stage.bridge.log_path.stat().st_size
    options = FleetOptions(
        server=stage.bridge.url,
        count=DEVICES,
        token=stage.bridge.make_token("chaos", ["devices.read", "devices.write", "approvals.read"]),
        state_dir=tmp_path / "devices",
        interval=1.0,
        duration=SECONDS,
        seed=1,
        accelerate=True,
        chaos=True,
    )
    butcher.start()
    result = run_chaos(options, say=say)
    butcher.join(60)
    assert butcher.kills == len(KILLS)
    assert result.ok, "\n".join(said)
    tally = result.tally
    for accident in ("lost requests", "lost replies", "repeated", "echoed", "delayed", "broken"):
        assert tally[accident] > 0, accident
    assert tally["reboots"] + tally["sessions abandoned"] > 0

    records = [DeviceStore(options.state_dir).load(path.stem) for path in options.state_dir.glob("*.json")]
    assert len(records) == DEVICES
    for record in records:
        assert record is not None
        windows = record.windows
        offers = {
            update.update_id for update in offers_for(stage.catalogue, Build.parse(record.identity.os_build))
        }
        expected = stage.approved & (offers | CLASSIFICATIONS.keys())
        assert windows.approved.keys() <= expected
        # What a device had installed before its first session to the end, nobody needs to approve any more.
        assert {windows.jobs[each].phase for each in expected - windows.approved.keys()} <= {
            Phase.INSTALLED,
            Phase.PENDING_REBOOT,
        }
    assert tally["approvals 200"] == sum(len(record.windows.approved) for record in records if record)
    ids = {device["device_id"]: device["id"] for device in stage.api.every("/devices")}
    for record in records:
        assert record is not None
        events = stage.api.every(f"/devices/{ids[record.identity.device_id]}/timeline")
        told = [event["detail"]["id"] for event in events if event["kind"] == "approval_delivered"]
        assert len(told) == len(set(told)), told

    text = stage.bridge.log_path.read_bytes()[log_start:].decode()
    assert "Traceback" not in text
    levels = {json.loads(line)["level"] for line in text.splitlines()}
    assert levels <= {"info", "warning"}
