"""The limits: one immutable value with room for the largest message Windows sends."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict

import pytest

from syncml.limits import DEFAULT_LIMITS, Limits


def test_the_defaults_are_the_published_ones() -> None:
    """These numbers are promised in the documentation; changing one is a decision."""
    assert Limits() == DEFAULT_LIMITS
    assert asdict(DEFAULT_LIMITS) == {
        "bytes": 524_288,
        "depth": 32,
        "elements": 20_000,
        "commands": 2_000,
        "attributes": 16,
        "name": 256,
        "text": 262_144,
        "namespaces": 16,
    }


def test_limits_cannot_be_changed_in_place() -> None:
    """A caller that wants others makes another value."""
    with pytest.raises(FrozenInstanceError):
        DEFAULT_LIMITS.depth = 64  # type: ignore[misc]
