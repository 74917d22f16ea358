"""Reading JSON documents that administrators write: each wrong member is named by its JSON pointer (RFC 6901).

For documents whose shape is a matter of the domain (criteria, schedules) and not of one REST operation. Readers get
a value and its pointer, and return what it means or raise Invalid.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mdm.errors import FieldError, Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

K = TypeVar("K")
T = TypeVar("T")

__all__ = [
    "MAX_TEXT",
    "each",
    "escaped",
    "flag",
    "matches",
    "members",
    "number",
    "text",
    "whole_number",
    "wrong",
]

MAX_TEXT: Final = 200
"""Characters of a text in a document."""

_MAX_ERRORS: Final = 20
_MAX_POINTER: Final = 200
_DETAIL: Final = "The document has wrong members."


def wrong(pointer: str, code: str, detail: str) -> Invalid:
    """The error for one wrong member, to be raised."""
    return Invalid(_DETAIL, errors=(FieldError(pointer[:_MAX_POINTER], code, detail),))


def each(read: Callable[[K], T], keys: Iterable[K]) -> list[T]:
    """What is read for each key; raises Invalid with what is wrong with all of them."""
    found: list[T] = []
    errors: list[FieldError] = []
    for key in keys:
        try:
            found.append(read(key))
        except Invalid as problem:
            errors += problem.errors
    if errors:
        raise Invalid(_DETAIL, errors=tuple(errors[:_MAX_ERRORS]))
    return found


def members(value: Any, pointer: str, names: Collection[str], *, required: Collection[str] = ()) -> None:
    """Refuse what is no object, members of it that have another name, and required ones that are absent."""
    known = ", ".join(names)
    if not isinstance(value, dict):
        raise wrong(pointer, "wrong_type", f"Give an object with {known}.")
    for name in value:
        if name not in names:
            raise wrong(f"{pointer}/{escaped(name)}", "unknown_member", f"There are {known}.")
    for name in required:
        if name not in value:
            raise wrong(f"{pointer}/{name}", "required", f"Give {name}.")


def text(value: Any, pointer: str) -> str:
    """A text of 1 to 200 characters without control characters."""
    if not isinstance(value, str):
        raise wrong(pointer, "wrong_type", "Give a text.")
    if not value.strip():
        raise wrong(pointer, "too_short", "Give a text that is not empty.")
    if len(value) > MAX_TEXT:
        raise wrong(pointer, "too_long", f"Give {MAX_TEXT} characters at most.")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        raise wrong(pointer, "control_character", "A text must not contain control characters.")
    return value


def flag(value: Any, pointer: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise wrong(pointer, "wrong_type", "Give true or false.")
    return value


def number(value: Any, pointer: str, least: float, most: float) -> float:
    """A number between two bounds, which are allowed themselves."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong(pointer, "wrong_type", "Give a number.")
    if not least <= value <= most:  # no NaN is
        raise wrong(pointer, "invalid_value", f"Give a number from {least} to {most}.")
    return value


def whole_number(value: Any, pointer: str, least: int, most: int) -> int:
    """A whole number between two bounds, which are allowed themselves."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(pointer, "wrong_type", "Give a whole number.")
    if not least <= value <= most:
        raise wrong(pointer, "invalid_value", f"Give a whole number from {least} to {most}.")
    return value


def escaped(name: str) -> str:
    """The name of a member as a part of a pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def matches(pattern: str, value: str) -> bool:
    """Whether all of the text has the form, in which `*` is any characters and `?` is one.

    It takes at most pattern times text steps, whatever the stars. Capitals matter: fold both before.
    """
    at = position = 0
    star, resume = -1, 0
    while position < len(value):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, position
            at += 1
        elif at < len(pattern) and pattern[at] in {"?", value[position]}:
            at += 1
            position += 1
        elif star >= 0:
            # The last star takes one character more; those before it need not be tried again.
            resume += 1
            at, position = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")
