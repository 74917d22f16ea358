"""What a node may be set to, as data that can explain itself: each rule says in words what it refuses.

Values are text as it stands in Data. A rule is about form and bounds of one value; what several values mean
together is said by the modules that own them (`csp.policy`, `csp.dmclient`, `csp.reboot`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final, TypeAlias

__all__ = [
    "DATE_PATTERN",
    "MOMENT_PATTERN",
    "Allowed",
    "AnyText",
    "Choice",
    "Date",
    "Flags",
    "Moment",
    "Number",
    "Range",
    "Text",
    "Truth",
    "is_xml_text",
]

DATE_PATTERN: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
"""The form of a `Date`; that the day exists is checked apart."""

MOMENT_PATTERN: Final = (
    f"({DATE_PATTERN}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])?)?"
)
"""The form of a `Moment`; that the day exists is checked apart."""

_HIGHEST: Final = (1 << 31) - 1
"""Format int is a signed number of 32 bits (RepPro 1.2.1); nothing here counts below zero."""

_WHOLE_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_XML_TEXT: Final = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def is_xml_text(text: str) -> bool:
    """Whether XML can carry every character of the text (XML 1.0 production 2)."""
    return _XML_TEXT.fullmatch(text) is not None


def _number(value: str) -> int | None:
    """The whole number, written in its one form; None for anything else."""
    return int(value) if _WHOLE_NUMBER.fullmatch(value) else None


def _has_no_such_day(day: str) -> bool:
    try:
        date.fromisoformat(day)
    except ValueError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few whole numbers."""

    values: tuple[int, ...]

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        return None if _number(value) in self.values else f"must be one of {', '.join(map(str, self.values))}"


@dataclass(frozen=True, slots=True)
class Flags:
    """A whole number made of some of these bits, or none."""

    bits: tuple[int, ...]

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        number = _number(value)
        if number is not None and not number & ~sum(self.bits):
            return None
        return f"must be 0 or a sum of {', '.join(map(str, self.bits))}"


@dataclass(frozen=True, slots=True)
class Range:
    """A whole number between two bounds, both allowed."""

    low: int
    high: int

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        number = _number(value)
        if number is not None and self.low <= number <= self.high:
            return None
        return f"must be a whole number from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number for which nobody names a bound: all that Format int can carry."""

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        return Range(0, _HIGHEST).objection(value)


@dataclass(frozen=True, slots=True)
class Truth:
    """`true` or `false`, as a server writes Format bool."""

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        return None if value in {"true", "false"} else "must be true or false"


@dataclass(frozen=True, slots=True)
class Date:
    """A calendar day."""

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        if not re.fullmatch(DATE_PATTERN, value):
            return "must be a date written yyyy-mm-dd"
        return "is a day that does not exist" if _has_no_such_day(value) else None


@dataclass(frozen=True, slots=True)
class Moment:
    """A day and a time in ISO 8601, with or without a time zone; empty means none."""

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        if not re.fullmatch(MOMENT_PATTERN, value):
            return "must be empty or a date and time written yyyy-mm-ddThh:mm:ss"
        return "is on a day that does not exist" if value and _has_no_such_day(value[:10]) else None


@dataclass(frozen=True, slots=True)
class Text:
    """Free text of some form."""

    pattern: str
    """Regular expression for the whole value."""
    form: str
    """The form in words, after "must be"."""

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        if is_xml_text(value) and re.fullmatch(self.pattern, value):
            return None
        return f"must be {self.form}"


@dataclass(frozen=True, slots=True)
class AnyText:
    """Text for which nobody names a form: all that XML can carry."""

    delimiter: str | None = None
    """What stands between the entries, as the DDF writes it, where the text is a list."""

    def objection(self, value: str) -> str | None:
        """What is wrong with the value, as the end of a sentence; None if nothing is."""
        return None if is_xml_text(value) else "must be text without control characters"


Allowed: TypeAlias = Choice | Flags | Range | Number | Truth | Date | Moment | Text | AnyText
"""Every rule there is; each has `objection`."""
