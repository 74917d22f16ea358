"""What a virtual device remembers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mdm.lab.catalogue import OfferedUpdate
from mdm.lab.windows_state import FIRST_SYNC_VERSION, Job, Phase, WindowsState, iso_time

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
UPDATE = OfferedUpdate("a", 200, "An update", "5001", "c", None, 1, needs_reboot=True, supersedes=("b",))
FULL = WindowsState(
    jobs={
        "a": Job(
            UPDATE, Phase.UNDER_WAY, due=NOON, attempts=2, hresult=0x80070070, failure=16, installed_at=NOON
        )
    },
    approved={"a": "2026-11-21T12:00:00Z"},
    policies={"AllowAutoUpdate": "3"},
    foreign={"AllowAutoUpdate": "5"},
    last_scan=NOON,
    next_scan=NOON,
    restart_at=NOON,
    rollbacks={"quality": "Rolled back"},
    sync_version="3.0",
    settings={"Poll/NumberOfFirstRetries": "5"},
    leaving=True,
)


@pytest.mark.parametrize("state", [FULL, WindowsState()])
def test_a_state_comes_back_from_its_json(state: WindowsState) -> None:
    """Nothing is lost on the way through a file."""
    assert WindowsState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_a_state_of_before_speaks_the_first_version() -> None:
    """A device that was stored before there was a version to raise has the one Windows begins with."""
    value = FULL.to_json()
    del value["sync_version"]
    assert WindowsState.from_json(value).sync_version == FIRST_SYNC_VERSION == "1.0"


def test_a_state_of_before_others_could_meddle_has_been_left_alone() -> None:
    """A device that was stored before somebody else could set policies."""
    value = FULL.to_json()
    del value["foreign"]
    assert WindowsState.from_json(value).foreign == {}


def test_a_state_of_before_devices_could_leave_is_as_it_was() -> None:
    """A device that was stored before it could enrol itself has no settings, and is not leaving."""
    value = FULL.to_json()
    del value["settings"], value["leaving"]
    assert WindowsState.from_json(value) == replace(FULL, settings=None, leaving=False)


def test_time_is_written_in_whole_seconds() -> None:
    """Format time of the DDF: ISO 8601, UTC."""
    assert iso_time(NOON.replace(microsecond=999_999)) == "2026-11-21T12:00:00Z"
