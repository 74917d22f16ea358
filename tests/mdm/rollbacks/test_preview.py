"""Who would roll back, before anybody is asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from csp.rollback import RollbackKind
from mdm.errors import Invalid, NotFound
from mdm.rollbacks import preview as module
from mdm.rollbacks.preview import RollbackPreview, preview_rollback
from mdm.rollbacks.store import RollbackScope

if TYPE_CHECKING:
    from conftest import Ward

EVERYBODY = RollbackScope(("all-devices",))


def preview(ward: Ward, scope: RollbackScope = EVERYBODY) -> RollbackPreview:
    """What it would come to."""
    with ward.bench.database.read() as conn:
        return preview_rollback(conn, kind=RollbackKind.QUALITY, scope=scope, now=ward.bench.now)


def test_both_sides_are_told_with_their_reasons(ward: Ward) -> None:
    """By the conditions that a check-in asks; nothing is written."""
    bench = ward.bench
    for number in (1, 2, 3, 4):
        bench.enrol(f"PC{number}")
    ward.know("PC1", os_version="10.0.10240.1", last_checkin_at=bench.now)
    ward.ask("PC2")
    bench.add(
        "device_policy",
        device_pk=3,
        name="PauseQualityUpdatesStartTime",
        status="set",
        value="2026-11-20",
        status_code=200,
        at=bench.now,
        repairs=0,
    )
    before = bench.dump()
    found = preview(ward)
    assert bench.dump() == before
    assert (found.devices, found.examined, found.would, found.cannot) == (4, 4, 2, 2)
    assert [(each.device_id, each.paused, each.why_not) for each in found.shown] == [
        ("PC3", True, None),
        ("PC4", False, None),
        (
            "PC1",
            False,
            "Its Windows is 10.0.10240.1; rolling back needs Windows 10 1803 (17134) or later.",
        ),
        ("PC2", False, "Another rollback of quality updates is under way on the device."),
    ]
    assert (found.shown[2].os_version, found.shown[2].last_checkin_at) == ("10.0.10240.1", bench.now)


def test_only_so_many_are_looked_at(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only some of these are named; all are counted."""
    monkeypatch.setattr(module, "_PIECE", 2)
    monkeypatch.setattr(module, "EXAMINED", 4)
    monkeypatch.setattr(module, "SHOWN", 1)
    for number in range(5):
        ward.bench.enrol(f"PC{number}")
    found = preview(ward)
    assert (found.devices, found.examined, found.would) == (5, 4, 4)
    assert [each.device_id for each in found.shown] == ["PC0"]


def test_what_is_wrong_is_refused(ward: Ward) -> None:
    """As when it is asked for."""
    with pytest.raises(Invalid):
        preview(ward, RollbackScope())
    with pytest.raises(NotFound, match="no group 'grp_x'"):
        preview(ward, RollbackScope(("grp_x",)))
