"""What supersedes what: edges of the highest revisions, followed through any number of updates.

The newer update names the older ones, and may name such as are not stored: those edges dangle and harm nobody.
An update is superseded when an update that is itself published and visible supersedes it, directly or through
others, whatever those others have become (metadata notes, section 5). Rings in the data end where they began.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, select

from mdm.catalog.ids import among, rows_among
from mdm.catalog.relations import of_kind
from mdm.storage.statements import table_of
from mdm.storage.tables import RevisionRelation, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

__all__ = ["VISIBLE_TYPES", "Chain", "chain_of", "older_than", "superseded_since", "superseding", "visible"]

VISIBLE_TYPES: Final = ("Software", "Driver")
"""The UpdateTypes an administrator sees; the others are the catalogue's own machinery."""

_revision = table_of(UpdateRevision)
_relation = table_of(RevisionRelation)

_of_highest = and_(
    _revision.c.update_id == _relation.c.update_id,
    _revision.c.revision_number == _relation.c.revision_number,
    _revision.c.is_latest,
)
_older_edges = (
    select(_relation.c.target_id)
    .distinct()
    .join(_revision, _of_highest)
    .where(of_kind("supersedes"), among(_relation.c.update_id))
)
_newer_columns = (
    select(
        _relation.c.update_id,
        _relation.c.target_id,
        _revision.c.created,
        _revision.c.fetched_at,
        _revision.c.publication_state,
        _revision.c.explicitly_deployable,
        _revision.c.update_type,
    )
    .join(_revision, _of_highest)
    .where(_relation.c.kind == "supersedes", among(_relation.c.target_id))
)


@dataclass(frozen=True, slots=True)
class Chain:
    """Every update before and after one, directly or through others; ids that are not stored included."""

    supersedes: tuple[str, ...]
    superseded_by: tuple[str, ...]
    """Only updates that are published and visible."""


@dataclass(frozen=True, slots=True)
class _Edge:
    """One update supersedes another."""

    newer: str
    older: str
    moment: datetime
    """CreationDate of the newer one."""
    counts: bool
    """Whether the newer one is published and visible."""


def visible(revision: Any) -> tuple[ColumnElement[bool], ...]:
    """The conditions for what an administrator sees: deployable software and drivers, by the highest revision."""
    return (
        revision.c.is_latest,
        revision.c.explicitly_deployable,
        revision.c.update_type.in_(VISIBLE_TYPES),
    )


def chain_of(connection: Connection, update_id: str) -> Chain:
    """Return everything an update supersedes and is superseded by."""
    older = older_than(connection, [update_id])
    return Chain(tuple(sorted(older - {update_id})), tuple(sorted(superseding(connection, update_id))))


def superseding(connection: Connection, update_id: str) -> set[str]:
    """Return the published, visible updates that supersede an update, directly or through others."""
    return {edge.newer for edge in _newer_edges(connection, {update_id}) if edge.counts} - {update_id}


def older_than(connection: Connection, update_ids: Iterable[str]) -> set[str]:
    """Return these ids and everything that the updates supersede, directly or through others."""
    found = set(update_ids)
    waiting = found
    while waiting:
        named = {older for (older,) in rows_among(connection, _older_edges, waiting)}
        waiting = named - found
        found |= waiting
    return found


def superseded_since(connection: Connection, update_ids: Iterable[str]) -> dict[str, datetime]:
    """Return since when each of these updates is superseded; those that are not are absent.

    That is the CreationDate of the earliest update that counts, or when it was fetched if it has no date.
    """
    wanted = set(update_ids)
    edges = _newer_edges(connection, wanted)
    by_newer: dict[str, list[str]] = {}
    roots: dict[str, datetime] = {}
    for edge in edges:
        by_newer.setdefault(edge.newer, []).append(edge.older)
        if edge.counts:
            roots[edge.newer] = edge.moment
    since = _spread(roots, by_newer)
    return {update_id: since[update_id] for update_id in wanted & since.keys()}


def _spread(roots: Mapping[str, datetime], by_newer: Mapping[str, list[str]]) -> dict[str, datetime]:
    """Carry each root's moment to all that is below it; the earliest root comes first and so stays."""
    since: dict[str, datetime] = {}
    for root, moment in sorted(roots.items(), key=lambda pair: (pair[1], pair[0])):
        waiting = [root]
        while waiting:
            for older in by_newer.get(waiting.pop(), ()):
                if older != root and older not in since:
                    since[older] = moment
                    waiting.append(older)
    return since


def _newer_edges(connection: Connection, update_ids: set[str]) -> list[_Edge]:
    """Every edge on a way up from these updates."""
    edges: list[_Edge] = []
    found = set(update_ids)
    waiting = found
    while waiting:
        named: set[str] = set()
        for newer, older, created, fetched_at, state, deployable, update_type in rows_among(
            connection, _newer_columns, waiting
        ):
            counts = state != "Expired" and deployable and update_type in VISIBLE_TYPES
            edges.append(_Edge(newer, older, created or fetched_at, counts))
            named.add(newer)
        waiting = named - found
        found |= waiting
    return edges
