"""Values of policies as an administrator writes them, numbers as numbers, and as they are kept and sent, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from csp.policy import POLICIES, validate_together
from mdm.errors import FieldError, Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MAX_TEXT", "read_settings", "shown", "shown_settings"]

MAX_TEXT: Final = 500
"""Characters of a value that is text."""

_NAMED: Final = 20
"""Wrong values named in one answer."""
_DIGITS: Final = 10
"""Digits of the largest number that Format int carries."""
_TOO_LARGE: Final = 10**_DIGITS
_QUOTED: Final = 100
"""Characters of an unknown name that is repeated."""


def read_settings(values: Mapping[str, Any]) -> dict[str, str]:
    """The values as text, by name, once each is known to be right alone and all of them together.

    Raises Invalid that names each wrong one as `/settings/<Name>`: `unknown_policy`, `wrong_type`, `too_long`,
    `invalid_value`; or, if each is right alone, `dependency` for each way in which they contradict or lack one
    another.
    """
    errors = tuple(_errors(values))
    if errors:
        raise Invalid("A policy has a value it cannot have.", errors=errors[:_NAMED])
    settings = {name: str(value) for name, value in sorted(values.items())}
    problems = validate_together(settings)
    if problems:
        errors = tuple(FieldError("/settings", "dependency", problem) for problem in problems)
        raise Invalid("The policies do not go together.", errors=errors[:_NAMED])
    return settings


def shown(name: str, text: str) -> int | str:
    """A value as an administrator reads it; what a device says in place of a number stays text."""
    policy = POLICIES.get(name)
    number = policy is not None and policy.format == "int" and text.isascii() and text.isdigit()
    return int(text) if number and len(text) <= _DIGITS else text


def shown_settings(settings: Mapping[str, str]) -> dict[str, int | str]:
    """A profile's values as an administrator reads them, by name."""
    return {name: shown(name, text) for name, text in sorted(settings.items())}


def _errors(values: Mapping[str, Any]) -> Iterator[FieldError]:
    for name, value in values.items():
        pointer = "/settings/" + name[:_QUOTED].replace("~", "~0").replace("/", "~1")
        policy = POLICIES.get(name)
        if policy is None:
            yield FieldError(pointer, "unknown_policy", "There is no such policy in Policy/Config/Update.")
            continue
        kind, words = (int, "a whole number") if policy.format == "int" else (str, "a text")
        if not isinstance(value, kind) or isinstance(value, bool):
            yield FieldError(pointer, "wrong_type", f"Must be {words}.")
            continue
        if isinstance(value, str) and len(value) > MAX_TEXT:
            yield FieldError(pointer, "too_long", f"Must have at most {MAX_TEXT} characters.")
            continue
        objection = policy.allowed.objection(_short(value))
        if objection is not None:
            yield FieldError(pointer, "invalid_value", f"The value {objection}.")


def _short(value: int | str) -> str:
    """The text of a value; a number no policy can have becomes a short one that none can have either."""
    if isinstance(value, int) and abs(value) >= _TOO_LARGE:
        return "-1"
    return str(value)
