"""Criteria: a JSON document of conditions on an update's facts, read once and asked of many updates.

    {"all": [CRITERION, …]}   {"any": [CRITERION, …]}   {"not": CRITERION}
    {"classification": GUID}   {"product": GUID}   products with their families
    {"severity": "Critical"}   {"severity": {"at_least": "Important"}}   `Unspecified` where there is none
    {"kb": "KB5041585"}   {"language": "de"}   {"type": "Driver"}   {"reboot": "NeverReboots"}
    {"title": GLOB}   {"bulletin": GLOB}   {"cve": GLOB}
    {"age_days": {"min": 3, "max": 90}}   since its release; one of the two or both
    {"size_mb": {"min": 0.5, "max": 100}}   {"needed_by": {"at_least": 5}}   devices that lack it
    {"superseded": false}   {"expired": false}

Wherever one value stands, a list of them may: one of them is enough. A GLOB has `*` for any characters and `?` for
one; capitals do not matter. What the catalogue does not know is unknown, and the opposite of unknown is unknown too:
an update matches only if the criteria are known to hold. Each criterion can say in one phrase why its answer is
what it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from csp.errors import InvalidGuid
from csp.guid import parse_guid
from mdm.documents import each, escaped, flag, matches, members, number, text, whole_number, wrong
from mdm.logic import every, opposite, some

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

__all__ = [
    "MAX_CONDITIONS",
    "MAX_DEPTH",
    "MAX_VALUES",
    "AllOf",
    "AnyOf",
    "Between",
    "Criterion",
    "Is",
    "Like",
    "NotOf",
    "Truth",
    "UpdateRecord",
    "parse_criteria",
]

MAX_DEPTH: Final = 8
"""Criteria inside each other."""

MAX_CONDITIONS: Final = 200
"""Criteria in one document."""

MAX_VALUES: Final = 200
"""Values in one list."""

UNSPECIFIED: Final = "Unspecified"
_SEVERITIES: Final = (UNSPECIFIED, "Low", "Moderate", "Important", "Critical")
"""From the mildest to the worst."""
_TYPES: Final = ("Software", "Driver")
_REBOOTS: Final = ("NeverReboots", "AlwaysRequiresReboot", "CanRequestReboot")
_MAX_DAYS: Final = 36_500
_MAX_MB: Final = 10_000_000
_MAX_DEVICES: Final = 2**31 - 1
_MB: Final = 1_048_576
_PHRASE: Final = 300
"""Characters of a phrase: titles and lists in it are cut."""
_NAMED: Final = 3
"""Values of one fact named in a phrase."""

_CVE: Final = re.compile(r"\bCVE-\d{4}-\d{4,}\b", re.ASCII | re.IGNORECASE)
_KB: Final = re.compile(r"(?:KB)?([0-9]{1,10})", re.ASCII | re.IGNORECASE)
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """What the catalogue and the devices say of an update, at one moment."""

    update_id: str
    title: str
    as_of: datetime
    update_type: str = "Software"
    description: str | None = None
    classification_id: str | None = None
    """None while the category list does not tell."""
    categories: frozenset[str] = frozenset()
    """Products, their families and companies."""
    severity: str | None = None
    """MSRC severity; None if it has none."""
    kb_all: frozenset[str] = frozenset()
    """Digits."""
    bulletin: str | None = None
    languages: frozenset[str] = frozenset()
    """In which it describes itself, lower case; `all` is every one. Empty: unknown."""
    created: datetime | None = None
    superseded: bool = False
    expired: bool = False
    needed_by: int = 0
    size: int | None = None
    """Bytes."""
    reboot: str | None = None
    names: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Titles of categories, for phrases."""

    @property
    def age(self) -> timedelta | None:
        """Since its release; one that is still to come has none yet."""
        return None if self.created is None else max(self.as_of - self.created, timedelta(0))

    @property
    def cves(self) -> frozenset[str] | None:
        """The CVEs it names, lower case; None if it names none but has no description to name them in."""
        named = (self.title, self.bulletin or "", self.description or "")
        found = frozenset(cve.lower() for each_text in named for cve in _CVE.findall(each_text))
        return found if found or self.description is not None else None


# --- criteria -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of the criteria holds."""

    criteria: tuple[Criterion, ...]

    def holds(self, record: UpdateRecord) -> bool | None:
        """False as soon as one does not hold, else None if one is unknown."""
        return every(each_one.holds(record) for each_one in self.criteria)

    def because(self, record: UpdateRecord) -> str:
        """The first that decides; if all hold, each."""
        answer = self.holds(record)
        if answer is True:
            return _joined(self.criteria, record)
        return next(each_one for each_one in self.criteria if each_one.holds(record) is answer).because(
            record
        )


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the criteria at least holds."""

    criteria: tuple[Criterion, ...]

    def holds(self, record: UpdateRecord) -> bool | None:
        """True as soon as one holds, else None if one is unknown."""
        return some(each_one.holds(record) for each_one in self.criteria)

    def because(self, record: UpdateRecord) -> str:
        """The first that decides; if none holds, each."""
        answer = self.holds(record)
        if answer is False:
            return _joined(self.criteria, record)
        return next(each_one for each_one in self.criteria if each_one.holds(record) is answer).because(
            record
        )


@dataclass(frozen=True, slots=True)
class NotOf:
    """The criterion does not hold."""

    criterion: Criterion

    def holds(self, record: UpdateRecord) -> bool | None:
        """The opposite of what is known."""
        return opposite(self.criterion.holds(record))

    def because(self, record: UpdateRecord) -> str:
        """The same fact decides the opposite."""
        return self.criterion.because(record)


@dataclass(frozen=True, slots=True)
class Is:
    """A fact is, or has among its values, one of those wanted."""

    fact: str
    """Key of `_FACTS`."""
    values: frozenset[str]

    def holds(self, record: UpdateRecord) -> bool | None:
        """None while the catalogue does not know the fact."""
        known = _FACTS[self.fact].values(record)
        return None if known is None else not self.values.isdisjoint(known)

    def because(self, record: UpdateRecord) -> str:
        """What the fact is; of many values, the wanted ones, or else that none is."""
        return _FACTS[self.fact].phrase(record, self.values)


@dataclass(frozen=True, slots=True)
class Like:
    """A text of the update has a form."""

    fact: str
    """Key of `_FACTS`."""
    patterns: tuple[str, ...]
    """Case-folded, with `*` and `?`."""

    def holds(self, record: UpdateRecord) -> bool | None:
        """None while the catalogue does not know the text."""
        known = _FACTS[self.fact].values(record)
        return None if known is None else bool(self._found(known))

    def because(self, record: UpdateRecord) -> str:
        """What the text is; of many, those that have the form, or else that none has."""
        known = _FACTS[self.fact].values(record)
        return _FACTS[self.fact].phrase(record, self._found(known or frozenset()))

    def _found(self, known: frozenset[str]) -> frozenset[str]:
        return frozenset(
            value for value in known if any(matches(form, value.casefold()) for form in self.patterns)
        )


@dataclass(frozen=True, slots=True)
class Between:
    """A number lies between bounds, which are allowed themselves."""

    fact: str
    """Key of `_NUMBERS`."""
    least: float | None = None
    most: float | None = None

    def holds(self, record: UpdateRecord) -> bool | None:
        """None while nobody knows the number."""
        known = _NUMBERS[self.fact].value(record)
        if known is None:
            return None
        return (self.least is None or known >= self.least) and (self.most is None or known <= self.most)

    def because(self, record: UpdateRecord) -> str:
        """What the number is."""
        known = _NUMBERS[self.fact].value(record)
        return _NUMBERS[self.fact].unknown if known is None else _NUMBERS[self.fact].phrase(known)


@dataclass(frozen=True, slots=True)
class Truth:
    """Something is so, or is not so."""

    fact: str
    """Key of `_TRUTHS`."""
    wanted: bool

    def holds(self, record: UpdateRecord) -> bool:
        """Always known: the catalogue says it of each update."""
        return _TRUTHS[self.fact].value(record) is self.wanted

    def because(self, record: UpdateRecord) -> str:
        """Which of the two it is."""
        truth = _TRUTHS[self.fact]
        return truth.so if truth.value(record) else truth.not_so


Criterion: TypeAlias = AllOf | AnyOf | NotOf | Is | Like | Between | Truth


def _joined(criteria: tuple[Criterion, ...], record: UpdateRecord) -> str:
    return _cut("; ".join(dict.fromkeys(each_one.because(record) for each_one in criteria)))


# --- facts and their phrases ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fact:
    """A fact of one or many values, and how it is put into words."""

    name: str
    values: Callable[[UpdateRecord], frozenset[str] | None]
    """None: unknown."""
    unknown: str
    shown: Callable[[UpdateRecord], str] | None = None
    """How a fact of one value is said; None: it has many."""
    none: str = ""
    """How a fact of many values is said that has not one of those wanted."""

    def phrase(self, record: UpdateRecord, wanted: frozenset[str]) -> str:
        """The fact in words, in the light of the values that are wanted."""
        known = self.values(record)
        if known is None:
            return self.unknown
        if self.shown is not None:
            return _cut(f"{self.name} is {self.shown(record)}")
        found = sorted(record.names.get(value, value) for value in known & wanted)
        if not found:
            return self.none
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        return _cut(f"{self.name} {', '.join(found[:_NAMED])}{more}")


@dataclass(frozen=True, slots=True)
class _Number:
    value: Callable[[UpdateRecord], float | None]
    phrase: Callable[[float], str]
    unknown: str


@dataclass(frozen=True, slots=True)
class _Truth:
    value: Callable[[UpdateRecord], bool]
    so: str
    not_so: str


def _single(value: str | None) -> frozenset[str] | None:
    return None if value is None else frozenset([value])


def _bulletins(record: UpdateRecord) -> frozenset[str]:
    return frozenset() if record.bulletin is None else frozenset([record.bulletin])


def _days(record: UpdateRecord) -> float | None:
    return None if record.age is None else record.age / timedelta(days=1)


def _plural(count: float, noun: str) -> str:
    return f"{count:g} {noun}{'' if count == 1 else 's'}"


_FACTS: Final[Mapping[str, _Fact]] = {
    "classification": _Fact(
        "its classification",
        lambda record: _single(record.classification_id),
        "its classification is not known yet",
        lambda record: record.names.get(record.classification_id or "", record.classification_id or ""),
    ),
    "product": _Fact(
        "it is for the product", lambda record: record.categories, "", none="it is for none of these products"
    ),
    "severity": _Fact(
        "its severity",
        lambda record: frozenset([record.severity or UNSPECIFIED]),
        "",
        lambda record: record.severity or UNSPECIFIED,
    ),
    "kb": _Fact(
        "it belongs to KB", lambda record: record.kb_all, "", none="it belongs to none of these KB articles"
    ),
    "language": _Fact(
        "it describes itself in",
        lambda record: record.languages or None,
        "nobody knows in which languages it describes itself",
        none="it does not describe itself in this language",
    ),
    "type": _Fact(
        "its type", lambda record: frozenset([record.update_type]), "", lambda record: record.update_type
    ),
    "reboot": _Fact(
        "its reboot behaviour",
        lambda record: _single(record.reboot),
        "it does not say whether it needs a reboot",
        lambda record: record.reboot or "",
    ),
    "title": _Fact(
        "its title", lambda record: frozenset([record.title]), "", lambda record: f'"{record.title}"'
    ),
    "bulletin": _Fact("its bulletin is", _bulletins, "", none="it belongs to no such security bulletin"),
    "cve": _Fact(
        "it names",
        lambda record: record.cves,
        "it has no description that could name a CVE",
        none="it names no such CVE",
    ),
}
"""What `Is` and `Like` ask about."""

_NUMBERS: Final[Mapping[str, _Number]] = {
    "age_days": _Number(
        _days,
        lambda days: f"it was released {_plural(int(days), 'day')} ago",
        "its release date is not known",
    ),
    "size_mb": _Number(
        lambda record: None if record.size is None else record.size / _MB,
        lambda size: f"its size is {size:.1f} MB",
        "its size is not known",
    ),
    "needed_by": _Number(
        lambda record: record.needed_by, lambda count: f"it is needed by {_plural(count, 'device')}", ""
    ),
}

_TRUTHS: Final[Mapping[str, _Truth]] = {
    "superseded": _Truth(lambda record: record.superseded, "it is superseded", "it is not superseded"),
    "expired": _Truth(
        lambda record: record.expired, "Microsoft has withdrawn it", "Microsoft has not withdrawn it"
    ),
}


def _cut(phrase: str) -> str:
    return phrase if len(phrase) <= _PHRASE else f"{phrase[: _PHRASE - 1]}…"


# --- reading --------------------------------------------------------------------------------------------


def parse_criteria(document: Any, pointer: str = "/criteria") -> Criterion:
    """Read criteria from JSON values; raises Invalid that names each wrong member, `pointer` being where they stand."""
    criterion = _criterion(document, pointer, 1)
    if _size(criterion) > MAX_CONDITIONS:
        raise wrong(pointer, "too_long", f"Criteria have {MAX_CONDITIONS} conditions at most.")
    return criterion


def _criterion(document: Any, pointer: str, depth: int) -> Criterion:
    known = ", ".join(sorted({*_NESTED, *_LEAVES}))
    if depth > MAX_DEPTH:
        raise wrong(pointer, "too_deep", f"Criteria stand {MAX_DEPTH} deep at most.")
    if not isinstance(document, dict) or len(document) != 1:
        raise wrong(pointer, "wrong_type", f"Give an object with one of {known}.")
    ((kind, value),) = document.items()
    pointer = f"{pointer}/{escaped(kind)}"
    if kind in _NESTED:
        return _NESTED[kind](value, pointer, depth + 1)
    if kind in _LEAVES:
        return _LEAVES[kind](value, pointer)
    raise wrong(pointer, "unknown_member", f"There are {known}.")


def _criteria(value: Any, pointer: str, depth: int) -> tuple[Criterion, ...]:
    if not isinstance(value, list):
        raise wrong(pointer, "wrong_type", "Give a list of criteria.")
    if not 1 <= len(value) <= MAX_CONDITIONS:
        code = "too_long" if value else "too_short"
        raise wrong(pointer, code, f"Give 1 to {MAX_CONDITIONS} criteria in a list.")
    return tuple(each(lambda index: _criterion(value[index], f"{pointer}/{index}", depth), range(len(value))))


_NESTED: Final[Mapping[str, Callable[[Any, str, int], Criterion]]] = {
    "all": lambda value, pointer, depth: AllOf(_criteria(value, pointer, depth)),
    "any": lambda value, pointer, depth: AnyOf(_criteria(value, pointer, depth)),
    "not": lambda value, pointer, depth: NotOf(_criterion(value, pointer, depth)),
}


def _values(value: Any, pointer: str, read: Callable[[Any, str], str]) -> list[str]:
    """One value, or each of a list of them."""
    if not isinstance(value, list):
        return [read(value, pointer)]
    if not 1 <= len(value) <= MAX_VALUES:
        code = "too_long" if value else "too_short"
        raise wrong(pointer, code, f"Give 1 to {MAX_VALUES} values in a list.")
    return each(lambda index: read(value[index], f"{pointer}/{index}"), range(len(value)))


def _is(fact: str, read: Callable[[Any, str], str]) -> Callable[[Any, str], Is]:
    return lambda value, pointer: Is(fact, frozenset(_values(value, pointer, read)))


def _like(fact: str) -> Callable[[Any, str], Like]:
    def read(value: Any, pointer: str) -> Like:
        return Like(fact, tuple(form.casefold() for form in _values(value, pointer, text)))

    return read


def _truth(fact: str) -> Callable[[Any, str], Truth]:
    return lambda value, pointer: Truth(fact, flag(value, pointer))


def _between(fact: str, most: int) -> Callable[[Any, str], Between]:
    def read(value: Any, pointer: str) -> Between:
        members(value, pointer, ("min", "max"))
        if not value:
            raise wrong(pointer, "required", "Give min, max or both.")
        bounds = dict(
            zip(
                value,
                each(lambda name: number(value[name], f"{pointer}/{name}", 0, most), value),
                strict=True,
            )
        )
        least, greatest = bounds.get("min"), bounds.get("max")
        if least is not None and greatest is not None and least > greatest:
            raise wrong(f"{pointer}/max", "invalid_value", "`max` must not be below `min`.")
        return Between(fact, least, greatest)

    return read


def _needed_by(value: Any, pointer: str) -> Between:
    members(value, pointer, ("at_least",), required=("at_least",))
    return Between("needed_by", whole_number(value["at_least"], f"{pointer}/at_least", 1, _MAX_DEVICES))


def _severity(value: Any, pointer: str) -> Is:
    if isinstance(value, dict):
        members(value, pointer, ("at_least",), required=("at_least",))
        mildest = _one_of(_SEVERITIES)(value["at_least"], f"{pointer}/at_least")
        return Is("severity", frozenset(_SEVERITIES[_SEVERITIES.index(mildest) :]))
    return Is("severity", frozenset(_values(value, pointer, _one_of(_SEVERITIES))))


def _one_of(allowed: tuple[str, ...]) -> Callable[[Any, str], str]:
    by_name = {name.casefold(): name for name in allowed}

    def read(value: Any, pointer: str) -> str:
        name = by_name.get(text(value, pointer).strip().casefold())
        if name is None:
            raise wrong(pointer, "invalid_value", f"There are {', '.join(allowed)}.")
        return name

    return read


def _guid(value: Any, pointer: str) -> str:
    try:
        return parse_guid(text(value, pointer).strip())
    except InvalidGuid:
        raise wrong(
            pointer, "invalid_guid", "Give a GUID like 0fa1201d-4330-4fa8-8ae9-b877473b6441."
        ) from None


def _kb(value: Any, pointer: str) -> str:
    found = _KB.fullmatch(text(value, pointer).strip())
    if found is None:
        raise wrong(pointer, "invalid_value", "Give the number of a KB article, with or without KB.")
    return found[1]


def _language(value: Any, pointer: str) -> str:
    found = _LANGUAGE.fullmatch(text(value, pointer).strip())
    if found is None:
        raise wrong(pointer, "invalid_value", "Give a language such as de or zh-cn.")
    return found[0].lower()


def _languages(value: Any, pointer: str) -> Is:
    # an update that says the same in every language describes itself in any
    return Is("language", frozenset([*_values(value, pointer, _language), "all"]))


_LEAVES: Final[Mapping[str, Callable[[Any, str], Criterion]]] = {
    "classification": _is("classification", _guid),
    "product": _is("product", _guid),
    "severity": _severity,
    "kb": _is("kb", _kb),
    "language": _languages,
    "type": _is("type", _one_of(_TYPES)),
    "reboot": _is("reboot", _one_of(_REBOOTS)),
    "title": _like("title"),
    "bulletin": _like("bulletin"),
    "cve": _like("cve"),
    "age_days": _between("age_days", _MAX_DAYS),
    "size_mb": _between("size_mb", _MAX_MB),
    "needed_by": _needed_by,
    "superseded": _truth("superseded"),
    "expired": _truth("expired"),
}


def _size(criterion: Criterion) -> int:
    """How many criteria it is made of, with itself."""
    inner: tuple[Criterion, ...] = ()
    if isinstance(criterion, (AllOf, AnyOf)):
        inner = criterion.criteria
    elif isinstance(criterion, NotOf):
        inner = (criterion.criterion,)
    return 1 + sum(_size(each_one) for each_one in inner)
