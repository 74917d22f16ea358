"""The states of a device in a rollback, as they are stored and as they are shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from mdm.rollbacks.states import PAUSING, SHOWN, UNDER_WAY, as_shown
from mdm.storage.statements import table_of
from mdm.storage.tables import RollbackDevice

END = datetime(2026, 12, 1, tzinfo=UTC)
STORED = [
    word
    for constraint in table_of(RollbackDevice).constraints
    if constraint.name == "ck_rollback_device_state"
    for word in re.findall(r"'(\w+)'", str(getattr(constraint, "sqltext", "")))
]


def test_every_stored_state_may_be_shown() -> None:
    """And two more, which time makes of those that are under way."""
    assert set(SHOWN) == {*STORED, "expired", "unconfirmed"}
    assert set(UNDER_WAY) < set(PAUSING) < set(STORED)


@pytest.mark.parametrize("state", STORED)
def test_time_ends_what_is_under_way(state: str) -> None:
    """To the moment; everything else stays what it is."""
    before = END.replace(year=2025)
    assert as_shown(state, "so", END, before) == (state, "so")
    shown, sentence = as_shown(state, "so", END, END)
    expected = {"waiting": "expired", "sent": "unconfirmed", "executed": "unconfirmed"}.get(state, state)
    assert shown == expected
    assert (sentence == "so") is (expected == state)
