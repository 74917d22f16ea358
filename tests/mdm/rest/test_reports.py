"""/reports over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Api

A = "a317dafe-baf4-453f-b232-a7075efae36e"
PATH = "/reports/approval-effect"


def test_the_fleet_by_channel_and_verdict(api: Api) -> None:
    """Counts with their moment, how many devices were heard, and what Microsoft says."""
    api.bench.enrol("DEV1").check_in()
    api.bench.enrol("DEV2")
    api.bench.approve(A)
    found = api.get(PATH)
    assert found["statement"].startswith("Microsoft does not recommend ApprovedUpdates for managing desktop")
    assert {name: found[name] for name in found if name != "statement"} == {
        "as_of": "2026-11-21T12:00:00Z",
        "devices": 2,
        "heard_within_24h": 1,
        "channels": {"approvals": 2, "policies": 0, "both": 0, "none": 0},
        "verdicts": {"effective": 0, "no_effect_seen": 0, "too_early": 0, "not_enforced": 2},
        "scans_needed": 3,
    }


def test_the_devices_behind_a_figure(api: Api) -> None:
    """Page by page."""
    for number in (1, 2, 3):
        api.bench.enrol(f"DEV{number}")
    api.bench.approve(A)
    pages = api.pages(f"{PATH}/devices", verdict="not_enforced", limit=2)
    assert [[each["device_id"] for each in page] for page in pages] == [["DEV1", "DEV2"], ["DEV3"]]
    assert api.get(f"{PATH}/devices", verdict="effective")["items"] == []
    assert api.get(f"{PATH}/devices")["items"] == [each for page in pages for each in page]


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"verdict": "good"}, 422, "validation_failed"),
        ({"verdict": "effective\x00"}, 422, "validation_failed"),
        ({"verdict": "effective", "limit": "0"}, 422, "validation_failed"),
        ({"verdict": "effective", "cursor": "bm8"}, 400, "invalid_cursor"),
        ({"state": "x"}, 400, "unknown_parameter"),
    ],
)
def test_wrong_questions(sqlite_api: Api, params: dict[str, str], status: int, code: str) -> None:
    """Each is refused with a code."""
    sqlite_api.refused("GET", f"{PATH}/devices", status, code, params=params)


def test_reports_have_a_scope_of_their_own(sqlite_api: Api) -> None:
    """Reading devices is not enough."""
    problem = sqlite_api.refused(
        "GET", PATH, 403, "insufficient_scope", token=sqlite_api.token_with("devices.read")
    )
    assert problem["scope"] == "reports.read"
