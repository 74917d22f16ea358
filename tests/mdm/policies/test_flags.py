"""Devices with approvals, but without the policy that gives them their effect."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from mdm.policies.flags import approvals_not_enforced
from mdm.storage.statements import table_of
from mdm.storage.tables import Device

if TYPE_CHECKING:
    from conftest import Fleet

APPROVAL = "RequireUpdateApproval"
TARGET = "0fa1201d-4330-4fa8-8ae9-b877473b6441"


def flagged(fleet: Fleet) -> list[int]:
    """Primary keys of the devices that stand out."""
    device = table_of(Device)
    with fleet.bench.database.read() as connection:
        rows = connection.scalars(
            select(device.c.pk).where(approvals_not_enforced(fleet.now)).order_by(device.c.pk)
        )
        return list(rows)


@pytest.mark.parametrize(
    ("told", "stands_out"),
    [
        ([], False),
        ([("Replace", APPROVAL, 200, "1")], False),
        ([("Replace", APPROVAL, 200, "1"), ("Get", APPROVAL, 200, "1")], False),
        ([("Replace", APPROVAL, 500, "1")], True),
        ([("Replace", APPROVAL, 405, "1")], True),
        ([("Replace", APPROVAL, 200, "1"), ("Get", APPROVAL, 200, "0")], True),
        ([("Replace", APPROVAL, 200, "1"), ("Get", APPROVAL, 404)], True),
        ([("Replace", "AllowAutoUpdate", 405, "1")], False),
    ],
)
def test_what_a_device_said_decides(fleet: Fleet, told: list[tuple[Any, ...]], stands_out: bool) -> None:  # noqa: FBT001 - the expectation
    """Refused, lacking or drifted; one that has not been told yet does not stand out."""
    fleet.add_device(1)
    fleet.bench.approve(TARGET)
    for each in told:
        fleet.hear(1, each)
    assert flagged(fleet) == ([1] if stands_out else [])


def test_without_approvals_nobody_stands_out(fleet: Fleet) -> None:
    """Of its groups, and only while they hold."""
    for pk, groups in ((1, ["sales"]), (2, [])):
        fleet.add_device(pk, *groups)
        fleet.hear(pk, ("Replace", APPROVAL, 500, "1"))
    assert flagged(fleet) == []
    fleet.bench.approve(TARGET, expires_at=fleet.now + timedelta(hours=1))
    assert flagged(fleet) == [1, 2]
    fleet.run("UPDATE approval_group SET group_id = 'sales'")
    assert flagged(fleet) == [1]
    fleet.now += timedelta(hours=2)
    assert flagged(fleet) == []
    fleet.run("UPDATE approval SET expires_at = NULL")
    assert flagged(fleet) == [1]
    fleet.run("UPDATE approval SET revoked_at = created_at, revoked_by = 'test'")
    assert flagged(fleet) == []


def test_a_device_is_not_judged_by_others_of_its_build(fleet: Fleet) -> None:
    """It is asked itself, and stands out only by its own word."""
    fleet.bench.approve(TARGET)
    for pk in (1, 2):
        fleet.add_device(pk, os_version="10.0.26100.1")
    fleet.hear(1, ("Replace", APPROVAL, 405, "1"))
    assert flagged(fleet) == [1]
    fleet.hear(2, ("Replace", APPROVAL, 405, "1"))
    assert flagged(fleet) == [1, 2]
