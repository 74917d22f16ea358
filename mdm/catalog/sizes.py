"""What a download comes to: the sizes of bundles, which Microsoft writes into their parts only.

Of each clause of a bundle one child is installed, the one that applies: the largest is counted, so that the
figure is never too small. A bundle with a clause of which no child is known has no size yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import bindparam, select, update

from mdm.catalog.ids import among, rows_among
from mdm.catalog.relations import of_kind
from mdm.storage.statements import table_of
from mdm.storage.tables import RevisionRelation, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

__all__ = ["refresh_sizes"]

_Key: TypeAlias = "tuple[str, int]"

_revision = table_of(UpdateRevision)
_relation = table_of(RevisionRelation)

_parts = select(
    _relation.c.update_id,
    _relation.c.revision_number,
    _relation.c.clause,
    _relation.c.target_id,
    _relation.c.target_revision,
).where(of_kind("bundles"), among(_relation.c.update_id))
_holders = (
    select(_relation.c.update_id)
    .distinct()
    .where(_relation.c.kind == "bundles", among(_relation.c.target_id))
)
_stored = select(
    _revision.c.update_id,
    _revision.c.revision_number,
    _revision.c.max_download_size,
    _revision.c.download_size,
).where(among(_revision.c.update_id))


def refresh_sizes(connection: Connection, update_ids: Iterable[str]) -> None:
    """Bring `download_size` up to date for these updates and for every bundle they are in."""
    bundles = _bundles_around(connection, set(update_ids))
    children = {child for clauses in bundles.values() for clause in clauses for child in clause}
    stored = _sizes(connection, {key[0] for key in children | bundles.keys()})
    sizes = {key: (declared or None) if key in bundles else size for key, (declared, size) in stored.items()}
    for key in bundles:
        _size(key, bundles, sizes, set())
    changed = [
        {"id": key[0], "number": key[1], "size": sizes[key]}
        for key in sorted(bundles)
        if key in stored and sizes[key] != stored[key][1]
    ]
    if changed:
        connection.execute(
            update(_revision)
            .where(
                _revision.c.update_id == bindparam("id"), _revision.c.revision_number == bindparam("number")
            )
            .values(download_size=bindparam("size")),
            changed,
        )


def _size(
    key: _Key,
    bundles: Mapping[_Key, list[list[_Key]]],
    sizes: dict[_Key, int | None],
    above: set[_Key],
) -> int | None:
    """The size of a revision, worked out once; `above` are the bundles it is in, so that a ring ends."""
    if key not in bundles or key in above or sizes.get(key) is not None:
        return sizes.get(key)
    total = 0
    for clause in bundles[key]:
        known = [_size(child, bundles, sizes, above | {key}) for child in clause]
        largest = max((each for each in known if each is not None), default=None)
        if largest is None:
            sizes[key] = None
            return None
        total += largest
    sizes[key] = total
    return total


def _bundles_around(connection: Connection, update_ids: set[str]) -> dict[_Key, list[list[_Key]]]:
    """The clauses of every bundle among these updates, and of those that hold them, level by level."""
    found: dict[_Key, dict[int, list[_Key]]] = {}
    seen: set[str] = set()
    waiting = set(update_ids)
    while waiting:
        seen |= waiting
        for update_id, number, clause, target_id, target_number in rows_among(connection, _parts, waiting):
            clauses = found.setdefault((update_id, number), {})
            clauses.setdefault(clause, []).append((target_id, target_number or 0))
        waiting = {holder for (holder,) in rows_among(connection, _holders, waiting)} - seen
    return {key: list(clauses.values()) for key, clauses in found.items()}


def _sizes(connection: Connection, update_ids: set[str]) -> dict[_Key, tuple[int | None, int | None]]:
    return {
        (update_id, number): (declared, size)
        for update_id, number, declared, size in rows_among(connection, _stored, update_ids)
    }
