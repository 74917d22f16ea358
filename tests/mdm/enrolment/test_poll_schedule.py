"""The poll schedule: how it is written, what Windows makes of it, and the load it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.dmclient import validate, validate_together
from csp.polling import POLL_NODES
from mdm.enrolment.poll_schedule import MAX_COUNT, MAX_LONG, MAX_QUICK, PollSchedule

if TYPE_CHECKING:
    from conftest import Station

FORM = "must be one or two sets of quick sessions"
COUNTS, QUICK, LONG = (st.integers(1, most) for most in (MAX_COUNT, MAX_QUICK, MAX_LONG))
SECOND = st.one_of(st.just((0, 0)), st.tuples(COUNTS, QUICK))


@pytest.mark.parametrize(
    ("text", "schedule", "written"),
    [
        ("5x3, 8x15, 480", PollSchedule(), "5x3, 8x15, 480"),
        (" 5 x 3,8x15 ,\t480 ", PollSchedule(), "5x3, 8x15, 480"),
        ("10x2,1440", PollSchedule(10, 2, 0, 0, 1440), "10x2, 1440"),
        ("1000x1440, 1x1, 10080", PollSchedule(1000, 1440, 1, 1, 10080), "1000x1440, 1x1, 10080"),
    ],
)
def test_how_it_is_written(text: str, schedule: PollSchedule, written: str) -> None:
    """Blanks do not matter, and there is one spelling to compare."""
    assert PollSchedule.parse(text) == schedule
    assert str(schedule) == written


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", FORM),
        ("480", FORM),
        ("5x3, 8x15", FORM),
        ("5x3, 8x15, 2x2, 480", FORM),
        ("5x3, 8x15, 480 minutes", FORM),
        ("5x3, 8x15, -1", FORM),
        ("5x3, 8x15, ٤٨٠", FORM),
        ("5x3, 8x15, 9999999999", FORM),
        ("five, 480", "has a set of quick sessions 'five', which is not written like 5x3"),
        ("5*3, 480", "not written like 5x3"),
        ("x" * 500 + ", 480", "not written like 5x3"),
        ("0x3, 480", "has 0 for the number of sessions in a set, which is from 1 to 1000"),
        ("5x3, 1001x3, 480", "has 1001 for the number of sessions in a set"),
        ("5x0, 480", "has 0 for the minutes between sessions of a set, which is from 1 to 1440"),
        ("5x1441, 480", "has 1441 for the minutes"),
        ("5x3, 0", "has 0 for the minutes between sessions in the long run, which is from 1 to 10080"),
        ("5x3, 10081", "has 10081 for the minutes between sessions in the long run"),
    ],
)
def test_what_cannot_be_written(text: str, words: str) -> None:
    """A sentence says what is wrong; quick polls for ever, and none in the long run, have no spelling."""
    with pytest.raises(ValueError, match=words) as caught:
        PollSchedule.parse(text)
    assert len(str(caught.value)) < 200


@given(COUNTS, QUICK, SECOND, LONG)
def test_windows_takes_whatever_can_be_written(
    count: int, minutes: int, second: tuple[int, int], long: int
) -> None:
    """Each value may stand in its node, no two contradict each other, and exactly the long run never ends."""
    schedule = PollSchedule(count, minutes, *second, long)
    assert PollSchedule.parse(str(schedule)) == schedule
    nodes = {f"Poll/{name}": str(number) for name, number in schedule.nodes().items()}
    for name, value in nodes.items():
        validate(name, value)
    assert validate_together(nodes) == ()
    assert tuple(schedule.nodes()) == POLL_NODES
    assert schedule.longest_minutes >= max(minutes, second[1], long)


def test_the_load_of_a_fleet() -> None:
    """Averages in the long run, and what newcomers add in their first hours."""
    load = PollSchedule().load(10_000)
    assert load.sessions_per_device_and_day == 3
    assert load.sessions_per_second == pytest.approx(10_000 / 28_800)
    assert (load.sessions_per_newcomer, load.newcomer_minutes, load.newcomer_seconds) == (13, 135, 180)
    assert load.newcomers_per_second(90) == 0.5
    assert load.sentences() == (
        "10,000 devices every 480 minutes: 0.35 sessions/s, 3 a day from each.",
        "100 enrolments at a time: 0.56 sessions/s at first, 13 sessions from each within 2.25 hours.",
    )


@pytest.mark.parametrize(
    ("schedule", "devices", "words"),
    [
        (PollSchedule(), 0, "0 devices every 480 minutes: 0.00 sessions/s"),
        (PollSchedule(), 1, "1 device every 480 minutes: less than 0.01 sessions/s"),
        (PollSchedule(5, 3, 0, 0, 10_080), 9, "9 devices every 10,080 minutes: less than 0.01 sessions/s, 0.143 a day"),
        (PollSchedule(1, 1, 0, 0, 1), 1_000_000, "16,666.67 sessions/s, 1,440 a day"),
    ],
)  # fmt: skip
def test_small_and_large_fleets(schedule: PollSchedule, devices: int, words: str) -> None:
    """The sentences stay readable."""
    assert words in schedule.load(devices).sentences()[0]


def test_a_short_beginning_is_told_in_minutes() -> None:
    """Not in fractions of an hour."""
    assert "within 15 minutes" in PollSchedule(5, 3, 0, 0, 480).load(1).sentences(1)[1]


def test_a_device_is_enrolled_with_the_schedule(station: Station) -> None:
    """It stands in the document, and the device's row says so: it need not be told again."""
    station.user()
    schedule = PollSchedule(10, 1, 0, 0, 60)
    other = station.open(poll=schedule)
    document = other.enrol("user@example.test", "correct horse battery")
    (poll,) = document.xpath('//characteristic[@type="Poll"]')
    told = {parm.get("name"): parm.get("value") for parm in poll.findall("parm")}
    assert {name: int(told[name]) for name in POLL_NODES} == schedule.nodes()
    assert [row["poll_schedule"] for row in station.bench.rows("device")] == ["10x1, 60"]
