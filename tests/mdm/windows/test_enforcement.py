"""Which windows Windows itself can keep, and in which policies."""

from __future__ import annotations

from typing import Any

import pytest

from csp.policy import validate, validate_together
from mdm.windows.definition import WEEKDAYS, WindowDefinition
from mdm.windows.enforcement import enforcement_of


def window(pattern: dict[str, Any], **members: Any) -> WindowDefinition:
    """A window in the devices' own time."""
    values: dict[str, Any] = {"start": "03:00", "zone": "device", "fallback_zone": "UTC", **members}
    return WindowDefinition(
        name="w", group_ids=("all-devices",), pattern=pattern, duration_minutes=60, **values
    )


def weekly(*days: str) -> dict[str, Any]:
    """A weekly pattern."""
    return {"type": "weekly", "days": list(days)}


def monthly(nth: int | str, weekday: str) -> dict[str, Any]:
    """A monthly pattern."""
    return {"type": "monthly", "nth": nth, "weekday": weekday}


@pytest.mark.parametrize(
    ("pattern", "day", "weeks"),
    [
        (weekly(*WEEKDAYS), "0", "10000"),
        (weekly("sunday"), "1", "10000"),
        (weekly("monday"), "2", "10000"),
        (weekly("saturday"), "7", "10000"),
        (monthly(1, "sunday"), "1", "01000"),
        (monthly(3, "wednesday"), "4", "00010"),
        ({"type": "patch_tuesday"}, "3", "00100"),
        ({"type": "patch_tuesday", "offset_days": -7}, "3", "01000"),
        ({"type": "patch_tuesday", "offset_days": 7}, "3", "00010"),
    ],
)
def test_what_can_be_said_exactly(pattern: dict[str, Any], day: str, weeks: str) -> None:
    """Every value passes the policies' own checks, alone and together."""
    found = enforcement_of(window(pattern))
    assert found.possible
    names = ("EveryWeek", "FirstWeek", "SecondWeek", "ThirdWeek", "FourthWeek")
    assert found.policies == {
        "AllowAutoUpdate": "3",
        "ScheduledInstallDay": day,
        "ScheduledInstallTime": "3",
        **{f"ScheduledInstall{name}": value for name, value in zip(names, weeks, strict=True)},
    }
    for name, value in found.policies.items():
        validate(name, value)
    assert validate_together(found.policies) == ()
    assert "03:00" in found.sentence


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (
            window(weekly("sunday"), zone="Europe/Berlin", fallback_zone=None),
            "the window is in Europe/Berlin",
        ),
        (window(weekly("sunday"), start="03:30"), "whole hours only"),
        (window(weekly("sunday", "monday")), "one day of the week or all of them"),
        (window(monthly("last", "sunday")), "last week of a month"),
        (window(monthly(4, "sunday")), "fourth week has the days 22 to 31"),
        (window({"type": "patch_tuesday", "offset_days": 1}), "counted from Patch Tuesday"),
        (window({"type": "patch_tuesday", "offset_days": 14}), "counted from Patch Tuesday"),
    ],
)
def test_what_cannot_is_said_in_a_sentence(refused: WindowDefinition, why: str) -> None:
    """An approximation would install at another time than IT asked for."""
    found = enforcement_of(refused)
    assert not found.possible
    assert not found.policies
    assert why in found.sentence


def test_four_leaves_the_user_no_control() -> None:
    """AllowAutoUpdate is IT's choice."""
    assert enforcement_of(window(weekly("sunday"), allow_auto_update=4)).policies["AllowAutoUpdate"] == "4"
