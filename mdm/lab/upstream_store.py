"""What the virtual upstream has: documents in order of their publication, and the anchors that divide them.

Below the documents that are here may lie a bulk catalogue, whose documents are made when they are asked for. It is
released from its first block on, at once or by and by.

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
from itertools import pairwise
from typing import TYPE_CHECKING

from mdm.lab.upstream_languages import ALL
from mdm.lab.upstream_ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from mdm.lab.bulk import BulkCatalogue, Facts
    from mdm.lab.documents import Document, File, Identity
    from mdm.lab.upstream_deployments import Deployment, TargetGroup
    from mdm.lab.upstream_drivers import DriverFilter, DriverSet

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
    """ServerSyncFilter (MS-WSUSSS 2.2.4.9): which revisions a client asks for, ids mapped to their Delta flag.

    Several members are a conjunction. A revision without languages of its own is for all of them.
    """

    configuration: bool
    """GetConfig: categories, classifications and detectoids instead of updates."""
    anchor: str | None = None
    categories: Mapping[str, bool] | None = None
    classifications: Mapping[str, bool] | None = None
    languages: Mapping[str, bool] | None = None
    """By short name, `all` for every one."""


@dataclass(frozen=True, slots=True)
class _Entry:
    document: Document
    published: datetime


class UpstreamStore:
    """A growing set of revisions; safe to publish to from another thread than the one that answers calls."""

    def __init__(
        self,
        documents: Iterable[Document],
        now: datetime,
        generation: int,
        bulk: BulkCatalogue | None = None,
        released: int | None = None,
    ) -> None:
        """All of `documents` count as published at `now`, and so do `released` blocks of `bulk`, or all of them."""
        self.generation = generation
        self._lock = threading.Lock()
        self._clock = now.replace(microsecond=now.microsecond // 1000 * 1000)
        self._entries: dict[Identity, _Entry] = {}
        self._parents: dict[Identity, set[Identity]] = {}
        self._content: dict[str, File] = {}
        self._digests: set[str] = set()
        self._withdrawn: set[Identity] = set()
        self._fetched: set[str] = set()
        self.driver_sets: Ledger[DriverSet] = Ledger()
        self.deployments: Ledger[Deployment] = Ledger()
        self.groups: tuple[TargetGroup, ...] = ()
        """Beside the two that every server has."""
        self.hidden_updates: frozenset[str] = frozenset()
        self.accepted_eulas: frozenset[str] = frozenset()
        self.created = self._clock
        self._bulk = bulk
        blocks = 0 if bulk is None else bulk.blocks
        self._releases = [(blocks if released is None else min(released, blocks), self.created)]
        for document in (*(bulk.fixed if bulk is not None else ()), *documents):
            self._add(document, self.created)
        for file in bulk.licence_texts if bulk is not None else ():
            self._serve(file)

    def publish(self, document: Document, now: datetime) -> None:
        """Add a revision, or replace it if it is there: it is newer than every anchor given out so far."""
        with self._lock:
            self._add(document, self._tick(now))

    def release(self, blocks: int, now: datetime) -> None:
        """Publish the next blocks of the bulk catalogue, as many as there are."""
        with self._lock:
            last = self._releases[-1][0]
            most = last if self._bulk is None else self._bulk.blocks
            self._releases.append((min(last + blocks, most), self._tick(now)))

    def become(self, documents: Iterable[Document], now: datetime) -> int:
        """Publish what of these is new or not as it was, withdraw the others; return how many changed.

        The bulk catalogue stays as it is.
        """
        fixed = self._bulk.fixed if self._bulk is not None else ()
        wanted = {document.identity: document for document in (*fixed, *documents)}
        with self._lock:
            gone = [identity for identity in self._entries if identity not in wanted]
            for identity in gone:
                del self._entries[identity]
            moment = self._tick(now)
            changed = 0
            for identity, document in wanted.items():
                held = self._entries.get(identity)
                if held is None or held.document != document:
                    self._add(document, moment)
                    changed += 1
        return len(gone) + changed

    def withdraw(self, identity: Identity) -> None:
        """Forget a revision, as Microsoft does without notice; raises KeyError if it is not there."""
        with self._lock:
            in_bulk = self._has_in_bulk(identity)
            if self._entries.pop(identity, None) is None and not in_bulk:
                raise KeyError(identity)
            if in_bulk:
                self._withdrawn.add(identity)

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
            if entry is not None:
                return entry.document
            held = self._has_in_bulk(identity)
        return self._made(identity) if held else None

    def newest(self, update_id: str) -> Document | None:
        """The document of the highest revision of an update."""
        with self._lock:
            found = [identity for identity in self._entries if identity.update_id == update_id]
            in_bulk = self._bulk.newest(update_id) if self._bulk is not None else None
            if in_bulk is not None and self._has_in_bulk(in_bulk):
                found.append(in_bulk)
        return self.get(max(found)) if found else None

    def content(self, path: str, *, lazy: bool = False) -> bytes | None:
        """A file this server serves itself, by its content path in any letter case; `lazy`: if it was fetched."""
        with self._lock:
            file = self._content.get(path.lower())
            if file is None or (lazy and file.digest not in self._fetched):
                return None
        return file.content

    def fetch(self, digests: Iterable[str]) -> None:
        """Hold these files from now on."""
        with self._lock:
            self._fetched.update(digests)

    def knows_digest(self, digest: str) -> bool:
        """True if some document has a file with this base64 SHA-1."""
        with self._lock:
            if digest in self._digests:
                return True
        return self._bulk is not None and self._bulk.knows_digest(digest)

    def change(self, make: Callable[[datetime], None], now: datetime) -> None:
        """Change a ledger at a moment that lies between the anchors given out and those to come."""
        with self._lock:
            make(self._tick(now))

    def drivers(self, wanted: DriverFilter, since: datetime | None) -> list[Identity]:
        """Published drivers for some hardware; those of the bulk catalogue are found by no hardware id."""
        with self._lock:
            return [
                identity
                for identity, entry in self._entries.items()
                if _drives(entry.document, wanted) and _due(entry, wanted, since)
            ]

    def driver_sets_for(
        self, computer_ids: Mapping[str, bool], since: datetime | None
    ) -> tuple[list[str], list[str]]:
        """Sets for some computers that are new since a moment, or all of a computer whose Delta is false.

        And those that have been removed; without computers there are neither.
        """
        with self._lock:
            everything, _ = self.driver_sets.since(None)
            changed, removed = self.driver_sets.since(since)
        whole = {each for each, delta in computer_ids.items() if not delta}
        found = [each for each in everything if each.computer_ids & whole]
        found += [each for each in changed if each.computer_ids & computer_ids.keys() and each not in found]
        return [each.driver_set_id for each in found], removed if computer_ids else []

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
                    if entry.document.update_type in _CONFIGURATION and _newer(entry.published, since)
                ]
            else:
                found = self._updates(wanted, since)
            found += self._from_bulk(wanted, since)
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
            self._serve(file)

    def _serve(self, file: File) -> None:
        self._digests.add(file.digest)
        if file.content is not None:
            self._content[file.content_path.lower()] = file

    def _has_in_bulk(self, identity: Identity) -> bool:
        block = self._bulk.block_of(identity) if self._bulk is not None else None
        return block is not None and block < self._releases[-1][0] and identity not in self._withdrawn

    def _made(self, identity: Identity) -> Document | None:
        index = self._bulk.index(identity) if self._bulk is not None else None
        return self._bulk.document(index) if self._bulk is not None and index is not None else None

    def _from_bulk(self, wanted: RevisionFilter, since: datetime | None) -> list[Identity]:
        """What the filter selects of each release; a document that covers one of these speaks for itself."""
        if self._bulk is None:
            return []
        found: list[Identity] = []
        above = self._ancestors()
        for (first, _), (last, published) in pairwise([(0, self.created), *self._releases]):

            def chosen(facts: Facts, published: datetime = published) -> bool:
                if facts.configuration or wanted.configuration:
                    return facts.configuration and wanted.configuration and _newer(published, since)
                belongs = facts.categories.union(*(above.get(key, ()) for key in facts.categories))
                return _selects(wanted, belongs, facts.languages, published, since)

            found += self._bulk.select(chosen, first, last)
        hidden = self._withdrawn | self._entries.keys()
        return [identity for identity in found if identity not in hidden]

    def _updates(self, wanted: RevisionFilter, since: datetime | None) -> list[Identity]:
        above = self._ancestors()
        selected = {
            identity: None
            for identity, entry in self._entries.items()
            if entry.document.update_type not in _CONFIGURATION
            and _selects(
                wanted, self._belongs(identity, above), entry.document.languages, entry.published, since
            )
        }
        if wanted.categories is not None:
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


def _drives(document: Document, wanted: DriverFilter) -> bool:
    """Whether it is a driver for one of the hardware ids, and for one of the systems if any are named."""
    systems = wanted.categories.keys()
    return bool(document.hardware_ids & wanted.pnp_ids.keys()) and (
        not systems or not document.categories.isdisjoint(systems)
    )


def _due(entry: _Entry, wanted: DriverFilter, since: datetime | None) -> bool:
    flags = [wanted.pnp_ids.get(each, True) for each in entry.document.hardware_ids]
    flags += [wanted.categories.get(each, True) for each in entry.document.categories]
    return not all(flags) or _newer(entry.published, since)


def _selects(
    wanted: RevisionFilter,
    belongs: AbstractSet[str],
    languages: frozenset[str],
    published: datetime,
    since: datetime | None,
) -> bool:
    """Whether a filter on updates takes a revision of these categories and languages."""
    groups: list[dict[str, bool]] = []
    if wanted.categories is not None or wanted.classifications is not None:
        products, classes = wanted.categories or {}, wanted.classifications or {}
        groups = [{key: ids[key] for key in belongs & ids.keys()} for ids in (products, classes)]
    if wanted.languages is not None and languages:
        groups.append({key: wanted.languages[key] for key in wanted.languages.keys() & {*languages, ALL}})
    # a newly ticked id (Delta false) gets everything; otherwise only what the anchor has not seen
    newly = not all(delta for group in groups for delta in group.values())
    return all(groups) and (newly or _newer(published, since))


def _newer(published: datetime, since: datetime | None) -> bool:
    return since is None or published > since
