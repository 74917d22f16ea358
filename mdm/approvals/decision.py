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

__all__ = ["Decision", "Hold", "Intent", "UpdateFacts", "decide"]


class Hold(StrEnum):
    """Why something approved is not delivered; the first that applies, in this order."""

    METADATA_UNKNOWN = "metadata_unknown"
    """No metadata, so nobody knows whether there is a EULA to accept."""
    EXPIRED = "update_expired"
    """Microsoft has withdrawn the update."""
    EULA_NOT_ACCEPTED = "eula_not_accepted"
    """Delivering would accept a licence that nobody has accepted (update-csp, approval semantics)."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One approval that holds for a device."""

    approval_id: str
    target_type: str
    """`update` or `classification`."""
    target_id: str
    allow_without_metadata: bool = False


@dataclass(frozen=True, slots=True)
class UpdateFacts:
    """What the catalogue knows of an update's highest revision."""

    update_id: str
    eula_id: str | None = None
    eula_accepted: bool = False
    expired: bool = False
    classification_id: str | None = None
    title: str | None = None

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
    """Approved UpdateIDs and classification GUIDs that must wait, with the reason."""


def decide(
    intents: Iterable[Intent],
    facts: Mapping[str, UpdateFacts],
    classifications_with_open_eula: frozenset[str],
) -> Decision:
    """Sort what is approved into deliverable and held.

    `facts` holds an entry for every approved update whose metadata is stored. An update approved twice needs
    only one approval that allows it without metadata. A classification in `classifications_with_open_eula`
    has a published update with an unaccepted EULA: its GUID on a device would accept that EULA too.
    """
    allowed_blind: dict[str, bool] = {}
    classifications: set[str] = set()
    for intent in intents:
        if intent.target_type == "classification":
            classifications.add(intent.target_id)
        else:
            blind = allowed_blind.get(intent.target_id, False)
            allowed_blind[intent.target_id] = blind or intent.allow_without_metadata
    held: dict[str, Hold] = {}
    for update_id, blind in allowed_blind.items():
        known = facts.get(update_id)
        if known is None:
            if not blind:
                held[update_id] = Hold.METADATA_UNKNOWN
        elif known.expired:
            held[update_id] = Hold.EXPIRED
        elif known.eula_missing:
            held[update_id] = Hold.EULA_NOT_ACCEPTED
    for classification_id in classifications & classifications_with_open_eula:
        held[classification_id] = Hold.EULA_NOT_ACCEPTED
    return Decision(
        updates=frozenset(allowed_blind) - held.keys(),
        classifications=frozenset(classifications) - held.keys(),
        held=held,
    )
