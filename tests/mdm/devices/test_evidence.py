"""Evidence whether approvals take effect: what becomes of updates that are approved on a device and installable."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from csp.classifications import DEFINITION_UPDATES
from csp.classifications import SECURITY_UPDATES as CLASS
from syncml.client import Outcome
from syncml.messages import Item, Location

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
DAY = timedelta(hours=22)
SCAN = "./Vendor/MSFT/Update/LastSuccessfulScanTime"


def session(bench: Bench, device: ScriptedDevice, after: timedelta = DAY, *, scan: str | None = None) -> None:
    """The device checks in some time later, by default with a scan of its own."""
    bench.now += after
    text = f"{bench.now:%Y-%m-%dT%H:%M:%SZ}" if scan is None else scan
    device.answers[SCAN] = Outcome(200, (Item(source=Location(SCAN), data=text),))
    device.check_in()


def evidence(bench: Bench) -> dict[str, Any]:
    """The device's row."""
    (row,) = bench.rows("approval_evidence")
    return row


def trials(bench: Bench) -> dict[str, int | None]:
    """UpdateID to the scan it waits from."""
    return {row["update_id"]: row["scan"] for row in bench.rows("approval_trial")}


@pytest.fixture
def device(bench: Bench) -> ScriptedDevice:
    """A device that offers A, which is approved for it and has been delivered."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    bench.catalogue(A, classification_id=CLASS)
    bench.approve(A)
    session(bench, device)
    return device


def test_an_update_is_on_trial_once_it_is_delivered(bench: Bench, device: ScriptedDevice) -> None:
    """The scan that offered it does not count: only what comes after the approval is evidence."""
    assert device.approved == [A]
    assert trials(bench) == {A: 0}
    row = evidence(bench)
    assert (row["scans"], row["waiting"], row["waiting_from"], row["acted_at"]) == (0, 1, 0, None)


def test_each_scan_it_outlasts_counts(bench: Bench, device: ScriptedDevice) -> None:
    """Check-ins between two scans do not, nor scans that come within six hours."""
    session(bench, device)
    assert evidence(bench)["scans"] == 1
    before = bench.rows("approval_evidence")
    session(bench, device, timedelta(hours=8), scan=before[0]["scan_time"])
    session(bench, device, timedelta(hours=8), scan="0")
    assert bench.rows("approval_evidence") == before
    session(bench, device)
    session(bench, device, timedelta(hours=1))
    assert evidence(bench)["scans"] == 2
    assert trials(bench) == {A: 0}


@pytest.mark.parametrize(
    ("lists", "installed", "failed"),
    [
        ({"installed": {A: 200}}, 1, 0),
        ({"pending": {A: 200}}, 1, 0),
        ({"failed": {A: (-2147024784, 256, 200)}}, 0, 1),
    ],
)
def test_what_windows_does_speaks_for_approvals(
    bench: Bench, device: ScriptedDevice, lists: dict[str, Any], installed: int, failed: int
) -> None:
    """It installs it, with or without a restart to come, or it tries to."""
    session(bench, device)
    device.installable = {A: (1, 200)} if failed else {}
    for name, value in lists.items():
        setattr(device, name, value)
    session(bench, device)
    row = evidence(bench)
    assert trials(bench) == {}
    assert (row["installed"], row["failed"], row["waiting"], row["waiting_from"]) == (
        installed,
        failed,
        0,
        None,
    )
    assert (row["acted_scan"], row["acted_at"] is not None) == (2, True)
    session(bench, device)
    assert evidence(bench) == row


def test_a_failed_update_that_is_offered_again_is_on_trial_again(
    bench: Bench, device: ScriptedDevice
) -> None:
    """From the scan at which it left the failed ones."""
    device.failed = {A: (-2147024784, 256, 200)}
    session(bench, device)
    device.failed = {}
    session(bench, device)
    assert trials(bench) == {A: 1}
    assert evidence(bench)["failed"] == 1


def test_what_is_offered_no_more_waits_no_more(bench: Bench, device: ScriptedDevice) -> None:
    """It begins anew when it is offered again, and if it turns up installed that still speaks for approvals."""
    device.installable = {}
    session(bench, device)
    assert trials(bench) == {A: None}
    assert (evidence(bench)["waiting"], evidence(bench)["scans"]) == (0, 1)
    session(bench, device)
    assert evidence(bench)["scans"] == 1
    device.installable = {A: (1, 200)}
    session(bench, device)
    assert trials(bench) == {A: 1}
    device.installable = {}
    session(bench, device)
    device.installed = {A: 200}
    session(bench, device, timedelta(hours=48))
    assert (trials(bench), evidence(bench)["installed"]) == ({}, 1)


def test_an_approval_that_the_device_lost_ends_the_trial(bench: Bench, device: ScriptedDevice) -> None:
    """Nobody can tell anything from it any more."""
    device.approved = []
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE approval SET revoked_at = created_at")
    session(bench, device)
    assert trials(bench) == {}
    assert (evidence(bench)["installed"], evidence(bench)["waiting"]) == (0, 0)


def test_updates_of_a_classification_on_the_device_are_on_trial(bench: Bench) -> None:
    """Its GUID approves them; definition updates tell nothing, for Defender installs them by itself."""
    device = bench.enrol()
    device.installable = {A: (1, 200), B: (1, 200)}
    bench.catalogue(A, classification_id=CLASS)
    bench.catalogue(B, classification_id=DEFINITION_UPDATES)
    for class_id in (CLASS, DEFINITION_UPDATES):
        bench.approve(class_id, "classification")
    session(bench, device)
    assert set(device.approved) == {CLASS, DEFINITION_UPDATES}
    assert trials(bench) == {A: 0}
    session(bench, device)
    device.installable = {B: (1, 200)}
    device.installed = {A: 200}
    session(bench, device, timedelta(hours=48))
    assert evidence(bench)["installed"] == 1


def test_a_device_without_approvals_has_no_row(bench: Bench) -> None:
    """However often it scans, and whatever it installs."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    session(bench, device)
    device.installable, device.installed = {}, {A: 200}
    session(bench, device, timedelta(hours=48))
    assert (bench.rows("approval_evidence"), bench.rows("approval_trial")) == ([], [])


def test_a_check_in_without_news_costs_nothing(bench: Bench, device: ScriptedDevice) -> None:
    """Not one statement that names the tables."""
    session(bench, device)
    scan = evidence(bench)["scan_time"]
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "approval_evidence" in statement or "approval_trial" in statement:
            seen.append(statement)

    engine = bench.database._writer
    event.listen(engine, "before_cursor_execute", note)
    try:
        session(bench, device, timedelta(hours=1), scan=scan)
        assert seen == []
        session(bench, device)
        assert seen != []
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_evidence_goes_with_the_device(bench: Bench, device: ScriptedDevice) -> None:
    """Nothing is left behind."""
    assert device.approved == [A]
    with bench.database.write() as conn:
        conn.exec_driver_sql("DELETE FROM device")
    assert (bench.rows("approval_evidence"), bench.rows("approval_trial")) == ([], [])
