"""How devices are reached, over TLS and real sockets: first session, a changed poll schedule, push channel, sync now."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from mdm.lab.bridge import BridgeProcess
from mdm.lab.device import SessionEnd
from mdm.lab.enrol import BridgeApi
from mdm.lab.enrolling import Applicant, discovery_url, enrol_device
from mdm.lab.generate import build_catalogue
from mdm.lab.link import connect
from mdm.lab.muster import FleetOptions, identity_of, make_device
from mdm.lab.store import DeviceStore, Link

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mdm.lab.device import SessionReport, VirtualDevice

DOMAIN = "contoso.test"
PUBLIC = {"BRIDGE_PUBLIC_URL": f"https://enterpriseenrollment.{DOMAIN}"}
WNS = {
    "BRIDGE_WNS_PFN": "Contoso.Bridge_8wekyb3d8bbwe",
    "BRIDGE_WNS_PACKAGE_SID": "ms-app://s-1-15-2-1-2-3",
    "BRIDGE_WNS_SECRET": "not one of Microsoft's",
}
CHANNEL = "https://db5.notify.windows.com.example.test/?token=AwYAAAB"
"""Not an address of the service, so that nothing leaves this computer."""

pytestmark = pytest.mark.e2e


@pytest.fixture
def port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def bridge(tmp_path: Path, port: int) -> Iterator[BridgeProcess]:
    """A bridge as it is by default."""
    found = BridgeProcess(tmp_path / "bridge", port, PUBLIC, tls=True)
    try:
        found.make_authority()
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture
def pc(bridge: BridgeProcess, state_dir: Path) -> Iterator[VirtualDevice]:
    """A device that enrols itself, and that gets a push channel if it is told for whom."""
    applicant = Applicant(
        identity_of(12, 0), f"user@{DOMAIN}", bridge.make_enrolment_token("tests"), discovery_url(DOMAIN)
    )
    link = Link(address=f"127.0.0.1:{bridge.port}", trust_pem=bridge.trust_pem)
    record = enrol_device(applicant, link, now=datetime.now(UTC), say=lambda _: None)
    device = make_device(
        record,
        DeviceStore(state_dir),
        build_catalogue(1, datetime.now(UTC)),
        http=connect(record.link, record.certificate),
        habits=replace(FleetOptions(accelerate=True).habits, push_channel=CHANNEL),
        stop=threading.Event(),
    )
    yield device
    device.http.close()


def session(pc: VirtualDevice, about: str) -> list[tuple[str, str, int]]:
    """Verb, node and status of the commands on that branch in one whole session."""
    report: SessionReport = pc.check_in(datetime.now(UTC))
    assert report.end is SessionEnd.COMPLETE
    return [
        (each.verb, each.loc_uri.rpartition("/")[2], each.status)
        for each in report.commands
        if about in each.loc_uri
    ]


def test_a_device_is_known_polls_as_told_and_syncs_when_wanted(
    bridge: BridgeProcess, pc: VirtualDevice, tmp_path: Path
) -> None:
    """From its first session on, through two restarts of the bridge with other settings."""
    token = bridge.make_token("tests", ["admin"])
    path = f"/devices/{pc.record.provisioned['EntDMID']}"
    assert session(pc, "/Poll/") == []
    with bridge.client() as http:
        shown = BridgeApi(bridge.url, token, http).get(path)
        assert shown["poll_schedule"] == "5x3, 8x15, 480"
        assert shown["name"] == shown["computer_name"] is not None
        assert shown["serial_number"]
        found = BridgeApi(bridge.url, token, http).get("/devices", q=shown["serial_number"])["items"]
        assert [each["id"] for each in found] == [shown["id"]]
    bridge.kill()
    other = BridgeProcess(
        tmp_path / "bridge", bridge.port, {**PUBLIC, **WNS, "BRIDGE_POLL_SCHEDULE": "2x5, 60"}, tls=True
    )
    try:
        other.start()
        assert session(pc, "/Poll/") == [
            ("Replace", "NumberOfFirstRetries", 200),
            ("Replace", "IntervalForFirstSetOfRetries", 200),
            ("Replace", "NumberOfSecondRetries", 200),
            ("Replace", "IntervalForSecondSetOfRetries", 200),
            ("Replace", "NumberOfRemainingScheduledRetries", 200),
            ("Replace", "IntervalForRemainingScheduledRetries", 200),
        ]
        assert pc.windows.settings["Poll/IntervalForRemainingScheduledRetries"] == "60"
        assert pc.windows.settings["Push/PFN"] == WNS["BRIDGE_WNS_PFN"]
        assert session(pc, "/Poll/") == []
        with other.client() as http:
            api = BridgeApi(other.url, token, http)
            assert api.get(path)["poll_schedule"] == "2x5, 60"
            assert api.get(path)["push"]["channel"]
            wish = api.post(f"{path}/sync")
            assert wish["push"] == "queued"
            assert wish["expected_by"] is not None
            asked = session(pc, "/InstalledUpdates")
            assert [verb for verb, *_ in asked] == ["Get"]
            assert api.get(path)["sync_answered"]
            assert session(pc, "/InstalledUpdates") == []
    finally:
        other.stop()
