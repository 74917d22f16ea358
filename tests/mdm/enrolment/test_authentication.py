"""Whose failures are counted: those of secrets that can be guessed before they are looked at, the others afterwards."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mdm.enrolment.service import POLICY_PATH
from mdm.enrolment.throttle import ADDRESS_TRIES, WINDOW, address_key, count_try, is_locked
from mdm.lab.mde2 import get_policies

if TYPE_CHECKING:
    from conftest import Bench, Station

USER = "user@example.test"
WRONG = "A" * 24
"""In the form of a token."""


def failures(station: Station) -> list[int]:
    """What is counted for each key."""
    return [row["failures"] for row in station.bench.rows("enrolment_failure")]


def test_a_good_token_writes_nothing(station: Station) -> None:
    """A site that enrols by tokens does not wait for the one row of its address."""
    token = station.token()
    station.answer(POLICY_PATH, get_policies(USER, token))
    assert failures(station) == []
    station.fault(POLICY_PATH, get_policies(USER, WRONG))
    station.answer(POLICY_PATH, get_policies(USER, token))
    assert failures(station) == [1], "a success does not make up for a failure"


def test_failures_with_tokens_add_up(sqlite_station: Station) -> None:
    """Up to the limit, and what comes after that is not even counted."""
    for number in range(1, ADDRESS_TRIES + 1):
        assert "used up" in sqlite_station.fault(POLICY_PATH, get_policies(USER, WRONG))[1]
        assert failures(sqlite_station) == [number]
    for secret in (WRONG, sqlite_station.token()):
        assert "Wait 15 minutes" in sqlite_station.fault(POLICY_PATH, get_policies(USER, secret))[1]
    assert failures(sqlite_station) == [ADDRESS_TRIES]


def test_a_try_that_comes_too_late_is_told_so(
    sqlite_station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two at once, the second may find the address locked only when it is to be counted."""
    monkeypatch.setattr("mdm.enrolment.authentication.is_locked", lambda *_, **__: False)
    for _ in range(ADDRESS_TRIES):
        sqlite_station.fault(POLICY_PATH, get_policies(USER, WRONG))
    assert "Wait 15 minutes" in sqlite_station.fault(POLICY_PATH, get_policies(USER, WRONG))[1]


@pytest.mark.parametrize(
    ("later", "locked"),
    [
        (timedelta(0), True),
        (WINDOW - timedelta(seconds=1), True),
        (WINDOW, False),
        (-WINDOW, True),
        (-WINDOW - timedelta(seconds=1), False),
    ],
)
def test_a_lock_ends(bench: Bench, later: timedelta, *, locked: bool) -> None:
    """After the window; and what a wrong clock saw in the future counts for nothing, as in `count_try`."""
    key = address_key("192.0.2.1")
    with bench.database.write() as conn:
        assert not is_locked(conn, key, 2, now=bench.now)
        count_try(conn, {key: 2}, now=bench.now)
        assert not is_locked(conn, key, 2, now=bench.now)
        count_try(conn, {key: 2}, now=bench.now)
        assert is_locked(conn, key, 2, now=bench.now + later) is locked
        assert count_try(conn, {key: 2}, now=bench.now + later) is not locked
