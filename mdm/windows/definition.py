"""What IT says of a maintenance window, checked as a whole, and the recurrence that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from mdm.errors import FieldError, Invalid
from mdm.windows.recurrence import (
    EARLIEST,
    LAST,
    LATEST,
    MAX_DURATION,
    MAX_OFFSET,
    MIN_DURATION,
    MIN_OFFSET,
    Monthly,
    PatchTuesday,
    Recurrence,
    Weekly,
    is_zone,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mdm.windows.recurrence import Pattern

__all__ = [
    "DEVICE_ZONE",
    "MAX_CATCH_UP_HOURS",
    "WEEKDAYS",
    "WindowDefinition",
    "check_definition",
    "pattern_json",
    "read_pattern",
    "recurrence_of",
]

DEVICE_ZONE: Final = "device"
"""The zone of a window that follows the clock of each device."""

MAX_CATCH_UP_HOURS: Final = 168

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NTH: Final = {1: 1, 2: 2, 3: 3, 4: 4, "last": LAST}
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "weekly": ("days",),
    "monthly": ("nth", "weekday"),
    "patch_tuesday": ("offset_days",),
}
"""The members that each type of pattern has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDefinition:
    """A maintenance window as an administrator writes it."""

    name: str
    group_ids: tuple[str, ...]
    pattern: Mapping[str, Any]
    """`type` and the members that it has, as `read_pattern` reads them."""
    start: str
    """`HH:MM`."""
    duration_minutes: int
    zone: str
    """IANA name, or `device`."""
    fallback_zone: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    catch_up_hours: int = 0
    enforce_on_device: bool = False
    allow_auto_update: int = 3
    reason: str | None = None


def check_definition(definition: WindowDefinition) -> Recurrence:
    """The recurrence of a definition whose members have the right types; raises Invalid naming each wrong one."""
    errors = [*_zone_errors(definition), *_time_errors(definition)]
    try:
        read_pattern(definition.pattern)
    except Invalid as error:
        errors = [*error.errors, *errors]
    if errors:
        raise Invalid("The window has wrong members.", errors=tuple(errors))
    return recurrence_of(definition)


def recurrence_of(definition: Any) -> Recurrence:
    """The recurrence of a checked definition, or of a row of `maintenance_window`."""
    return Recurrence(
        read_pattern(definition.pattern),
        time.fromisoformat(definition.start),
        timedelta(minutes=definition.duration_minutes),
        definition.fallback_zone if definition.zone == DEVICE_ZONE else definition.zone,
        definition.valid_from,
        definition.valid_until,
    )


def read_pattern(written: Mapping[str, Any]) -> Pattern:
    """Read `{"type": "weekly", "days": ["monday"]}` and its like; a member of None counts as left out.

    Raises Invalid naming each wrong member below `/pattern`.
    """
    kind = str(written.get("type"))
    if kind not in _MEMBERS:
        raise _wrong("type", "invalid_value", f"One of {', '.join(_MEMBERS)} is needed.")
    given = {name: value for name, value in written.items() if name != "type" and value is not None}
    for name in sorted(given):
        if name not in _MEMBERS[kind]:
            raise _wrong(name, "contradiction", f"A pattern of the type {kind} has no such member.")
    for name in _MEMBERS[kind]:
        if name not in given and name != "offset_days":
            raise _wrong(name, "required", f"A pattern of the type {kind} needs it.")
    if kind == "weekly":
        return Weekly(frozenset(_weekday("days", name) for name in given["days"]) or _no_days())
    if kind == "monthly":
        if given["nth"] not in _NTH:
            raise _wrong("nth", "invalid_value", "1, 2, 3, 4 or last is needed.")
        return Monthly(_NTH[given["nth"]], _weekday("weekday", given["weekday"]))
    offset = given.get("offset_days", 0)
    if not MIN_OFFSET <= offset <= MAX_OFFSET:
        raise _wrong("offset_days", "invalid_value", f"It must be {MIN_OFFSET} to {MAX_OFFSET}.")
    return PatchTuesday(offset)


def pattern_json(pattern: Pattern) -> dict[str, Any]:
    """A pattern in the one form that `read_pattern` reads and the database holds."""
    if isinstance(pattern, Weekly):
        return {"type": "weekly", "days": [WEEKDAYS[day - 1] for day in sorted(pattern.days)]}
    if isinstance(pattern, Monthly):
        nth = "last" if pattern.nth == LAST else pattern.nth
        return {"type": "monthly", "nth": nth, "weekday": WEEKDAYS[pattern.weekday - 1]}
    return {"type": "patch_tuesday", "offset_days": pattern.offset}


def _weekday(member: str, name: str) -> int:
    if name not in WEEKDAYS:
        raise _wrong(member, "invalid_value", f"{name!r} is no day of the week, such as monday.")
    return WEEKDAYS.index(name) + 1


def _no_days() -> frozenset[int]:
    raise _wrong("days", "too_short", "Name at least one day.")


def _wrong(member: str, code: str, detail: str) -> Invalid:
    return Invalid(detail, errors=(FieldError(f"/pattern/{member}", code, detail),))


def _zone_errors(definition: WindowDefinition) -> list[FieldError]:
    if definition.zone == DEVICE_ZONE:
        if definition.fallback_zone is None:
            return [
                FieldError(
                    "/fallback_zone",
                    "required",
                    "A device does not tell its time zone: name the one by which deliveries are judged.",
                )
            ]
        return _unknown_zone("fallback_zone", definition.fallback_zone)
    errors = _unknown_zone("zone", definition.zone)
    if definition.fallback_zone is not None:
        errors.append(
            FieldError("/fallback_zone", "contradiction", f"Only the zone {DEVICE_ZONE!r} has a fallback.")
        )
    return errors


def _unknown_zone(member: str, name: str) -> list[FieldError]:
    if is_zone(name):
        return []
    return [FieldError(f"/{member}", "unknown_zone", "It is no IANA time zone, such as Europe/Berlin.")]


def _time_errors(definition: WindowDefinition) -> list[FieldError]:
    errors = []
    for name in ("valid_from", "valid_until"):
        moment = getattr(definition, name)
        if moment is not None and not EARLIEST <= moment <= LATEST:
            errors.append(
                FieldError(f"/{name}", "invalid_value", f"It must be from {EARLIEST.year} to {LATEST.year}.")
            )
    begins, ends = definition.valid_from, definition.valid_until
    if not errors and begins is not None and ends is not None and begins >= ends:
        errors.append(FieldError("/valid_until", "invalid_value", "It must be after valid_from."))
    length = timedelta(minutes=definition.duration_minutes)
    if not MIN_DURATION <= length <= MAX_DURATION:
        errors.append(FieldError("/duration_minutes", "invalid_value", "It must be 15 to 10080 minutes."))
    if not 0 <= definition.catch_up_hours <= MAX_CATCH_UP_HOURS:
        errors.append(
            FieldError("/catch_up_hours", "invalid_value", f"It must be 0 to {MAX_CATCH_UP_HOURS}.")
        )
    return errors
