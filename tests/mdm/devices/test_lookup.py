"""Finding the device and the update that somebody means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mdm.catalog.listing import list_again
from mdm.devices.lookup import MOST, find_devices, find_updates

if TYPE_CHECKING:
    from conftest import Bench

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
C = "c317dafe-baf4-453f-b232-a7075efae36e"


def devices(bench: Bench, text: str) -> list[str]:
    """The device_ids found."""
    with bench.database.read() as conn:
        return [each.device_id for each in find_devices(conn, text)]


def updates(bench: Bench, text: str) -> list[str]:
    """The UpdateIDs found."""
    with bench.database.read() as conn:
        return [each.id for each in find_updates(conn, 1, text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("id-DESK-1", ["DESK-1"]),
        ("DESK-1", ["DESK-1"]),
        ("desk-1", ["DESK-1"]),
        ("desk", ["DESK-1", "DESK-10"]),
        ("DESK", ["DESK-1", "DESK-10"]),
        ("1_", []),
        ("nowhere", []),
    ],
)
def test_devices_by_id_name_or_a_part(bench: Bench, text: str, found: list[str]) -> None:
    """A whole name is not a part of a longer one, and nothing is a pattern."""
    for device_id in ("DESK-1", "DESK-10", "LAPTOP"):
        bench.enrol(device_id)
    assert devices(bench, text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [("front-desk", ["DEV1"]), ("5cg0123xyz", ["DEV1"]), ("front", ["DEV1"]), ("5cg0", [])],
)
def test_devices_by_what_they_call_themselves(bench: Bench, text: str, found: list[str]) -> None:
    """By the name in the network, whole or in part, and by the whole serial number."""
    bench.enrol("DEV1")
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET computer_name = 'FRONT-DESK', serial_number = '5CG0123XYZ'")
    bench.enrol("DEV2")
    assert devices(bench, text) == found


def test_one_name_of_several_devices(bench: Bench) -> None:
    """All of them; but an exact device_id is one device."""
    for device_id in ("DEV1", "DEV2", "twin"):
        bench.enrol(device_id)
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET name = 'Twin'")
    assert devices(bench, "TWIN") == ["DEV1", "DEV2", "twin"]
    assert devices(bench, "twin") == ["twin"]


def test_no_more_candidates_than_anybody_reads(bench: Bench) -> None:
    """One more than are named, which tells that there are more."""
    for number in range(MOST + 5):
        bench.enrol(f"DEV{number}")
    assert len(devices(bench, "dev")) == MOST + 1


@pytest.fixture
def catalogue(bench: Bench) -> Bench:
    """Three updates, two of which share a KB number, and a device that offers one of these."""
    bench.catalogue(A, title="Cumulative Update for Windows 11 (x64)", kb="5041585", kb_all=["5041585"])
    bench.catalogue(B, title="Cumulative Update for Windows 11 (ARM64)", kb="5041585", kb_all=["5041585"])
    bench.catalogue(C, title="Office 2024 Fix", kb="4001", kb_all=["4001"])
    with bench.database.write() as conn:
        list_again(conn, [A, B, C])
    bench.enrol()
    return bench


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (A.upper(), [A]),
        (f"{{{C}}}", [C]),
        ("d317dafe-baf4-453f-b232-a7075efae36e", ["d317dafe-baf4-453f-b232-a7075efae36e"]),
        ("KB5041585", [A, B]),
        ("5041585", [A, B]),
        ("kb4001", [C]),
        ("arm64", [B]),
        ("2024", [C]),
        ("cumulative windows", [A, B]),
        ("KB9999999", []),
        ("nothing of the kind", []),
    ],
)
def test_updates_by_id_kb_or_words(catalogue: Bench, text: str, found: list[str]) -> None:
    """A GUID in any form need not be known; of everything else there may be several."""
    assert sorted(updates(catalogue, text)) == found


def test_of_several_the_ones_the_device_speaks_of(catalogue: Bench) -> None:
    """A KB number covers all architectures, and a device has one."""
    catalogue.add(
        "device_update", device_pk=1, update_id=B, lists=1, state="installable", since=catalogue.now
    )
    catalogue.add("device_update", device_pk=1, update_id=A, lists=16, state="listed", since=catalogue.now)
    assert updates(catalogue, "KB5041585") == [B]
