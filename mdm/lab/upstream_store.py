"""What the virtual upstream has: documents in order of their publication, and the anchors that divide them.

An anchor looks like a WSUS's, `nnnn,yyyy-MM-dd HH:mm:ss.fff` (MS-WSUSSS note 31). Its time part decides. It comes
from a clock of the store that moves by at least a millisecond with every anchor and every publication, so that
no change falls between two anchors unseen. The counter is the database's generation: that of a WSUS is ignored,
here another generation means ServerChanged.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mdm.lab.documents import Document, File, Identity

__all__ = ["Anchor", "InvalidAnchor", "RevisionFilter", "UnknownGeneration", "UpstreamStore"]

_ANCHOR = re.compile(r"(\d{1,9}),(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})", re.ASCII)
_MILLISECOND = timedelta(milliseconds=1)
_CONFIGURATION = frozenset({"Category", "Detectoid"})


class InvalidAnchor(ValueError):  # noqa: N818 - named for what it is
    """The text is not an anchor of this kind of server."""


class UnknownGeneration(ValueError):  # noqa: N818 - as above
    """The anchor is of a database that this server no longer has."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A point in the history of one generation of the store."""

    generation: int
    at: datetime
    """To the millisecond."""

    @classmethod
    def parse(cls, text: str) -> Anchor:
        """Read an anchor; raises InvalidAnchor."""
        match = _ANCHOR.fullmatch(text)
        if match is None:
            raise InvalidAnchor(f"not an anchor: {text[:40]!r}")
        try:
            return cls(int(match[1]), datetime.fromisoformat(match[2]).replace(tzinfo=UTC))
        except ValueError:
            raise InvalidAnchor(f"an anchor with an impossible time: {text!r}") from None

    def __str__(self) -> str:
        """The text a client gets, and must give back unchanged."""
        moment = self.at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
        return f"{self.generation},{moment}"


@dataclass(frozen=True, slots=True)
class RevisionFilter:
    """ServerSyncFilter (MS-WSUSSS 2.2.4.9): which revisions a client asks for, ids mapped to their Delta flag."""

    configuration: bool
    """GetConfig: categories, classifications and detectoids instead of updates."""
    anchor: str | None = None
    categories: Mapping[str, bool] | None = None
    classifications: Mapping[str, bool] | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    document: Document
    published: datetime


class UpstreamStore:
    """A growing set of revisions; safe to publish to from another thread than the one that answers calls."""

    def __init__(self, documents: Iterable[Document], now: datetime, generation: int) -> None:
        """All of `documents` count as published at `now`."""
        self.generation = generation
        self._lock = threading.Lock()
        self._clock = now.replace(microsecond=now.microsecond // 1000 * 1000)
        self._entries: dict[Identity, _Entry] = {}
        self._parents: dict[Identity, set[Identity]] = {}
        self._content: dict[str, File] = {}
        self._digests: set[str] = set()
        self.created = self._clock
        for document in documents:
            self._add(document, self.created)

    def publish(self, document: Document, now: datetime) -> None:
        """Add a revision, or replace it if it is there: it is newer than every anchor given out so far."""
        with self._lock:
            self._add(document, self._tick(now))

    def withdraw(self, identity: Identity) -> None:
        """Forget a revision, as Microsoft does without notice; raises KeyError if it is not there."""
        with self._lock:
            del self._entries[identity]

    def anchor(self, now: datetime) -> Anchor:
        """The present as an anchor."""
        with self._lock:
            return Anchor(self.generation, self._tick(now))

    def read_anchor(self, text: str) -> Anchor:
        """An anchor a client gave back; raises InvalidAnchor, or UnknownGeneration for one of another store."""
        anchor = Anchor.parse(text)
        if anchor.generation != self.generation:
            raise UnknownGeneration(f"generation {anchor.generation}, not {self.generation}")
        return anchor

    def get(self, identity: Identity) -> Document | None:
        """The document of one revision."""
        with self._lock:
            entry = self._entries.get(identity)
        return entry.document if entry else None

    def newest(self, update_id: str) -> Document | None:
        """The document of the highest revision of an update."""
        with self._lock:
            found = [identity for identity in self._entries if identity.update_id == update_id]
            return self._entries[max(found)].document if found else None

    def content(self, path: str) -> bytes | None:
        """A file this server serves itself, by its content path in any letter case."""
        with self._lock:
            file = self._content.get(path.lower())
        return file.content if file else None

    def knows_digest(self, digest: str) -> bool:
        """True if some document has a file with this base64 SHA-1."""
        with self._lock:
            return digest in self._digests

    def revisions(self, wanted: RevisionFilter, now: datetime) -> tuple[Anchor, list[Identity]]:
        """The revisions a filter selects, and the anchor to ask with next time.

        Raises InvalidAnchor or UnknownGeneration. MS-WSUSSS 3.1.4.5.
        """
        since = self.read_anchor(wanted.anchor).at if wanted.anchor is not None else None
        with self._lock:
            anchor = Anchor(self.generation, self._tick(now))
            if wanted.configuration:
                found = [
                    identity
                    for identity, entry in self._entries.items()
                    if entry.document.update_type in _CONFIGURATION and _newer(entry, since)
                ]
            else:
                found = self._updates(wanted, since)
        return anchor, found

    # --- the rest is called with the lock held ----------------------------------------------------------

    def _tick(self, now: datetime) -> datetime:
        self._clock = max(now.replace(microsecond=now.microsecond // 1000 * 1000), self._clock + _MILLISECOND)
        return self._clock

    def _add(self, document: Document, published: datetime) -> None:
        self._entries[document.identity] = _Entry(document, published)
        for child in document.bundled:
            self._parents.setdefault(child, set()).add(document.identity)
        for file in document.files:
            self._digests.add(file.digest)
            if file.content is not None:
                self._content[file.content_path.lower()] = file

    def _updates(self, wanted: RevisionFilter, since: datetime | None) -> list[Identity]:
        updates = [
            identity
            for identity, entry in self._entries.items()
            if entry.document.update_type not in _CONFIGURATION
        ]
        if wanted.categories is None and wanted.classifications is None:
            return [identity for identity in updates if _newer(self._entries[identity], since)]
        products, classes = wanted.categories or {}, wanted.classifications or {}
        above = self._ancestors()
        selected: dict[Identity, None] = {}
        for identity in updates:
            belongs = self._belongs(identity, above)
            deltas = [flag for ids in (products, classes) for key, flag in ids.items() if key in belongs]
            # a newly ticked id (Delta false) gets everything; otherwise only what the anchor has not seen
            if (
                not belongs.isdisjoint(products)
                and not belongs.isdisjoint(classes)
                and (not all(deltas) or _newer(self._entries[identity], since))
            ):
                selected[identity] = None
        self._close(selected)
        return list(selected)

    def _ancestors(self) -> dict[str, set[str]]:
        """For each category what it belongs to: a Product to its ProductFamily and Company."""
        direct: dict[str, frozenset[str]] = {
            identity.update_id: entry.document.categories
            for identity, entry in self._entries.items()
            if entry.document.update_type == "Category"
        }
        above: dict[str, set[str]] = {}
        for category, parents in direct.items():
            found = above[category] = set(parents)
            waiting = list(parents)
            while waiting:
                new = direct.get(waiting.pop(), frozenset()) - found
                found |= new
                waiting += new
        return above

    def _belongs(self, identity: Identity, above: dict[str, set[str]]) -> set[str]:
        """Categories of a revision and of all bundles it is in, and what those categories belong to."""
        own: set[str] = set()
        waiting, seen = [identity], {identity}
        while waiting:
            current = waiting.pop()
            if current in self._entries:
                own |= self._entries[current].document.categories
            parents = self._parents.get(current, set()) - seen
            seen |= parents
            waiting += parents
        return own.union(*(above.get(key, set()) for key in own))

    def _close(self, selected: dict[Identity, None]) -> None:
        """Add what the selected ones need: bundled children, and prerequisites that are updates themselves.

        A downstream server refuses an update whose parts it never gets.
        """
        software = {
            identity.update_id: identity
            for identity in sorted(self._entries)
            if self._entries[identity].document.update_type not in _CONFIGURATION
        }
        waiting = list(selected)
        while waiting:
            document = self._entries[waiting.pop()].document
            needed = [child for child in document.bundled if child in self._entries]
            needed += [software[key] for key in document.prerequisites if key in software]
            for identity in needed:
                if identity not in selected:
                    selected[identity] = None
                    waiting.append(identity)


def _newer(entry: _Entry, since: datetime | None) -> bool:
    return since is None or entry.published > since
