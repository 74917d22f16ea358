"""When a device polls by itself."""

from __future__ import annotations

from itertools import accumulate

import pytest

from mdm.lab.schedule import has_schedule, minutes_to_next

DOCUMENT = {
    "Poll/NumberOfFirstRetries": "5",
    "Poll/IntervalForFirstSetOfRetries": "3",
    "Poll/NumberOfSecondRetries": "8",
    "Poll/IntervalForSecondSetOfRetries": "15",
    "Poll/NumberOfRemainingScheduledRetries": "0",
    "Poll/IntervalForRemainingScheduledRetries": "480",
}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (DOCUMENT, [3] * 5 + [15] * 8 + [480] * 4),
        # Windows' own: ten times 15 minutes, and then what it adds.
        ({}, [15] * 10 + [1440] * 3),
        # an interval of 0 leaves its set out
        (DOCUMENT | {"Poll/IntervalForFirstSetOfRetries": "0"}, [15] * 8 + [480] * 2),
        (DOCUMENT | {"Poll/IntervalForRemainingScheduledRetries": "0"}, [3] * 5 + [15] * 8 + [1440] * 2),
        # the first count 0 is without end, and the others are never reached
        (DOCUMENT | {"Poll/NumberOfFirstRetries": "0"}, [3] * 20),
        # a long set that ends
        (DOCUMENT | {"Poll/NumberOfRemainingScheduledRetries": "2"}, [3] * 5 + [15] * 8 + [480] * 2 + [1440] * 2),
    ],
)  # fmt: skip
def test_the_sets_follow_one_another(settings: dict[str, str], expected: list[int]) -> None:
    """Each set in its turn, the endless one for ever, and once a day where none is endless."""
    assert [minutes_to_next(settings, done) for done in range(len(expected))] == expected


def test_the_first_day_of_the_documents_schedule() -> None:
    """Five sessions in a quarter of an hour, eight more until 2:15, then every eight hours."""
    moments = list(accumulate(minutes_to_next(DOCUMENT, done) for done in range(15)))
    assert moments == [3, 6, 9, 12, 15, 30, 45, 60, 75, 90, 105, 120, 135, 615, 1095]


@pytest.mark.parametrize(
    ("settings", "has"),
    [
        (DOCUMENT, True),
        ({"Poll/NumberOfFirstRetries": "3"}, True),
        ({"Poll/PollOnLogin": "true"}, False),
        ({}, False),
    ],
)
def test_a_device_has_a_schedule_if_somebody_set_one(settings: dict[str, str], *, has: bool) -> None:
    """Any of the six numbers is one; Windows' defaults and the login are none."""
    assert has_schedule(settings) is has
