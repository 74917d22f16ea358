"""JSON out: times, dataclasses, sets, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.rest.encoding import time_text, to_json


@dataclass(frozen=True, slots=True)
class Inner:
    """A value within a value."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Outer:
    """A value as handlers return them."""

    name: str
    inner: Inner
    many: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 21, 20, tzinfo=UTC), "2026-11-21T20:00:00Z"),
        (datetime(2026, 11, 21, 20, 0, 0, 5, tzinfo=UTC), "2026-11-21T20:00:00.000005Z"),
        (datetime(2026, 11, 21, 21, tzinfo=timezone(timedelta(hours=1))), "2026-11-21T20:00:00Z"),
    ],
)
def test_times_are_utc_with_z(moment: datetime, text: str) -> None:
    """RFC 3339, whatever the zone they come in."""
    assert time_text(moment) == text


def test_a_time_without_a_zone_is_a_mistake() -> None:
    """It is not guessed."""
    with pytest.raises(ValueError, match="zone"):
        time_text(datetime(2026, 11, 21))  # noqa: DTZ001 - the point


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_are_read_back(moment: datetime) -> None:
    """What is written names the same moment."""
    assert datetime.fromisoformat(time_text(moment)) == moment


def test_values_are_objects_all_the_way_down() -> None:
    """Nested dataclasses, tuples and sets have their JSON forms, and text stays UTF-8."""
    inner = Inner(datetime(2026, 1, 1, tzinfo=UTC))
    shown = {"at": "2026-01-01T00:00:00Z"}
    encoded = to_json(Outer("Bürö", inner, (inner,)))
    assert json.loads(encoded) == {"name": "Bürö", "inner": shown, "many": [shown]}
    assert "ü".encode() in encoded
    assert to_json(frozenset({"b", "a"})) == to_json({"a", "b"}) == b'["a","b"]'


@pytest.mark.parametrize("value", [object(), b"bytes", Outer, float("nan")])
def test_anything_else_is_a_mistake(value: Any) -> None:
    """A class, bytes or NaN never leak out in some form."""
    with pytest.raises((TypeError, ValueError)):
        to_json(value)
