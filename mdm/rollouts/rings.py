"""A ring: which groups, what it waits for, and what has to be true before the next one may begin.

Rings are kept as JSON in a plan and, copied, in each stage of a rollout; what is read here was written here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from mdm.errors import FieldError, Invalid
from mdm.storage.tables import ALL_DEVICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MAX_RINGS", "After", "Gate", "Halt", "Offer", "Promote", "Ring", "check_rings", "read_ring"]

MAX_RINGS: Final = 20

After = Literal["start", "previous"]
Promote = Literal["auto", "approval"]


@dataclass(frozen=True, slots=True)
class Gate:
    """How well a ring must have done before the next may begin."""

    percent: int
    """Devices that installed it, of those that have taken up the offer."""
    min_devices: int = 1
    """As many must have installed it at least, or the percentage says nothing."""

    def met(self, installed: int, tried: int) -> bool:
        """Whether so many of so many devices are enough."""
        # In whole numbers: 19 of 20 are 95 %, whatever the machine thinks of 0.95.
        return installed >= self.min_devices and installed * 100 >= self.percent * tried


@dataclass(frozen=True, slots=True)
class Halt:
    """When too many devices have failed; either condition is enough."""

    percent: int | None = None
    """Devices that failed, of those with an outcome (installed, failed, waiting for a reboot)."""
    min_sample: int = 1
    """Outcomes there must be before the percentage counts."""
    failures: int | None = None
    """Devices that failed, however many there are."""


@dataclass(frozen=True, slots=True)
class Offer:
    """How many more devices of the ring are offered the updates in each period; one of the two is given."""

    every_hours: int
    devices: int | None = None
    percent: int | None = None

    def wanted(self, slots: int, targeted: int) -> int:
        """How many of the ring's devices are to have the offer once that many periods have begun."""
        if self.devices is not None:
            return min(targeted, self.devices * slots)
        share = min(100, (self.percent or 0) * slots)
        return -(-targeted * share // 100)

    def periods(self, targeted: int) -> int:
        """How many periods it takes until all of so many devices have the offer."""
        if self.devices is not None:
            return -(-targeted // self.devices)
        return -(-100 // (self.percent or 100)) if targeted else 0

    @property
    def period(self) -> timedelta:
        """How long one period is."""
        return timedelta(hours=self.every_hours)


@dataclass(frozen=True, slots=True)
class Ring:
    """One ring of a plan."""

    name: str
    group_ids: tuple[str, ...]
    after: After = "previous"
    """What `deferral_days` begin with: the rollout's start, or the moment the ring before has passed.

    Either way a ring never begins before the one before it has passed.
    """
    deferral_days: int = 0
    soak_hours: int = 0
    """The ring does not pass before the last of its devices have had the offer for so long."""
    gate: Gate | None = None
    """None: it passes as soon as it has soaked and all its devices have the offer."""
    halt: Halt | None = None
    offer: Offer | None = None
    """None: all its devices at once."""
    deadline_days: int | None = None
    """By when, counted from its opening, IT wants the updates installed."""
    promote: Promote = "auto"
    """Whether a second person has to agree before the next ring may begin."""

    @property
    def deferral(self) -> timedelta:
        """How long it waits."""
        return timedelta(days=self.deferral_days)

    @property
    def soak(self) -> timedelta:
        """How long it stays open at least."""
        return timedelta(hours=self.soak_hours)

    def as_json(self) -> dict[str, Any]:
        """The ring as it is stored and shown; `read_ring` reads it back."""
        return asdict(self) | {"group_ids": list(self.group_ids)}


def read_ring(stored: Mapping[str, Any]) -> Ring:
    """The ring that `Ring.as_json` wrote."""
    members = dict(stored)
    for name, kind in (("gate", Gate), ("halt", Halt), ("offer", Offer)):
        if members.get(name) is not None:
            members[name] = kind(**members[name])
    return Ring(**members | {"group_ids": tuple(members["group_ids"])})


def check_rings(rings: Sequence[Ring]) -> None:
    """Raise Invalid, naming each wrong member, for rings that cannot be meant."""
    errors = []
    if not 1 <= len(rings) <= MAX_RINGS:
        errors.append(FieldError("/rings", "wrong_number", f"A plan has 1 to {MAX_RINGS} rings."))
    names: set[str] = set()
    groups: dict[str, str] = {}
    for index, ring in enumerate(rings):
        where = f"/rings/{index}"
        errors += _own_errors(where, ring)
        if ring.name in names:
            errors.append(FieldError(f"{where}/name", "repeated", "Another ring has this name."))
        names.add(ring.name)
        errors += _group_errors(where, ring, groups)
        groups |= dict.fromkeys(ring.group_ids, ring.name)
        if ring.promote == "approval" and index == len(rings) - 1:
            errors.append(
                FieldError(f"{where}/promote", "last_ring", "No ring follows that somebody could agree to.")
            )
    if errors:
        raise Invalid("The rings make no sense as they are.", errors=tuple(errors))


def _own_errors(where: str, ring: Ring) -> list[FieldError]:
    errors = []
    if ring.halt is not None and ring.halt.percent is None and ring.halt.failures is None:
        errors.append(
            FieldError(f"{where}/halt", "required", "Say after what percentage or number of failures.")
        )
    if ring.offer is not None and (ring.offer.devices is None) == (ring.offer.percent is None):
        errors.append(
            FieldError(f"{where}/offer", "one_of_two", "Give either devices or percent for each period.")
        )
    return errors


def _group_errors(where: str, ring: Ring, earlier: Mapping[str, str]) -> list[FieldError]:
    """What is wrong with a ring's groups; `earlier` are those of the rings before it, with the ring's name."""
    errors = []
    if not ring.group_ids:
        errors.append(FieldError(f"{where}/group_ids", "required", "A ring without groups has no devices."))
    if ALL_DEVICES in earlier:
        errors.append(
            FieldError(
                f"{where}/group_ids",
                "nobody_left",
                f"The ring {earlier[ALL_DEVICES]!r} before it has all devices already.",
            )
        )
    for index, group_id in enumerate(ring.group_ids):
        if group_id in earlier or group_id in ring.group_ids[:index]:
            owner = earlier.get(group_id, ring.name)
            errors.append(
                FieldError(
                    f"{where}/group_ids/{index}", "repeated", f"The group is in the ring {owner!r} already."
                )
            )
    return errors
