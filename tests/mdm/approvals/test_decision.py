"""The decision what may be delivered: a table, and what holds for every input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.approvals.decision import Decision, Hold, Intent, UpdateFacts, decide

A = "a317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "e0789628-ce08-4437-be74-2495b842f43b"
EULA = "eeeeeeee-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("blind", "facts", "hold"),
    [
        (False, None, Hold.METADATA_UNKNOWN),
        (True, None, None),
        (False, UpdateFacts(A), None),
        (False, UpdateFacts(A, eula_id=EULA), Hold.EULA_NOT_ACCEPTED),
        (True, UpdateFacts(A, eula_id=EULA), Hold.EULA_NOT_ACCEPTED),
        (False, UpdateFacts(A, eula_id=EULA, eula_accepted=True), None),
        (False, UpdateFacts(A, expired=True), Hold.EXPIRED),
        (True, UpdateFacts(A, expired=True, eula_id=EULA), Hold.EXPIRED),
    ],
)
def test_update(*, blind: bool, facts: UpdateFacts | None, hold: Hold | None) -> None:
    """Each reason to hold an update back, and that allowing it blind does not excuse a known EULA."""
    decision = decide([Intent("1", "update", A, blind)], {A: facts} if facts else {}, frozenset())
    assert decision == Decision(
        updates=frozenset() if hold else frozenset({A}),
        classifications=frozenset(),
        held={A: hold} if hold else {},
    )


def test_one_blind_approval_is_enough() -> None:
    """Of two approvals of an unknown update, the one that allows it without metadata decides."""
    intents = [Intent("1", "update", A, allow_without_metadata=True), Intent("2", "update", A)]
    for order in (intents, intents[::-1]):
        assert decide(order, {}, frozenset()).updates == {A}


def test_classification_with_an_open_eula_is_held() -> None:
    """A classification goes out unless an update in it has a EULA that nobody has accepted."""
    intents = [Intent("1", "classification", CLASS)]
    assert decide(intents, {}, frozenset()).classifications == {CLASS}
    held = decide(intents, {}, frozenset({CLASS}))
    assert held.classifications == frozenset()
    assert held.held == {CLASS: Hold.EULA_NOT_ACCEPTED}


ids = st.sampled_from([f"{n:08x}-0000-4000-8000-000000000000" for n in range(5)])
intents_ = st.lists(
    st.builds(Intent, st.text(max_size=3), st.sampled_from(["update", "classification"]), ids, st.booleans())
)
facts_ = st.dictionaries(
    ids,
    st.builds(
        UpdateFacts,
        ids,
        eula_id=st.none() | st.just(EULA),
        eula_accepted=st.booleans(),
        expired=st.booleans(),
    ),
)


@given(intents_, facts_, st.frozensets(ids))
def test_nothing_is_lost_and_no_unaccepted_eula_goes_out(
    intents: list[Intent], facts: dict[str, UpdateFacts], open_classes: frozenset[str]
) -> None:
    """Every approved id is delivered or held, none goes with an open EULA, and the order does not matter."""
    decision = decide(intents, facts, open_classes)
    approved = {intent.target_id for intent in intents}
    assert decision.updates | decision.classifications | decision.held.keys() == approved
    assert not any(facts[i].eula_missing or facts[i].expired for i in decision.updates & facts.keys())
    assert not decision.classifications & open_classes
    assert decide(intents[::-1], facts, open_classes) == decision
