"""What may be delivered to a device now, and what is held back and why: one pure function.

The check-in delivers what `decide` allows; the REST API and the console explain what it holds. Both ask the
same function, so that the explanation is the behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from csp.classifications import DEFINITION_UPDATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

__all__ = [
    "BLOCK",
    "CLASSIFICATION",
    "DEVICE",
    "EXPANDED",
    "PRODUCT",
    "QUERY",
    "UPDATE",
    "ClassFacts",
    "Decision",
    "Hold",
    "Intent",
    "UpdateFacts",
    "decide",
]

BLOCK = "block"
CLASSIFICATION = "classification"
DEVICE = "device"
EXPANDED = "expanded"
PRODUCT = "product"
QUERY = "query"
UPDATE = "update"


class Hold(StrEnum):
    """Why something approved is not delivered; the first that applies, in this order."""

    BLOCKED = "blocked"
    """IT has blocked the update or its classification for the device: a block wins over every approval."""
    BLOCK_INSIDE = "classification_has_block"
    """IT has blocked something in the classification: its GUID on a device would approve that too."""
    NOT_BEFORE = "not_before"
    """Approved for a time that has not come."""
    ROLLOUT_TURN = "rollout_turn"
    """A rollout offers it to a growing part of a ring's devices, and this one's turn has not come."""
    ROLLOUT_GATE = "rollout_gate"
    """A rollout has not come to the device's ring."""
    ROLLOUT_PAUSED = "rollout_paused"
    """Somebody has paused the rollout."""
    ROLLOUT_HALTED = "rollout_halted"
    """The rollout has halted itself: too many devices failed."""
    METADATA_UNKNOWN = "metadata_unknown"
    """No metadata, so nobody knows whether there is a EULA to accept."""
    EXPIRED = "update_expired"
    """Microsoft has withdrawn the update."""
    SUPERSEDED = "update_superseded"
    """Approved with its classification only, and a newer update replaces it."""
    EULA_NOT_ACCEPTED = "eula_not_accepted"
    """Delivering would accept a licence that nobody has accepted (update-csp, approval semantics)."""
    WINDOW = "window"
    """No maintenance window of the device's groups is open."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One approval or block that holds for a device."""

    approval_id: str
    target_type: str
    """`update`, `classification`, `product` or `query`."""
    target_id: str
    allow_without_metadata: bool = False
    action: str = "approve"
    """`approve` or `block`."""
    delivery: str = DEVICE
    """Of a classification: its GUID goes to the `device`, or each of its updates is approved here (`expanded`)."""
    not_before: datetime | None = None
    expires_at: datetime | None = None
    """Until when it holds; one that is over is no intent any more."""
    reason: str | None = None
    gate: Hold | None = None
    """Why the rollout it belongs to does not let it through to the device; None: it does, or there is none."""
    rollout_id: str | None = None
    stage: int | None = None
    deadline: datetime | None = None

    @property
    def blocks(self) -> bool:
        """True if it keeps something from devices."""
        return self.action == BLOCK

    @property
    def expands(self) -> bool:
        """True if it approves the updates of a classification, product or saved query one by one."""
        if self.blocks or self.target_type == UPDATE:
            return False
        return self.target_type != CLASSIFICATION or self.delivery == EXPANDED

    def covers(self, update_id: str, known: UpdateFacts | None) -> bool:
        """True if it speaks of that update, by itself or with others."""
        if self.target_type == UPDATE:
            return self.target_id == update_id
        return known is not None and self.target_id in known.belongs_to

    def waits(self, now: datetime) -> Hold | None:
        """Why it is not due; None if it is."""
        if self.not_before is not None and self.not_before > now:
            return Hold.NOT_BEFORE
        return self.gate


@dataclass(frozen=True, slots=True)
class UpdateFacts:
    """What the catalogue knows of an update's highest revision."""

    update_id: str
    eula_id: str | None = None
    eula_accepted: bool = False
    expired: bool = False
    classification_id: str | None = None
    title: str | None = None
    superseded: bool = False
    """A published update replaces it, and not every one that does is blocked for the device."""
    groups: frozenset[str] = frozenset()
    """Products and saved queries it belongs to, as far as some intent names them."""

    @property
    def belongs_to(self) -> frozenset[str]:
        """What it can be approved or blocked with."""
        return self.groups if self.classification_id is None else self.groups | {self.classification_id}

    @property
    def eula_missing(self) -> bool:
        """True if the update has a EULA that nobody has accepted."""
        return self.eula_id is not None and not self.eula_accepted


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """What the catalogue knows of classifications whose GUIDs may go to a device: there, they mean all their updates."""

    with_open_eula: frozenset[str] = frozenset()
    """Those with a published update whose EULA nobody has accepted: the GUID would accept it too."""
    with_block: frozenset[str] = frozenset()
    """Those with a published update of a blocked product or saved query: the GUID would approve it too."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What goes to a device, and what does not."""

    updates: frozenset[str]
    """UpdateIDs that may be approved on the device."""
    classifications: frozenset[str]
    """Classification GUIDs that may be approved on the device."""
    held: Mapping[str, Hold]
    """Approved UpdateIDs and classification GUIDs that must wait, with the reason.

    What is `expanded` is among them while none of its updates may go, whatever the device offers.
    """


@dataclass(slots=True)
class _Wanted:
    """What all approvals of one target come to; one that is not due lends nothing to the others."""

    due: bool = False
    """One of them does not have to wait."""
    direct: bool = False
    """One that is due is of the target itself, not of what it belongs to."""
    blind: bool = False
    """One that is due asks for no metadata."""
    waits: Hold | None = None
    """While none is due: why the one that is nearest to being so has to wait."""

    def add(self, intent: Intent, now: datetime) -> None:
        waits = intent.waits(now)
        if waits is None:
            self.due = self.direct = True
            self.blind |= intent.allow_without_metadata
        else:
            self._wait(waits)

    def add_indirect(self, other: _Wanted) -> None:
        self.due |= other.due
        if other.waits is not None:
            self._wait(other.waits)

    def _wait(self, hold: Hold) -> None:
        if self.waits is None or _ORDER[hold] < _ORDER[self.waits]:
            self.waits = hold


_ORDER = {hold: place for place, hold in enumerate(Hold)}


def decide(
    intents: Iterable[Intent],
    facts: Mapping[str, UpdateFacts],
    classes: ClassFacts,
    *,
    now: datetime,
    offered: Iterable[str] = (),
    window_closed: bool = False,
) -> Decision:
    """Sort what is approved into deliverable and held.

    `facts` holds an entry for every approved or blocked update, and every one in `offered`, whose metadata is
    stored. `offered` are the updates the device could install: those of them that belong to something approved as
    `expanded` are approved each. An update approved twice needs only one approval that is due and allows it without
    metadata, if it has none. While `window_closed` nothing new goes but what protects against malware.
    """
    intents = list(intents)
    blocks = _Blocks.of(intents, facts, classes)
    wanted = _wanted((each for each in intents if each.target_type == UPDATE), now)
    guids = _wanted(
        (each for each in intents if each.target_type == CLASSIFICATION and not each.expands), now
    )
    expanded = _wanted((each for each in intents if each.expands), now)
    _expand(wanted, expanded, facts, offered)
    holds = [
        *(
            (each, _hold_of_expanded(each, how, blocks))
            for each, how in expanded.items()
            if each not in guids
        ),
        *((each, _hold(each, how, facts.get(each), blocks)) for each, how in wanted.items()),
        *((each, _hold_of_class(each, how, blocks, classes)) for each, how in guids.items()),
    ]
    held = {each: hold for each, hold in holds if hold is not None}
    if window_closed:
        for each in (wanted.keys() | guids.keys()) - held.keys():
            known = facts.get(each)
            if each != DEFINITION_UPDATES and (
                known is None or known.classification_id != DEFINITION_UPDATES
            ):
                held[each] = Hold.WINDOW
    return Decision(
        updates=frozenset(wanted) - held.keys(),
        classifications=frozenset(guids) - held.keys(),
        held=held,
    )


@dataclass(frozen=True, slots=True)
class _Blocks:
    """What must not reach the device."""

    updates: frozenset[str]
    sets: frozenset[str]
    """Classifications, products and saved queries."""
    inside: frozenset[str | None]
    """Classifications that something blocked belongs to."""

    @classmethod
    def of(cls, intents: Iterable[Intent], facts: Mapping[str, UpdateFacts], classes: ClassFacts) -> _Blocks:
        blocks = [intent for intent in intents if intent.blocks]
        updates = frozenset(block.target_id for block in blocks if block.target_type == UPDATE)
        return cls(
            updates=updates,
            sets=frozenset(block.target_id for block in blocks if block.target_type != UPDATE),
            inside=classes.with_block
            | {facts[each].classification_id for each in updates if each in facts} - {None},
        )

    def holds(self, update_id: str, known: UpdateFacts | None) -> bool:
        """True if the update must not be delivered."""
        return update_id in self.updates or (known is not None and not self.sets.isdisjoint(known.belongs_to))


def _wanted(intents: Iterable[Intent], now: datetime) -> dict[str, _Wanted]:
    """What is approved, by its id."""
    wanted: dict[str, _Wanted] = {}
    for intent in intents:
        if not intent.blocks:
            wanted.setdefault(intent.target_id, _Wanted()).add(intent, now)
    return wanted


def _expand(
    wanted: dict[str, _Wanted],
    expanded: Mapping[str, _Wanted],
    facts: Mapping[str, UpdateFacts],
    offered: Iterable[str],
) -> None:
    """Approve each offered update of what is approved update by update."""
    if not expanded:
        return
    for update_id in offered:
        known = facts.get(update_id)
        for each in () if known is None else known.belongs_to & expanded.keys():
            wanted.setdefault(update_id, _Wanted()).add_indirect(expanded[each])


def _hold(update_id: str, how: _Wanted, known: UpdateFacts | None, blocks: _Blocks) -> Hold | None:
    """Why an update has to wait; the first reason that applies, in the order of `Hold`."""
    if blocks.holds(update_id, known):
        return Hold.BLOCKED
    if not how.due:
        return how.waits
    if known is None:
        return None if how.blind else Hold.METADATA_UNKNOWN
    return _hold_of_known(how, known)


def _hold_of_known(how: _Wanted, known: UpdateFacts) -> Hold | None:
    if known.expired:
        return Hold.EXPIRED
    if known.superseded and not how.direct:
        return Hold.SUPERSEDED
    return Hold.EULA_NOT_ACCEPTED if known.eula_missing else None


def _hold_of_class(class_id: str, how: _Wanted, blocks: _Blocks, classes: ClassFacts) -> Hold | None:
    """Why the GUID of a classification may not go to the device: on it, the GUID means all its updates."""
    if class_id in blocks.sets:
        return Hold.BLOCKED
    if class_id in blocks.inside:
        return Hold.BLOCK_INSIDE
    if not how.due:
        return how.waits
    return Hold.EULA_NOT_ACCEPTED if class_id in classes.with_open_eula else None


def _hold_of_expanded(target_id: str, how: _Wanted, blocks: _Blocks) -> Hold | None:
    """Why none of the updates of a classification, product or saved query may go, whatever they are."""
    if target_id in blocks.sets:
        return Hold.BLOCKED
    return None if how.due else how.waits
