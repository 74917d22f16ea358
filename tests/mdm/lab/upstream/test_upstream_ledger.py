"""What changed and what went since a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mdm.lab.upstream_ledger import Ledger

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_ledger_tells_changes_since_a_moment() -> None:
    """Put, put anew, dropped, dropped and put again; without a moment, all there is."""
    ledger: Ledger[str] = Ledger()
    for key in "abcd":
        ledger.put(key, key.upper(), NOON)
    ledger.put("b", "B2", NOON + HOUR)
    ledger.drop("c", NOON + HOUR)
    ledger.drop("d", NOON + HOUR)
    ledger.put("d", "D2", NOON + 2 * HOUR)
    assert ledger.since(None) == (["A", "B2", "D2"], [])
    assert ledger.since(NOON) == (["B2", "D2"], ["c"])
    assert ledger.since(NOON + HOUR) == (["D2"], [])
    assert (ledger.get("a"), ledger.get("c")) == ("A", None)
    with pytest.raises(KeyError):
        ledger.drop("c", NOON)
