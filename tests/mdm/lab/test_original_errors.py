"""The HRESULT behind a refusal, from a virtual device's Windows to the administrator's screen, over real sockets."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from csp.classifications import DEFINITION_UPDATES
from csp.errors import InvalidValue
from csp.hresult import MEANINGS, parse_hresult
from mdm.lab.device import VirtualDevice
from mdm.lab.enrol import enrol
from mdm.lab.original_errors import ILLEGAL_IN_A_TRANSACTION, ORIGINAL_ERRORS
from mdm.lab.store import DeviceStore, Identity

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("error", [*ORIGINAL_ERRORS.values(), ILLEGAL_IN_A_TRANSACTION])
def test_every_error_of_the_virtual_device_has_words(error: str) -> None:
    """What our Windows says, our bridge can explain."""
    assert parse_hresult(error) in MEANINGS


def test_a_refused_policy_has_its_error_from_the_second_session_on(
    served: Any, state_dir: Path, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first session raises the version; from the next on a refused policy is told with its HRESULT, and shown."""
    pc, device_id = approved_device(served, state_dir, http, "10.0.26100.4652")
    api = served.api(http)
    monkeypatch.setattr("mdm.lab.tree.validate", _refuse)
    assert pc.check_in(NOW).ok
    shown = api.get(f"/devices/{device_id}")
    assert shown["sync_version"] == "3.0"
    policy = shown["require_update_approval"]
    assert (policy["status"], policy["status_code"], policy["error"]) == ("failed", 500, None)
    assert pc.check_in(NOW).ok
    policy = api.get(f"/devices/{device_id}")["require_update_approval"]
    assert (policy["status"], policy["error"]) == ("failed", "0x80070057")
    assert policy["error_text"] == MEANINGS[0x80070057]
    monkeypatch.undo()
    assert pc.check_in(NOW).ok
    policy = api.get(f"/devices/{device_id}")["require_update_approval"]
    assert (policy["status"], policy["value"], policy["error"]) == ("set", "1", None)


def test_an_old_windows_is_left_at_its_version(served: Any, state_dir: Path, http: httpx2.Client) -> None:
    """Windows before 1903 knows no 3.0: it is asked, not told, and keeps its version."""
    pc, device_id = approved_device(served, state_dir, http, "10.0.17763.1")
    report = pc.check_in(NOW)
    assert report.ok
    assert served.api(http).get(f"/devices/{device_id}")["sync_version"] == "1.0"
    asked = [each.verb for each in report.commands if "SyncApplicationVersion" in each.loc_uri]
    assert asked == ["Get", "Get"]


def test_a_device_under_another_name_is_managed_all_the_same(
    served: Any, state_dir: Path, http: httpx2.Client
) -> None:
    """Where the device does not know our ProviderID both questions get 404, and everything else goes on."""
    pc, device_id = approved_device(served, state_dir, http, "10.0.26100.4652", provider_id="Other")
    assert pc.check_in(NOW).ok
    shown = served.api(http).get(f"/devices/{device_id}")
    assert (shown["sync_version"], shown["require_update_approval"]["status"]) == (None, "set")


def approved_device(
    served: Any, state_dir: Path, http: httpx2.Client, build: str, provider_id: str = "CSPBridge"
) -> tuple[VirtualDevice, str]:
    """A device in a group of its own, for which a classification is approved, and its id."""
    api = served.api(http)
    identity = Identity(
        f"{build}{provider_id}".encode().hex().upper()[-32:], f"PC {build} {provider_id}", build
    )
    made = enrol(api, identity)
    group = api.post("/groups", {"name": identity.name})
    put = http.put(
        f"{served.bridge.url}/api/v1/groups/{group['id']}/devices/{made.id}",
        headers={"Authorization": f"Bearer {served.token}"},
    )
    assert put.status_code == 204
    target = {"type": "classification", "id": DEFINITION_UPDATES}
    api.post("/approvals", {"target": target, "action": "approve", "group_ids": [group["id"]]})
    record = made.record(identity)
    record = replace(record, account=replace(record.account, provider_id=provider_id))
    return VirtualDevice(record, DeviceStore(state_dir), lambda _: [], http=http), made.id


def _refuse(name: str, value: str) -> None:
    raise InvalidValue(f"{name} does not take {value}.")
