"""The limits: one immutable value with room for the largest message Windows sends."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict

import pytest

from syncml.limits import DEFAULT_LIMITS, HEADER_LIMITS, OPENING_LIMITS, Limits


def test_the_defaults_are_the_published_ones() -> None:
    """These numbers are promised in the documentation; changing one is a decision."""
    assert Limits() == DEFAULT_LIMITS
    assert asdict(DEFAULT_LIMITS) == {
        "bytes": 524_288,
        "depth": 32,
        "elements": 16_000,
        "commands": 1_000,
        "items": 2_500,
        "attributes": 16,
        "tag": 4_096,
        "names": 500,
        "name": 256,
        "text": 262_144,
        "namespaces": 16,
    }


def test_who_has_proved_nothing_gets_less() -> None:
    """No bound of an opening is above that of a session, and those that cost are far below."""
    proved, unproved = asdict(DEFAULT_LIMITS), asdict(OPENING_LIMITS)
    assert {name: unproved[name] for name in proved if unproved[name] != proved[name]} == {
        "bytes": 65_536,
        "elements": 2_000,
        "commands": 200,
        "items": 500,
        "text": 32_768,
    }
    assert asdict(HEADER_LIMITS) == {**unproved, "bytes": proved["bytes"]}


def test_limits_cannot_be_changed_in_place() -> None:
    """A caller that wants others makes another value."""
    with pytest.raises(FrozenInstanceError):
        DEFAULT_LIMITS.depth = 64  # type: ignore[misc]
