"""Whether a bridge and a device agree."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from csp.classifications import DEFINITION_UPDATES, SECURITY_UPDATES
from mdm.lab.agreement import Approvals, differences
from mdm.lab.cast import Member
from mdm.lab.catalogue import OfferedUpdate
from mdm.lab.device import VirtualDevice
from mdm.lab.store import Account, DeviceRecord, DeviceStore, Identity
from mdm.lab.windows import Habits

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ONE, TWO = (f"00000000-0000-4000-8000-{number:012d}" for number in (1, 2))


def update(update_id: str, classification: str) -> OfferedUpdate:
    """An update as a scan finds it."""
    return OfferedUpdate(
        update_id=update_id,
        revision_number=200,
        title="Update",
        kb=None,
        classification_id=classification,
        eula_id=None,
        type=1,
        needs_reboot=False,
        supersedes=(),
    )


@pytest.fixture
def member(state_dir: Path, http: httpx2.Client) -> Member:
    """A device that is offered a security update, approved, and a definition update; both failed once."""
    offers = [update(ONE, SECURITY_UPDATES), update(TWO, DEFINITION_UPDATES)]
    record = DeviceRecord(Identity("A", "PC-1", "10.0.26100.1"), Account("http://x/omadm", "", "", ""), None)
    device = VirtualDevice(
        record, DeviceStore(state_dir), lambda _: offers, http=http, habits=Habits(failing={TWO: 0x80070070})
    )
    device.windows.set_policy("RequireUpdateApproval", "1", NOW)
    device.windows.scan(NOW)
    device.windows.approve(DEFINITION_UPDATES, "x", NOW)
    device.windows.hurry(NOW)
    return Member(device, "dev_1", "", frozenset(), frozenset())


class Api:
    """A bridge that says what it is told to."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        """`rows` are the device's updates."""
        self.rows = rows

    def every(self, path: str) -> list[dict[str, Any]]:
        """The rows."""
        assert path == "/devices/dev_1/updates"
        return self.rows


FAITHFUL: list[dict[str, Any]] = [
    {"update_id": ONE, "state": "installable", "hresult": None, "delivered": False, "title": "Update"},
    {"update_id": TWO, "state": "failed", "hresult": "0x80070070", "delivered": True, "title": "Update"},
]
CLASS = Approvals(frozenset({DEFINITION_UPDATES}), frozenset({DEFINITION_UPDATES}))


def compare(member: Member, approvals: Approvals = CLASS, **changes: Any) -> list[str]:
    """The differences when the bridge says of the second update something else."""
    return differences(Api([FAITHFUL[0], FAITHFUL[1] | changes]), member, approvals)  # type: ignore[arg-type]


def test_agreement_is_no_sentence(member: Member) -> None:
    """Lists, errors, approvals and their delivery are as the device shows them."""
    assert compare(member) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"state": "installed"}, f"PC-1: {TWO} is failed on the device, installed to the bridge"),
        ({"hresult": None}, f"PC-1: {TWO} failed with 0x80070070, the bridge says None"),
        ({"delivered": False}, f"PC-1: {TWO} is not delivered, says the bridge; not so the device"),
        ({"title": None}, f"PC-1: {TWO} is delivered, says the bridge; not so the device"),
    ],
)
def test_a_difference_is_a_sentence(member: Member, changes: dict[str, Any], sentence: str) -> None:
    """Which update, and what each side says of it."""
    assert compare(member, **changes) == [sentence]


def test_what_one_side_does_not_know_is_told(member: Member) -> None:
    """A row too few and a row too many."""
    stranger = FAITHFUL[1] | {"update_id": "f" * 8, "state": "installed"}
    found = differences(Api([FAITHFUL[0], stranger]), member, CLASS)  # type: ignore[arg-type]
    assert found[:2] == [
        f"PC-1: {TWO} is failed on the device, not known to the bridge",
        "PC-1: ffffffff is not listed on the device, installed to the bridge",
    ]


def test_approvals_too_many_and_too_few(member: Member) -> None:
    """What is listed must be permitted; what is required and applies must be listed."""
    wanted = Approvals(frozenset({ONE, "not-offered-here"}), frozenset({ONE}))
    assert compare(member, wanted) == [
        f"PC-1: {DEFINITION_UPDATES} is in ApprovedUpdates, and nobody approved it",
        f"PC-1: {ONE} is approved and not in ApprovedUpdates",
    ]
    assert compare(member, replace(CLASS, required=frozenset())) == []


def test_approvals_are_those_of_the_devices_groups() -> None:
    """Of its own and of all devices; held ones are not required, revoked ones only permitted."""

    def approval(target: str, state: str, *groups: str) -> dict[str, Any]:
        return {"target": {"id": target}, "effective_state": state, "group_ids": list(groups)}

    found = Approvals.of(
        [
            approval("everybody", "active", "all-devices"),
            approval("own", "active", "grp_1", "grp_9"),
            approval("others", "active", "grp_2"),
            approval("held", "held", "all-devices"),
            approval("revoked", "revoked", "all-devices"),
        ],
        ["grp_1"],
    )
    assert found.required == {"everybody", "own"}
    assert found.permitted == {"everybody", "own", "revoked"}
