"""Rules of groups: a JSON document of conditions on a device's facts, read once and asked of many devices.

    {"all": [RULE, …]}   {"any": [RULE, …]}   {"not": RULE}
    {"os_build": {"at_least": "26100", "below": "26200", "prefix": "26100"}}   one of the three or more
    {"edition": GLOB}   also manufacturer, model, name, language, enrolment_user
    {"tag": "kiosk"}
    {"percentage": {"seed": "wave 1", "from": 0, "to": 10}}   of all devices, by a hash of their ids

A GLOB has `*` for any characters and `?` for one; capitals do not matter. What a device has not said is unknown,
and the opposite of unknown is unknown too: a device is in a group only if the rule is known to hold.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mdm.devices.os_build import OsBuild
from mdm.documents import each, escaped, matches, members, text, wrong
from mdm.logic import every, opposite, some

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mdm.devices.facts import DeviceFacts


__all__ = [
    "MAX_CONDITIONS",
    "MAX_DEPTH",
    "AllOf",
    "AnyOf",
    "HasTag",
    "InBuilds",
    "InShare",
    "Matches",
    "NotRule",
    "Rule",
    "parse_rule",
]

MAX_DEPTH: Final = 8
"""Rules inside each other."""

MAX_CONDITIONS: Final = 200
"""Rules in one rule, with itself."""

_SHARES: Final = 10_000
"""Hundredths of a percent: what devices are spread over."""


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of the rules holds."""

    rules: tuple[Rule, ...]

    def holds(self, facts: DeviceFacts) -> bool | None:
        """False as soon as one does not hold, else None if one is unknown."""
        return every(rule.holds(facts) for rule in self.rules)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the rules at least holds."""

    rules: tuple[Rule, ...]

    def holds(self, facts: DeviceFacts) -> bool | None:
        """True as soon as one holds, else None if one is unknown."""
        return some(rule.holds(facts) for rule in self.rules)


@dataclass(frozen=True, slots=True)
class NotRule:
    """The rule does not hold."""

    rule: Rule

    def holds(self, facts: DeviceFacts) -> bool | None:
        """The opposite of what is known."""
        return opposite(self.rule.holds(facts))


@dataclass(frozen=True, slots=True)
class InBuilds:
    """The device's Windows build lies between bounds."""

    at_least: OsBuild | None = None
    below: OsBuild | None = None
    prefix: OsBuild | None = None

    def holds(self, facts: DeviceFacts) -> bool | None:
        """None before the device has said its build, or if what it said is none."""
        build = OsBuild.read(facts.os_version or "")
        if build is None:
            return None
        if self.at_least is not None and build.order < self.at_least.order:
            return False
        if self.below is not None and build.order >= self.below.order:
            return False
        return self.prefix is None or self.prefix.covers(build)


@dataclass(frozen=True, slots=True)
class Matches:
    """A text of the device has a form."""

    fact: str
    """Name of a field of `DeviceFacts`."""
    pattern: str
    """Case-folded, with `*` and `?`."""

    def holds(self, facts: DeviceFacts) -> bool | None:
        """None before the device has said it."""
        text = getattr(facts, self.fact)
        return None if text is None else matches(self.pattern, text.casefold())


@dataclass(frozen=True, slots=True)
class HasTag:
    """The device has a tag."""

    tag: str

    def holds(self, facts: DeviceFacts) -> bool:
        """Always known: tags are given by administrators."""
        return self.tag in facts.tags


@dataclass(frozen=True, slots=True)
class InShare:
    """The device falls into a part of all devices, always the same one for the same seed."""

    seed: str
    start: int
    """In hundredths of a percent; this one is in."""
    end: int
    """This one is not."""

    def holds(self, facts: DeviceFacts) -> bool:
        """Always known: it comes from the device's id, so a part that grows keeps those it had."""
        digest = hashlib.sha256(f"{self.seed}\n{facts.id}".encode()).digest()
        return self.start <= int.from_bytes(digest[:8], "big") % _SHARES < self.end


Rule: TypeAlias = AllOf | AnyOf | NotRule | InBuilds | Matches | HasTag | InShare

_FACTS: Final = {
    "edition": "os_edition",
    "manufacturer": "manufacturer",
    "model": "model",
    "name": "name",
    "language": "language",
    "enrolment_user": "enrolment_user",
}
"""Conditions on a text, with the field of `DeviceFacts` each reads."""


def parse_rule(document: Any, pointer: str = "/rule") -> Rule:
    """Read a rule from JSON values; raises Invalid that names each wrong member, `pointer` being where it stands."""
    rule = _rule(document, pointer, 1)
    if _size(rule) > MAX_CONDITIONS:
        raise wrong(pointer, "too_long", f"A rule has {MAX_CONDITIONS} conditions at most.")
    return rule


def _rule(document: Any, pointer: str, depth: int) -> Rule:
    known = ", ".join(sorted({*_NESTED, *_LEAVES, *_FACTS}))
    if depth > MAX_DEPTH:
        raise wrong(pointer, "too_deep", f"Rules stand {MAX_DEPTH} deep at most.")
    if not isinstance(document, dict) or len(document) != 1:
        raise wrong(pointer, "wrong_type", f"Give an object with one of {known}.")
    ((kind, value),) = document.items()
    pointer = f"{pointer}/{escaped(kind)}"
    if kind in _NESTED:
        return _NESTED[kind](value, pointer, depth + 1)
    if kind in _FACTS:
        return Matches(_FACTS[kind], text(value, pointer).casefold())
    if kind in _LEAVES:
        return _LEAVES[kind](value, pointer)
    raise wrong(pointer, "unknown_member", f"There are {known}.")


def _all(value: Any, pointer: str, depth: int) -> AllOf:
    return AllOf(_rules(value, pointer, depth))


def _any(value: Any, pointer: str, depth: int) -> AnyOf:
    return AnyOf(_rules(value, pointer, depth))


def _not(value: Any, pointer: str, depth: int) -> NotRule:
    return NotRule(_rule(value, pointer, depth))


def _rules(value: Any, pointer: str, depth: int) -> tuple[Rule, ...]:
    if not isinstance(value, list):
        raise wrong(pointer, "wrong_type", "Give a list of rules.")
    if not 1 <= len(value) <= MAX_CONDITIONS:
        raise wrong(
            pointer, "too_long" if value else "too_short", f"Give 1 to {MAX_CONDITIONS} rules in a list."
        )
    return tuple(each(lambda index: _rule(value[index], f"{pointer}/{index}", depth), range(len(value))))


def _os_build(value: Any, pointer: str) -> InBuilds:
    bounds = ("at_least", "below", "prefix")
    members(value, pointer, bounds)
    if not value:
        raise wrong(pointer, "required", f"Give one or more of {', '.join(bounds)}.")
    builds = each(lambda name: _build(value[name], f"{pointer}/{name}"), value)
    return InBuilds(**dict(zip(value, builds, strict=True)))


def _build(value: Any, pointer: str) -> OsBuild:
    build = OsBuild.read(value) if isinstance(value, str) else None
    if build is None:
        raise wrong(pointer, "invalid_value", "Give a Windows build such as 26100 or 10.0.26100.4652.")
    return build


def _tag(value: Any, pointer: str) -> HasTag:
    return HasTag(text(value, pointer).strip().casefold())


def _percentage(value: Any, pointer: str) -> InShare:
    names = ("seed", "from", "to")
    members(value, pointer, names)
    missing = [name for name in names if name not in value]
    if missing:
        raise wrong(f"{pointer}/{missing[0]}", "required", "Give seed, from and to.")
    seed = text(value["seed"], f"{pointer}/seed")
    start, end = each(lambda name: _share(value[name], f"{pointer}/{name}"), ("from", "to"))
    if start >= end:
        raise wrong(f"{pointer}/to", "invalid_value", "`to` must be above `from`.")
    return InShare(seed, start, end)


def _share(value: Any, pointer: str) -> int:
    """A percentage in hundredths."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:  # noqa: PLR2004 - percent
        raise wrong(pointer, "invalid_value", "Give a number from 0 to 100.")
    share = round(value * 100)
    if not math.isclose(share, value * 100, abs_tol=1e-6):
        raise wrong(pointer, "invalid_value", "Give two decimals at most.")
    return share


_NESTED: Final[Mapping[str, Callable[[Any, str, int], Rule]]] = {"all": _all, "any": _any, "not": _not}
_LEAVES: Final[Mapping[str, Callable[[Any, str], Rule]]] = {
    "os_build": _os_build,
    "tag": _tag,
    "percentage": _percentage,
}


def _size(rule: Rule) -> int:
    """How many rules it is made of, with itself."""
    inner = (
        rule.rules if isinstance(rule, (AllOf, AnyOf)) else (rule.rule,) if isinstance(rule, NotRule) else ()
    )
    return 1 + sum(_size(each) for each in inner)
