"""Policy profiles over real sockets: a served bridge, virtual devices, and somebody else who meddles with them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from mdm.lab.device import SessionEnd, VirtualDevice
from mdm.lab.enrol import enrol
from mdm.lab.store import DeviceStore, Identity

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
AUTO = "AllowAutoUpdate"
DEFER = "DeferQualityUpdatesPeriodInDays"
HOURS = {"ActiveHoursStart": 7, "ActiveHoursEnd": 19}
NEWER = "AllowOptionalContent"
"""Since 21H2: an older Windows answers 405."""


class Site:
    """IT at a bridge, with a group of its own and the devices in it."""

    def __init__(self, served: Any, http: httpx2.Client, state_dir: Path) -> None:
        """No devices yet."""
        self._served, self._http, self._state_dir = served, http, state_dir
        self.api = served.api(http)
        self.ids: dict[str, str] = {}

    def device(self, build: str) -> VirtualDevice:
        """A new device in the group."""
        identity = Identity(secrets.token_hex(16).upper(), "PC", build)
        made = enrol(self.api, identity)
        self.ids[identity.device_id] = made.id
        return VirtualDevice(
            made.record(identity), DeviceStore(self._state_dir), lambda _: [], http=self._http
        )

    def group(self, *devices: VirtualDevice) -> str:
        """A new group of these devices."""
        members = [self.ids[device.device_id] for device in devices]
        made: str = self.api.post("/groups", {"name": secrets.token_hex(8), "members": members})["id"]
        return made

    def profile(self, settings: dict[str, int], group: str) -> str:
        """A new profile for a group; its path."""
        made = self.api.post("/policy-profiles", {"name": secrets.token_hex(8), "settings": settings})
        path = f"/policy-profiles/{made['id']}"
        self.call("PUT", f"{path}/groups/{group}", {"rank": 10})
        return path

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Any other call that succeeds."""
        headers = {"Authorization": f"Bearer {self._served.token}"}
        url = f"{self._served.bridge.url}/api/v1{path}"
        response = self._http.request(method, url, headers=headers, json=body)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def policies(self, device: VirtualDevice) -> dict[str, Any]:
        """What the bridge says of the device's policies, by name."""
        shown = self.api.get(f"/devices/{self.ids[device.device_id]}/policies")
        return {each["name"]: each for each in shown["policies"]}


@pytest.fixture
def site(served: Any, http: httpx2.Client, state_dir: Path) -> Site:
    """IT at the bridge all tests share."""
    return Site(served, http, state_dir)


def session(device: VirtualDevice) -> list[tuple[str, str, int]]:
    """One session; the commands on policies with their statuses, without the path."""
    report = device.check_in(NOW)
    assert report.end is SessionEnd.COMPLETE
    found = []
    for command in report.commands:
        area, _, name = command.loc_uri.partition("/Update/")
        if "/Policy/" in area:
            found.append((command.verb, name, command.status))
    return found


def test_assigned_set_meddled_with_repaired_unassigned_reset(site: Site) -> None:
    """The whole life of a profile on a device, and what others have set stays theirs."""
    device = site.device("10.0.26100.4652")
    group = site.group(device)
    path = site.profile({AUTO: 3, **HOURS}, group)
    names = sorted([AUTO, *HOURS])
    assert {each["status"] for each in site.policies(device).values()} == {"waiting"}
    assert session(device) == [("Replace", name, 200) for name in names]
    assert device.windows.state.policies == {AUTO: "3", "ActiveHoursStart": "7", "ActiveHoursEnd": "19"}
    assert {each["status"] for each in site.policies(device).values()} == {"set"}
    # the last writer wins the one, the lowest value the other
    device.windows.meddle("ActiveHoursStart", "9", NOW)
    device.windows.meddle(AUTO, "1", NOW)
    assert session(device) == [
        *(("Get", name, 200) for name in names),
        ("Replace", "ActiveHoursStart", 200),
        ("Replace", AUTO, 200),
    ]
    assert session(device) == [("Get", name, 200) for name in names]
    shown = site.policies(device)
    assert {name: each["status"] for name, each in shown.items()} == {
        "ActiveHoursEnd": "in_force",
        "ActiveHoursStart": "in_force",
        AUTO: "drifted",
    }
    assert shown[AUTO]["shown_value"] == 1
    assert shown[AUTO]["reason_text"].endswith("Windows takes the lowest value.")
    assert session(device) == []
    site.call("DELETE", f"{path}/groups/{group}")
    assert {each["status"] for each in site.policies(device).values()} == {"resetting"}
    assert session(device) == [("Delete", name, 200) for name in names]
    assert device.windows.state.policies == {}
    assert device.windows.policy(AUTO) == "1"
    assert site.policies(device) == {}
    assert session(device) == []


def test_a_build_says_once_what_it_has_not(site: Site) -> None:
    """The second device of the build is not asked; one of a newer build is."""
    build = f"10.0.17763.{secrets.randbelow(60_000) + 1}"
    old, other, new = site.device(build), site.device(build), site.device("10.0.26100.4652")
    # they tell their builds
    assert [session(each) for each in (old, other, new)] == [[], [], []]
    site.profile({NEWER: 1, DEFER: 4}, site.group(old, other, new))
    assert session(old) == [("Replace", NEWER, 405), ("Replace", DEFER, 200)]
    assert session(other) == [("Replace", DEFER, 200)]
    assert session(new) == [("Replace", NEWER, 200), ("Replace", DEFER, 200)]
    assert (
        site.policies(old)[NEWER]["reason_text"]
        == "The device's Windows does not have this policy: it answered 405."
    )
    assert site.policies(other)[NEWER]["status"] == "unsupported"
    assert session(old) == [("Get", DEFER, 200)]
    assert session(old) == []


def test_a_pause_is_set_and_resumed(site: Site) -> None:
    """Set as a day, and resumed by a Delete."""
    device = site.device("10.0.26100.4652")
    path = site.profile({DEFER: 4}, site.group(device))
    paused = site.call("PUT", f"{path}/pauses/quality", {})
    (pause,) = paused["pauses"]
    assert pause["days_left"] == 35
    session(device)
    assert device.windows.state.policies["PauseQualityUpdatesStartTime"] == pause["since"]
    site.call("DELETE", f"{path}/pauses/quality")
    assert ("Delete", "PauseQualityUpdatesStartTime", 200) in session(device)
    assert device.windows.state.policies == {DEFER: "4"}
