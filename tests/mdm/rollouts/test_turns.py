"""Whose turn it is in a gradual offer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mdm.rollouts.turns import TURNS, turn_of


@given(st.text(), st.text())
def test_a_turn_fits_a_signed_column_and_stays_the_same(rollout_id: str, device_id: str) -> None:
    """One more than the last turn still fits 64 bits with a sign, and asking twice gives one answer."""
    turn = turn_of(rollout_id, device_id)
    assert 0 <= turn < TURNS
    assert turn == turn_of(rollout_id, device_id)
    assert TURNS < 2**63


def test_turns_are_those_of_every_release() -> None:
    """A rollout under way must not be shuffled by an upgrade of the bridge."""
    assert turn_of("rol_1", "dev_1") == 610741533067772937
    assert turn_of("rol_2", "dev_1") == 1555566720097390083


def test_turns_are_spread_evenly() -> None:
    """A tenth of the range has about a tenth of the devices, in each rollout another one."""
    firsts = [
        {device for device in range(10_000) if turn_of(rollout, f"dev_{device}") < TURNS // 10}
        for rollout in ("rol_1", "rol_2")
    ]
    assert [900 < len(first) < 1_100 for first in firsts] == [True, True]
    assert len(firsts[0] & firsts[1]) < 200
