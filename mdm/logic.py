"""Logic with three values: what is not known (None) is neither true nor false, and neither is its opposite."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["every", "opposite", "some"]


def every(answers: Iterable[bool | None]) -> bool | None:
    """False as soon as one is, else None if one is unknown; true of nothing at all."""
    found = set(answers)
    return False if False in found else None if None in found else True


def some(answers: Iterable[bool | None]) -> bool | None:
    """True as soon as one is, else None if one is unknown."""
    found = set(answers)
    return True if True in found else None if None in found else False


def opposite(answer: bool | None) -> bool | None:  # noqa: FBT001 - an answer, not a switch
    """What is unknown stays so."""
    return None if answer is None else not answer
