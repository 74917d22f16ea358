"""What IT may write of a window, and what is refused with the member's name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mdm.errors import Invalid
from mdm.windows.definition import (
    WindowDefinition,
    check_definition,
    pattern_json,
    read_pattern,
)
from mdm.windows.recurrence import LAST, Monthly, PatchTuesday, Weekly

GOOD: dict[str, Any] = {
    "name": "nights",
    "group_ids": ("all-devices",),
    "pattern": {"type": "weekly", "days": ["sunday", "monday"]},
    "start": "22:00",
    "duration_minutes": 240,
    "zone": "Europe/Berlin",
}


def refused(**members: Any) -> list[tuple[str, str]]:
    """The pointers and codes of what is wrong."""
    with pytest.raises(Invalid) as caught:
        check_definition(WindowDefinition(**{**GOOD, **members}))
    return [(error.pointer, error.code) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("written", "pattern"),
    [
        ({"type": "weekly", "days": ["monday", "sunday"]}, Weekly(frozenset({1, 7}))),
        ({"type": "monthly", "nth": 2, "weekday": "tuesday"}, Monthly(2, 2)),
        ({"type": "monthly", "nth": "last", "weekday": "friday"}, Monthly(LAST, 5)),
        ({"type": "patch_tuesday", "offset_days": -3}, PatchTuesday(-3)),
    ],
)
def test_patterns_are_read_and_written(written: dict[str, Any], pattern: Any) -> None:
    """In both directions, in one form."""
    assert read_pattern(written) == pattern
    assert pattern_json(pattern) == written


def test_a_patch_tuesday_without_days_is_that_day() -> None:
    """And members that are None count as left out."""
    assert read_pattern({"type": "patch_tuesday", "days": None}) == PatchTuesday(0)


@pytest.mark.parametrize(
    ("pattern", "pointer", "code"),
    [
        ({}, "/pattern/type", "invalid_value"),
        ({"type": "yearly"}, "/pattern/type", "invalid_value"),
        ({"type": "weekly"}, "/pattern/days", "required"),
        ({"type": "weekly", "days": []}, "/pattern/days", "too_short"),
        ({"type": "weekly", "days": ["someday"]}, "/pattern/days", "invalid_value"),
        ({"type": "weekly", "days": ["monday"], "nth": 1}, "/pattern/nth", "contradiction"),
        ({"type": "monthly", "nth": 1}, "/pattern/weekday", "required"),
        ({"type": "monthly", "nth": 5, "weekday": "monday"}, "/pattern/nth", "invalid_value"),
        ({"type": "monthly", "nth": 1, "weekday": "x"}, "/pattern/weekday", "invalid_value"),
        ({"type": "patch_tuesday", "offset_days": 28}, "/pattern/offset_days", "invalid_value"),
        ({"type": "patch_tuesday", "offset_days": -8}, "/pattern/offset_days", "invalid_value"),
    ],
)
def test_a_wrong_pattern_is_refused_by_name(pattern: dict[str, Any], pointer: str, code: str) -> None:
    """The pointer leads to the member."""
    assert refused(pattern=pattern) == [(pointer, code)]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"zone": "Mars/Base"}, [("/zone", "unknown_zone")]),
        ({"zone": "UTC", "fallback_zone": "UTC"}, [("/fallback_zone", "contradiction")]),
        ({"zone": "device"}, [("/fallback_zone", "required")]),
        ({"zone": "device", "fallback_zone": "device"}, [("/fallback_zone", "unknown_zone")]),
        ({"valid_from": datetime(1, 1, 1, tzinfo=UTC)}, [("/valid_from", "invalid_value")]),
        ({"valid_until": datetime(9999, 1, 1, tzinfo=UTC)}, [("/valid_until", "invalid_value")]),
        (
            {
                "valid_from": datetime(2027, 1, 1, tzinfo=UTC),
                "valid_until": datetime(2027, 1, 1, tzinfo=UTC),
            },
            [("/valid_until", "invalid_value")],
        ),
        ({"duration_minutes": 14}, [("/duration_minutes", "invalid_value")]),
        ({"duration_minutes": 10_081}, [("/duration_minutes", "invalid_value")]),
        ({"catch_up_hours": -1}, [("/catch_up_hours", "invalid_value")]),
        ({"catch_up_hours": 169}, [("/catch_up_hours", "invalid_value")]),
        (
            {"zone": "x", "pattern": {"type": "x"}, "duration_minutes": 0},
            [
                ("/pattern/type", "invalid_value"),
                ("/zone", "unknown_zone"),
                ("/duration_minutes", "invalid_value"),
            ],
        ),
    ],
)
def test_wrong_members_are_named_all_at_once(
    members: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    """One answer says all that is wrong."""
    assert refused(**members) == expected


def test_a_device_zone_is_judged_by_its_fallback() -> None:
    """What the device's clock shows is not known here."""
    found = check_definition(WindowDefinition(**{**GOOD, "zone": "device", "fallback_zone": "Asia/Tokyo"}))
    assert found.zone == "Asia/Tokyo"
    assert check_definition(WindowDefinition(**GOOD)).zone == "Europe/Berlin"
