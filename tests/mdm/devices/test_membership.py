"""Membership as a function: rules, nesting, exclusions, and the reasons given for it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.devices.facts import DeviceFacts
from mdm.devices.membership import Definition, Definitions, NestingCycle, Reason, membership, reasons
from mdm.devices.rules import parse_rule

KIOSK = DeviceFacts("dev_1", "kiosk-1", tags=frozenset({"kiosk"}))
TAGGED = parse_rule({"tag": "kiosk"})
NOBODY = parse_rule({"tag": "nobody"})
UNKNOWN = parse_rule({"edition": "*"})

BUILTIN = {"all-devices"}


def groups(definitions: dict[str, Definition], *static: str) -> set[str]:
    """The groups of the kiosk, but for the one everybody is in."""
    return set(membership(KIOSK, frozenset(static), Definitions.of(definitions))) - BUILTIN


def defined(
    *, rule: Any = None, include: set[str] | None = None, exclude: set[str] | None = None
) -> Definition:
    """A definition in short."""
    return Definition(rule, frozenset(include or ()), frozenset(exclude or ()))


def test_each_way_into_a_group() -> None:
    """By hand, by rule, through a group, through a group in a group, through all devices; else not."""
    definitions = {
        "hand": defined(),
        "rule": defined(rule=TAGGED),
        "nest": defined(include={"rule", "none"}),
        "deep": defined(include={"nest"}),
        "everybody": defined(include={"all-devices"}),
        "none": defined(rule=NOBODY),
        "unknown": defined(rule=UNKNOWN),
    }
    assert groups(definitions, "hand") == {"hand", "rule", "nest", "deep", "everybody"}


@pytest.mark.parametrize("way", [{"rule": TAGGED}, {"include": {"other"}}, {"include": {"all-devices"}}, {}])
def test_an_exclusion_always_wins(way: dict[str, Any]) -> None:
    """Over the rule, over an included group, and over the hand; also one that comes through another group."""
    definitions = {
        "other": defined(rule=TAGGED),
        "outer": defined(include={"other"}),
        "group": defined(**way, exclude={"outer"}),
    }
    assert groups(definitions, "group") == {"other", "outer"}


def test_who_is_excluded_from_an_inner_group_may_be_in_the_outer_one_by_other_ways() -> None:
    """An exclusion is the inner group's own."""
    definitions = {
        "kiosks": defined(rule=TAGGED),
        "inner": defined(include={"all-devices"}, exclude={"kiosks"}),
        "outer": defined(include={"inner"}),
    }
    assert groups(definitions) == {"kiosks"}
    assert groups(definitions, "outer") == {"kiosks", "outer"}


def test_unassigned_is_who_is_in_no_group() -> None:
    """Groups that were deleted do not count."""
    assert groups({}) == {"unassigned"}
    assert groups({"a": defined(rule=NOBODY)}, "deleted") == {"unassigned"}
    assert groups({"a": defined(rule=TAGGED)}) == {"a"}


def test_a_circle_is_told_with_its_path() -> None:
    """Whether groups include or exclude each other; each names the next."""
    definitions = {
        "a": defined(include={"b"}),
        "b": defined(exclude={"c"}),
        "c": defined(include={"a", "x"}),
        "x": defined(),
    }
    with pytest.raises(NestingCycle) as caught:
        Definitions.of(definitions)
    path = caught.value.path
    assert path[0] == path[-1]
    assert set(path) == {"a", "b", "c"}
    for group_id, following in pairwise(path):
        assert following in definitions[group_id].include | definitions[group_id].exclude
    assert str(caught.value) == " -> ".join(path)
    with pytest.raises(NestingCycle) as caught:
        Definitions.of({"a": defined(exclude={"a"})})
    assert caught.value.path == ("a", "a")


def test_a_thousand_groups_inside_each_other() -> None:
    """Depth costs no recursion."""
    definitions = {f"g{n}": defined(include={f"g{n + 1}"}) for n in range(1_000)}
    assert len(groups({**definitions, "g1000": defined(rule=TAGGED)})) == 1_001


def test_reasons() -> None:
    """Every way is told; a group the device is not in has none, and a built-in one speaks for itself."""
    definitions = Definitions.of(
        {
            "rule": defined(rule=TAGGED),
            "both": defined(rule=TAGGED, include={"rule", "none", "all-devices"}),
            "none": defined(rule=NOBODY),
            "out": defined(rule=TAGGED, exclude={"rule"}),
        }
    )

    def told(group_id: str, *static: str) -> tuple[Reason, ...]:
        return reasons(KIOSK, frozenset(static), definitions, group_id)

    assert told("both", "both") == (
        Reason("static"),
        Reason("rule"),
        Reason("group", "all-devices"),
        Reason("group", "rule"),
    )
    assert told("rule") == (Reason("rule"),)
    assert told("none") == told("out", "out") == told("unassigned") == told("deleted", "deleted") == ()
    assert told("all-devices") == (Reason("builtin"),)
    nobody = reasons(DeviceFacts("dev_2", "x"), frozenset(), Definitions.of({}), "unassigned")
    assert nobody == (Reason("builtin"),)


NAMES = [f"g{number}" for number in range(6)]


@st.composite
def definitions_without_circles(draw: st.DrawFn) -> dict[str, Definition]:
    """Groups that name only groups before them."""
    made: dict[str, Definition] = {}
    for name in NAMES:
        others = st.frozensets(st.sampled_from([*made, "all-devices"]), max_size=3)
        rule = draw(st.sampled_from([None, TAGGED, NOBODY, UNKNOWN]))
        made[name] = Definition(rule, draw(others), draw(others) - BUILTIN)
    return made


@given(definitions_without_circles(), st.frozensets(st.sampled_from(NAMES)), st.permutations(NAMES))
def test_properties(made: dict[str, Definition], static: frozenset[str], order: list[str]) -> None:
    """The order of groups makes no difference; an exclusion wins; everybody is somewhere; reasons agree."""
    definitions = Definitions.of(made)
    found = membership(KIOSK, static, definitions)
    assert found == membership(KIOSK, static, Definitions.of({name: made[name] for name in order}))
    assert "all-devices" in found
    assert ("unassigned" in found) is found.isdisjoint(NAMES)
    for name, definition in made.items():
        if definition.exclude & found:
            assert name not in found
        ways = (name in static, definition.rule is TAGGED, bool(definition.include & found))
        assert (name in found) is (any(ways) and not definition.exclude & found)
        assert (name in found) is bool(reasons(KIOSK, static, definitions, name))
        assert (name in found) is (name in membership(KIOSK, static, definitions.below(name)))
        named = definitions.below(name).order
        assert named[-1] == name
        assert definitions.by_id[name].include - BUILTIN <= set(named)
    assert definitions.below("unassigned") == definitions


@given(definitions_without_circles(), st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_a_member_more_makes_no_one_leave_unless_excluded(
    made: dict[str, Definition], name: str, other: str
) -> None:
    """Without exclusions membership only grows with what speaks for it."""
    plain = {key: Definition(each.rule, each.include) for key, each in made.items()}
    before, after = groups(plain, name), groups(plain, name, other)
    assert before - {"unassigned"} <= after
