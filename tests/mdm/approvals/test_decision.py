"""The decision what may be delivered: a table of cases, and what holds for every input."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.classifications import DEFINITION_UPDATES
from mdm.approvals.decision import (
    BLOCK,
    CLASSIFICATION,
    PRODUCT,
    QUERY,
    UPDATE,
    ClassFacts,
    Decision,
    Hold,
    Intent,
    UpdateFacts,
    decide,
)

if TYPE_CHECKING:
    from random import Random

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TIMES = {"past": NOW - timedelta(days=1), "now": NOW, "future": NOW + timedelta(seconds=1)}
WORDS = {
    "blocked": Hold.BLOCKED,
    "inside": Hold.BLOCK_INSIDE,
    "later": Hold.NOT_BEFORE,
    "unknown": Hold.METADATA_UNKNOWN,
    "withdrawn": Hold.EXPIRED,
    "newer": Hold.SUPERSEDED,
    "eula": Hold.EULA_NOT_ACCEPTED,
    "turn": Hold.ROLLOUT_TURN,
    "gate": Hold.ROLLOUT_GATE,
    "paused": Hold.ROLLOUT_PAUSED,
    "halted": Hold.ROLLOUT_HALTED,
    "window": Hold.WINDOW,
}
GATES = (Hold.ROLLOUT_TURN, Hold.ROLLOUT_GATE, Hold.ROLLOUT_PAUSED, Hold.ROLLOUT_HALTED)
KINDS = {"P": PRODUCT, "Q": QUERY}
IDS = {"V": DEFINITION_UPDATES}
TABLE = (Path(__file__).parent / "decisions.txt").read_text(encoding="utf-8")
EULA = "eeeeeeee-0000-4000-8000-000000000001"


# --- the table ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One line of decisions.txt."""

    title: str
    intents: tuple[Intent, ...]
    facts: dict[str, UpdateFacts]
    classes: ClassFacts
    offered: tuple[str, ...]
    closed: bool
    outcome: Decision

    def decide(self, step: int = 1) -> Decision:
        """The decision, of everything in its order or (-1) the other way round."""
        return decide(
            self.intents[::step],
            self.facts,
            self.classes,
            now=NOW,
            offered=self.offered[::step],
            window_closed=self.closed,
        )


def intent(word: str, number: int) -> Intent:
    """`+a!@past`, `+S*`, `-b`."""
    found = re.fullmatch(r"([+-])([a-zA-Z])(\*?)(!?)(?:@(\w+))?", word)
    assert found, word
    sign, name, star, blind, moment = found.groups()
    return Intent(
        f"apr_{number}",
        UPDATE if name.islower() else KINDS.get(name, CLASSIFICATION),
        IDS.get(name, name),
        allow_without_metadata=bool(blind),
        action="approve" if sign == "+" else BLOCK,
        delivery="expanded" if star else "device",
        not_before=TIMES.get(moment),
        gate=WORDS.get(moment),
    )


def fact(word: str) -> UpdateFacts:
    """`a:S+P+Q/old/eula`."""
    name, _, rest = word.partition(":")
    belongs, *marks = rest.split("/")
    class_id, *groups = belongs.split("+")
    assert set(marks) <= {"eula", "accepted", "expired", "old"}, word
    return UpdateFacts(
        name,
        eula_id=EULA if {"eula", "accepted"} & set(marks) else None,
        eula_accepted="accepted" in marks,
        expired="expired" in marks,
        classification_id=IDS.get(class_id, class_id) or None,
        superseded="old" in marks,
        groups=frozenset(groups),
    )


def case(line: str) -> Case:
    """A line with its six columns, the last of which may be missing."""
    title, wanted, catalogue, offered, goes, held = ([each.strip() for each in line.split("|")] + [""])[:6]
    words = catalogue.split()
    facts = {each.update_id: each for each in (fact(word) for word in words if ":" in word)}
    further = {word.removesuffix("/eula") for word in words if ":" not in word}
    wishes = [word for word in wanted.split() if word != "closed"]
    intents = tuple(intent(word, number) for number, word in enumerate(wishes))
    blocked = {each.target_id for each in intents if each.blocks and each.target_type in {PRODUCT, QUERY}}
    return Case(
        title=title,
        intents=intents,
        facts=facts,
        classes=classes_of(facts, further, blocked),
        offered=tuple(offered.split()),
        closed="closed" in wanted.split(),
        outcome=Decision(
            updates=frozenset(name for name in goes.split() if name.islower()),
            classifications=frozenset(IDS.get(name, name) for name in goes.split() if name.isupper()),
            held={
                IDS.get(name, name): WORDS[why]
                for name, _, why in (each.partition("=") for each in held.split())
            },
        ),
    )


def classes_of(facts: dict[str, UpdateFacts], further: set[str], blocked: set[str]) -> ClassFacts:
    """What these facts say of classifications; `further` ones have an open licence besides."""
    published = [each for each in facts.values() if each.classification_id and not each.expired]
    return ClassFacts(
        with_open_eula=frozenset(
            further | {each.classification_id for each in published if each.eula_missing} - {None}
        ),
        with_block=frozenset(
            {each.classification_id for each in published if each.groups & blocked} - {None}
        ),
    )


def cases() -> list[Case]:
    """Every line, with its section in front of its title."""
    found, section = [], ""
    for line in TABLE.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line and not line.startswith("#"):
            read = case(line)
            found.append(replace(read, title=f"{section}: {read.title}"))
    return found


CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_each_line_of_the_table(case: Case) -> None:
    """What goes and what is held, with its reason, is exactly what the line says."""
    assert case.decide() == case.outcome


def test_the_table_is_large_and_complete() -> None:
    """No line stands there twice, and every reason to hold is told of updates or classifications that have it."""
    assert len(CASES) >= 250
    assert len({case.title for case in CASES}) == len(CASES)
    told = {(name.islower(), hold) for case in CASES for name, hold in case.outcome.held.items()}
    updates, classes = ({hold for lower, hold in told if lower is kind} for kind in (True, False))
    assert updates == set(Hold) - {Hold.BLOCK_INSIDE}
    assert classes == set(Hold) - {Hold.METADATA_UNKNOWN, Hold.EXPIRED, Hold.SUPERSEDED}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_each_line_holds_in_any_order(case: Case) -> None:
    """Neither the order of wishes nor that of offers matters."""
    assert case.decide(-1) == case.outcome


# --- what holds for every input -------------------------------------------------------------------------

UPDATES = [f"{n:08x}-0000-4000-8000-00000000000a" for n in range(4)]
CLASSES = [f"{n:08x}-0000-4000-8000-00000000000c" for n in range(2)]
SETS = {"product-0": PRODUCT, "product-1": PRODUCT, "query-0": QUERY}


@dataclass(frozen=True)
class World:
    """Everything a decision is made from."""

    intents: list[Intent]
    facts: dict[str, UpdateFacts]
    open_classes: set[str]
    offered: list[str]
    window_closed: bool

    def decide(self, intents: list[Intent] | None = None) -> Decision:
        """The decision, of other intents if they are given."""
        wanted = self.intents if intents is None else intents
        blocked = {each.target_id for each in wanted if each.blocks}
        classes = classes_of(self.facts, self.open_classes, blocked)
        return decide(
            wanted, self.facts, classes, now=NOW, offered=self.offered, window_closed=self.window_closed
        )


def intents_() -> st.SearchStrategy[Intent]:
    """Approvals and blocks of every kind."""
    common = {
        "approval_id": st.just("apr"),
        "action": st.sampled_from(["approve", "approve", "block"]),
        "not_before": st.none() | st.sampled_from(sorted(TIMES.values())),
        "gate": st.none() | st.sampled_from(GATES),
    }
    update = st.builds(
        Intent,
        target_type=st.just("update"),
        target_id=st.sampled_from(UPDATES),
        allow_without_metadata=st.booleans(),
        **common,
    )
    classification = st.builds(
        Intent,
        target_type=st.just(CLASSIFICATION),
        target_id=st.sampled_from(CLASSES),
        delivery=st.sampled_from(["device", "expanded"]),
        **common,
    )
    grouped = st.sampled_from(sorted(SETS)).flatmap(
        lambda name: st.builds(Intent, target_type=st.just(SETS[name]), target_id=st.just(name), **common)
    )
    return update | classification | grouped


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any world in which classifications with an open licence are those that facts or others say are."""
    facts: dict[str, UpdateFacts] = {}
    for update_id in draw(st.sets(st.sampled_from(UPDATES))):
        facts[update_id] = draw(
            st.builds(
                UpdateFacts,
                st.just(update_id),
                eula_id=st.none() | st.just(EULA),
                eula_accepted=st.booleans(),
                expired=st.booleans(),
                classification_id=st.none() | st.sampled_from(CLASSES),
                superseded=st.booleans(),
                groups=st.frozensets(st.sampled_from(sorted(SETS))),
            )
        )
    return World(
        draw(st.lists(intents_(), max_size=8)),
        facts,
        draw(st.sets(st.sampled_from(CLASSES))),
        draw(st.lists(st.sampled_from(UPDATES), unique=True)),
        window_closed=draw(st.booleans()),
    )


def delivered(decision: Decision) -> frozenset[str]:
    """Every GUID that goes to the device."""
    return decision.updates | decision.classifications


@given(worlds())
def test_no_licence_is_accepted_that_nobody_has_accepted(world: World) -> None:
    """What goes has metadata, unless one of its own approvals waives it, and no open licence in it."""
    decision = world.decide()
    for update_id in decision.updates:
        known = world.facts.get(update_id)
        if known is None:
            assert any(each.target_id == update_id and each.allow_without_metadata for each in world.intents)
        else:
            assert not known.eula_missing
            assert not known.expired
    assert not decision.classifications & world.open_classes
    assert not decision.classifications & {
        each.classification_id for each in world.facts.values() if each.eula_missing and not each.expired
    }


@given(worlds())
def test_a_block_always_wins(world: World) -> None:
    """Neither what is blocked goes, nor what is in a blocked classification, nor a GUID that would bring it."""
    decision = world.decide()
    blocked = {each.target_id for each in world.intents if each.blocks}
    assert not blocked & delivered(decision)
    for update_id, known in world.facts.items():
        if known.belongs_to & blocked:
            assert update_id not in decision.updates
        if update_id in blocked or (known.groups & blocked and not known.expired):
            assert known.classification_id not in decision.classifications


@given(worlds())
def test_nothing_goes_that_nobody_approved_for_now(world: World) -> None:
    """Each GUID that goes has an approval whose time has come, and whose rollout lets it, of itself or of what it is in."""
    due = [
        each
        for each in world.intents
        if not each.blocks and (each.not_before is None or each.not_before <= NOW) and each.gate is None
    ]
    decision = world.decide()
    named = {each.target_id for each in due if not each.expands}
    classes = {each.target_id for each in due if each.expands}
    for update_id in decision.updates - named:
        assert update_id in world.offered
        assert world.facts[update_id].belongs_to & classes
    assert decision.classifications <= named
    assert not (world.window_closed and delivered(decision))


@given(worlds())
def test_nothing_that_is_approved_is_forgotten(world: World) -> None:
    """Each approved GUID, and each offered update of an expanded classification, goes or is held with a reason."""
    decision = world.decide()
    approvals = [each for each in world.intents if not each.blocks]
    named = {each.target_id for each in approvals if not each.expands}
    classes = {each.target_id for each in approvals if each.expands}
    inside = {
        each for each in world.offered if each in world.facts and world.facts[each].belongs_to & classes
    }
    assert named | inside <= delivered(decision) | decision.held.keys()
    assert delivered(decision) | decision.held.keys() <= named | inside | classes
    assert not delivered(decision) & decision.held.keys()


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_wishes_does_not_matter(world: World, random: Random) -> None:
    """Shuffled, they come to the same."""
    shuffled = list(world.intents)
    random.shuffle(shuffled)
    assert world.decide(shuffled) == world.decide()


@given(worlds(), intents_())
def test_another_block_brings_nothing(world: World, more: Intent) -> None:
    """With one more block nothing goes that did not go before."""
    block = replace(more, action=BLOCK)
    assert delivered(world.decide([*world.intents, block])) <= delivered(world.decide())


@given(worlds(), st.data())
def test_one_approval_less_brings_nothing(world: World, data: st.DataObject) -> None:
    """Without one of the approvals nothing goes that did not go with it."""
    approvals = [each for each in world.intents if not each.blocks]
    if not approvals:
        return
    gone = data.draw(st.sampled_from(range(len(approvals))))
    left = [each for each in world.intents if each is not approvals[gone]]
    assert delivered(world.decide(left)) <= delivered(world.decide())


@given(worlds())
def test_what_comes_together_comes_alone(world: World) -> None:
    """Two approvals never come to more than each of them with all the blocks: none lends another its time."""
    blocks = [each for each in world.intents if each.blocks]
    alone = [delivered(world.decide([each, *blocks])) for each in world.intents if not each.blocks]
    assert delivered(world.decide()) == frozenset().union(*alone)
