"""The one clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mdm.clock import utc_now


def test_now_is_aware_and_in_utc() -> None:
    """The clock gives the present moment, in UTC."""
    before = datetime.now(UTC)
    moment = utc_now()
    assert moment.utcoffset() == timedelta(0)
    assert before <= moment <= datetime.now(UTC)
