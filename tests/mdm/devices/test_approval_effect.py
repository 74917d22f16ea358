"""The fleet by channel and by verdict: the same as the devices' own pages say, counted and listed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.devices.approval_effect import approval_effect, devices_with
from mdm.devices.channel import SCANS, Verdict, device_channel

if TYPE_CHECKING:
    from conftest import Bench

A = "a317dafe-baf4-453f-b232-a7075efae36e"
DAY = timedelta(days=1)


def policy(bench: Bench, name: str = "RequireUpdateApproval", device_pk: int = 1, **values: Any) -> None:
    """What the device answered to a policy."""
    given = {"status": "set", "value": "1", "status_code": 200, "at": bench.now, **values}
    bench.add("device_policy", device_pk=device_pk, name=name, **given)


def evidence(bench: Bench, device_pk: int = 1, **values: Any) -> None:
    """What the device's scans have shown."""
    bench.add("approval_evidence", device_pk=device_pk, **values)


def test_the_fleet(bench: Bench) -> None:
    """Every managed device has one channel, and one verdict if it has approvals; the figures are those of the pages."""
    day_ago = bench.now - DAY
    for number in range(1, 9):
        bench.enrol(f"DEV{number}")
    bench.add("device_group", id="grp_1", name="approved", builtin=False, created_at=bench.now)
    for device_pk in (1, 2, 3, 4):
        bench.add("group_member", device_pk=device_pk, group_id="grp_1")
    bench.approve(A)
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE approval_group SET group_id = 'grp_1'")
        conn.exec_driver_sql("UPDATE device SET unenrolled_at = created_at WHERE pk = 7")
        conn.exec_driver_sql("UPDATE device SET retire_requested_at = created_at WHERE pk = 8")
    for device_pk in (1, 2, 3):
        policy(bench, device_pk=device_pk)
    evidence(bench, 1, scans=5, waiting=1, waiting_from=1)
    evidence(bench, 2, scans=5, waiting=1, waiting_from=1, acted_scan=4, acted_at=bench.now, installed=1)
    policy(bench, "AllowAutoUpdate", 4)
    policy(bench, "AllowAutoUpdate", 5)
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET last_checkin_at = created_at WHERE pk IN (1, 5)")
    with bench.database.read() as conn:
        found = approval_effect(conn, bench.now, heard_since=day_ago)
        pages = [device_channel(conn, device_pk, bench.now) for device_pk in range(1, 7)]
    assert (found.devices, found.heard_within_24h, found.as_of) == (6, 2, bench.now)
    assert found.channels == {"approvals": 3, "policies": 1, "both": 1, "none": 1}
    assert found.verdicts == {"effective": 1, "no_effect_seen": 1, "too_early": 1, "not_enforced": 1}
    assert [page.channel.value for page in pages] == [
        "approvals",
        "approvals",
        "approvals",
        "both",
        "policies",
        "none",
    ]
    with bench.database.read() as conn:
        listed = {
            verdict: [each.device_id for _, each in devices_with(conn, verdict, bench.now, limit=10)]
            for verdict in Verdict
        }
    assert listed == {
        Verdict.NO_EFFECT_SEEN: ["DEV1"],
        Verdict.EFFECTIVE: ["DEV2"],
        Verdict.TOO_EARLY: ["DEV3"],
        Verdict.NOT_ENFORCED: ["DEV4"],
    }
    assert [page.verdict for page in pages[:4]] == [
        Verdict.NO_EFFECT_SEEN,
        Verdict.EFFECTIVE,
        Verdict.TOO_EARLY,
        Verdict.NOT_ENFORCED,
    ]


def test_an_approval_for_all_devices_makes_all_of_them_approved(bench: Bench) -> None:
    """Also those in no group; and of no device there are no figures."""
    with bench.database.read() as conn:
        empty = approval_effect(conn, bench.now, heard_since=bench.now)
    assert (empty.devices, empty.heard_within_24h, sum(empty.channels.values())) == (0, 0, 0)
    bench.enrol()
    bench.approve(A)
    with bench.database.read() as conn:
        assert approval_effect(conn, bench.now, heard_since=bench.now).channels["approvals"] == 1
    bench.now += DAY
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE approval SET revoked_at = created_at")
    with bench.database.read() as conn:
        assert approval_effect(conn, bench.now, heard_since=bench.now).channels["none"] == 1


def test_devices_are_listed_page_by_page(bench: Bench) -> None:
    """With the figures, in order of enrolment."""
    for number in (1, 2, 3):
        bench.enrol(f"DEV{number}")
        policy(bench, device_pk=number)
    evidence(bench, 2, scans=5, waiting=2, waiting_from=1, installed=1, failed=1, acted_scan=1)
    bench.approve(A)
    with bench.database.read() as conn:
        early = devices_with(conn, Verdict.TOO_EARLY, bench.now, limit=10)
        assert devices_with(conn, Verdict.TOO_EARLY, bench.now, after=early[0][0], limit=10) == early[1:]
        assert devices_with(conn, Verdict.TOO_EARLY, bench.now, limit=1) == early[:1]
        ((_, device),) = devices_with(conn, Verdict.NO_EFFECT_SEEN, bench.now, limit=10)
    assert [each.device_id for _, each in early] == ["DEV1", "DEV3"]
    assert (device.id, device.waiting, device.scans_waited, device.installed, device.failed) == (
        "id-DEV2",
        2,
        4,
        1,
        1,
    )


@pytest.mark.parametrize("waited", [None, 0, 1, SCANS - 1, SCANS, SCANS + 4])
@pytest.mark.parametrize("acted", [None, 0, 1, SCANS - 1, SCANS, SCANS + 4])
@pytest.mark.parametrize("enforced", [True, False])
def test_the_list_the_report_and_the_page_agree(
    sqlite_bench: Bench, waited: int | None, acted: int | None, *, enforced: bool
) -> None:
    """Whatever the figures: one definition of the verdicts."""
    bench = sqlite_bench
    bench.enrol()
    bench.approve(A)
    if enforced:
        policy(bench)
    evidence(
        bench,
        scans=10,
        waiting=1,
        waiting_from=None if waited is None else 10 - waited,
        acted_scan=None if acted is None else 10 - acted,
        acted_at=bench.now,
    )
    with bench.database.read() as conn:
        verdict = device_channel(conn, 1, bench.now).verdict
        report = approval_effect(conn, bench.now, heard_since=bench.now)
        listed = [each for each in Verdict if devices_with(conn, each, bench.now, limit=10)]
        ((_, device),) = devices_with(conn, None, bench.now, limit=10)
    assert device.verdict is verdict
    assert listed == [verdict]
    assert [name for name, count in report.verdicts.items() if count] == [verdict]
