"""What may be delivered to a device now, and what is held back and why: one pure function.

The check-in delivers what `decide` allows; the REST API and the console explain what it holds. Both ask the
same function, so that the explanation is the behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

__all__ = [
    "BLOCK",
    "CLASSIFICATION",
    "DEVICE",
    "EXPANDED",
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


class Hold(StrEnum):
    """Why something approved is not delivered; the first that applies, in this order."""

    BLOCKED = "blocked"
    """IT has blocked the update or its classification for the device: a block wins over every approval."""
    BLOCK_INSIDE = "classification_has_block"
    """IT has blocked an update of the classification: its GUID on a device would approve that update too."""
    NOT_BEFORE = "not_before"
    """Approved for a time that has not come."""
    METADATA_UNKNOWN = "metadata_unknown"
    """No metadata, so nobody knows whether there is a EULA to accept."""
    EXPIRED = "update_expired"
    """Microsoft has withdrawn the update."""
    SUPERSEDED = "update_superseded"
    """Approved with its classification only, and a newer update replaces it."""
    EULA_NOT_ACCEPTED = "eula_not_accepted"
    """Delivering would accept a licence that nobody has accepted (update-csp, approval semantics)."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One approval or block that holds for a device."""

    approval_id: str
    target_type: str
    """`update` or `classification`."""
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

    @property
    def blocks(self) -> bool:
        """True if it keeps something from devices."""
        return self.action == BLOCK

    @property
    def expands(self) -> bool:
        """True if it approves the updates of a classification one by one."""
        return self.target_type == CLASSIFICATION and self.delivery == EXPANDED and not self.blocks

    def covers(self, update_id: str, classification_id: str | None) -> bool:
        """True if it speaks of that update, by itself or with its classification."""
        if self.target_type == CLASSIFICATION:
            return self.target_id == classification_id
        return self.target_id == update_id


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
    """A published update replaces it."""

    @property
    def eula_missing(self) -> bool:
        """True if the update has a EULA that nobody has accepted."""
        return self.eula_id is not None and not self.eula_accepted


@dataclass(frozen=True, slots=True)
class Decision:
    """What goes to a device, and what does not."""

    updates: frozenset[str]
    """UpdateIDs that may be approved on the device."""
    classifications: frozenset[str]
    """Classification GUIDs that may be approved on the device."""
    held: Mapping[str, Hold]
    """Approved UpdateIDs and classification GUIDs that must wait, with the reason.

    A classification approved as `expanded` is among them while none of its updates may go, whatever it offers.
    """


@dataclass(slots=True)
class _Wanted:
    """What all approvals of one target come to; one whose time has not come lends nothing to the others."""

    due: bool = False
    """One of them does not have to wait."""
    direct: bool = False
    """One that is due is of the target itself, not of its classification."""
    blind: bool = False
    """One that is due asks for no metadata."""

    def add(self, intent: Intent, now: datetime) -> None:
        if intent.not_before is not None and intent.not_before > now:
            return
        self.due = self.direct = True
        self.blind |= intent.allow_without_metadata


def decide(
    intents: Iterable[Intent],
    facts: Mapping[str, UpdateFacts],
    classifications_with_open_eula: frozenset[str],
    *,
    now: datetime,
    offered: Iterable[str] = (),
) -> Decision:
    """Sort what is approved into deliverable and held.

    `facts` holds an entry for every approved or blocked update, and every one in `offered`, whose metadata is
    stored. `offered` are the updates the device could install: those of them that are in a classification
    approved as `expanded` are approved each. An update approved twice needs only one approval that is due and
    allows it without metadata, if it has none. A classification in `classifications_with_open_eula` has a published
    update with an unaccepted EULA: its GUID on a device would accept that EULA too.
    """
    intents = list(intents)
    blocks = _Blocks.of(intents, facts)
    wanted = _wanted((each for each in intents if each.target_type != CLASSIFICATION), now)
    classes = _wanted(
        (each for each in intents if each.target_type == CLASSIFICATION and not each.expands), now
    )
    expanded = _wanted((each for each in intents if each.expands), now)
    _expand(wanted, expanded, facts, offered)
    holds = [
        *(
            (each, _hold_of_expanded(each, how, blocks))
            for each, how in expanded.items()
            if each not in classes
        ),
        *((each, _hold(each, how, facts.get(each), blocks)) for each, how in wanted.items()),
        *(
            (each, _hold_of_class(each, how, blocks, classifications_with_open_eula))
            for each, how in classes.items()
        ),
    ]
    held = {each: hold for each, hold in holds if hold is not None}
    return Decision(
        updates=frozenset(wanted) - held.keys(),
        classifications=frozenset(classes) - held.keys(),
        held=held,
    )


@dataclass(frozen=True, slots=True)
class _Blocks:
    """What must not reach the device."""

    updates: frozenset[str]
    classifications: frozenset[str]
    inside: frozenset[str | None]
    """Classifications that a blocked update belongs to."""

    @classmethod
    def of(cls, intents: Iterable[Intent], facts: Mapping[str, UpdateFacts]) -> _Blocks:
        blocks = [intent for intent in intents if intent.blocks]
        updates = frozenset(block.target_id for block in blocks if block.target_type != CLASSIFICATION)
        return cls(
            updates=updates,
            classifications=frozenset(
                block.target_id for block in blocks if block.target_type == CLASSIFICATION
            ),
            inside=frozenset(facts[each].classification_id for each in updates if each in facts),
        )

    def holds(self, update_id: str, known: UpdateFacts | None) -> bool:
        """True if the update must not be delivered."""
        return update_id in self.updates or (
            known is not None and known.classification_id in self.classifications
        )


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
    """Approve each offered update of the classifications that are approved update by update."""
    for update_id in offered:
        known = facts.get(update_id)
        how = None if known is None else expanded.get(known.classification_id or "")
        if how is not None:
            wanted.setdefault(update_id, _Wanted()).due |= how.due


def _hold(update_id: str, how: _Wanted, known: UpdateFacts | None, blocks: _Blocks) -> Hold | None:
    """Why an update has to wait; the first reason that applies, in the order of `Hold`."""
    if blocks.holds(update_id, known):
        return Hold.BLOCKED
    if not how.due:
        return Hold.NOT_BEFORE
    if known is None:
        return None if how.blind else Hold.METADATA_UNKNOWN
    return _hold_of_known(how, known)


def _hold_of_known(how: _Wanted, known: UpdateFacts) -> Hold | None:
    if known.expired:
        return Hold.EXPIRED
    if known.superseded and not how.direct:
        return Hold.SUPERSEDED
    return Hold.EULA_NOT_ACCEPTED if known.eula_missing else None


def _hold_of_class(
    class_id: str, how: _Wanted, blocks: _Blocks, with_open_eula: frozenset[str]
) -> Hold | None:
    """Why the GUID of a classification may not go to the device: on it, the GUID means all its updates."""
    if class_id in blocks.classifications:
        return Hold.BLOCKED
    if class_id in blocks.inside:
        return Hold.BLOCK_INSIDE
    if not how.due:
        return Hold.NOT_BEFORE
    return Hold.EULA_NOT_ACCEPTED if class_id in with_open_eula else None


def _hold_of_expanded(class_id: str, how: _Wanted, blocks: _Blocks) -> Hold | None:
    """Why none of the classification's updates may go, whatever they are."""
    if class_id in blocks.classifications:
        return Hold.BLOCKED
    return None if how.due else Hold.NOT_BEFORE
