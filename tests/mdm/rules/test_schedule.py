"""Schedules: what they are read from, and when they are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.errors import Invalid
from mdm.rules.schedule import parse_schedule

BERLIN = "Europe/Berlin"


def due(document: Any, moment: str, number: int = 1) -> list[str]:
    """The next times it is due, in local time with its offset."""
    schedule = parse_schedule(document)
    found = []
    at = datetime.fromisoformat(moment)
    for _ in range(number):
        at = schedule.next_after(at)
        assert at.utcoffset() == timedelta(0)
        found.append(at.astimezone(ZoneInfo(schedule.zone)).isoformat(timespec="minutes"))
    return found


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 3 * * *", ["2026-11-22T03:30+00:00", "2026-11-23T03:30+00:00"]),
        ("0 12 * * *", ["2026-11-22T12:00+00:00", "2026-11-23T12:00+00:00"]),
        ("0,30 12 * * *", ["2026-11-21T12:30+00:00", "2026-11-22T12:00+00:00"]),
        ("*/15 * * * *", ["2026-11-21T12:15+00:00", "2026-11-21T12:30+00:00"]),
        ("45/15 12-13 * * *", ["2026-11-21T12:45+00:00", "2026-11-21T13:45+00:00"]),
        ("0 0 1 * *", ["2026-12-01T00:00+00:00", "2027-01-01T00:00+00:00"]),
        ("0 0 * * mon-fri", ["2026-11-23T00:00+00:00", "2026-11-24T00:00+00:00"]),
        ("0 0 * * 0", ["2026-11-22T00:00+00:00", "2026-11-29T00:00+00:00"]),
        ("0 0 * * 7", ["2026-11-22T00:00+00:00", "2026-11-29T00:00+00:00"]),
        ("0 0 * * SUN", ["2026-11-22T00:00+00:00", "2026-11-29T00:00+00:00"]),
        ("0 0 25 * sun", ["2026-11-22T00:00+00:00", "2026-11-25T00:00+00:00"]),
        ("0 6 */10 * *", ["2026-12-01T06:00+00:00", "2026-12-11T06:00+00:00"]),
        ("0 0 31 * *", ["2026-12-31T00:00+00:00", "2027-01-31T00:00+00:00"]),
        ("0 0 29 feb *", ["2028-02-29T00:00+00:00", "2032-02-29T00:00+00:00"]),
        ("0 5 * jan,Mar 1", ["2027-01-04T05:00+00:00", "2027-01-11T05:00+00:00"]),
        ("0 22-23/1 21 11 *", ["2026-11-21T22:00+00:00", "2026-11-21T23:00+00:00"]),
    ],
)
def test_cron(cron: str, expected: list[str]) -> None:
    """From noon of a Saturday, which is never due itself."""
    assert due({"cron": cron}, "2026-11-21T12:00:00+00:00", 2) == expected


def test_a_time_zone_moves_it() -> None:
    """Half past three in Berlin, in winter and in summer."""
    document = {"cron": "30 3 * * *", "time_zone": BERLIN}
    assert due(document, "2026-11-21T12:00:00+00:00") == ["2026-11-22T03:30+01:00"]
    assert due(document, "2026-07-01T12:00:00+00:00") == ["2026-07-02T03:30+02:00"]


def test_a_time_in_the_gap_comes_at_its_end() -> None:
    """Once, whatever it was moved onto."""
    document = {"cron": "30 2 * * *", "time_zone": BERLIN}
    assert due(document, "2026-03-28T12:00:00+00:00", 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]
    hourly = {"cron": "0 * * * *", "time_zone": BERLIN}
    assert due(hourly, "2026-03-29T00:30:00+00:00", 2) == ["2026-03-29T03:00+02:00", "2026-03-29T04:00+02:00"]


def test_a_time_shown_twice_comes_once() -> None:
    """At the first of the two."""
    document = {"cron": "30 2 * * *", "time_zone": BERLIN}
    assert due(document, "2026-10-24T12:00:00+00:00", 2) == [
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]


def test_a_day_that_is_skipped() -> None:
    """Samoa went to bed on Thursday and rose on Saturday."""
    document = {"cron": "30 23 30 12 *", "time_zone": "Pacific/Apia"}
    assert due(document, "2011-12-01T00:00:00+00:00", 2) == [
        "2011-12-31T00:00+14:00",
        "2012-12-30T23:30+14:00",
    ]


@pytest.mark.parametrize(
    ("days", "moment", "expected"),
    [
        (0, "2026-11-01T00:00:00+00:00", "2026-11-10T19:00+01:00"),
        (0, "2026-11-10T18:00:00+00:00", "2026-12-08T19:00+01:00"),
        (0, "2026-11-10T18:05:00+00:00", "2026-12-08T19:00+01:00"),
        (3, "2026-11-10T18:00:00+00:00", "2026-11-13T19:00+01:00"),
        (27, "2026-12-01T00:00:00+00:00", "2026-12-07T19:00+01:00"),
        (27, "2026-12-07T18:00:00+00:00", "2027-01-04T19:00+01:00"),
    ],
)
def test_days_after_patch_tuesday(days: int, moment: str, expected: str) -> None:
    """The second Tuesday of the month, also where the days lead into the next one."""
    document = {"patch_tuesday": {"days": days, "at": "19:00"}, "time_zone": BERLIN}
    assert due(document, moment) == [expected]


MOMENTS = st.integers(0, 15 * 366 * 86_400).map(
    lambda seconds: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
FIELDS = st.tuples(
    st.sampled_from(["0", "30", "0,15,45", "*/20"]),
    st.sampled_from(["*", "2", "1-3", "*/6", "0,23"]),
    st.sampled_from(["*", "1", "29", "*/7", "31"]),
    st.sampled_from(["*", "3", "feb-apr", "10", "*/2"]),
    st.sampled_from(["*", "sun", "1-5", "2"]),
)
ZONES = st.sampled_from(
    ["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia"]
)


@given(fields=FIELDS.filter(lambda found: found[2:4] != ("31", "feb")), zone=ZONES, moment=MOMENTS)
def test_what_is_due_next_is_after_now_and_nothing_lies_between(
    fields: tuple[str, ...], zone: str, moment: datetime
) -> None:
    """From any moment before it the same time is due, down to the one before."""
    schedule = parse_schedule({"cron": " ".join(fields), "time_zone": zone})
    first = schedule.next_after(moment)
    assert moment < first
    assert schedule.next_after(first - timedelta(microseconds=1)) == first
    assert schedule.next_after(moment + (first - moment) / 2) == first
    assert schedule.next_after(first) > first


@pytest.mark.parametrize(
    ("document", "pointer", "code"),
    [
        (None, "", "wrong_type"),
        ({}, "", "required"),
        ({"time_zone": "UTC"}, "", "required"),
        ({"cron": "0 0 * * *", "patch_tuesday": {}}, "", "required"),
        ({"daily": True}, "/daily", "unknown_member"),
        ({"cron": "0 0 * * *", "time_zone": "Mars/Olympus"}, "/time_zone", "unknown_time_zone"),
        ({"cron": "0 0 * * *", "time_zone": "../../etc/passwd"}, "/time_zone", "unknown_time_zone"),
        ({"cron": "0 0 * * *", "time_zone": "UTC\x00"}, "/time_zone", "control_character"),
        ({"cron": "0 0 * * *", "time_zone": None}, "/time_zone", "wrong_type"),
        ({"cron": 5}, "/cron", "wrong_type"),
        ({"cron": ""}, "/cron", "too_short"),
        ({"cron": "0 0 * *"}, "/cron", "invalid_value"),
        ({"cron": "@daily"}, "/cron", "invalid_value"),
        ({"cron": "60 0 * * *"}, "/cron", "invalid_value"),
        ({"cron": "0 24 * * *"}, "/cron", "invalid_value"),
        ({"cron": "0 0 0 * *"}, "/cron", "invalid_value"),
        ({"cron": "0 0 * 13 *"}, "/cron", "invalid_value"),
        ({"cron": "0 0 * * 8"}, "/cron", "invalid_value"),
        ({"cron": "0 0 * * monday"}, "/cron", "invalid_value"),
        ({"cron": "0 0 mon * *"}, "/cron", "invalid_value"),
        ({"cron": "0 5-3 * * *"}, "/cron", "invalid_value"),
        ({"cron": "0 */0 * * *"}, "/cron", "invalid_value"),
        ({"cron": "0 *-3 * * *"}, "/cron", "invalid_value"),
        ({"cron": "0 -3 * * *"}, "/cron", "invalid_value"),
        ({"cron": "0 1,,2 * * *"}, "/cron", "invalid_value"),
        ({"cron": "0 ٣ * * *"}, "/cron", "invalid_value"),
        ({"cron": f"0 {'9' * 150} * * *"}, "/cron", "invalid_value"),
        ({"cron": "* * * * *"}, "/cron", "too_often"),
        ({"cron": "*/10 0 * * *"}, "/cron", "too_often"),
        ({"cron": "0 0 30 2 *"}, "/cron", "never"),
        ({"cron": "0 0 31 feb,apr,jun *"}, "/cron", "never"),
        ({"patch_tuesday": 3}, "/patch_tuesday", "wrong_type"),
        ({"patch_tuesday": {"days": 3}}, "/patch_tuesday/at", "required"),
        ({"patch_tuesday": {"days": 28, "at": "03:00"}}, "/patch_tuesday/days", "invalid_value"),
        ({"patch_tuesday": {"days": -1, "at": "03:00"}}, "/patch_tuesday/days", "invalid_value"),
        ({"patch_tuesday": {"days": 1, "at": "24:00"}}, "/patch_tuesday/at", "invalid_value"),
        ({"patch_tuesday": {"days": 1, "at": 300}}, "/patch_tuesday/at", "wrong_type"),
    ],
)
def test_what_is_wrong_is_named(document: Any, pointer: str, code: str) -> None:
    """By its pointer, with a code and a sentence."""
    with pytest.raises(Invalid) as problem:
        parse_schedule(document)
    assert [(error.pointer, error.code) for error in problem.value.errors] == [(f"/schedule{pointer}", code)]
    assert problem.value.errors[0].detail.endswith(".")


def test_every_wrong_field_is_named() -> None:
    """And a weekday makes an impossible date possible."""
    with pytest.raises(Invalid) as problem:
        parse_schedule({"cron": "60 24 * 13 *"})
    assert len(problem.value.errors) == 3
    assert due({"cron": "0 0 30 2 mon"}, "2026-11-21T12:00:00+00:00") == ["2027-02-01T00:00+00:00"]
