"""The closure of what an upstream gave: parts of bundles and prerequisites that no list brought.

A product's list usually has them all; RevisionIdList promises no such thing (MS-WSUSSS 3.1.4.5), and a bundle
without its parts has no size, no restart behaviour and no classification of its leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, or_, select

from mdm.storage.statements import table_of
from mdm.storage.tables import RevisionRelation, UpdateRevision
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["missing_parts"]

_relation = table_of(RevisionRelation)
_revision = table_of(UpdateRevision)


def missing_parts(connection: Connection, upstream_url: str) -> list[UpdateIdentity]:
    """Return what the latest revisions from this upstream name and the store lacks.

    A bundle names a revision; a prerequisite is satisfied by any, which is written as number 0.
    """
    target = _revision.alias("target")
    exact = and_(
        target.c.update_id == _relation.c.target_id,
        or_(
            _relation.c.target_revision.is_(None),
            target.c.revision_number == _relation.c.target_revision,
        ),
    )
    rows = connection.execute(
        select(_relation.c.target_id, _relation.c.target_revision)
        .join(
            _revision,
            and_(
                _revision.c.update_id == _relation.c.update_id,
                _revision.c.revision_number == _relation.c.revision_number,
            ),
        )
        .where(
            _relation.c.kind.in_(("bundles", "requires")),
            _revision.c.is_latest,
            _revision.c.upstream_url == upstream_url,
            ~exists().where(exact).correlate(_relation),
        )
        .distinct()
    )
    return sorted(UpdateIdentity(target_id, number or 0) for target_id, number in rows)
