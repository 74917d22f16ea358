"""Reading documents of administrators: what is taken, and what each wrong member is told."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.documents import each, escaped, flag, matches, members, number, text, whole_number
from mdm.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable


def codes(read: Callable[[], Any]) -> list[tuple[str, str]]:
    """Pointer and code of what is refused."""
    with pytest.raises(Invalid) as problem:
        read()
    return [(error.pointer, error.code) for error in problem.value.errors]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (1, "wrong_type"),
        (None, "wrong_type"),
        (" \t", "too_short"),
        ("x" * 201, "too_long"),
        ("a\x00b", "control_character"),
        ("a\ud800b", "control_character"),
    ],
)
def test_texts(value: Any, code: str) -> None:
    """What storage could not hold, or nobody could mean, is named."""
    assert codes(lambda: text(value, "/title")) == [("/title", code)]
    assert text("x" * 200, "/title") == "x" * 200


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (True, "wrong_type"),
        ("1", "wrong_type"),
        (float("nan"), "invalid_value"),
        (10**400, "invalid_value"),
        (-1, "invalid_value"),
    ],
)
def test_numbers(value: Any, code: str) -> None:
    """Booleans are no numbers, and bounds hold for numbers of any size."""
    assert codes(lambda: number(value, "/n", 0, 5)) == [("/n", code)]
    assert (number(0, "/n", 0, 5), number(5, "/n", 0, 5), number(2.5, "/n", 0, 5)) == (0, 5, 2.5)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (True, "wrong_type"),
        (2.0, "wrong_type"),
        (None, "wrong_type"),
        (6, "invalid_value"),
        (-(10**30), "invalid_value"),
    ],
)
def test_whole_numbers(value: Any, code: str) -> None:
    """No fraction, no boolean, and nothing out of bounds."""
    assert codes(lambda: whole_number(value, "/n", 0, 5)) == [("/n", code)]
    assert (whole_number(0, "/n", 0, 5), whole_number(5, "/n", 0, 5)) == (0, 5)


def test_flags() -> None:
    """Only true and false."""
    assert [flag(True, "/x"), flag(False, "/x")] == [True, False]
    assert codes(lambda: flag(0, "/x")) == [("/x", "wrong_type")]


def test_members() -> None:
    """No other type, no unknown member, nothing missing; the pointer is escaped."""
    assert codes(lambda: members([], "/a", ["x"])) == [("/a", "wrong_type")]
    assert codes(lambda: members({"b/~": 1}, "/a", ["x"])) == [("/a/b~1~0", "unknown_member")]
    assert codes(lambda: members({}, "/a", ["x"], required=["x"])) == [("/a/x", "required")]
    members({"x": 1}, "/a", ["x", "y"], required=["x"])
    assert codes(lambda: members({"n" * 300: 1}, "/a", ["x"])) == [("/a/" + "n" * 197, "unknown_member")]


def test_everything_wrong_is_told_at_once() -> None:
    """Up to twenty errors."""
    assert codes(lambda: each(lambda n: flag(n, f"/{n}"), range(3))) == [
        (f"/{n}", "wrong_type") for n in range(3)
    ]
    assert len(codes(lambda: each(lambda n: flag(n, f"/{n}"), range(30)))) == 20
    assert each(lambda n: n + 1, [1, 2]) == [2, 3]


def test_escapes() -> None:
    """RFC 6901: the tilde first."""
    assert escaped("a/b~c~1") == "a~1b~0c~01"


@given(pattern=st.text("ab*?", max_size=8), value=st.text("ab", max_size=10))
def test_patterns_match_as_file_names_do(pattern: str, value: str) -> None:
    """For what both know: stars and question marks."""
    assert matches(pattern, value) == bool(re.fullmatch(fnmatch.translate(pattern), value))


def test_many_stars_take_no_long_time() -> None:
    """A hundred stars that nearly match."""
    assert not matches("*a" * 100 + "b", "a" * 5000)
