"""Cookies of the virtual upstream cannot be made, changed or kept beyond their time."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.lab.upstream_cookies import CookieMint, CookieRefused, Ticket, timestamp

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINT = CookieMint(b"k" * 32)
TICKET = Ticket("6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12", NOW + timedelta(hours=1))


def test_a_cookie_says_what_was_put_in() -> None:
    """Both kinds give back the ticket."""
    assert MINT.check_cookie(MINT.cookie(TICKET), timestamp(TICKET.expires), NOW) == TICKET
    assert MINT.check_authorization(MINT.authorization(TICKET), NOW) == TICKET


def test_another_key_refuses_it() -> None:
    """A cookie of another server is none of ours."""
    with pytest.raises(CookieRefused):
        CookieMint(b"K" * 32).check_authorization(MINT.authorization(TICKET), NOW)


@given(st.integers(0, 207), st.integers(1, 255))
def test_any_changed_byte_is_noticed(position: int, change: int) -> None:
    """Payload and MAC are covered to the last byte."""
    data = bytearray(base64.b64decode(MINT.cookie(TICKET)))
    data[position] ^= change
    with pytest.raises(CookieRefused):
        MINT.check_cookie(base64.b64encode(bytes(data)).decode(), timestamp(TICKET.expires), NOW)


@given(st.none() | st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()))
def test_anything_else_is_refused(text: str | None) -> None:
    """Nothing but CookieRefused, whatever is sent."""
    with pytest.raises(CookieRefused):
        MINT.check_authorization(text, NOW)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 10, 4, 20, 33, 26, 654550, tzinfo=UTC), "2026-10-04T20:33:26.65455Z"),
        (datetime(2026, 10, 4, 20, 33, 20, tzinfo=UTC), "2026-10-04T20:33:20Z"),
        (datetime(2026, 10, 4, 20, 33, 26, 100000, tzinfo=UTC), "2026-10-04T20:33:26.1Z"),
    ],
)
def test_times_are_written_as_dotnet_does(moment: datetime, text: str) -> None:
    """No trailing zeros, and no point without digits after it."""
    assert timestamp(moment) == text
