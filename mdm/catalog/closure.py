"""The closure of what an upstream gave: parts of bundles and prerequisites that no list brought.

A product's list usually has them all; RevisionIdList promises no such thing (MS-WSUSSS 3.1.4.5), and a bundle
without its parts has no size, no restart behaviour and no classification of its leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, func, select

from mdm.storage.statements import table_of
from mdm.storage.tables import RevisionRelation, UpdateRevision
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection

__all__ = ["missing_parts"]

_relation = table_of(RevisionRelation)
_revision = table_of(UpdateRevision)
_target = _revision.alias("target")


def missing_parts(connection: Connection, upstream_url: str) -> list[UpdateIdentity]:
    """Return what the latest revisions from this upstream name and the store lacks.

    A bundle names a revision; a prerequisite is satisfied by any, which is written as number 0.
    """
    # asked apart: prerequisites are most edges and have few targets, which the index tells without reading a row
    return sorted(
        {*_missing_prerequisites(connection, upstream_url), *_missing_parts(connection, upstream_url)}
    )


def _missing_prerequisites(connection: Connection, upstream_url: str) -> Iterator[UpdateIdentity]:
    named = select(_relation.c.target_id).distinct().where(_relation.c.kind == "requires").subquery("named")
    statement = select(named.c.target_id).where(
        ~exists().where(_target.c.update_id == named.c.target_id),
        exists().where(
            _relation.c.kind == "requires",
            _relation.c.target_id == named.c.target_id,
            *_is_written_here(upstream_url),
        ),
    )
    for target_id in connection.scalars(statement):
        yield UpdateIdentity(target_id, 0)


def _missing_parts(connection: Connection, upstream_url: str) -> Iterator[UpdateIdentity]:
    stored = exists().where(
        _target.c.update_id == _relation.c.target_id,
        _target.c.revision_number == func.coalesce(_relation.c.target_revision, _target.c.revision_number),
    )
    statement = select(_relation.c.target_id, _relation.c.target_revision).where(
        _relation.c.kind == "bundles",
        ~stored.correlate(_relation),
        exists().where(*_is_written_here(upstream_url)).correlate(_relation),
    )
    for target_id, number in connection.execute(statement):
        yield UpdateIdentity(target_id, number or 0)


def _is_written_here(upstream_url: str) -> tuple[ColumnElement[bool], ...]:
    """The conditions for an edge of an update's highest revision, which came from this upstream."""
    return (
        _revision.c.update_id == _relation.c.update_id,
        _revision.c.revision_number == _relation.c.revision_number,
        _revision.c.is_latest,
        _revision.c.upstream_url == upstream_url,
    )
