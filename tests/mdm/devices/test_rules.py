"""Rules: what they are read from, what they say of a device, and what they say when it has not spoken."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.devices.facts import DeviceFacts
from mdm.devices.rules import MAX_CONDITIONS, MAX_DEPTH, parse_rule
from mdm.errors import Invalid

DESK = DeviceFacts(
    "dev_1",
    "DESK-0042",
    os_version="10.0.26100.4652",
    os_edition="Windows 11 Enterprise",
    manufacturer="Contoso",
    model="Book 3 [rev A]",
    language="en-US",
    enrolment_user="ada@contoso.example",
    tags=frozenset({"kiosk", "lobby"}),
)
SILENT = DeviceFacts("dev_2", "desk-7")

LEAVES: list[dict[str, Any]] = [
    {"os_build": {"at_least": "26100"}},
    {"os_build": {"prefix": "19045"}},
    {"edition": "*enterprise"},
    {"edition": "*home*"},
    {"tag": "kiosk"},
    {"tag": "lab"},
    {"name": "desk-*"},
    {"percentage": {"seed": "s", "from": 0, "to": 50}},
]


def holds(document: Any, facts: DeviceFacts = DESK) -> bool | None:
    """What the rule says of a device."""
    return parse_rule(document).holds(facts)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"os_build": {"at_least": "10.0.26100.4652"}}, True),
        ({"os_build": {"at_least": "26100.4653"}}, False),
        ({"os_build": {"at_least": "26100"}}, True),
        ({"os_build": {"at_least": "9600"}}, True),
        ({"os_build": {"below": "26100.4652"}}, False),
        ({"os_build": {"below": "26100.4653"}}, True),
        ({"os_build": {"at_least": "22000", "below": "26200"}}, True),
        ({"os_build": {"at_least": "22000", "below": "26100"}}, False),
        ({"os_build": {"prefix": "10.0.26100"}}, True),
        ({"os_build": {"prefix": "26100.4652"}}, True),
        ({"os_build": {"prefix": "26100.465"}}, False),
        ({"os_build": {"prefix": "2610"}}, False),
        ({"edition": "windows 11 enterprise"}, True),
        ({"edition": "Windows 11"}, False),
        ({"manufacturer": "CONTOSO"}, True),
        ({"model": "Book 3*"}, True),
        ({"model": "book 3 [rev ?]"}, True),
        ({"name": "desk-????"}, True),
        ({"name": "desk-???"}, False),
        ({"name": "*42"}, True),
        ({"language": "en-*"}, True),
        ({"enrolment_user": "*@contoso.example"}, True),
        ({"tag": "Kiosk "}, True),
        ({"tag": "kios"}, False),
        ({"not": {"tag": "kiosk"}}, False),
        ({"all": [{"tag": "kiosk"}, {"language": "en-*"}]}, True),
        ({"all": [{"tag": "kiosk"}, {"language": "de-*"}]}, False),
        ({"any": [{"tag": "lab"}, {"language": "en-*"}]}, True),
        ({"any": [{"tag": "lab"}, {"language": "de-*"}]}, False),
        ({"percentage": {"seed": "s", "from": 0, "to": 100}}, True),
    ],
)
def test_conditions(document: Any, *, expected: bool) -> None:
    """Each kind says yes and no."""
    assert holds(document) is expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"os_build": {"at_least": "26100"}}, None),
        ({"edition": "*"}, None),
        ({"name": "*"}, True),
        ({"tag": "kiosk"}, False),
        ({"not": {"edition": "*"}}, None),
        ({"not": {"tag": "kiosk"}}, True),
        ({"all": [{"edition": "*"}, {"tag": "kiosk"}]}, False),
        ({"all": [{"edition": "*"}, {"name": "*"}]}, None),
        ({"any": [{"edition": "*"}, {"name": "*"}]}, True),
        ({"any": [{"edition": "*"}, {"tag": "kiosk"}]}, None),
    ],
)
def test_what_a_device_has_not_said_is_unknown(document: Any, *, expected: bool | None) -> None:
    """And so is the opposite: nobody gets into a group by saying nothing, unless it makes no difference."""
    assert holds(document, SILENT) is expected


def test_a_build_nobody_can_read_is_unknown() -> None:
    """Neither old nor new."""
    facts = DeviceFacts("dev_3", "x", os_version="6.3.9600")
    assert holds({"os_build": {"below": "26100"}}, facts) is None


@given(st.lists(st.sampled_from(LEAVES), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_order_makes_no_difference(leaves: list[Any], random: Any) -> None:
    """Lists are sets, and De Morgan's law holds for the unknown too."""
    shuffled = random.sample(leaves, len(leaves))
    for facts in (DESK, SILENT):
        for kind in ("all", "any"):
            assert holds({kind: leaves}, facts) is holds({kind: shuffled}, facts)
        opposite = {"any": [{"not": leaf} for leaf in leaves]}
        assert holds({"not": {"all": leaves}}, facts) is holds(opposite, facts)


@given(
    st.text("abc ", min_size=1).filter(str.strip),
    st.lists(st.integers(0, 10_000), min_size=4, max_size=4, unique=True).map(sorted),
    st.text("0123456789abcdef", min_size=1),
)
def test_a_share_that_grows_keeps_its_devices(seed: str, bounds: list[int], device: str) -> None:
    """Whoever is in a part is in every part around it, and the parts of a division hold everybody once."""
    wide, narrow, end, widest = (bound / 100 for bound in bounds)
    facts = DeviceFacts(f"dev_{device}", "x")

    def inside(start: float, stop: float) -> bool | None:
        return holds({"percentage": {"seed": seed, "from": start, "to": stop}}, facts)

    if inside(narrow, end):
        assert inside(wide, widest)
    parts = [(0, narrow), (narrow, end), (end, 100)]
    assert sum(bool(inside(*part)) for part in parts if part[0] < part[1]) == 1


def test_a_share_is_about_as_large_as_it_says_and_stays_where_it_is() -> None:
    """One in ten of many devices, others with another seed, and the same ones in every release."""
    devices = [DeviceFacts(f"dev_{number}", "x") for number in range(5_000)]

    def members(seed: str) -> set[str]:
        rule = parse_rule({"percentage": {"seed": seed, "from": 0, "to": 10}})
        return {facts.id for facts in devices if rule.holds(facts)}

    first, second = members("wave 1"), members("wave 2")
    assert 400 < len(first) < 600
    assert len(first & second) < 100
    assert sorted(first)[:3] == ["dev_1006", "dev_1064", "dev_1066"]


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_globs_are_those_everybody_knows(pattern: str, text: str) -> None:
    """As the standard library's, but for brackets."""
    expected = re.fullmatch(fnmatch.translate(pattern), text) is not None
    if pattern.strip():
        assert holds({"name": pattern}, DeviceFacts("dev_1", text)) is expected


def test_a_glob_of_many_stars_ends() -> None:
    """What would keep a backtracking expression busy for ever."""
    assert holds({"name": "*a" * 90 + "b"}, DeviceFacts("dev_1", "a" * 2_000)) is False


@pytest.mark.parametrize(
    ("document", "pointer", "code"),
    [
        (None, "/rule", "wrong_type"),
        ([], "/rule", "wrong_type"),
        ({}, "/rule", "wrong_type"),
        ({"tag": "a", "name": "b"}, "/rule", "wrong_type"),
        ({"colour": "red"}, "/rule/colour", "unknown_member"),
        ({"a/b~": "red"}, "/rule/a~1b~0", "unknown_member"),
        ({"all": {}}, "/rule/all", "wrong_type"),
        ({"all": []}, "/rule/all", "too_short"),
        ({"any": [{"tag": "x"}] * (MAX_CONDITIONS + 1)}, "/rule/any", "too_long"),
        ({"any": [{"tag": "x"}] * MAX_CONDITIONS}, "/rule", "too_long"),
        ({"any": [{"tag": "x"}, {"not": 7}]}, "/rule/any/1/not", "wrong_type"),
        ({"tag": 7}, "/rule/tag", "wrong_type"),
        ({"tag": "  "}, "/rule/tag", "too_short"),
        ({"name": "x" * 201}, "/rule/name", "too_long"),
        ({"name": "a\x00"}, "/rule/name", "control_character"),
        ({"name": "\ud800"}, "/rule/name", "control_character"),
        ({"os_build": "26100"}, "/rule/os_build", "wrong_type"),
        ({"os_build": {}}, "/rule/os_build", "required"),
        ({"os_build": {"above": "1"}}, "/rule/os_build/above", "unknown_member"),
        ({"os_build": {"below": "Windows 11"}}, "/rule/os_build/below", "invalid_value"),
        ({"os_build": {"below": 26100}}, "/rule/os_build/below", "invalid_value"),
        ({"percentage": 10}, "/rule/percentage", "wrong_type"),
        ({"percentage": {"seed": "s", "from": 0}}, "/rule/percentage/to", "required"),
        ({"percentage": {"seed": "", "from": 0, "to": 5}}, "/rule/percentage/seed", "too_short"),
        ({"percentage": {"seed": "s", "from": 5, "to": 5}}, "/rule/percentage/to", "invalid_value"),
        ({"percentage": {"seed": "s", "from": -1, "to": 5}}, "/rule/percentage/from", "invalid_value"),
        ({"percentage": {"seed": "s", "from": 0, "to": 101}}, "/rule/percentage/to", "invalid_value"),
        ({"percentage": {"seed": "s", "from": 0, "to": True}}, "/rule/percentage/to", "invalid_value"),
        ({"percentage": {"seed": "s", "from": 0, "to": "5"}}, "/rule/percentage/to", "invalid_value"),
        ({"percentage": {"seed": "s", "from": 0, "to": 0.125}}, "/rule/percentage/to", "invalid_value"),
        (
            {"percentage": {"seed": "s", "from": float("nan"), "to": 5}},
            "/rule/percentage/from",
            "invalid_value",
        ),
    ],
)
def test_what_is_wrong_is_named(document: Any, pointer: str, code: str) -> None:
    """By JSON pointer, with a code and a sentence."""
    with pytest.raises(Invalid) as caught:
        parse_rule(document)
    assert [(error.pointer, error.code) for error in caught.value.errors] == [(pointer, code)]
    assert caught.value.errors[0].detail.endswith(".")


def test_all_wrong_members_of_a_list_are_named_but_not_without_end() -> None:
    """Each with its place; twenty are enough."""
    with pytest.raises(Invalid) as caught:
        parse_rule({"any": [{"tag": ""}, {"tag": "x"}, {"os_build": {"below": "x", "prefix": "y"}}]})
    assert [error.pointer for error in caught.value.errors] == [
        "/rule/any/0/tag",
        "/rule/any/2/os_build/below",
        "/rule/any/2/os_build/prefix",
    ]
    with pytest.raises(Invalid) as caught:
        parse_rule({"any": [{"tag": ""}] * 100})
    assert len(caught.value.errors) == 20


def test_rules_are_not_nested_without_end() -> None:
    """The deepest allowed is read, one more is named."""
    document: Any = {"tag": "x"}
    for _ in range(MAX_DEPTH - 1):
        document = {"not": document}
    assert holds(document) is not None
    with pytest.raises(Invalid) as caught:
        parse_rule({"not": document})
    assert [error.code for error in caught.value.errors] == ["too_deep"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(LEAVES),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["all", "any", "not", "os_build", "percentage", "seed", "from", "to", "below"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=10,
    )
)
def test_any_json_is_a_rule_or_refused(document: Any) -> None:
    """Nothing else comes of it; and a rule that was read can be asked."""
    try:
        rule = parse_rule(document)
    except Invalid as problem:
        assert problem.errors  # noqa: PT017 - either outcome is right
    else:
        assert {rule.holds(DESK), rule.holds(SILENT)} <= {True, False, None}
