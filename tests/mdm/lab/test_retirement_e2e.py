"""Retirement over TLS and real sockets: told, gone, refused with what it kept, and welcome again after another enrolment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from mdm.lab.device import SessionEnd
from mdm.lab.enrol import BridgeApi
from mdm.lab.enrolling import Applicant, discovery_url, enrol_device
from mdm.lab.generate import build_catalogue
from mdm.lab.link import connect
from mdm.lab.muster import FleetOptions, identity_of, make_device
from mdm.lab.store import DeviceRecord, DeviceStore, Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mdm.lab.bridge import BridgeProcess
    from mdm.lab.device import VirtualDevice

DOMAIN = "contoso.test"
SEED = 1226

pytestmark = pytest.mark.e2e


def join(bridge: BridgeProcess, number: int) -> DeviceRecord:
    """A device enrols with a token of its own."""
    applicant = Applicant(
        identity_of(SEED, number),
        f"user@{DOMAIN}",
        bridge.make_enrolment_token("tests"),
        discovery_url(DOMAIN),
    )
    link = Link(address=f"127.0.0.1:{bridge.port}", trust_pem=bridge.trust_pem)
    return enrol_device(applicant, link, now=datetime.now(UTC), say=lambda _: None)


@pytest.fixture
def admin(tls_bridge: BridgeProcess) -> Iterator[BridgeApi]:
    """An administrator's view of the bridge."""
    with tls_bridge.client() as http:
        yield BridgeApi(tls_bridge.url, tls_bridge.make_token("tests", ["admin"]), http)


@pytest.fixture
def devices(state_dir: Path) -> Iterator[Callable[[DeviceRecord], VirtualDevice]]:
    """Makes the devices of records, with connections that end with the test."""
    made: list[VirtualDevice] = []

    def device(record: DeviceRecord) -> VirtualDevice:
        made.append(
            make_device(
                record,
                DeviceStore(state_dir),
                build_catalogue(1, datetime.now(UTC)),
                http=connect(record.link, record.certificate),
                habits=FleetOptions(accelerate=True).habits,
                stop=threading.Event(),
            )
        )
        return made[-1]

    yield device
    for each in made:
        each.http.close()


def kinds(admin: BridgeApi, device: str) -> list[str]:
    """What the device's timeline says of its coming and going, oldest first."""
    told: list[dict[str, Any]] = list(admin.every(f"/devices/{device}/timeline"))
    words = {"enrolled", "retire_requested", "retire_told", "unenrolled"}
    return [each["kind"] for each in reversed(told) if each["kind"] in words]


def test_the_whole_way_out_and_back(
    tls_bridge: BridgeProcess, admin: BridgeApi, devices: Callable[[DeviceRecord], VirtualDevice]
) -> None:
    """The device cleans up and says so; its certificate opens nothing; another enrolment is the same device again."""
    record = join(tls_bridge, 0)
    device = record.provisioned["EntDMID"]
    pc = devices(record)
    assert pc.check_in(datetime.now(UTC)).end is SessionEnd.COMPLETE
    assert admin.post(f"/devices/{device}/retire", {"reason": "sold"})["state"] == "retiring"
    report = pc.check_in(datetime.now(UTC))
    assert report.end is SessionEnd.UNENROLLED
    assert [each.loc_uri.rpartition("/")[2] for each in report.commands] == ["Unenroll"]
    shown = admin.get(f"/devices/{device}")
    assert (shown["state"], shown["unenrolled_at"]) == ("retiring", None)
    assert shown["retire_told_at"] is not None
    assert pc.check_in(datetime.now(UTC)).end is SessionEnd.COMPLETE
    assert pc.has_left
    assert admin.get(f"/devices/{device}")["state"] == "unenrolled"
    assert kinds(admin, device) == ["enrolled", "retire_requested", "retire_told", "unenrolled"]
    assert devices(record).check_in(datetime.now(UTC)).end is SessionEnd.REFUSED
    again = join(tls_bridge, 0)
    assert again.provisioned["EntDMID"] == device
    shown = admin.get(f"/devices/{device}")
    assert [shown[name] for name in ("state", "retire_requested_at", "retire_told_at", "unenrolled_at")] == [
        "enrolled",
        None,
        None,
        None,
    ]
    assert devices(again).check_in(datetime.now(UTC)).end is SessionEnd.COMPLETE


def test_a_lost_one_is_refused_at_once(
    tls_bridge: BridgeProcess, admin: BridgeApi, devices: Callable[[DeviceRecord], VirtualDevice]
) -> None:
    """Without being told: for the device the management goes on, and nobody answers it."""
    record = join(tls_bridge, 1)
    device = record.provisioned["EntDMID"]
    pc = devices(record)
    assert pc.check_in(datetime.now(UTC)).end is SessionEnd.COMPLETE
    assert admin.post(f"/devices/{device}/retire", {"now": True})["state"] == "unenrolled"
    report = pc.check_in(datetime.now(UTC))
    assert (report.end, report.messages) == (SessionEnd.REFUSED, 1)
    assert not pc.has_left
    assert kinds(admin, device) == ["enrolled", "retire_requested", "unenrolled"]
