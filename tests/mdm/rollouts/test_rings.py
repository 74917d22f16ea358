"""Rings: what makes sense, and what is read is what was written."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.audit_chain import plain
from mdm.errors import Invalid
from mdm.rollouts.rings import Gate, Halt, Offer, Ring, check_rings, read_ring

TEST = Ring("test", ("grp_test",))
BROAD = Ring("broad", ("grp_broad",))
ALL = Ring("all", ("all-devices",))


def wrong(*rings: Ring) -> list[tuple[str, str]]:
    """Pointer and code of each member that is wrong."""
    with pytest.raises(Invalid) as caught:
        check_rings(rings)
    return [(error.pointer, error.code) for error in caught.value.errors]


@given(
    st.builds(
        Ring,
        st.text(),
        st.lists(st.text()).map(tuple),
        st.sampled_from(["start", "previous"]),
        st.integers(0, 365),
        st.integers(0, 8760),
        st.none() | st.builds(Gate, st.integers(1, 100), st.integers(1)),
        st.none()
        | st.builds(Halt, st.none() | st.integers(1, 100), st.integers(1), st.none() | st.integers(1)),
        st.none() | st.builds(Offer, st.integers(1), st.integers(1)),
        st.none() | st.integers(1, 365),
        st.sampled_from(["auto", "approval"]),
    )
)
def test_a_ring_survives_the_database(ring: Ring) -> None:
    """What is stored as JSON is the same ring when it is read."""
    assert read_ring(plain(ring.as_json())) == ring


def test_sensible_rings_pass() -> None:
    """All devices may be the last ring; either kind of offer and of halt will do."""
    first = replace(
        TEST, promote="approval", offer=Offer(12, devices=5), halt=Halt(failures=1), gate=Gate(95, 10)
    )
    check_rings([first, replace(BROAD, offer=Offer(1, percent=10), halt=Halt(percent=5)), ALL])


@pytest.mark.parametrize(
    ("rings", "expected"),
    [
        ((), [("/rings", "wrong_number")]),
        (
            tuple(Ring(f"ring {number}", (f"grp_{number}",)) for number in range(21)),
            [("/rings", "wrong_number")],
        ),
        ((replace(TEST, group_ids=()),), [("/rings/0/group_ids", "required")]),
        ((TEST, replace(BROAD, name="test")), [("/rings/1/name", "repeated")]),
        ((TEST, replace(BROAD, group_ids=("x", "grp_test"))), [("/rings/1/group_ids/1", "repeated")]),
        ((replace(TEST, group_ids=("a", "a")),), [("/rings/0/group_ids/1", "repeated")]),
        ((ALL, TEST), [("/rings/1/group_ids", "nobody_left")]),
        ((TEST, replace(BROAD, promote="approval")), [("/rings/1/promote", "last_ring")]),
        ((replace(TEST, halt=Halt(min_sample=5)),), [("/rings/0/halt", "required")]),
        ((replace(TEST, offer=Offer(5)),), [("/rings/0/offer", "one_of_two")]),
        ((replace(TEST, offer=Offer(5, devices=1, percent=1)),), [("/rings/0/offer", "one_of_two")]),
    ],
)
def test_what_cannot_be_meant_is_named(rings: tuple[Ring, ...], expected: list[tuple[str, str]]) -> None:
    """Each wrong member by its pointer."""
    assert wrong(*rings) == expected


def test_an_offer_of_devices_grows_by_so_many_each_period() -> None:
    """Never more than there are."""
    offer = Offer(12, devices=10)
    assert [offer.wanted(slots, 25) for slots in (1, 2, 3, 9)] == [10, 20, 25, 25]
    assert [offer.periods(devices) for devices in (0, 1, 10, 11, 25)] == [0, 1, 1, 2, 3]
    assert offer.period == timedelta(hours=12)


def test_an_offer_of_a_percentage_is_rounded_up() -> None:
    """One in a hundred of three devices is one; the last period has them all."""
    offer = Offer(1, percent=30)
    assert [offer.wanted(slots, 3) for slots in (1, 2, 3, 4, 9)] == [1, 2, 3, 3, 3]
    assert [offer.wanted(slots, 10) for slots in (1, 2, 3, 4)] == [3, 6, 9, 10]
    assert [offer.periods(devices) for devices in (0, 1, 1000)] == [0, 4, 4]


@given(
    st.one_of(
        st.builds(Offer, st.just(1), devices=st.integers(1, 50)),
        st.builds(Offer, st.just(1), percent=st.integers(1, 100)),
    ),
    st.integers(0, 200),
)
def test_an_offer_reaches_everybody_in_the_periods_it_says(offer: Offer, targeted: int) -> None:
    """It never shrinks, never passes the number of devices, and ends when `periods` says."""
    reached = [offer.wanted(slots, targeted) for slots in range(1, 202)]
    assert reached == sorted(reached)
    assert max(reached) == targeted
    assert targeted == 0 or offer.wanted(offer.periods(targeted), targeted) == targeted


@pytest.mark.parametrize(
    ("installed", "tried", "met"),
    [(19, 20, True), (18, 20, False), (9, 9, False), (10, 10, True), (0, 0, False), (95, 100, True)],
)
def test_a_gate_needs_both_its_percentage_and_its_devices(installed: int, tried: int, met: bool) -> None:  # noqa: FBT001 - a column of the table
    """95 % and 10 devices; exactly 95 % is enough."""
    assert Gate(95, 10).met(installed, tried) is met
