"""`./Vendor/MSFT/Reboot` restarts now or by a schedule, of which two exclude each other."""

from __future__ import annotations

import pytest

from csp.errors import InvalidValue
from csp.reboot import REBOOT_TREE, schedule_uri, validate, validate_together
from csp.tree import Access, Occurrence, Scope, validate_value

NOON = "2026-11-21T12:00:00"
NAMES = ("Single", "DailyRecurrent", "WeeklyRecurrent")


def test_the_tree_is_whole() -> None:
    """One action, and three schedules that come and go."""
    assert [node.name for node in REBOOT_TREE] == ["Reboot", "RebootNow", "Schedule", *NAMES]
    assert REBOOT_TREE[1].access == Access.EXEC | Access.GET
    for node in REBOOT_TREE[3:]:
        assert node.scope is Scope.DYNAMIC
        assert node.occurrence is Occurrence.ONE
        assert node.access == Access.ADD | Access.DELETE | Access.GET | Access.REPLACE


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_has_its_address(name: str) -> None:
    """The documented one."""
    assert schedule_uri(name) == f"./Device/Vendor/MSFT/Reboot/Schedule/{name}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [NOON, f"{NOON}Z", f"{NOON}+01:00", ""])
def test_legal_values_pass(name: str, value: str) -> None:
    """Date and time, with or without a time zone, and the empty value that takes a schedule back."""
    validate(name, value)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "Single",
            "2026-11-21",
            "Single is '2026-11-21', but must be empty or a date and time written yyyy-mm-ddThh:mm:ss.",
        ),
        (
            "DailyRecurrent",
            "12:00",
            "DailyRecurrent is '12:00', but must be empty or a date and time written yyyy-mm-ddThh:mm:ss.",
        ),
        (
            "WeeklyRecurrent",
            "2026-02-30T12:00:00",
            "WeeklyRecurrent is '2026-02-30T12:00:00', but is on a day that does not exist.",
        ),
        ("RebootNow", NOON, "'RebootNow' is not a restart schedule."),
        ("single", NOON, "'single' is not a restart schedule."),
    ],
)
def test_wrong_values_are_explained(name: str, value: str, sentence: str) -> None:
    """One sentence names the schedule, the value and what would be right."""
    with pytest.raises(InvalidValue) as caught:
        validate(name, value)
    assert caught.value.detail == sentence


def test_restarting_now_takes_no_value() -> None:
    """The action has no data."""
    with pytest.raises(InvalidValue) as caught:
        validate_value(REBOOT_TREE[1], "now")
    assert caught.value.detail == "RebootNow takes no value from a server."


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({}, ()),
        ({"Single": NOON, "DailyRecurrent": NOON}, ()),
        ({"DailyRecurrent": NOON, "WeeklyRecurrent": ""}, ()),
        ({"DailyRecurrent": "", "WeeklyRecurrent": NOON}, ()),
        (
            {"DailyRecurrent": NOON, "WeeklyRecurrent": NOON},
            ("DailyRecurrent and WeeklyRecurrent cannot be set at the same time.",),
        ),
    ],
)
def test_two_schedules_exclude_each_other(values: dict[str, str], problems: tuple[str, ...]) -> None:
    """Daily and weekly at once is refused; an empty one of them is none."""
    assert validate_together(values) == problems
