"""Faults to order: what a virtual upstream does wrong, in which operation, and at which of its calls.

    KIND[=ARGUMENT][:OPERATION][@WHEN]

    fault=ServerBusy:GetUpdateData@3      the third GetUpdateData is answered by that fault
    cookies:GetUpdateData@*50             every fiftieth finds that no cookie given out so far is good
    truncated@5%                          five of a hundred answers, of whatever operation, are cut off
    absent:GetRelatedRevisionsForUpdates  the operation does not exist here

WHEN is `3`, `3-5`, `3-` (from the third on), `*7` (each seventh) or `2.5%`; without it, always. The same rules and
seed strike the same calls again.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mdm.lab.dice import Dice
from mdm.lab.soap import OPERATIONS, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CONTENT", "FaultKind", "FaultPlan", "FaultRule"]

CONTENT: Final = "Content"
"""The name that stands for downloads, which are no operation."""

_RULE: Final = re.compile(r"([a-z]+)(?:=([\w.]+))?(?::(\w+))?(?:@(.+))?", re.ASCII)
_WHEN: Final = re.compile(
    r"(?P<first>[1-9]\d{0,8})(?P<range>-(?P<last>\d{0,9}))?|\*(?P<every>[1-9]\d{0,8})|(?P<percent>\d{1,3}(?:\.\d+)?)%",
    re.ASCII,
)
_MILLION: Final = 1_000_000


class FaultKind(StrEnum):
    """What goes wrong."""

    FAULT = "fault"
    """A SOAP fault with the ErrorCode of the argument, or with none."""
    COOKIES = "cookies"
    """All cookies given out so far have become invalid: InvalidCookie, now and later."""
    GENERATION = "generation"
    """The upstream's database has been replaced: ServerChanged, now and for every anchor given out so far."""
    ABSENT = "absent"
    """The operation does not exist, as on older servers."""
    STATUS = "status"
    """HTTP status of the argument (503) and no body."""
    GARBAGE = "garbage"
    """HTTP 200 and bytes that are no XML."""
    PAGE = "page"
    """HTTP 200 and a web page, as of a proxy that wants a password."""
    CORRUPT = "corrupt"
    """The first document of the answer, or the file, is damaged."""
    SLOW = "slow"
    """The answer comes after so many seconds (1)."""
    DRIP = "drip"
    """The answer comes in small pieces over so many seconds (1)."""
    TRUNCATED = "truncated"
    """The connection closes in the middle of the answer."""
    OVERSIZE = "oversize"
    """The answer has so many MB (256) of white space in it."""


_DEFAULTS: Final = {
    FaultKind.STATUS: 503.0,
    FaultKind.SLOW: 1.0,
    FaultKind.DRIP: 1.0,
    FaultKind.OVERSIZE: 256.0,
}
"""The kinds that take a number, and the number without one."""


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One fault, and when it strikes; calls are counted from 1, and only those of the rule's operation."""

    kind: FaultKind
    operation: str | None = None
    """None: any."""
    code: ErrorCode | None = None
    """Of kind `fault`; None for a fault without an ErrorCode."""
    amount: float = 0.0
    """HTTP status, seconds or MB, by kind."""
    first: int = 1
    last: int | None = None
    every: int = 1
    chance: float = 1.0

    @classmethod
    def parse(cls, text: str) -> FaultRule:
        """Read a rule; raises ValueError with a sentence that says what is wrong."""
        match = _RULE.fullmatch(text)
        if match is None or match[1] not in list(FaultKind):
            kinds = ", ".join(FaultKind)
            raise ValueError(f"{text!r} is not KIND[=ARGUMENT][:OPERATION][@WHEN] with a KIND of {kinds}")
        kind, argument, operation = FaultKind(match[1]), match[2], match[3]
        if operation is not None and operation not in OPERATIONS | {CONTENT}:
            raise ValueError(f"{operation!r} is not an operation")
        first, last, every, chance = _when(match[4])
        return cls(
            kind, operation, _code(kind, argument), _amount(kind, argument), first, last, every, chance
        )

    def strikes(self, call: int, dice: Dice) -> bool:
        """Whether the rule strikes at this call."""
        if call < self.first or (self.last is not None and call > self.last) or call % self.every:
            return False
        return self.chance >= 1.0 or dice.number(f"{self}/{call}", 0, _MILLION - 1) < self.chance * _MILLION


def _code(kind: FaultKind, argument: str | None) -> ErrorCode | None:
    if kind != FaultKind.FAULT or argument is None:
        return None
    if argument not in list(ErrorCode):
        raise ValueError(f"{argument!r} is not an ErrorCode: {', '.join(ErrorCode)}")
    return ErrorCode(argument)


def _amount(kind: FaultKind, argument: str | None) -> float:
    if kind not in _DEFAULTS:
        if argument is not None and kind != FaultKind.FAULT:
            raise ValueError(f"{kind!s} takes no argument")
        return 0.0
    try:
        return _DEFAULTS[kind] if argument is None else float(argument)
    except ValueError:
        raise ValueError(f"{argument!r} is not a number") from None


def _when(text: str | None) -> tuple[int, int | None, int, float]:
    if text is None:
        return 1, None, 1, 1.0
    match = _WHEN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time to strike: 3, 3-5, 3-, *7 or 2.5%")
    if match["every"]:
        return 1, None, int(match["every"]), 1.0
    if match["percent"]:
        return 1, None, 1, float(match["percent"]) / 100
    first = int(match["first"])
    if match["range"] is None:
        return first, first, 1, 1.0
    return first, int(match["last"]) if match["last"] else None, 1, 1.0


class FaultPlan:
    """Rules at work: counts calls and says which fault strikes; may be used by several threads."""

    def __init__(self, rules: Iterable[FaultRule] = (), seed: int = 1) -> None:
        """`seed` decides what chance decides."""
        self._rules = tuple(rules)
        self._dice = Dice(seed)
        self._calls = [0] * len(self._rules)
        self._lock = threading.Lock()

    def next(self, operation: str) -> FaultRule | None:
        """The fault for this call of an operation, or None; of several that strike, the first one given."""
        struck: FaultRule | None = None
        with self._lock:
            for number, rule in enumerate(self._rules):
                if rule.operation in (None, operation):
                    self._calls[number] += 1
                    if struck is None and rule.strikes(self._calls[number], self._dice):
                        struck = rule
        return struck
