"""The generated catalogue as a value, and what of it a virtual device of some Windows build would be offered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mdm.lab.documents import AtLeastOne
from mdm.lab.products import CLASSIFICATIONS, CRITICAL, SECURITY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mdm.lab.documents import Document, Reach, Revision

__all__ = ["Catalogue", "OfferedUpdate"]

_BUILD = re.compile(r"(?:10\.0\.)?(\d{5})(?:\.(\d{1,9}))?", re.ASCII)
_TYPES = {SECURITY: 1, CRITICAL: 2}


@dataclass(frozen=True, slots=True)
class OfferedUpdate:
    """An update as a device knows it: what it lists under InstallableUpdates, and what installing it means."""

    update_id: str
    revision_number: int
    title: str
    """In English."""
    kb: str | None
    """Digits only."""
    classification_id: str
    eula_id: str | None
    type: int
    """InstallableUpdates Type: 0 none, 1 security, 2 critical."""
    needs_reboot: bool
    supersedes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every revision of a generated catalogue, as structure and as document."""

    revisions: tuple[Revision, ...]
    documents: tuple[Document, ...]
    """In the order of `revisions`."""

    def for_device(self, os_build: str) -> tuple[OfferedUpdate, ...]:
        """What a fully scanned device of this build would list: visible, latest, live and applicable.

        `os_build` is `10.0.26100.4652`, `26100.4652` or `26100`; with a build revision, cumulative updates the
        device already has are left out. An unknown build is offered nothing. Raises ValueError for other text.
        """
        build, ubr = _parse_build(os_build)
        latest = _latest(self.revisions)
        superseded = _superseded(latest)
        return tuple(
            _offer(revision)
            for revision in latest.values()
            if revision.visible
            and revision.update_id not in superseded
            and revision.reach is not None
            and _applies(revision.reach, build, ubr)
        )

    def visible(self) -> tuple[OfferedUpdate, ...]:
        """Everything an administrator would see, superseded or not, for whatever device."""
        return tuple(_offer(revision) for revision in _latest(self.revisions).values() if revision.visible)


def _parse_build(os_build: str) -> tuple[int, int]:
    match = _BUILD.fullmatch(os_build)
    if match is None:
        raise ValueError(f"not a Windows build: {os_build!r}")
    return int(match[1]), int(match[2] or 0)


def _latest(revisions: Iterable[Revision]) -> dict[str, Revision]:
    latest: dict[str, Revision] = {}
    for revision in revisions:
        known = latest.get(revision.update_id)
        if known is None or known.revision_number < revision.revision_number:
            latest[revision.update_id] = revision
    return latest


def _superseded(latest: dict[str, Revision]) -> set[str]:
    """Ids that a visible update supersedes, directly or through others, expired or not."""
    found: set[str] = set()
    waiting = [key for revision in latest.values() if revision.visible for key in revision.superseded]
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            if key in latest:
                waiting += latest[key].superseded
    return found


def _applies(reach: Reach, build: int, ubr: int) -> bool:
    return build in reach.builds and (reach.ubr is None or ubr < reach.ubr)


def _offer(revision: Revision) -> OfferedUpdate:
    categories = {
        key
        for clause in revision.prerequisites
        if isinstance(clause, AtLeastOne) and clause.is_category
        for key in clause.ids
    }
    classification = next(key for key in CLASSIFICATIONS if key in categories)
    return OfferedUpdate(
        update_id=revision.update_id,
        revision_number=revision.revision_number,
        title=next(text.title for text in revision.texts if text.language == "en"),
        kb=revision.kb_articles[0] if revision.kb_articles else None,
        classification_id=classification,
        eula_id=revision.eula_id,
        type=_TYPES.get(classification, 0),
        needs_reboot=revision.reboot_behavior != "NeverReboots",
        supersedes=revision.superseded,
    )
