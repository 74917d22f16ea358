"""Fault rules: how they are written, when they strike, and that they strike the same calls again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.lab.dice import Dice
from mdm.lab.faults import FaultKind, FaultPlan, FaultRule
from mdm.lab.soap import OPERATIONS, ErrorCode
from mdm.lab.upstream_service import SERVICES


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("garbage", FaultRule(FaultKind.GARBAGE)),
        ("fault", FaultRule(FaultKind.FAULT)),
        (
            "fault=ServerBusy:GetUpdateData@3",
            FaultRule(FaultKind.FAULT, "GetUpdateData", ErrorCode.SERVER_BUSY, first=3, last=3),
        ),
        ("slow", FaultRule(FaultKind.SLOW, amount=1)),
        ("slow=2.5:Content", FaultRule(FaultKind.SLOW, "Content", amount=2.5)),
        ("status=429@2-4", FaultRule(FaultKind.STATUS, amount=429, first=2, last=4)),
        ("status@2-", FaultRule(FaultKind.STATUS, amount=503, first=2)),
        ("cookies@*50", FaultRule(FaultKind.COOKIES, every=50)),
        ("truncated@2.5%", FaultRule(FaultKind.TRUNCATED, chance=0.025)),
        ("oversize=12", FaultRule(FaultKind.OVERSIZE, amount=12)),
    ],
)
def test_rules_are_read(text: str, rule: FaultRule) -> None:
    """Kind, argument, operation and time, each left out or given."""
    assert FaultRule.parse(text) == rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not KIND"),
        ("explode", "is not KIND"),
        ("garbage@", "is not KIND"),
        ("fault=ServerBuzy", "is not an ErrorCode"),
        ("garbage=5", "garbage takes no argument"),
        ("slow=soon", "is not a number"),
        ("garbage:GetEverything", "is not an operation"),
        ("garbage@0", "is not a time to strike"),
        ("garbage@often", "is not a time to strike"),
        ("garbage@-3", "is not a time to strike"),
    ],
)
def test_a_rule_that_cannot_be_read_is_explained(text: str, words: str) -> None:
    """A misspelt rule is an error and not a fault that never comes."""
    with pytest.raises(ValueError, match=words):
        FaultRule.parse(text)


@given(st.text(max_size=40))
def test_other_text_is_a_value_error(text: str) -> None:
    """Whatever is given is a rule, or a ValueError and nothing worse."""
    try:
        rule = FaultRule.parse(text)
    except ValueError:
        return
    assert rule.kind in FaultKind


def test_every_operation_can_be_named() -> None:
    """The names a rule may have are those of the services."""
    names = {name.partition(":")[2] for service in SERVICES.values() for name in service}
    assert names == OPERATIONS


@pytest.mark.parametrize(
    ("when", "calls"),
    [("", set(range(1, 13))), ("@3", {3}), ("@3-5", {3, 4, 5}), ("@11-", {11, 12}), ("@*4", {4, 8, 12})],
)
def test_rules_strike_at_their_calls(when: str, calls: set[int]) -> None:
    """Calls are counted from 1, those of the rule's operation alone."""
    plan = FaultPlan([FaultRule.parse(f"garbage:GetCookie{when}")])
    struck = set()
    for call in range(1, 13):
        assert plan.next("GetUpdateData") is None
        if plan.next("GetCookie") is not None:
            struck.add(call)
    assert struck == calls


def test_chance_is_repeatable_and_about_right() -> None:
    """The same seed strikes the same calls, another one others, and a tenth is about a tenth."""
    rules = [FaultRule.parse("garbage@10%")]

    def struck(seed: int) -> list[int]:
        plan = FaultPlan(rules, seed)
        return [call for call in range(2_000) if plan.next("GetCookie") is not None]

    assert struck(1) == struck(1) != struck(2)
    assert 140 < len(struck(1)) < 260


def test_never_and_always_are_exact() -> None:
    """0 % never strikes, 100 % always."""
    never, always = FaultRule.parse("garbage@0%"), FaultRule.parse("garbage@100%")
    assert not any(never.strikes(call, Dice(1)) for call in range(1, 500))
    assert all(always.strikes(call, Dice(1)) for call in range(1, 500))


def test_the_first_rule_that_strikes_wins() -> None:
    """The others count the call all the same."""
    plan = FaultPlan([FaultRule.parse("slow@2"), FaultRule.parse("garbage@2-3")])
    found = [plan.next("GetCookie") for _ in range(4)]
    assert [rule.kind if rule else None for rule in found] == [None, FaultKind.SLOW, FaultKind.GARBAGE, None]


def test_without_rules_all_is_well() -> None:
    """An empty plan never strikes."""
    assert FaultPlan().next("GetCookie") is None
